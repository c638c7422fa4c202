"""Socket options: what each is at first, takes, refuses and is then, with values and room of all sizes."""

import ctypes
import socket
import struct

from cases import attempt, libc, name_of  # type: ignore[import-not-found]
from checks import DGRAM, FOUR, SIX, STREAM, error_of, listener, pair, theme  # type: ignore[import-not-found]

SOCKET, IP, IPV6, TCP, UDP = 1, 0, 41, 6, 17
NAMES = {
    SOCKET: {
        "DEBUG": 1, "REUSEADDR": 2, "TYPE": 3, "ERROR": 4, "DONTROUTE": 5, "BROADCAST": 6, "SNDBUF": 7, "RCVBUF": 8,
        "KEEPALIVE": 9, "OOBINLINE": 10, "NO_CHECK": 11, "PRIORITY": 12, "REUSEPORT": 15, "RCVLOWAT": 18,
        "SNDLOWAT": 19, "TIMESTAMP": 29, "ACCEPTCONN": 30, "TIMESTAMPNS": 35, "PROTOCOL": 38, "DOMAIN": 39,
        "INCOMING_CPU": 49, "ZEROCOPY": 60, "BINDTOIFINDEX": 62, "UNKNOWN": 1000,
    },
    IP: {
        "TOS": 1, "TTL": 2, "OPTIONS": 4, "PKTINFO": 8, "MTU_DISCOVER": 10, "RECVERR": 11, "RECVTTL": 12,
        "RECVTOS": 13, "MTU": 14, "FREEBIND": 15, "TRANSPARENT": 19, "RECVORIGDSTADDR": 20, "MINTTL": 21, "BIND_ADDRESS_NO_PORT": 24,
        "MULTICAST_TTL": 33, "MULTICAST_LOOP": 34, "MULTICAST_ALL": 49, "UNKNOWN": 1000,
    },
    IPV6: {
        "UNICAST_HOPS": 16, "MULTICAST_IF": 17, "MULTICAST_HOPS": 18, "MULTICAST_LOOP": 19, "MTU_DISCOVER": 23,
        "MTU": 24, "RECVERR": 25, "V6ONLY": 26, "RECVPKTINFO": 49, "RECVHOPLIMIT": 51, "RECVTCLASS": 66, "TCLASS": 67,
        "DONTFRAG": 62, "UNKNOWN": 1000,
    },
    TCP: {
        "NODELAY": 1, "MAXSEG": 2, "CORK": 3, "KEEPIDLE": 4, "KEEPINTVL": 5, "KEEPCNT": 6, "SYNCNT": 7, "LINGER2": 8,
        "DEFER_ACCEPT": 9, "WINDOW_CLAMP": 10, "QUICKACK": 12, "USER_TIMEOUT": 18, "FASTOPEN": 23, "NOTSENT_LOWAT": 25,
        "FASTOPEN_CONNECT": 30, "INQ": 36, "UNKNOWN": 1000,
    },
    UDP: {"CORK": 1, "ENCAP": 100, "NO_CHECK6_TX": 101, "NO_CHECK6_RX": 102, "SEGMENT": 103, "GRO": 104, "UNKNOWN": 1000},
}  # fmt: skip
LEVELS = {SOCKET: "SO", IP: "IP", IPV6: "IPV6", TCP: "TCP", UDP: "UDP"}
SYSTEMS_OWN = {(SOCKET, 7), (SOCKET, 8), (TCP, 2), (TCP, 10), (TCP, 7), (SOCKET, 18)}
"""Whose first values are those of the system's settings."""


def _set(one, level, name, value):
    return name_of(libc.setsockopt(one.fileno(), level, name, value, len(value)) and ctypes.get_errno()) or "ok"


def _get(one, level, name, room):
    buffer, length = ctypes.create_string_buffer(b"\xee" * 64, 64), ctypes.c_uint(room)
    if libc.getsockopt(one.fileno(), level, name, buffer, ctypes.byref(length)):
        return name_of(ctypes.get_errno())
    return int.from_bytes(buffer.raw[: min(length.value, 8)], "little", signed=True), length.value


def _values(number):
    yield from (number.to_bytes(4, "little"), bytes(4), b"\xff\xff\xff\xff", b"\2\0\0\0")
    yield from (b"", b"\1", b"\1\0", b"\1\0\0", b"\1\0\0\0" + bytes(20))


