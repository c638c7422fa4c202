"""Every system call made through both faces, in two worlds alike: the same results and the same errors."""

from __future__ import annotations

from typing import Any

import pytest

from rumpkit.clients.local import LocalProcess
from rumpkit.clients.suspend import SimTask
from rumpkit.clients.table import CALLS
from rumpkit.kern.abi.fcntl import (
    AT_SYMLINK_NOFOLLOW,
    CLOCK_MONOTONIC,
    F_GETFL,
    MNT_DETACH,
    O_CREAT,
    O_RDWR,
    R_OK,
    S_IFREG,
    SEEK_END,
    UTIME_OMIT,
    XATTR_CREATE,
    XATTR_REPLACE,
)
from rumpkit.kern.abi.ioctl import FIONREAD
from rumpkit.kern.abi.poll import EPOLL_CTL_ADD, POLLIN
from rumpkit.kern.abi.socket import (
    AF_INET,
    IPPROTO_TCP,
    MSG_PEEK,
    SHUT_WR,
    SO_TYPE,
    SOCK_DGRAM,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_NODELAY,
)
from tests.clients.helpers import World, sim

FILE, DIRECTORY, READ, WRITE, UDP, LISTENER, CLIENT, SERVER, EPOLL, FRESH = range(10)
INOTIFY = 40

