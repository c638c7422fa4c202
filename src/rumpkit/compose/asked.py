"""What is asked to be started on a kernel, by whom: a [[run]] of its config, its health check, `rump exec`, or `Kernel.run`.

One function for each makes an `Asked`; `programs` makes a plan of that, with what the kernel and its root add, and starts it.
"""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..hyper.named import NamedTuple
from .errors import ConfigError
from .limits import limits_from
from .oci.program import defaults_for
from .record import as_dict
from .roots import ALIKE, Sees
from .spec import LimitsSpec, RunSpec
from .users import Identity, identity_in, user_of

if TYPE_CHECKING:
    from ..guests.linux.tracing.tracer import Tracing
    from .kernel import Kernel

Streams = tuple[int | None, int | None, int | None]
"""Descriptors for a program's 0, 1 and 2; None: ours."""
OURS: Final[Streams] = (None, None, None)


class Asked(NamedTuple):
    """One program, as somebody has asked for it."""

    command: Sequence[str]
    env: Mapping[str, str] | None = None
    """Added to ours, or to that of the container image that is its root."""
    cwd: str = ""
    """ "": where we are, or where that image says."""
    stdio: Streams = OURS
    user: Identity | None = None
    """None: whom we are."""
    terminal: bool = False
    """Its standard input is a terminal, which becomes that of a session of its own."""
    allow: Sequence[str] = ()
    limits: LimitsSpec | None = None
    name: str = "program"
    """For its control group."""
    tracer: "Tracing | None" = None
    """Who looks at it from outside."""
    sees: Sees = ALIKE
    """What it sees of files."""


def by_run(kernel: "Kernel", run: RunSpec, sees: Sees, stdio: Streams, name: str) -> Asked:
    """A [[run]] whose variables are expanded.  What it leaves out, command and user, the container image says that is its root.

    Raises ConfigError."""
    source = run.root or kernel.spec.kernel.root
    said = defaults_for(kernel, source)
    command = run.command or (said.command if said is not None else [])
    if not command:
        raise ConfigError("is empty", key="command", hint='write ["program", "argument"], or: rump run ... -- CMD')
    user, told = user_of(kernel, run.user, source)
    env = {**told, **run.env}
    return Asked(command, env, run.cwd, stdio, user, False, run.allow, run.limits, name, sees=sees)


def by_check(kernel: "Kernel", run: RunSpec, sees: Sees, stdio: Streams, name: str) -> Asked:
    """The health check of a [[run]], which is as the program is.  Raises ConfigError."""
    assert run.health is not None
    return by_run(kernel, run, sees, stdio, f"{name}-health")._replace(command=run.health.command)


def by_exec(kernel: "Kernel", given: Mapping[str, Any], like: RunSpec, sees: Sees, folder: str) -> Asked:
    """`rump exec`, with the parameters of its request: a program like a [[run]], whose variables are expanded.  `folder` is where it is if
    nobody says where.  Raises ConfigError."""
    user, told = user_of(kernel, given["user"] or like.user, like.root or kernel.spec.kernel.root)
    env = {**told, **like.env, **{str(name): str(value) for name, value in given["env"].items()}}
    limits = limits_from({**as_dict(like.limits or LimitsSpec()), **given["limits"]})
    fds = given["descriptors"]
    return Asked(
        given["command"],
        env,
        given["cwd"] or like.cwd or folder,
        (fds[0], fds[1], fds[2]),
        user,
        given["terminal"],
        like.allow,
        limits,
        f"{given['program'] or 'kernel'}-exec",
        sees=sees,
    )


def by_call(
    kernel: "Kernel",
    command: Sequence[str],
    env: Mapping[str, str] | None,
    cwd: "str | os.PathLike[str] | None",
    stdio: Streams,
    allow: Sequence[str],
    sees: Sees,
    user: str,
    limits: Mapping[str, object] | None,
) -> Asked:
    """`Kernel.run`.  Raises ConfigError."""
    who, told = identity_in(kernel, user, sees.root or kernel.spec.kernel.root)
    where = "" if cwd is None else os.fspath(cwd)
    spec = limits_from(limits) if limits else None
    return Asked(command, {**told, **(env or {})}, where, stdio, who, allow=allow, limits=spec, sees=sees)