def _options(family, kind, level):
    for name, number in NAMES[level].items():
        if (family, name) == (SIX, "MULTICAST_ALL"):
            continue  # which Linux forgets to begin with for such sockets
        one = socket.socket(family, kind)
        first = _get(one, level, number, 4)
        told = "its own" if (level, number) in SYSTEMS_OWN and isinstance(first, tuple) else first
        yield (
            f"{name} at first",
            (told, *(_get(one, level, number, room)[1:] if isinstance(first, tuple) else "-" for room in (0, 1, 16))),
        )
        results = []
        for value in _values(1):
            result = _set(one, level, number, value)
            after = _get(one, level, number, 4) if result == "ok" else ""
            results.append((result, after) if after and not isinstance(after[0], str) else result)
        if (level, number) in SYSTEMS_OWN:
            results = [result if isinstance(result, str) else result[0] for result in results]
        yield f"{name} set", results
        one.close()


for _level in NAMES:
    for _kind in (STREAM, DGRAM):
        if (_level, _kind) in ((TCP, DGRAM), (UDP, STREAM)):
            continue
        for _family in (FOUR, SIX):
            if _level == IPV6 and _family == FOUR:
                continue

            def _theme(family=_family, kind=_kind, level=_level):
                yield from _options(family, kind, level)

            _theme.__name__ = (
                f"{LEVELS[_level]}_of_{'streams' if _kind == STREAM else 'datagrams'}_v{4 if _family == FOUR else 6}"
            )
            theme(_theme)


@theme
def options_of_other_levels():
    stream, datagram = socket.socket(), socket.socket(type=DGRAM)
    for name, one, level, number in (
        ("TCP's of datagrams", datagram, TCP, 1),
        ("UDP's of a stream", stream, UDP, 1),
        ("IPv6's of IPv4", stream, IPV6, 26),
        ("IPv6's of IPv4 datagrams", datagram, IPV6, 26),
        ("of no level", stream, 99, 1),
        ("of no level, datagrams", datagram, 99, 1),
    ):
        yield name, (_get(one, level, number, 4), _set(one, level, number, b"\1\0\0\0"))


@theme
def bad_memory():
    one = socket.socket()
    two = socket.socket(type=DGRAM)
    for label, each in (("a stream", one), ("datagrams", two)):
        length = ctypes.c_uint(4)
        nowhere, buffer = ctypes.c_void_p(1), ctypes.create_string_buffer(8)
        fd = each.fileno()
        yield f"set, {label}", name_of(libc.setsockopt(fd, SOCKET, 9, nowhere, 4) and ctypes.get_errno())
        yield (
            f"get, {label}",
            name_of(libc.getsockopt(fd, SOCKET, 9, nowhere, ctypes.byref(length)) and ctypes.get_errno()),
        )
        yield (
            f"get the length, {label}",
            name_of(libc.getsockopt(fd, SOCKET, 9, buffer, nowhere) and ctypes.get_errno()),
        )
        length = ctypes.c_uint(0xFFFFFFFF)
        yield (
            f"a negative length, {label}",
            name_of(libc.getsockopt(fd, SOCKET, 9, buffer, ctypes.byref(length)) and ctypes.get_errno()),
        )
        yield f"set with one, {label}", name_of(libc.setsockopt(fd, SOCKET, 9, buffer, -1) and ctypes.get_errno())
    yield "no descriptor", name_of(libc.setsockopt(999, SOCKET, 9, buffer, 4) and ctypes.get_errno())
    with open("/dev/null") as null:
        yield "an ordinary file", name_of(libc.setsockopt(null.fileno(), SOCKET, 9, buffer, 4) and ctypes.get_errno())


