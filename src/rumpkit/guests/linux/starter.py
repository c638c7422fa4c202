"""The starter: a small Python process that `launcher` runs.  It makes the namespaces of programs, and their inits.

    supervisor --posix_spawn--> starter --clone(namespaces)--> init (process 1) --fork--> the program
                                waits for the next one           stays

The supervisor may have threads, so it never forks itself.  init is the supervisor's child (CLONE_PARENT), reaps what
the program leaves behind, makes sockets inside the network namespace when asked, and ends when the program ends or the
supervisor dies, whichever comes first; Linux then kills everything else in the pid namespace.  So nothing is left over
on either side's death, however it comes.

What there is to do comes on SERVICE, a sequenced-packet socket, as a byte and descriptors (`ORDER`): among them a memory file with
a marshalled dict (`spawn.Plan`).  What becomes of it is reported on another such socket, control, as marshalled tuples:

    ("failed", stage, errno, text)     nothing has been started, or nothing is left of it
    ("init", process id)               from the starter, in the supervisor's numbers
    ("wired", whether there is IPv6)   with a netlink channel of the network namespace, and as many open /dev/net/tun as the plan
                                       asks for and this machine gives
    ("scratch",)                       with the mount of what programs of one kernel have in memory, for the next start
    ("file", path)                     with a descriptor by which to write a private file again
    ("sockets",)                       with the /dev/fuse of /proc/net, which the supervisor serves from now on
    ("mounted", place in the plan)     with the /dev/fuse of a mount, which the supervisor serves from now on; place -1 is the root
    ("refused", place, errno, text)    a mount that can't be made here; the program starts without
    ("ready", proc, uncovered)         with an inject and a capture socket, and two more of IPv6 if there is that, and if
                                       there is one that for obituaries
    ("main", listener)                 with a pidfd of the program, which waits behind its filter for b"G"
    ("running",)                       the exec has succeeded
    ("exit", wait status)              the program has ended; everything else ends now

and requests for sockets come on a third one, supply: two bytes, kind and count (`network.Maker`).  The answer is kind, errno and the
sockets, and a further message once our own copies of them are closed.

This file must load fast: it avoids `typing`, `socket`, `signal` and `subprocess`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import fcntl
import gc
import marshal
import os
import select
import sys

from . import abi, capabilities, libc, mounts, network, roots
from .netlink import Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, NoReturn

SERVICE: Final = 3
_FIRST_UNUSED: Final = 4
ORDER: Final = 6
"""Descriptors of an order to start a program: its standard streams, the plan, control, supply.  A further one is the scratch mount that an
earlier start has reported."""
_START: Final = b"S"
_CLOSED: Final = b"c"

_PYTHON_IGNORES: Final = (_signal.SIGPIPE, _signal.SIGXFSZ)
_STANDARD: Final = (0, 1, 2)
_EPERM: Final = 1
_EIO: Final = 5


class Starter:
    """The steps of a start, in the order in which they are written."""

    def __init__(self, order: list[int]) -> None:
        *self.streams, memory, control, supply = order[:ORDER]
        self.scratch = order[ORDER] if len(order) > ORDER else -1
        self.plan: dict[str, Any] = marshal.loads(os.pread(memory, os.fstat(memory).st_size, 0))
        os.close(memory)
        if self.plan["limits"]:
            import resource  # noqa: F401  # here, where its file can be read
        self.stage = "namespaces"
        """What is being done, for reports of failure."""
        self.root: roots.Arrangement | None = None
        self.problems: dict[str, OSError] = {}
        """Directories that could not be mirrored, and why."""
        self.control = _socket.socket(fileno=control)
        self.supply = _socket.socket(fileno=supply)
        signals = range(1, _signal.NSIG)
        ignored = [n for n in signals if _signal.getsignal(n) == _signal.SIG_IGN]
        self.ignored = [n for n in ignored if n not in _PYTHON_IGNORES]
        """What the supervisor's caller had set to be ignored, as nohup does: the program inherits it."""

    def report(self, *message: Any, fds: tuple[int, ...] = ()) -> None:
        """Tell the supervisor; if it is gone there is nobody to care."""
        try:
            self.control.sendmsg([marshal.dumps(message)], _rights(fds))
        except OSError:
            pass

    def run(self, supervisor: int) -> None:
        """In the starter process: make the namespaces' first process, which does not come back."""
        mapped, mapper = os.pipe2(os.O_CLOEXEC) if self.plan["helpers"] else (-1, -1)
        self.entrance = -1
        try:
            self.entrance = self.open_entrance()
            child = libc.syscall("clone", self.plan["namespaces"] | abi.CLONE_PARENT | _signal.SIGCHLD, 0, 0, 0, 0)
        except OSError as problem:
            self.report("failed", self.stage, problem.errno, str(problem))
            for fd in (mapped, mapper, self.entrance):
                if fd >= 0:
                    os.close(fd)
            return
        if child:
            if self.entrance >= 0:
                os.close(self.entrance)
            self.report("init", child)
            if mapper >= 0:
                if self.map_ids(child):
                    os.write(mapper, b"m")
                os.close(mapped)
                os.close(mapper)
            return
        try:
            if mapped >= 0:
                os.close(mapper)
                if not os.read(mapped, 1):
                    os._exit(1)
                os.close(mapped)
            os.close(SERVICE)
            for number, fd in zip(_STANDARD, self.streams, strict=True):
                os.dup2(fd, number)
                os.close(fd)
            self.be_init(supervisor)
        except OSError as problem:
            self.report("failed", self.stage, problem.errno, str(problem))
        except Exception as problem:
            self.report("failed", self.stage, _EIO, repr(problem))
        finally:
            os._exit(1)

    def close(self) -> None:
        """In the starter process: let go of what init has got."""
        for fd in self.streams:
            os.close(fd)
        if self.scratch >= 0:
            os.close(self.scratch)
        self.control.close()
        self.supply.close()

    def be_init(self, supervisor: int) -> None:
        """In process 1 of the new namespaces, where all signals are blocked from birth on.  Raises OSError."""
        self.stage = "user ids"
        if self.plan["namespaces"] & abi.CLONE_NEWUSER and not self.plan["helpers"]:
            self.map_own_ids()
        if self.plan["hostname"]:
            self.stage = "host name"
            _socket.sethostname(self.plan["hostname"])
        self.stage = "group"
        self.find_group()
        own = self.arrange_root()
        files: dict[str, int] = {}
        uncovered = mounts.cover(self.plan["files"], self.plan["hidden"], files, own)
        for name, fd in files.items():
            self.report("file", name, fds=(fd,))
            os.close(fd)
        proc = mounts.mount_proc()
        if not proc and self.root is not None:
            self.root.keep_proc()
        self.stage = "network"
        six = network.prepare(self.plan["six"], self.plan["sysctls"])
        network.allow_ping(os.getegid())
        self.wire(six)
        self.stage = "mounts"
        mounts.mount_interfaces()
        self.show_group()
        self.seal_settings()
        mounts.mount_dev()
        if proc and self.plan["sockets_shown"]:
            self.show_sockets()
        if self.root is not None:
            self.root.leave()
        self.mount_kernels()
        self.stage = "network"
        versions = [_socket.AF_INET, _socket.AF_INET6] if six else [_socket.AF_INET]
        carriers = [make(family) for family in versions for make in (network.inject_socket, network.capture_socket)]
        obituaries = network.obituary_socket()
        if obituaries is not None:
            carriers.append(obituaries)
        self.report("ready", proc, uncovered, fds=tuple(carrier.fileno() for carrier in carriers))
        for carrier in carriers:
            carrier.close()
        self.stage = "program"
        wake, woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.signal(_signal.SIGCHLD, _note)
        _signal.set_wakeup_fd(woken)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, [_signal.SIGCHLD])
        main = self.start_main()
        if main:
            self.serve(supervisor, wake, main)

    def arrange_root(self) -> list[str]:
        """Have the program's root, but for what everyone gets; the directories where we may make what we need.  Raises OSError."""
        self.stage = "mounts"
        plan = self.plan["root"]
        if plan is None:
            mounts.isolate()
            self.mirror()
            return []
        root = self.root = roots.Arrangement(
            plan, [place for place, _, _ in self.plan["mounts"]], list(self.plan["files"])
        )
        try:
            root.hold()
            if root.foreign:
                stage = root.stage()
                if plan["kernel"]:
                    device = mounts.mount_fuse(stage, plan["options"], plan["read_only"])
                    self.report("mounted", -1, fds=(device,))
                    os.close(device)
                else:
                    root.attach_source(stage)
                root.enter(stage)
            root.furnish()
            scratch, self.scratch = root.share_scratch(self.scratch), -1
            self.report("scratch", fds=(scratch,))
            os.close(scratch)
            root.show()
            root.make_places()
        except roots.Problem as problem:
            self.report("failed", "root", problem.errno, problem.filename)
            os._exit(1)
        self.problems = root.problems
        return root.own

    def open_entrance(self) -> int:
        """Where the program enters its control group; -1 without one.  In the starter's mount namespace, as the program's is read-only
        there, which it could not become with this open.  Raises OSError."""
        return os.open(f"{self.plan['group']}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC) if self.plan["group"] else -1

    def find_group(self) -> None:
        """Open the program's control group, where the host's files are to be seen still.  Raises OSError."""
        if self.plan["group"]:
            self.group = os.open(self.plan["group"], os.O_PATH | os.O_CLOEXEC)

    def show_group(self) -> None:
        """Let the program find its group, and no other, where programs look how much they may use."""
        if self.plan["group"]:
            try:
                libc.mount(f"/proc/self/fd/{self.group}", "/sys/fs/cgroup", None, abi.MS_BIND)
            except OSError:  # it finds nothing there, then
                pass
            os.close(self.group)

    def map_ids(self, child: int) -> bool:
        """Have the numbers of init's user namespace mapped by those who may, where it may not itself; False if that fails, which has
        then been reported."""
        for helper, mapped in zip(self.plan["helpers"], (self.plan["users"], self.plan["groups"])):  # noqa: B905
            words = [str(number) for run in mapped for number in run]
            process = os.posix_spawn(helper, [helper, str(child), *words], {})
            if os.waitpid(process, 0)[1]:
                self.report("failed", "user ids", _EPERM, f"{helper} refuses to map {' '.join(words)}")
                return False
        return True

    def map_own_ids(self) -> None:
        """Be who we shall be; a user namespace starts with nobody."""
        (uid, outside, _), (gid, group_outside, _) = self.plan["users"][0], self.plan["groups"][0]
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {outside} 1"),
            ("gid_map", f"{gid} {group_outside} 1"),
        ):
            fd = os.open(f"/proc/self/{name}", os.O_WRONLY)
            os.write(fd, text.encode())
            os.close(fd)

    def wire(self, six: bool) -> None:
        """Hand out what the supervisor shows the kernel's interfaces with."""
        channel = Channel()
        devices = network.open_devices(self.plan["devices"], mounts.devices())
        self.report("wired", six, fds=(channel.socket.fileno(), *devices))
        channel.close()
        for device in devices:
            os.close(device)

    def show_sockets(self) -> None:
        """Let the supervisor answer /proc/net, where it lets itself be mounted upon."""
        try:
            device = mounts.mount_proc_net()
        except OSError:
            return
        self.report("sockets", fds=(device,))
        os.close(device)

    def seal_settings(self) -> None:
        """Keep root from the machine's settings.  Where that fails in a user namespace, Linux keeps them from the program anyway."""
        try:
            mounts.seal_settings()
        except OSError:
            if not self.plan["namespaces"] & abi.CLONE_NEWUSER:
                raise

    def mirror(self) -> None:
        """Make places for mounts where the host has none; where that fails, `mount_kernels` finds out."""
        for directory, targets in self.plan["mirrored"].items():
            try:
                mounts.mirror(directory, targets)
            except OSError as problem:
                self.problems[directory] = problem

    def mount_kernels(self) -> None:
        """Mount the kernel's files.  Each is served from its report on, as the next may lie in it."""
        for place, (directory, options, read_only) in enumerate(self.plan["mounts"]):
            try:
                device = mounts.mount_fuse(directory, options, read_only)
            except OSError as problem:
                above = [at for at in self.problems if directory.startswith(at)]
                reason = self.problems[above[-1]] if above else problem
                self.report("refused", place, reason.errno, str(reason.strerror))
                continue
            self.report("mounted", place, fds=(device,))
            os.close(device)

    # The program ------------------------------------------------------------------------------------------------

    def start_main(self) -> int:
        """Fork the program, hand its listener over, let it exec.  Returns its process id, or 0 if it has failed."""
        go_reader, go_writer = os.pipe2(os.O_CLOEXEC)
        said_reader, said_writer = os.pipe2(os.O_CLOEXEC)
        main = os.fork()
        if not main:
            self.be_main(go_reader, said_writer)
        os.close(go_reader)
        os.close(said_writer)
        said = os.read(said_reader, 4096)  # which number its listener has, or what went wrong
        if said.isdigit():
            pidfd = libc.pidfd_open(main)
            self.report("main", int(said), fds=(pidfd,))
            os.close(pidfd)
            if self.control.recv(1) == b"G":
                os.write(go_writer, b"G")
                said = os.read(said_reader, 4096)  # nothing: closed by the exec
        else:
            said = said or b"filter\n0\nkilled before it could start"
        os.close(go_writer)
        os.close(said_reader)
        if said:
            stage, code, text = said.decode(errors="replace").split("\n", 2)
            self.report("failed", stage, int(code), text)
            return 0
        self.report("running")
        return main

    def be_main(self, go: int, say: int) -> NoReturn:
        """In the program's process, up to its exec."""
        stage = "filter"
        try:
            _signal.set_wakeup_fd(-1)
            for number in range(1, _signal.NSIG):
                if number not in (_signal.SIGKILL, _signal.SIGSTOP, *self.ignored):
                    try:
                        _signal.signal(number, _signal.SIG_DFL)
                    except OSError:  # the C library keeps two for itself
                        pass
            if self.plan["terminal"]:
                stage = "terminal"
                os.setsid()
                fcntl.ioctl(0, abi.TIOCSCTTY, 0)
                stage = "filter"
            own = bool(self.plan["namespaces"] & abi.CLONE_NEWUSER)
            if self.plan["group"]:
                stage = "group"
                os.write(self.entrance, b"0")
                libc.syscall("unshare", abi.CLONE_NEWCGROUP)
                stage = "filter"
            if not own or self.plan["user"] is not None:
                capabilities.give_up(("SYS_RESOURCE",) if self.plan["limits"] else ())
            libc.prctl(abi.PR_SET_NO_NEW_PRIVS, 1)
            listener = libc.install_filter(self.plan["filter"])
            os.write(say, b"%d" % listener)
            if os.read(go, 1) != b"G":
                os._exit(1)
            os.close(listener)
            stage = "limits"
            if self.plan["limits"]:
                self.set_limits()
            stage = "user"
            if self.plan["user"] is not None and (not own or self.plan["helpers"]):
                uid, gid, groups = self.plan["user"]
                os.setgroups(groups)
                os.setgid(gid)
                os.setuid(uid)
            stage = "directory"
            os.chdir(self.plan["directory"])
            stage = "exec"
            _signal.pthread_sigmask(_signal.SIG_SETMASK, self.plan["mask"])
            self.execute()
        except OSError as problem:
            os.write(say, f"{stage}\n{problem.errno}\n{problem.strerror}".encode())
        except BaseException as problem:
            os.write(say, f"{stage}\n0\n{problem!r}".encode())
        finally:
            os._exit(127)

    def set_limits(self) -> None:
        """Never above what is inherited.  Raises OSError."""
        import resource

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

    # init's life ------------------------------------------------------------------------------------------------

    def serve(self, supervisor: int, wake: int, main: int) -> None:
        """Reap, make sockets, and leave when the program or the supervisor ends."""
        null = os.open("/dev/null", os.O_RDWR)
        for fd in _STANDARD:
            os.dup2(null, fd)
        os.chdir("/")
        gc.disable()
        maker = network.Maker()
        poll = select.poll()
        control, supply = self.control.fileno(), self.supply.fileno()
        for fd in (supervisor, wake, control, supply):
            poll.register(fd, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd in (supervisor, control):
                    return
                if fd == wake:
                    os.read(wake, 512)
                    if self.reap(main):
                        return
                if fd == supply and not self.provide(maker):
                    return

    def reap(self, main: int) -> bool:
        """Bury the dead; whether the program is among them, which has then been reported."""
        while True:
            try:
                child, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if not child:
                return False
            if child == main:
                self.report("exit", status)
                return True

    def provide(self, maker: network.Maker) -> bool:
        """Answer one request for sockets; False when the supervisor has closed its end."""
        request = self.supply.recv(2)
        if len(request) < 2:
            return False
        made: list[_socket.socket] = []
        code = 0
        try:
            for _ in range(request[1]):
                made += maker.make(request[0])
        except OSError as problem:
            code = problem.errno or 1
        self.supply.sendmsg([bytes((request[0], code))], _rights(tuple(s.fileno() for s in made)))
        for socket in made:
            socket.close()
        self.supply.send(_CLOSED)
        return True


def _note(number: int, frame: object) -> None:
    """SIGCHLD has come; the wake-up descriptor says so, too."""


def _rights(fds: tuple[int, ...]) -> list[tuple[int, int, bytes]]:
    if not fds:
        return []
    return [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, b"".join(fd.to_bytes(4, sys.byteorder) for fd in fds))]


