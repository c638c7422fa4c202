"""A program that connects unix sockets in many ways, and writes a line for what came of each.  Run by test_named.py, natively and on a
kernel: both must say the same.  Its argument is a directory of its own, in which it works.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

PLACE = sys.argv[1]
NAME = f"{PLACE}/listener"
SO_PEERCRED = 17
WAY = 0.05


def told(what: str, function: Callable[[], object]) -> None:
    """Say what comes of it."""
    try:
        outcome = str(function())
    except OSError as problem:
        outcome = errno.errorcode.get(problem.errno or 0, repr(problem))
    print(f"{what}: {outcome}", flush=True)


def made(kind: int = socket.SOCK_STREAM, name: str | None = None, backlog: int | None = None) -> socket.socket:
    """A socket, bound and listening where that is said."""
    one = socket.socket(socket.AF_UNIX, kind)
    if name is not None:
        one.bind(name)
    if backlog is not None:
        one.listen(backlog)
    return one


def connected(name: str | bytes, kind: int = socket.SOCK_STREAM) -> str:
    """Connect, and say so."""
    with made(kind) as one:
        one.connect(name)
        return "connected"


def names() -> None:
    """Absolute, relative, through links and descriptors, and those that lead nowhere."""
    os.mkdir("folder")
    os.symlink("folder", "way")
    os.symlink(NAME, "link")
    os.symlink("round", "round")
    inner = made(name="folder/inner", backlog=50)
    folder = os.open("folder", os.O_RDONLY)
    with open("plain", "w") as file:
        file.write("x")
    for name in (
        NAME, "listener", "./listener", "folder/../listener", "way/inner", "link", "folder/inner",
        f"/proc/self/fd/{folder}/inner", f"/proc/thread-self/fd/{folder}/inner", f"/proc/{os.getpid()}/cwd/listener",
        "nothing", "nothing/listener", "plain", "plain/listener", "folder", "round", "x" * 300, "", "/",
    ):  # fmt: skip
        told(f"to {name[:40].replace(f'/proc/{os.getpid()}/', '/proc/PID/')!r}", lambda name=name: connected(name))  # type: ignore[misc]
    inner.close()
    told("to one that is closed", lambda: connected("folder/inner"))
    os.close(folder)


def kinds() -> None:
    """Streams, packets, datagrams; and what does not fit."""
    with made(socket.SOCK_SEQPACKET, "packets", 5), made(socket.SOCK_DGRAM, "datagrams") as datagrams:
        told("packets", lambda: connected("packets", socket.SOCK_SEQPACKET))
        told("a stream to packets", lambda: connected("packets"))
        told("datagrams", lambda: connected("datagrams", socket.SOCK_DGRAM))
        told("a stream to datagrams", lambda: connected("datagrams"))
        with made(socket.SOCK_DGRAM) as one:
            one.connect("datagrams")
            one.send(b"one")
            told("what came", lambda: datagrams.recv(10))
            told("once more", lambda: one.connect("datagrams"))
    told("to a bound one that does not listen", lambda: (made(name="deaf"), connected("deaf"))[1])


def states() -> None:
    """What the socket itself is."""
    with made() as one, made(name="listens", backlog=1) as listens:
        one.connect(NAME)
        told("connected already", lambda: one.connect(NAME))
        told("connected by a pair", lambda: socket.socketpair()[0].connect(NAME))
        told("one that listens", lambda: listens.connect(NAME))
    told("no socket", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, os.open("plain", os.O_RDONLY)))
    closed = made()
    os.close(closed.fileno())
    told("a closed one", lambda: closed.connect(NAME))
    closed.detach()


def abstract() -> None:
    """Names that are no files."""
    name = f"\0unixes-{os.getpid()}"
    with made(name=name, backlog=5):
        told("abstract", lambda: connected(name))
        told("abstract, another", lambda: connected(name + "x"))


def waiting() -> None:
    """A listener that has no room."""

    def accept(delay: float) -> None:
        time.sleep(delay)
        listener.accept()[0].close()

    with made(name="full", backlog=0) as listener:
        first, second = made(), made()
        first.connect("full")
        second.setblocking(False)
        told("no room, without waiting", lambda: second.connect("full"))
        second.setblocking(True)
        second.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", 0, 50_000))
        told("no room, for a while", lambda: second.connect("full"))
        second.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, bytes(16))
        thread = threading.Thread(target=accept, args=(WAY,))
        thread.start()
        told("room in the end", lambda: second.connect("full"))
        thread.join()
        told("its blocking", second.getblocking)
        told("is connected", lambda: (second.send(b"x"), listener.accept()[0].recv(5))[1])
        third, fourth = made(), made()
        third.connect("full")
        told("interrupted", lambda: interrupted(fourth))


def interrupted(one: socket.socket) -> None:
    """A signal whose handler raises comes while it waits."""

    def handle(number: int, frame: object) -> None:
        raise InterruptedError(errno.EINTR, "a signal")

    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, WAY)
    one.connect("full")


def identities() -> None:
    """Who the listener sees."""
    with made(name="who", backlog=5) as listener, made() as one:
        one.connect("who")
        other, _ = listener.accept()
        told(
            "peer",
            lambda: (
                struct.unpack("3i", other.getsockopt(socket.SOL_SOCKET, SO_PEERCRED, 12))[1:]
                == (os.geteuid(), os.getegid())
            ),
        )
        told(
            "listener",
            lambda: (
                struct.unpack("3i", one.getsockopt(socket.SOL_SOCKET, SO_PEERCRED, 12))
                == (os.getpid(), os.geteuid(), os.getegid())
            ),
        )
        told("readable", lambda: select.select([one], [], [], 0)[0])
        other.close()


def rights() -> None:
    """What others may not reach; root's capabilities go with the user."""
    os.mkdir("closed")
    with made(name="closed/one", backlog=50), made(name="sealed", backlog=50):
        os.chmod("sealed", 0o000)
        told("sealed, as we are", lambda: connected("sealed"))
        os.chmod("closed", 0o000)
        told("in a closed folder, as we are", lambda: connected("closed/one"))
        if os.geteuid() == 0:
            child = os.fork()
            if not child:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
                told("sealed, as nobody", lambda: connected("sealed"))
                told("in a closed folder, as nobody", lambda: connected("closed/one"))
                told("open, as nobody", lambda: connected(NAME))
                sys.stdout.flush()
                os._exit(0)
            os.waitpid(child, 0)
        os.chmod("closed", 0o700)


def another_root() -> None:
    """Names begin at the root of who calls."""
    if os.geteuid():
        return
    child = os.fork()
    if not child:
        os.chroot(PLACE)
        told("the old name, in another root", lambda: connected(NAME))
        told("the new name", lambda: connected("/listener"))
        told("the old directory", lambda: connected("listener"))
        os._exit(0)
    os.waitpid(child, 0)


def main() -> None:
    """All of it."""
    os.umask(0)
    os.chdir(PLACE)
    os.chmod(PLACE, 0o755)
    with made(name=NAME, backlog=100):
        for one in (names, kinds, states, abstract, waiting, identities, rights, another_root):
            one()


main()
