"""Listeners: accepting, waiting, backlogs, endings, threads, time limits, signals."""

import ctypes
import fcntl
import os
import signal
import socket
import struct
import threading

from cases import Alarm, attempt, libc, name_of  # type: ignore[import-not-found]
from checks import (  # type: ignore[import-not-found]
    ANY,
    DGRAM,
    FAMILIES,
    FOUR,
    LOOP,
    PATIENCE,
    SIX,
    becomes,
    error_of,
    listener,
    now,
    readable,
    theme,
    until,
)

RESET = "IN OUT ERR HUP RDHUP"
SHORT = struct.pack("ll", 0, 20_000)
REUSEPORT = socket.SO_REUSEPORT


def _connect(door):
    return socket.create_connection(door.getsockname()[:2], PATIENCE)


def _accepting(family):
    with listener(family) as door:
        yield "own name", (door.getsockname()[0], door.getsockname()[1] > 0)
        yield "SO_ACCEPTCONN", door.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        yield "read", attempt(lambda: door.recv(1, socket.MSG_DONTWAIT))
        yield "write", attempt(lambda: door.send(b"x", socket.MSG_DONTWAIT))
        yield "listening again", attempt(lambda: door.listen(3)) or "done"
        yield "binding", attempt(lambda: door.bind((LOOP[family], 0)))
        clients = [_connect(door) for _ in range(3)]
        peers = [door.accept()[1] for _ in clients]
        yield "in their order", peers == [one.getsockname() for one in clients]
        door.setblocking(False)
        yield "no more", attempt(door.accept)
        late = _connect(door)
        readable(door)
        fd, _ = door._accept()
        with socket.socket(fileno=fd) as one:
            yield "flags of an accepted one", (fcntl.fcntl(one, fcntl.F_GETFL), fcntl.fcntl(one, fcntl.F_GETFD))
            yield "its names", (one.getpeername() == late.getsockname(), one.getsockname() == door.getsockname())
            yield "its kind", [one.getsockopt(socket.SOL_SOCKET, n) for n in (socket.SO_TYPE, socket.SO_ACCEPTCONN)]
        again = _connect(door)
        readable(door)
        fd = libc.accept4(door.fileno(), None, None, 0)
        yield "accept4 without flags", (fcntl.fcntl(fd, fcntl.F_GETFL), fcntl.fcntl(fd, fcntl.F_GETFD))
        os.close(fd)
        again.close()
        yield "accept4 with others", name_of(libc.accept4(door.fileno(), None, None, 1) and ctypes.get_errno())
        _ = _connect(door)
        readable(door)
        buffer, length = ctypes.create_string_buffer(64), ctypes.c_uint(4)
        fd = libc.accept(door.fileno(), buffer, ctypes.byref(length))
        yield "little room for the name", (fd > 0, length.value, buffer.raw[4:] == bytes(60))
        os.close(fd)
    yield "accepting datagrams", attempt(socket.socket(family, DGRAM).accept)
    yield "listening for datagrams", attempt(socket.socket(family, DGRAM).listen)
    one = socket.socket(family)
    one.listen()
    yield "not bound", (one.getsockname()[0], one.getsockname()[1] > 0)


def _ends_of_listeners(family):
    door = listener(family)
    waiting = [_connect(door) for _ in range(2)]
    waiting[0].send(b"x")
    readable(door)
    door.close()
    yield "closed, those who wait see", [becomes(one, RESET) for one in waiting]
    yield "and read", [attempt(lambda o=one: o.recv(1)) for one in waiting]
    door = listener(family)
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(attempt(door.accept)))
    thread.start()
    until(lambda: _asleep(thread))
    door.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE)
    yield "shut down, who accepts hears", results
    yield "accepting after it", attempt(door.accept)
    yield "its name", door.getsockname()[1] > 0
    yield "poll", becomes(door, "OUT HUP", RESET)
    yield "connecting to it", attempt(lambda: _connect(door))
    yield "listening once more", attempt(lambda: door.listen()) or "done"
    client = attempt(lambda: _connect(door))
    yield "which works", attempt(lambda: door.accept()[1] == client.getsockname())
    door = listener(family)
    yield "shut down for writing alone", attempt(lambda: door.shutdown(socket.SHUT_WR)) or "quiet"
    client = attempt(lambda: _connect(door))
    yield "goes on", attempt(lambda: door.accept()[1] == client.getsockname())