@theme
def structures():
    for label, one in (("a stream", socket.socket()), ("datagrams", socket.socket(type=DGRAM))):

        def get(level, name, size, one=one):
            return attempt(lambda: one.getsockopt(level, name, size))

        yield f"LINGER of {label}", get(SOCKET, 13, 8)
        yield f"LINGER set, {label}", (_set(one, SOCKET, 13, struct.pack("ii", 1, 5)), get(SOCKET, 13, 8))
        yield f"LINGER cut, {label}", get(SOCKET, 13, 4)
        yield f"LINGER too short, {label}", _set(one, SOCKET, 13, b"\1\0\0\0")
        yield f"LINGER off, {label}", (_set(one, SOCKET, 13, bytes(8)), get(SOCKET, 13, 4))
        for name, number in (("RCVTIMEO", 20), ("SNDTIMEO", 21), ("RCVTIMEO_NEW", 66), ("SNDTIMEO_NEW", 67)):
            yield f"{name} of {label}", (get(SOCKET, number, 16), get(SOCKET, number, 8), get(SOCKET, number, 32))
            set_it = _set(one, SOCKET, number, struct.pack("ll", 2, 500_000))
            yield f"{name} set, {label}", (set_it, get(SOCKET, number, 16))
            yield (
                f"{name} wrong, {label}",
                [_set(one, SOCKET, number, v) for v in (bytes(4), struct.pack("ll", 0, 1_000_000))],
            )
        yield f"PEERCRED of {label}", get(SOCKET, 17, 12)
        yield f"BINDTODEVICE of {label}", get(SOCKET, 25, 16)
        yield f"BINDTODEVICE to none, {label}", _set(one, SOCKET, 25, b"nothing9\0")
        yield f"PEERNAME of {label}", get(SOCKET, 28, 16)
        yield f"COOKIE of {label}", len(get(SOCKET, 57, 8))
        yield f"MARK of {label}", get(SOCKET, 36, 4)
        yield f"MEMINFO of {label}", len(get(SOCKET, 55, 64))
    one = socket.socket()
    yield (
        "CONGESTION",
        (attempt(lambda: one.getsockopt(TCP, 13, 16)) != b"", _set(one, TCP, 13, b"nothing"), _set(one, TCP, 13, b"")),
    )
    yield "CONGESTION by name", (_set(one, TCP, 13, b"reno"), one.getsockopt(TCP, 13, 16).rstrip(b"\0"))


@theme
def buffers():
    for label, one in (("a stream", socket.socket()), ("datagrams", socket.socket(type=DGRAM))):
        for name, number in (("SNDBUF", 7), ("RCVBUF", 8)):
            seen = []
            for size in (0, 1000, 5000, 40_000):
                one.setsockopt(SOCKET, number, size)
                seen.append(one.getsockopt(SOCKET, number))
            yield f"{name} of {label}", seen


@theme
def options_of_connections():
    with listener() as door:
        door.setsockopt(SOCKET, 9, 1)
        door.setsockopt(TCP, 1, 1)
        door.setsockopt(IP, 1, 0x10)
        door.setsockopt(TCP, 4, 99)
        client = socket.create_connection(door.getsockname())
        server = door.accept()[0]
        inherited = [server.getsockopt(*each) for each in ((SOCKET, 9), (TCP, 1), (IP, 1), (TCP, 4), (SOCKET, 2))]
        yield "inherited", inherited
    yield "MTU", attempt(lambda: client.getsockopt(IP, 14)) > 0
    yield "MAXSEG", client.getsockopt(TCP, 2) > 500
    yield "ERROR", (error_of(client), _set(client, SOCKET, 4, bytes(4)))
    yield "V6ONLY", _get(client, IPV6, 26, 4)
    for name, number, value in (("NODELAY", 1, 1), ("CORK", 3, 1), ("QUICKACK", 12, 0), ("USER_TIMEOUT", 18, 5000)):
        client.setsockopt(TCP, number, value)
        yield f"{name} while connected", client.getsockopt(TCP, number)
    yield "PEERNAME", client.getsockopt(SOCKET, 28, 16)[:2] == b"\2\0"


@theme
def tcp_info():
    one = socket.socket()
    yield "of a fresh one", (one.getsockopt(TCP, 11, 104)[0], len(one.getsockopt(TCP, 11, 8)))
    with listener() as door:
        yield "of a listener", door.getsockopt(TCP, 11, 104)[0]
    client, server = pair()
    client.send(b"x" * 100)
    server.recv(100, socket.MSG_WAITALL)
    info = client.getsockopt(TCP, 11, 104)
    yield "of a connection", (info[0], len(info))
    yield "its times and sizes", all(struct.unpack_from("I", info, at)[0] > 0 for at in (8, 16, 20, 60, 64, 80))
    client.shutdown(socket.SHUT_WR)
    server.recv(1)
    yield "half closed", server.getsockopt(TCP, 11, 104)[0]