def _next_order(service: _socket.socket) -> tuple[bytes, list[int]]:
    """What to do, and with which descriptors; nothing when the supervisor has closed its end."""
    word = 4
    try:
        note, rights, _, _ = service.recvmsg(1, _socket.CMSG_SPACE((ORDER + 1) * word), _socket.MSG_CMSG_CLOEXEC)
    except OSError:
        return b"", []
    data = rights[0][2] if rights else b""
    return note, [int.from_bytes(data[at : at + word], sys.byteorder) for at in range(0, len(data), word)]


def _discard(fds: list[int]) -> None:
    """Have a child close descriptors, which may take it a while."""
    reader, writer = os.pipe()
    if not os.fork():
        os.close(writer)
        os.read(reader, 1)  # until we have closed ours: theirs are the last then
        os._exit(0)
    for fd in (*fds, writer, reader):
        os.close(fd)


def _bury() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def main() -> NoReturn:
    """What `launcher` runs: start programs until the supervisor closes its end."""
    os.closerange(_FIRST_UNUSED, 1 << 20)
    os.set_inheritable(SERVICE, False)
    service = _socket.socket(fileno=SERVICE)
    parent = os.getppid()
    supervisor = libc.pidfd_open(parent)
    while True:
        note, fds = _next_order(service)
        _bury()
        if not note:
            os._exit(0)
        if note != _START:
            _discard(fds)
            continue
        starter = Starter(fds)
        if starter.plan["supervisor"] != parent:
            os._exit(1)  # it died before we could watch it, and somebody else may have its number
        starter.run(supervisor)
        starter.close()
