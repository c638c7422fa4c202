"""The steps of a start, in the starter: a small Python process that `launcher` runs.  It makes the namespaces of programs, and their
inits; `ready` has its main loop.

    supervisor --posix_spawn--> starter --clone(namespaces)--> init (process 1) --fork--> the program
                                waits for the next one           stays

The supervisor may have threads, so it never forks itself.  init is the supervisor's child (CLONE_PARENT), reaps what
the program leaves behind, makes sockets inside the network namespace when asked, and ends when the program ends or the
supervisor dies, whichever comes first; Linux then kills everything else in the pid namespace.  So nothing is left over
on either side's death, however it comes.

What there is to do comes on SERVICE, a sequenced-packet socket, as a byte and descriptors (`Starter.take`): among them a memory file
with a marshalled dict (`spawn.StarterPlan`).  What becomes of it is reported on another such socket, control, as marshalled tuples:

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

and requests for sockets come on a third one, supply: two bytes, kind and count (`network.Maker`; of REACH it is the other end of one
that is served by `reach`).  The answer is kind, errno and the
sockets, and a further message once our own copies of them are closed.

This file must load fast: it avoids `typing`, `socket`, `signal` and `subprocess`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import gc
import marshal
import os
import select

from . import abi, libc, mounts, network, roots
from .first import First
from .netlink import Channel
from .passing import rights
from .reach import Reach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

SERVICE: Final = 3
ORDER: Final = 6
"""Descriptors of an order to start a program: its standard streams, the plan, control, supply.  A further one is the scratch mount that an
earlier start has reported."""
_CLOSED: Final = b"c"

_STANDARD: Final = (0, 1, 2)
_EPERM: Final = 1
EIO: Final = 5
_ENFILE: Final = 23
_ETOOMANYREFS: Final = 109


def clone(namespaces: int) -> int:
    """fork(2) with new namespaces; the child is the supervisor's.  Raises OSError."""
    return libc.syscall("clone", namespaces | abi.CLONE_PARENT | _signal.SIGCHLD, 0, 0, 0, 0)


