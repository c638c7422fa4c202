"""What a control socket can be asked: a table of methods, each with its parameters.

A method is called on the schedule.  It returns a JSON value, a generator that gives the answer page by page, None where it has
nothing to say yet (`session` lets others have the schedule between two pages), or a `Live`.
"""

from collections.abc import Callable
from errno import EINVAL, ENOSYS
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ...net.link.pcapng import DEFAULT_SNAPLEN
from . import answers, capturing, configuring, pinging
from .programs import asked
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
    descriptors: int = 0
    """How many descriptors come with the request (SCM_RIGHTS); the call has them in its parameters, as "descriptors"."""


ROUTE: Final = {
    "prefix": Parameter(str, None, 'the network, as "192.168.1.0/24" or "default"'),
    "gateway": Parameter(str, "", "the address of the next hop"),
    "interface": Parameter(str, "", "the way out"),
    "metric": Parameter(int, -1, "the least is taken; default when adding: 0, when deleting: any"),
    "source": Parameter(str, "", "the address to send from"),
}

METHODS: Final[dict[str, Method]] = {
    "info": Method(answers.info, "what the kernel is: names, time, components, interfaces"),
    "interfaces": Method(answers.interfaces, "interfaces with their addresses and counters"),
    "routes": Method(configuring.routes, "the routing tables"),
    "route_add": Method(configuring.route_add, "add a route, by a gateway or out of an interface", ROUTE),
    "route_delete": Method(configuring.route_delete, "take a route away that was added", ROUTE),
    "neighbours": Method(configuring.neighbours, "whom ARP and neighbour discovery know"),
    "neighbour_delete": Method(
        configuring.neighbour_delete,
        "forget a neighbour",
        {"address": Parameter(str, None, "whom"), "interface": Parameter(str, "", "on which; default: wherever it is")},
    ),
    "sysctls": Method(
        configuring.sysctls,
        "sysctls with bounds and help",
        {"name": Parameter(str, "", "one, or all below it; default: all")},
    ),
    "sysctl_set": Method(
        configuring.sysctl_set,
        "change a sysctl",
        {"name": Parameter(str, None, "which"), "value": Parameter(int, None, "its new value")},
    ),
    "ping": Method(
        pinging.ping,
        "send echo requests from inside the kernel; a part for each answer, the statistics at the end",
        {
            "destination": Parameter(str, None, "whom: an address"),
            "count": Parameter(int, 0, "how many requests; 0: until cancelled"),
            "interval": Parameter(int, 1000, "milliseconds between two"),
            "size": Parameter(int, 56, "bytes behind the ICMP header"),
            "timeout": Parameter(int, 2000, "milliseconds to wait for the last answers"),
            "ttl": Parameter(int, 64, "time to live"),
        },
    ),
    "capture": Method(
        capturing.capture,
        "every frame from now on, as the bytes of a pcapng file",
        {
            "interface": Parameter(str, "", "of which interface; default: all"),
            "count": Parameter(int, 0, "end after so many frames; 0: when cancelled"),
            "snaplen": Parameter(int, DEFAULT_SNAPLEN, "bytes of a frame to keep"),
            "comments": Parameter(bool, True, "have packets bear the state of their TCP connection"),
            "protocol": Parameter(str, "", "only this one: tcp, udp, icmp, icmp6, arp, ip, ip6"),
            "host": Parameter(str, "", "only from or to this address"),
            "port": Parameter(int, 0, "only from or to this port"),
        },
    ),
    "stat": Method(answers.stat, "every counter, and the MIB objects made of them"),
    "sockets": Method(answers.sockets, "all sockets, in parts that are lists of them"),
}


PROGRAM: Final = Parameter(str, "", "which program; default: all of this kernel")
METHODS.update(
    {
        "ps": Method(
            asked("ps"), "the programs of this kernel: states, process ids, restarts, ends", {"program": PROGRAM}
        ),
        "stats": Method(
            asked("stats"),
            "what each has cost so far: processor time, memory, sockets, bytes, system calls",
            {"program": PROGRAM},
        ),
        "logs": Method(
            asked("logs"),
            "what programs have printed, in parts that are lists of lines; then what they print, as it comes",
            {
                "program": PROGRAM,
                "lines": Parameter(int, -1, "only so many of the last ones; -1: all that are remembered"),
                "since": Parameter(float, 0.0, "only those from this time on, in seconds since 1970"),
                "follow": Parameter(bool, False, "go on until cancelled"),
            },
        ),
        "stop": Method(
            asked("stop"),
            "end a program, or all of this kernel; answers once they have ended",
            {"program": PROGRAM, "kill": Parameter(bool, False, "at once")},
        ),
        "start": Method(
            asked("start"),
            "start a program again that has ended, or all of them; answers once they run, or have failed to",
            {"program": PROGRAM, "wait": Parameter(bool, False, "answer once they are healthy")},
        ),
        "restart": Method(
            asked("restart"),
            "end a program as its config says and start it again, or all that run; answers as start",
            {"program": PROGRAM, "wait": Parameter(bool, False, "answer once they are healthy")},
        ),
        "exec": Method(
            asked("exec"),
            "run a further program; a part with its number and process id once it runs, its exit code at the end.  "
            "Its standard input, output and error come with the request (SCM_RIGHTS).  It ends with the connection",
            {
                "command": Parameter(list, None, "the program and its arguments"),
                "env": Parameter(dict, {}, "added to the environment"),
                "cwd": Parameter(str, "", "its folder"),
                "folder": Parameter(str, "", "its folder if that says nothing and it has the host's root"),
                "user": Parameter(str, "", "whom to run as"),
                "program": Parameter(
                    str,
                    "",
                    "as which program of this kernel: with its user, environment, folder, limits, further system calls",
                ),
                "limits": Parameter(
                    dict, {}, "what it may use at most, with the keys of [run.limits]; before the program's"
                ),
                "terminal": Parameter(bool, False, "the descriptors are a terminal, which shall be its own"),
            },
            3,
        ),
        "exec_signal": Method(
            asked("exec_signal"),
            "send a signal to a program of `exec`",
            {"number": Parameter(int, None, "its number"), "signal": Parameter(int, None, "which signal")},
        ),
    }
)


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
        if parameter.kind is float and type(value) is int:
            value = float(value)
        # A boolean is an int to Python.
        if not isinstance(value, parameter.kind) or (parameter.kind is not bool and isinstance(value, bool)):
            raise ControlError(EINVAL, f"the parameter {key!r} of {name} is of type {parameter.kind.__name__}")
        checked[key] = value
    return method, checked