def _asleep(thread):
    try:
        with open(f"/proc/self/task/{thread.native_id}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "S"
    except OSError:
        return True


for _label, _family in FAMILIES.items():
    for _function in (_accepting, _ends_of_listeners):

        def _theme(function=_function, family=_family):
            yield from function(family)

        _theme.__name__ = f"{_function.__name__[1:]}_{_label}"
        theme(_theme)


@theme
def time_limits_of_listeners():
    with listener() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, SHORT)
        yield "accept", attempt(door.accept)
        client = _connect(door)
        server = door.accept()[0]
        yield "what is accepted has it, too", server.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16) == SHORT
        yield "and keeps to it", attempt(lambda: server.recv(1))
        client.close()


@theme
def a_full_backlog():
    with listener(backlog=0) as door:
        first = _connect(door)
        second = socket.socket()
        second.setblocking(False)
        yield "begun", name_of(second.connect_ex(door.getsockname()))
        yield "nothing comes of it", (now(second), error_of(second))
        yield "connect again", name_of(second.connect_ex(door.getsockname()))
        third = socket.socket()
        third.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, SHORT)
        yield "a limit of connecting", attempt(lambda: third.connect(door.getsockname()))
        yield "and then", attempt(lambda: third.connect(door.getsockname()))
        yield "write", attempt(lambda: second.send(b"x"))
        yield "read", attempt(lambda: second.recv(1))
        yield "own name", second.getsockname()[1] > 0
        yield "peer's name", attempt(second.getpeername)
        yield "who came first", door.accept()[1] == first.getsockname()


def _alarmed(function, restart):
    """What a call says that SIGALRM interrupts, again and again, until it ends; `restart` is SA_RESTART."""
    seen = []

    def ring(*_):
        seen.append(1)
        if len(seen) >= 3 or not restart:
            raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    signal.siginterrupt(signal.SIGALRM, not restart)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        return attempt(function)
    except Alarm:
        return f"ended by signal {len(seen)}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.siginterrupt(signal.SIGALRM, False)


def _plainly(call):
    """The errno of a call of the C library that a handler of C's interrupts; Python would go on by itself."""
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    signal.siginterrupt(signal.SIGALRM, True)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    code = call()
    number = ctypes.get_errno()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    return code, name_of(number)


@theme
def interrupted():
    with listener() as door:
        yield "accept", _plainly(lambda: libc.accept(door.fileno(), None, None))
        client = _connect(door)
        server, peer = door.accept()
        yield "and no connection is lost", peer == client.getsockname()
        buffer = ctypes.create_string_buffer(10)
        yield "recv", _plainly(lambda: libc.recv(server.fileno(), buffer, 10, 0))
        yield "accept by a handler that raises", _alarmed(door.accept, False)
        timer = threading.Timer(0.1, lambda: _connect(door))
        timer.start()
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.siginterrupt(signal.SIGALRM, False)
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        fd = libc.accept(door.fileno(), None, None)
        signal.setitimer(signal.ITIMER_REAL, 0)
        yield "accept with SA_RESTART goes on", fd > 0
        os.close(fd)
        timer.join()
    with listener(backlog=0) as door:
        _kept = _connect(door)
        one = socket.socket()
        name = struct.pack("!H4s8x", door.getsockname()[1], socket.inet_aton("127.0.0.1"))
        name = struct.pack("<H", FOUR) + name
        yield "connect", _plainly(lambda: libc.connect(one.fileno(), name, 16))
        one.setblocking(False)
        yield "which goes on", attempt(lambda: one.connect(door.getsockname()))


@theme
def threads():
    with listener(backlog=50) as door:
        got: list[tuple[socket.socket, tuple[str, int]]] = []
        workers = [threading.Thread(target=lambda: got.append(door.accept())) for _ in range(8)]
        for worker in workers:
            worker.start()
        clients = [_connect(door) for _ in range(8)]
        for worker in workers:
            worker.join(PATIENCE)
        yield "eight accept", sorted(peer for _, peer in got) == sorted(one.getsockname() for one in clients)


@theme
def too_many_descriptors():
    import resource

    with listener() as door:
        client = _connect(door)
        readable(door)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, hard))
        failed = attempt(door.accept), attempt(socket.socket), attempt(lambda: socket.socket(type=DGRAM))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        yield "errors", failed
        yield "it still waits", door.accept()[1] == client.getsockname()


