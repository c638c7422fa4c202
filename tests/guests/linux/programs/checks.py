"""What the themes of `transcript.py` share: checks are what a theme's function yields, one line each.

Nothing here depends on time: what comes later than a call returns is waited for, and a wait that is in vain is shown by what is
there in the end.
"""

import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator

from cases import attempt, name_of  # type: ignore[import-not-found]

FOUR, SIX = socket.AF_INET, socket.AF_INET6
STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
LOOP = {FOUR: "127.0.0.1", SIX: "::1"}
ANY = {FOUR: "0.0.0.0", SIX: "::"}
FAMILIES = {"v4": FOUR, "v6": SIX}
PATIENCE = int(os.environ.get("PATIENCE", "15"))
HANGS = 4 * PATIENCE
EVENTS = {
    0x001: "IN",
    0x002: "PRI",
    0x004: "OUT",
    0x008: "ERR",
    0x010: "HUP",
    0x040: "RDNORM",
    0x080: "RDBAND",
    0x100: "WRNORM",
    0x2000: "RDHUP",
}
ASKED = 0x3FFF & ~0x200
"""All events but EPOLLWRBAND, which a TCP socket doesn't have, and nobody asks for."""


class Hang(BaseException):
    """A theme takes too long."""


themes: list[Callable[[], Iterator[tuple[str, object]]]] = []


def theme(function):
    """The function yields checks: a name and what came out."""
    themes.append(function)
    return function


def shown(mask):
    """Events as names; IN and OUT stand for RDNORM and WRNORM, too."""
    names = [name for bit, name in EVENTS.items() if mask & bit]
    for name, also in (("IN", "RDNORM"), ("OUT", "WRNORM")):
        if name in names and also in names:
            names.remove(also)
    return " ".join(names) or "none"


def now(one):
    """What poll says of a socket at this moment."""
    with select.epoll() as epoll:
        epoll.register(one, ASKED)
        found = epoll.poll(0)
        return shown(found[0][1]) if found else "none"


def until(condition):
    """Wait for a condition; whether it came."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def becomes(one, *wanted):
    """Wait until poll says exactly one of `wanted`; what it says in the end."""
    until(lambda: now(one) in wanted)
    return now(one)


def readable(one):
    """Wait until there is something to read, or an end."""
    select.select([one], [], [], PATIENCE)
    return one


def listener(family=FOUR, host=None, backlog=8, **options):
    one = socket.socket(family)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((LOOP[family] if host is None else host, 0))
    one.listen(backlog)
    return one


def pair(family=FOUR):
    """A connected client and what the listener has accepted; both give up in the end rather than hang."""
    with listener(family) as door:
        client = socket.create_connection(door.getsockname()[:2], PATIENCE)
        server = door.accept()[0]
    client.settimeout(None)
    for one in (client, server):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", PATIENCE, 0))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", PATIENCE, 0))
    return client, server


def free_port(family=FOUR, kind=STREAM):
    """A name that nobody has."""
    with socket.socket(family, kind) as one:
        one.bind((LOOP[family], 0))
        return one.getsockname()


def count(one, request=0x541B):
    """FIONREAD and its kin."""
    import fcntl

    return struct.unpack("i", fcntl.ioctl(one, request, bytes(4)))[0]


def counts(one, wanted, request=0x541B):
    """Wait until FIONREAD (or another) gives `wanted`; what it gives in the end."""
    until(lambda: attempt(lambda: count(one, request)) == wanted)
    return attempt(lambda: count(one, request))


def error_of(one):
    """SO_ERROR by name."""
    return name_of(one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


def option(one, level, name, size=4):
    """An int option, or an errno."""
    return attempt(lambda: one.getsockopt(level, name) if size == 4 else one.getsockopt(level, name, size))


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    only = sys.argv[1:]

    def hang(*_):
        raise Hang("it hangs")

    signal.signal(signal.SIGALRM, hang)
    for function in themes:
        title = function.__name__.replace("_", " ")
        if only and function.__name__ not in only:
            continue
        signal.alarm(HANGS)
        try:
            for name, outcome in function():
                print(f"{title}: {name}: {outcome}", flush=True)
        except (Exception, Hang) as problem:
            print(f"{title}: RAISED {type(problem).__name__}: {problem}", flush=True)
        signal.alarm(0)
