"""What a control socket can be asked: a table of methods, each with its parameters.

A method is called on the schedule.  It returns a JSON value, an iterator that gives the answer page by page (`session` lets others have the
schedule between two pages), or a `Live`.
"""

from collections.abc import Callable
from errno import EINVAL, ENOSYS
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from . import answers
from .protocol import ControlError

if TYPE_CHECKING:
    from .server import ControlServer

Parameters = dict[str, Any]


class Parameter(NamedTuple):
    """One parameter of a method: its JSON type, and its value where it is not given (None: it must be)."""

    kind: type
    default: Any
    help: str


class Method(NamedTuple):
    """One method."""

    call: Callable[["ControlServer", Parameters], Any]
    help: str
    parameters: dict[str, Parameter] = {}  # noqa: RUF012 (nobody changes it)


METHODS: Final[dict[str, Method]] = {
    "info": Method(answers.info, "what the kernel is: names, time, components, interfaces"),
    "stat": Method(answers.stat, "every counter, and the MIB objects made of them"),
    "sockets": Method(answers.sockets, "all sockets of TCP and UDP, in parts that are lists of them"),
}


def check_parameters(name: str, given: Any) -> tuple[Method, Parameters]:
    """The method called `name`, and its parameters with their defaults.  Raises ControlError."""
    method = METHODS.get(name)
    if method is None:
        raise ControlError(ENOSYS, f"this kernel has no method {name!r}; it has {', '.join(sorted(METHODS))}")
    if not isinstance(given, dict):
        raise ControlError(EINVAL, "params is an object")
    known = method.parameters
    for key in given:
        if key not in known:
            raise ControlError(EINVAL, f"{name} has no parameter {key!r}; it has {', '.join(sorted(known)) or 'none'}")
    checked: Parameters = {}
    for key, parameter in known.items():
        value = given.get(key, parameter.default)
        if value is None:
            raise ControlError(EINVAL, f"{name} needs the parameter {key!r}")
        # A boolean is an int to Python.
        if not isinstance(value, parameter.kind) or (parameter.kind is not bool and isinstance(value, bool)):
            raise ControlError(EINVAL, f"the parameter {key!r} of {name} is of type {parameter.kind.__name__}")
        checked[key] = value
    return method, checked