class Starter:
    """The steps of a start, in the order in which they are written."""

    def __init__(self, namespaces: int = 0) -> None:
        self.namespaces = namespaces
        self.stage = "namespaces"
        """What is being done, for reports of failure."""
        self.root: roots.Arrangement | None = None
        self.problems: dict[str, OSError] = {}
        """Directories that could not be mirrored, and why."""
        self.streams: list[int] = []
        self.memory = self.scratch = self.entrance = self.group = -1
        self.control: _socket.socket | None = None
        self.reach: Reach | None = None

    def take(self, order: list[int], passed_on: bool = False) -> None:
        """Learn what there is to start, from the descriptors of an order; one that the starter has passed on has the entrance, too."""
        *self.streams, self.memory, control, supply = order[:ORDER]
        self.plan: dict[str, Any] = marshal.loads(os.pread(self.memory, os.fstat(self.memory).st_size, 0))
        if passed_on and self.plan["group"]:
            self.entrance = order.pop()
        self.scratch = order[ORDER] if len(order) > ORDER else -1
        self.namespaces = self.plan["namespaces"]
        self.control = _socket.socket(fileno=control)
        self.supply = _socket.socket(fileno=supply)

    def report(self, *message: Any, fds: tuple[int, ...] = ()) -> None:
        """Tell the supervisor; if it is gone, or has not asked yet, there is nobody to care."""
        try:
            if self.control is not None:
                self.control.sendmsg([marshal.dumps(message)], rights(fds))
        except OSError:
            pass

    def descriptors(self) -> tuple[int, ...]:
        """Those of the order."""
        assert self.control is not None
        more = (fd for fd in (self.scratch, self.entrance) if fd >= 0)
        return (*self.streams, self.memory, self.control.fileno(), self.supply.fileno(), *more)

    def run(self, supervisor: int, unneeded: tuple[int, ...]) -> None:
        """In the starter process: make the namespaces' first process, which does not come back, and closes descriptors that it does not
        need."""
        mapped, mapper = os.pipe2(os.O_CLOEXEC) if self.plan["helpers"] else (-1, -1)
        try:
            child = clone(self.namespaces)
        except OSError as problem:
            self.report("failed", self.stage, problem.errno, str(problem))
            for fd in (mapped, mapper):
                if fd >= 0:
                    os.close(fd)
            return
        if child:
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
            for fd in unneeded:
                os.close(fd)
            self.be_init(supervisor)
        except OSError as problem:
            self.report("failed", self.stage, problem.errno, str(problem))
        except Exception as problem:
            self.report("failed", self.stage, EIO, repr(problem))
        finally:
            os._exit(1)

    def close(self) -> None:
        """In the starter process: let go of what init has got."""
        for fd in (*self.streams, self.memory):
            os.close(fd)
        for fd in (self.scratch, self.entrance):
            if fd >= 0:
                os.close(fd)
        assert self.control is not None
        self.control.close()
        self.supply.close()

    def be_init(self, supervisor: int) -> None:
        """In process 1 of the new namespaces, where all signals are blocked from birth on.  Raises OSError."""
        self.stage = "user ids"
        if self.namespaces & abi.CLONE_NEWUSER and not self.plan["helpers"]:
            self.map_own_ids(self.plan["users"][0], self.plan["groups"][0])
        self.stage = "mounts"
        mounts.isolate()
        self.furnish()
        self.complete(supervisor)

    def furnish(self) -> None:
        """Make everything that is the same for all programs.  What is to be mounted is taken away again, as trees that are nowhere, so
        that a root can be made first.  Raises OSError."""
        self.stage = "mounts"
        self.own_proc = mounts.mount_proc()
        self.stage = "network"
        self.settings = network.settings()
        network.prepare(self.settings)
        self.stage = "mounts"
        self.furniture: list[tuple[str, int]] = []
        """Places and trees."""
        if self.own_proc:
            self.furniture.append(("/proc", mounts.take_proc(bool(self.namespaces & abi.CLONE_NEWUSER))))
        self.furniture += mounts.interfaces()
        self.furniture.append(("/dev", mounts.make_dev()))
        self.stage = "network"
        self.carriers = _carriers(_socket.AF_INET)
        obituaries = network.obituary_socket()
        self.obituaries = [] if obituaries is None else [obituaries]
        self.stage = "program"
        self.first = First(bool(self.namespaces & abi.CLONE_NEWUSER))

    def complete(self, supervisor: int) -> None:
        """Make what is this program's alone, and start it.  Raises OSError."""
        libc.load_no_more()
        for number, fd in zip(_STANDARD, self.streams):  # noqa: B905 (of the same length)
            os.dup2(fd, number)
            os.close(fd)
        if self.plan["hostname"]:
            self.stage = "host name"
            _socket.sethostname(self.plan["hostname"])
        self.stage = "group"
        self.find_group()
        self.stage = "network"
        six = network.complete(self.settings, self.plan["six"], self.plan["sysctls"])
        os.close(self.settings)
        self.wire(six)
        own = self.arrange_root()
        for place, tree in self.furniture:
            mounts.put(tree, place)
        if self.root is not None:
            if not self.own_proc:
                self.root.keep_proc()
            if self.root.foreign:
                mounts.forget_log()
        self.show_group()
        self.seal_settings()
        mounts.mount_console()
        files: dict[str, int] = {}
        uncovered = mounts.cover(self.plan["files"], self.plan["hidden"], files, own)
        for name, fd in files.items():
            self.report("file", name, fds=(fd,))
            os.close(fd)
        if self.own_proc and self.plan["sockets_shown"]:
            self.show_sockets()
        if self.root is not None:
            self.root.leave()
        self.mount_kernels()
        mounts.forget_devices()
        self.stage = "network"
        if six:
            self.carriers += _carriers(_socket.AF_INET6)
        self.carriers += self.obituaries
        self.report("ready", self.own_proc, uncovered, fds=tuple(carrier.fileno() for carrier in self.carriers))
        for carrier in self.carriers:
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
        """Have the program's root, but for its furniture; the directories where we may make what we need.  Raises OSError."""
        self.stage = "mounts"
        plan = self.plan["root"]
        if plan is None:
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

    def open_entrance(self) -> bool:
        """Have a descriptor by which the program enters its control group, if it has one.  In the starter's mount namespace, as the
        program's is read-only there, which it could not become with this open.  False if it fails, which has then been reported."""
        if self.plan["group"]:
            try:
                self.entrance = os.open(f"{self.plan['group']}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
            except OSError as problem:
                self.report("failed", self.stage, problem.errno, str(problem))
                return False
        return True

    def find_group(self) -> None:
        """Have the control group that the program shall see, where the host's files are to be seen still."""
        shown = self.plan["group"] or self.plan["group_shown"]
        if shown:
            try:
                self.group = mounts.tree(shown)
            except OSError:  # it sees none, then
                pass

    def show_group(self) -> None:
        """Let the program find its group, and no other, where programs look how much they may use.  Raises OSError."""
        mounts.show_group(self.group)

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

    def map_own_ids(self, user: tuple[int, int, int], group: tuple[int, int, int]) -> None:
        """Be who we shall be; a user namespace starts with nobody."""
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user[0]} {user[1]} 1"),
            ("gid_map", f"{group[0]} {group[1]} 1"),
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
            device = mounts.mount_proc_net(self.first.process)
        except OSError:
            return
        self.report("sockets", fds=(device,))
        os.close(device)

    def seal_settings(self) -> None:
        """Keep root from the machine's settings.  Where that fails in a user namespace, Linux keeps them from the program anyway."""
        try:
            if not self.own_proc:
                mounts.seal_settings("/proc")
            mounts.seal_sys()
        except OSError:
            if not self.namespaces & abi.CLONE_NEWUSER:
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

    def start_main(self) -> int:
        """Have the program executed, and hand its listener over.  Returns its process id, or 0 if it has failed."""
        first = self.first
        said = first.tell(self.memory, self.entrance)  # which number its listener has, or what went wrong
        os.close(self.memory)
        if self.entrance >= 0:
            os.close(self.entrance)
        if said.isdigit():
            pidfd = libc.pidfd_open(first.process)
            self.report("main", int(said), fds=(pidfd,))
            os.close(pidfd)
            assert self.control is not None
            if self.control.recv(1) == b"G":
                said = first.go()
        first.close()
        if said:
            stage, code, text = said.decode(errors="replace").split("\n", 2)
            self.report("failed", stage, int(code), text)
            return 0
        self.report("running")
        return first.process

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
        assert self.control is not None
        control, supply = self.control.fileno(), self.supply.fileno()
        for fd in (supervisor, wake, control, supply):
            poll.register(fd, select.POLLIN)
        self.attend(poll, (supervisor, control), wake, main, maker)

    def attend(self, poll: select.poll, ends: tuple[int, int], wake: int, main: int, maker: network.Maker) -> None:
        """The rest of it: until the program has ended or one of `ends` says that the supervisor has.  Once unix sockets are to be
        connected by name, that is what this thread does, as what /proc/self tells of a process is its first thread's; another one then
        attends."""
        while True:
            for fd, _ in poll.poll():
                if fd in ends:
                    return
                if fd == wake:
                    os.read(wake, 512)
                    if self.reap(main):
                        return
                if fd == self.supply.fileno() and not self.provide(maker):
                    return
            if self.reach is not None:
                reach, self.reach = self.reach, None
                reach.run(lambda: self.attend(poll, ends, wake, main, maker))

    def begin_to_reach(self) -> _socket.socket:
        """Be ready to connect unix sockets by name; the supervisor's end.  Raises OSError."""
        ours, its = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        self.reach = Reach(ours)
        return its

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
                made += [self.begin_to_reach()] if request[0] == network.REACH else maker.make(request[0])
        except OSError as problem:
            code = problem.errno or 1
        # With pairs go the inodes of the first ones, which are the program's.
        inodes = (
            [os.fstat(s.fileno()).st_ino.to_bytes(8, "little") for s in made[::2]] if request[0] == network.PAIR else []
        )
        try:
            self.supply.sendmsg([bytes((request[0], code)), *inodes], rights(tuple(s.fileno() for s in made)))
        except OSError as problem:
            if problem.errno != _ETOOMANYREFS:
                raise
            # More of this user's descriptors are under way than it may have open (unix(7)).
            self.supply.send(bytes((request[0], _ENFILE)))
        for socket in made:
            socket.close()
        self.supply.send(_CLOSED)
        return True


def _carriers(family: int) -> list[_socket.socket]:
    """The sockets by which packets of one version of IP go in and out."""
    return [network.inject_socket(family), network.capture_socket(family)]


def _note(number: int, frame: object) -> None:
    """SIGCHLD has come; the wake-up descriptor says so, too."""