EXAMPLES: dict[str, list[tuple[Any, ...]]] = {
    "read": [(FILE, 3), (READ, 10), (99, 1)],
    "write": [(WRITE, b"ab"), (WRITE, bytearray(b"ab")), (FILE, memoryview(b"cd")), (READ, b"")],
    "writev": [(WRITE, [b"a", bytearray(b"b")])],
    "pread": [(FILE, 2, 1), (READ, 1, 0)],
    "pwrite": [(FILE, b"J", 0)],
    "lseek": [(FILE, 2), (FILE, -1, SEEK_END)],
    "ioctl": [(READ, FIONREAD), (FILE, 1, b"x")],
    "close": [(FILE,), (99,)],
    "dup": [(FILE,)],
    "dup2": [(FILE, 50)],
    "dup3": [(FILE, 50), (FILE, FILE)],
    "fcntl": [(FILE, F_GETFL)],
    "pipe2": [()],
    "eventfd2": [(3,), (-1,)],
    "getpid": [()],
    "getppid": [()],
    "fork": [()],
    "exit": [()],
    "getuid": [()],
    "getgid": [()],
    "getgroups": [()],
    "setuid": [(5,)],
    "setgid": [(5,), (-1,)],
    "setgroups": [([1, 2],)],
    "gethostname": [()],
    "sethostname": [("x",), ("x" * 65,)],
    "clock_gettime": [(CLOCK_MONOTONIC,), (99,)],
    "nanosleep": [(1.5,), (-1,)],
    "getrandom": [(8,)],
    "socket": [(AF_INET, SOCK_DGRAM), (77, 1), (AF_INET, SOCK_STREAM, 99)],
    "socketpair": [(AF_INET, SOCK_STREAM)],
    "bind": [(FRESH, ("127.0.0.1", 99)), (FRESH, ("", 80)), (FRESH, ("no address", 1))],
    "listen": [(FRESH,), (UDP, 5)],
    "accept4": [(LISTENER,), (CLIENT,)],
    "connect": [(FRESH, ("127.0.0.1", 80)), (FRESH, ("127.0.0.1", 81)), (UDP, ("127.0.0.1", 7))],
    "getsockname": [(LISTENER,)],
    "getpeername": [(CLIENT,), (LISTENER,)],
    "shutdown": [(CLIENT, SHUT_WR), (FRESH, SHUT_WR)],
    "send": [(CLIENT, b"abc"), (FRESH, b"abc")],
    "sendto": [(UDP, b"abc", 0, ("127.0.0.1", 53)), (UDP, b"abc")],
    "recv": [(SERVER, 2), (SERVER, 2, MSG_PEEK)],
    "recvfrom": [(SERVER, 9), (UDP, 9)],
    "sendmsg": [(CLIENT, [b"a", b"bc"]), (UDP, [b"x"], [(1, 99, b"")], 0, ("127.0.0.1", 53))],
    "recvmsg": [(SERVER, 3), (UDP, 3, MSG_PEEK)],
    "sendmmsg": [(UDP, [([b"a"], [], ("127.0.0.1", 53)), ([b"b", b"c"], (), None)])],
    "recvmmsg": [(UDP, 1, 9), (UDP, 2, 9, 0, 0.5), (SERVER, 2, 4, 0x10000)],
    "getsockopt": [(UDP, SOL_SOCKET, SO_TYPE), (UDP, 99, 99)],
    "setsockopt": [(CLIENT, IPPROTO_TCP, TCP_NODELAY, 1), (CLIENT, 99, 99, b"")],
    "poll": [([(READ, POLLIN), (99, 0)],), ([(UDP, 0)], 1.5)],
    "select": [([READ], [WRITE], [], 0), ([FRESH, 99], [], [], 0)],
    "epoll_create1": [(), (1,)],
    "epoll_ctl": [(EPOLL, EPOLL_CTL_ADD, WRITE), (EPOLL, EPOLL_CTL_ADD, FILE), (EPOLL, 9, READ, 1, 2)],
    "epoll_wait": [(EPOLL,), (EPOLL, 1, 2.5), (READ,)],
    "open": [("/f",), ("/new", O_RDWR | O_CREAT, 0o600), ("inner", 0, 0, DIRECTORY), ("/none",)],
    "creat": [("/new",), ("/new", 0o600)],
    "readdir": [(DIRECTORY,), (DIRECTORY, 1), (FILE,)],
    "mkdir": [("/x", 0o700), ("/d",), ("x", 0o755, DIRECTORY)],
    "mknod": [("/x", S_IFREG | 0o600), ("x", S_IFREG, 0, DIRECTORY)],
    "mkfifo": [("/x",), ("x", 0o600, DIRECTORY)],
    "symlink": [("target", "/x"), ("target", "x", DIRECTORY)],
    "link": [("/f", "/x"), ("inner", "x", 0, DIRECTORY, DIRECTORY), ("/d", "/x")],
    "unlink": [("/f",), ("inner", 0, DIRECTORY), ("/d",)],
    "rmdir": [("/e",), ("/d",), ("inner", DIRECTORY)],
    "readlink": [("/s",), ("/f",), ("s", DIRECTORY)],
    "rename": [("/f", "/x"), ("inner", "x", 0, DIRECTORY, DIRECTORY), ("/none", "/x")],
    "stat": [("/f",), ("inner", 0, DIRECTORY), (b"/s",)],
    "lstat": [("/s",), ("inner", DIRECTORY)],
    "fstat": [(FILE,), (READ,)],
    "access": [("/f",), ("inner", R_OK, 0, DIRECTORY), ("/none", R_OK)],
    "statvfs": [("/f",)],
    "fstatvfs": [(FILE,)],
    "chmod": [("/f", 0o600), ("inner", 0o600, DIRECTORY)],
    "fchmod": [(FILE, 0o600)],
    "chown": [("/f", 5, 6), ("inner", 5, -1, 0, DIRECTORY)],
    "lchown": [("/s", 5, 6)],
    "fchown": [(FILE, 5, 6)],
    "utimens": [("/f", 1, 2), ("inner", UTIME_OMIT, 3, 0, DIRECTORY)],
    "futimens": [(FILE, 1, 2)],
    "truncate": [("/f", 2), ("/d", 0)],
    "ftruncate": [(FILE, 2)],
    "fsync": [(FILE,), (READ,)],
    "fdatasync": [(FILE,)],
    "fallocate": [(FILE, 0, 0, 9), (FILE, 3, 1, 2), (FILE, 2, 1, 2)],
    "getxattr": [("/f", "user.a"), ("/s", "user.a", AT_SYMLINK_NOFOLLOW), (b"/f", b"user.none"), ("/f", "")],
    "lgetxattr": [("/f", "user.a"), ("/s", "user.a")],
    "fgetxattr": [(FILE, "user.a"), (READ, "user.a")],
    "setxattr": [
        ("/f", "user.b", b"v"),
        ("/f", "user.a", b"v", XATTR_CREATE),
        ("/s", "user.a", b"v", 0, AT_SYMLINK_NOFOLLOW),
    ],
    "lsetxattr": [("/s", "trusted.a", b"v"), ("/f", "user.b", b"", XATTR_REPLACE)],
    "fsetxattr": [(FILE, "user.a", b"v"), (READ, "user.a", b"v", 0)],
    "listxattr": [("/f",), ("/s", AT_SYMLINK_NOFOLLOW)],
    "llistxattr": [("/s",)],
    "flistxattr": [(FILE,)],
    "removexattr": [("/f", "user.a"), ("/s", "user.a", AT_SYMLINK_NOFOLLOW)],
    "lremovexattr": [("/f", "user.a")],
    "fremovexattr": [(FILE, "user.a"), (FILE, "user.b")],
    "fcntl_lock": [(FILE, 6, 1), (FILE, 5, 0, 1, 2), (FILE, 99, 0), (READ, 6, 1), (FILE, 37, 0, -1, -1, 2)],
    "flock": [(FILE, 2), (FILE, 9), (READ, 1)],
    "inotify_init1": [(), (0o4000,), (1,)],
    "inotify_add_watch": [(INOTIFY, "/d", 0xFFF), (INOTIFY, "/none", 1), (FILE, "/d", 1), (INOTIFY, "/d", 0)],
    "inotify_rm_watch": [(INOTIFY, 1), (INOTIFY, 2)],
    "chdir": [("/d",), ("/f",)],
    "fchdir": [(DIRECTORY,), (FILE,)],
    "chroot": [("/d",)],
    "getcwd": [()],
    "umask": [(0o77,)],
    "sync": [()],
    "mount": [("tmpfs", "/e"), ("tmpfs", "/e", {"read_only": True}), ("nofs", "/e")],
    "remount": [("/", {"read_only": False}), ("/", {"odd": 1}), ("/d", {})],
    "unmount": [("/d",), ("/d", MNT_DETACH), ("/", 77)],
}
CASES = [(name, arguments) for name, examples in EXAMPLES.items() for arguments in examples]


