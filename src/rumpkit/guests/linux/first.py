"""The program's first process, from its fork to its exec.

Below `starter`, whose init forks it before there is a program: what can be done for any is done then.  init tells it of the plan
(`tell`), hears which number its listener has, and lets it go on (`go`) once the supervisor has a copy of that.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import fcntl
import marshal
import os
import resource  # now, where its file can be read

from . import abi, capabilities, libc
from .passing import receive, rights

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, NoReturn

_PYTHON_IGNORES: Final = (_signal.SIGPIPE, _signal.SIGXFSZ)
_NOT_DEFAULT: Final = (*_PYTHON_IGNORES, _signal.SIGINT)
"""What Python has set to be handled in another way than by default."""
_STANDARD: Final = (0, 1, 2)
_PLAN: Final = b"P"
_GO: Final = b"G"
_READY: Final = b"r"
_KILLED: Final = b"filter\n0\nkilled before it could start"
_MOST_SAID: Final = 4096


class First:
    """It, from init's side."""

    def __init__(self, own: bool) -> None:
        """Forks it; `own` says whether there is a user namespace.  Raises OSError."""
        self._socket, its = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        self.process = os.fork()
        """Its process id."""
        if not self.process:
            _Life(its, own).live()
        its.close()
        self._ready = self._hear()  # it needs files that may go from here on

    def tell(self, memory: int, entrance: int) -> bytes:
        """Tell it of the plan, of our standard streams, which are its own, and, where that is not -1, by which descriptor it enters its
        control group.  What it says: a number, or a stage, an errno and a text."""
        if self._ready != _READY:
            return self._ready or _KILLED
        try:
            self._socket.sendmsg([_PLAN], rights((*_STANDARD, memory, *((entrance,) if entrance >= 0 else ()))))
        except OSError:
            pass
        return self._hear() or _KILLED

    def go(self) -> bytes:
        """Let it execute the program; nothing if it has, or as from `tell`."""
        self._socket.send(_GO)
        return self._hear()

    def _hear(self) -> bytes:
        try:
            return self._socket.recv(_MOST_SAID)
        except ConnectionResetError:
            return b""

    def close(self) -> None:
        """Leave it alone."""
        self._socket.close()


class _Life:
    """It, from its own side."""

    def __init__(self, socket: _socket.socket, own: bool) -> None:
        self.socket = socket
        self.own = own
        self.stage = "filter"
        self.plan: dict[str, Any] = {}
        self.entrance: list[int] = []

    def live(self) -> NoReturn:
        """Does not come back."""
        try:
            self.get_ready()
            self.socket.send(_READY)
            note, descriptors = receive(self.socket)
            if note == _PLAN:
                memory, *self.entrance = descriptors[len(_STANDARD) :]
                for number, fd in zip(_STANDARD, descriptors):  # noqa: B905 (the first of them)
                    os.dup2(fd, number)
                    os.close(fd)
                self.plan = marshal.loads(os.pread(memory, os.fstat(memory).st_size, 0))
                os.close(memory)
                self.become()
        except OSError as problem:
            self.say(f"{self.stage}\n{problem.errno}\n{problem.strerror}")
        except BaseException as problem:
            self.say(f"{self.stage}\n0\n{problem!r}")
        finally:
            os._exit(127)

    def say(self, text: str) -> None:
        """To init, if it is there."""
        try:
            self.socket.send(text.encode())
        except OSError:
            pass

    def get_ready(self) -> None:
        """What is the same for all programs.  Raises OSError."""
        for number in _NOT_DEFAULT:
            # What the supervisor's caller had set to be ignored, as nohup does, the program inherits.
            if number in _PYTHON_IGNORES or _signal.getsignal(number) != _signal.SIG_IGN:
                _signal.signal(number, _signal.SIG_DFL)
        if not self.own:
            capabilities.give_up()
        libc.prctl(abi.PR_SET_NO_NEW_PRIVS, 1)
        libc.load_no_more()

    def become(self) -> None:
        """The rest, up to the exec.  Raises OSError."""
        plan = self.plan
        if plan["terminal"]:
            self.stage = "terminal"
            os.setsid()
            fcntl.ioctl(0, abi.TIOCSCTTY, 0)
        for entrance in self.entrance:
            self.stage = "group"
            os.write(entrance, b"0")
            libc.syscall("unshare", abi.CLONE_NEWCGROUP)
        self.stage = "filter"
        root = plan["user"] is not None or not os.getuid()  # or may become it
        if self.own and root:
            capabilities.give_up()
        if plan["limits"] and (not self.own or root):
            capabilities.drop("SYS_RESOURCE")
        listener = libc.install_filter(plan["filter"])
        self.socket.send(b"%d" % listener)
        if self.socket.recv(1) != _GO:
            os._exit(1)
        os.close(listener)
        if plan["tracing"]:
            libc.install_filter(plan["tracing"], listen=False)
        self.stage = "limits"
        if plan["limits"]:
            self.set_limits()
        self.stage = "user"
        if plan["user"] is not None and (not self.own or plan["helpers"]):
            uid, gid, groups = plan["user"]
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
        self.stage = "directory"
        os.chdir("/")  # where we are is the host's still, and a name without a slash would begin there
        os.chdir(plan["directory"])
        self.stage = "exec"
        _signal.pthread_sigmask(_signal.SIG_SETMASK, plan["mask"])
        self.execute()

    def set_limits(self) -> None:
        """Never above what is inherited.  Raises OSError."""
        for number, soft, hard in self.plan["limits"]:
            most = resource.getrlimit(number)[1]
            if most != resource.RLIM_INFINITY:
                soft, hard = min(soft, most), min(hard, most)
            resource.setrlimit(number, (soft, hard))

    def execute(self) -> None:
        """execvpe(3).  Not os.execvpe: that imports modules at its first use, and by now we may be a user who can't
        read them.  Raises OSError."""
        command, environment = self.plan["command"], self.plan["environment"]
        if "/" in command[0]:
            os.execve(command[0], command, environment)
        refused: OSError | None = None
        for directory in environment.get("PATH", os.defpath).split(":"):
            try:
                os.execve(f"{directory or '.'}/{command[0]}", command, environment)
            except (FileNotFoundError, NotADirectoryError):
                pass
            except OSError as problem:
                refused = refused or problem
        raise refused or FileNotFoundError(2, "No such file or directory")