@theme
def groups_of_listeners():
    one, two = socket.socket(), socket.socket()
    for each in (one, two):
        each.setsockopt(socket.SOL_SOCKET, REUSEPORT, 1)
    one.bind(("127.0.0.1", 0))
    yield "the same port", attempt(lambda: two.bind(one.getsockname()))
    three = socket.socket()
    yield "one without the option", attempt(lambda: three.bind(one.getsockname()))
    three.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    yield "one with SO_REUSEADDR", attempt(lambda: three.bind(one.getsockname()))
    one.listen(50)
    two.listen(50)
    clients = [_connect(one) for _ in range(40)]
    counts = []
    for each in (one, two):
        each.setblocking(False)
    until(lambda: _drain(one, two, counts) or len(counts) == len(clients))
    yield "all are accepted", len(counts)
    yield "by both", sorted(set(counts))
    two.close()
    clients = [_connect(one) for _ in range(5)]
    counts.clear()
    until(lambda: _drain(one, one, counts) or len(counts) >= 5)
    yield "one is left", len(counts)


def _drain(one, two, counts):
    for index, each in enumerate((one, two)):
        try:
            while True:
                each.accept()
                counts.append(index)
        except BlockingIOError:
            pass


@theme
def both_versions():
    with listener(SIX, ANY[SIX]) as door:
        port = door.getsockname()[1]
        four = socket.create_connection((LOOP[FOUR], port), PATIENCE)
        server, peer = door.accept()
        yield "IPv4's names", (peer[0], server.getsockname()[0], server.getpeername()[0], four.getpeername()[0])
        mapped = socket.socket(SIX)
        yield "a mapped peer", attempt(lambda: mapped.connect(("::ffff:127.0.0.1", port)))
        yield "its names", (mapped.getsockname()[0], mapped.getpeername()[0], door.accept()[1][0])
        other = socket.socket()
        yield "the port by IPv4", attempt(lambda: other.bind((ANY[FOUR], port)))
        yield "V6ONLY too late", attempt(lambda: door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1))
    only = socket.socket(SIX)
    only.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    only.bind((ANY[SIX], 0))
    port = only.getsockname()[1]
    only.listen()
    yield "V6ONLY", only.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    yield "IPv4 beside it", attempt(lambda: other.bind((ANY[FOUR], port)))
    other.listen()
    client = socket.create_connection((LOOP[FOUR], port), PATIENCE)
    yield "which gets its own", other.accept()[1] == client.getsockname()
    one = socket.socket(SIX)
    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    yield "a mapped address for it", attempt(lambda: one.connect(("::ffff:127.0.0.1", port)))
    yield "binding to one", attempt(lambda: one.bind(("::ffff:127.0.0.1", 0)))
    two = socket.socket(SIX)
    yield "binding another to one", attempt(lambda: two.bind(("::ffff:127.0.0.1", 0)))
    yield "its name", two.getsockname()[0]
    yield "IPv6 from there", attempt(lambda: two.connect((LOOP[SIX], port)))
    name = (LOOP[FOUR], port)
    yield (
        "an IPv4 name for an IPv6 socket",
        name_of(
            libc.connect(one.fileno(), struct.pack("<H", FOUR) + struct.pack("!H4s8x", name[1], bytes(4)), 16)
            and ctypes.get_errno()
        ),
    )


@theme
def waiting_for_data():
    with listener() as door:
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
        yield "the option", door.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT)
        client = _connect(door)
        yield "silent, it does not show", now(door)
        client.send(b"here")
        yield "with data", becomes(door, "IN")
        yield "which is there at once", door.accept()[0].recv(9, socket.MSG_DONTWAIT)


@theme
def data_with_the_handshake():
    with listener() as door:
        yield "TCP_FASTOPEN", attempt(lambda: door.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)) or "taken"
        one = socket.socket()
        one.setsockopt(socket.IPPROTO_TCP, 30, 1)
        yield "TCP_FASTOPEN_CONNECT", attempt(lambda: one.connect(door.getsockname()))
        yield "its first write", attempt(lambda: one.send(b"first"))
        yield "what comes of it", readable(readable(door).accept()[0]).recv(9)
        two = socket.socket()
        yield "sendto with MSG_FASTOPEN", attempt(lambda: two.sendto(b"early", 0x20000000, door.getsockname()))