def prepare() -> World:
    """A world with something to do for every call."""
    world = sim(seed=5)
    p = world.p
    assert p.open("/f", O_RDWR | O_CREAT) == FILE
    p.write(FILE, b"hello")
    p.setxattr("/f", "user.a", b"value")
    p.lseek(FILE, 0)
    for path in ("/d", "/e"):
        p.mkdir(path)
    p.close(p.creat("/d/inner"))
    p.symlink("inner", "/d/s")
    p.symlink("f", "/s")
    assert p.open("/d") == DIRECTORY
    assert p.pipe2() == (READ, WRITE)
    p.write(WRITE, b"in the pipe")
    assert p.socket(AF_INET, SOCK_DGRAM) == UDP
    p.bind(UDP, ("127.0.0.1", 53))
    p.sendto(UDP, b"datagram", 0, ("127.0.0.1", 53))
    assert p.listen("tcp", 80).detach() == LISTENER
    assert p.connect("tcp", ("127.0.0.1", 80)).detach() == CLIENT
    assert p.accept4(LISTENER)[0] == SERVER
    p.send(CLIENT, b"to the server")
    assert p.epoll_create1() == EPOLL
    p.epoll_ctl(EPOLL, EPOLL_CTL_ADD, READ)
    assert p.socket(AF_INET, SOCK_STREAM) == FRESH
    events = p.inotify_init1()
    p.dup2(events, INOTIFY)
    p.close(events)
    assert p.inotify_add_watch(INOTIFY, "/f", 0xFFF) == 1
    waiting = p.connect("tcp", ("127.0.0.1", 80)).detach()
    assert waiting == FRESH + 1
    return world


def outcome(call: Any) -> tuple[str, object]:
    """What a call gives: its value, or the number of its error."""
    try:
        value = call()
    except OSError as problem:
        return ("error", problem.errno)
    return ("process", value.process.pid) if isinstance(value, LocalProcess) else ("value", value)


def state(world: World) -> object:
    """What can be seen of the world afterwards."""
    p = world.p
    names = [
        outcome(lambda path=path: p.stat(path)) for path in ("/f", "/d", "/e", "/s", "/x", "/new", "/d/x", "/d/inner")
    ]
    return names, p.process.files.numbers(), p.getuid(), p.getgid(), p.getgroups(), p.gethostname(), world.host.now


def test_there_is_an_example_of_every_call():
    assert set(EXAMPLES) == {call.name for call in CALLS}


@pytest.mark.parametrize(
    ("name", "arguments"), CASES, ids=[f"{name}{number}" for number, (name, _) in enumerate(CASES)]
)
def test_both_faces_do_the_same(name, arguments):
    plain, awaited = prepare(), prepare()
    first = outcome(lambda: getattr(plain.p, name)(*arguments))
    coroutine = getattr(awaited.p.aio, name)(*arguments)
    second = outcome(lambda: SimTask(awaited.host, coroutine).join())
    assert first == second
    if name not in ("exit", "chroot"):
        assert state(plain) == state(awaited)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_one_example_of_every_call_succeeds(name):
    found = outcome(lambda: getattr(prepare().p, name)(*EXAMPLES[name][0]))
    # No family has pairs yet, and what is mounted in these worlds is the root.
    assert (found[0] == "error") == (name in ("socketpair", "unmount")), found
