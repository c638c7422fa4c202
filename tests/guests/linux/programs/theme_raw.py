"""Raw sockets of ICMPv6 and what ping sockets of both versions hear in full: options, filters, messages both ways, errors."""

import ctypes
import socket
import struct

from cases import attempt, libc, name_of  # type: ignore[import-not-found]
from checks import (  # type: ignore[import-not-found]
    DGRAM,
    FAMILIES,
    FOUR,
    LOOP,
    PATIENCE,
    SIX,
    becomes,
    error_of,
    now,
    readable,
    theme,
    until,
)

IPV6, ICMP6, RAW = 41, 58, 255
REQUEST, ANSWER = 128, 129
HERE6, ELSEWHERE6 = "fd00:9::1", "fd00:9::99"
NAMES = {
    "CHECKSUM": 7, "UNICAST_HOPS": 16, "MULTICAST_IF": 17, "MULTICAST_HOPS": 18, "MULTICAST_LOOP": 19, "MTU_DISCOVER": 23,
    "RECVERR": 25, "V6ONLY": 26, "HDRINCL": 36, "RECVPKTINFO": 49, "RECVHOPLIMIT": 51, "DONTFRAG": 62, "RECVTCLASS": 66,
    "TCLASS": 67,
}  # fmt: skip


def _raw(host=None):
    one = socket.socket(SIX, socket.SOCK_RAW, ICMP6)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", PATIENCE, 0))
    if host is not None:
        one.bind((host, 0))
    return one


def _only(one, *kinds):
    """ICMP6_FILTER: these types alone."""
    words = [0xFFFFFFFF] * 8
    for kind in kinds:
        words[kind >> 5] &= ~(1 << (kind & 31)) & 0xFFFFFFFF
    one.setsockopt(ICMP6, 1, struct.pack("8I", *words))


def _echo(number, data=b"raw echo", kind=REQUEST):
    return struct.pack("!BBHHH", kind, 0, 0, number, 7) + data


def _set(one, level, name, value):
    return name_of(libc.setsockopt(one.fileno(), level, name, value, len(value)) and ctypes.get_errno()) or "ok"


def _get(one, number):
    return attempt(lambda: one.getsockopt(IPV6, number))


@theme
def raw_v6_options():
    one = _raw()
    for name, number in NAMES.items():
        first = _get(one, number)
        results = []
        for value in (1, 0, -1, 2, 3, 255, 256):
            result = _set(one, IPV6, number, struct.pack("i", value))
            results.append((result, _get(one, number)))
        short = [_set(one, IPV6, number, value) for value in (b"", b"\1", b"\1\0\0")]
        yield name, (first, results, short)
        one.close()
        one = _raw()
    yield (
        "CHECKSUM by the level of raw sockets",
        [(_set(one, RAW, 7, struct.pack("i", value)), one.getsockopt(RAW, 7)) for value in (2, 4, 3, -1, 0, 2)],
    )
    yield "HDRINCL by it", (_set(one, RAW, 36, struct.pack("i", 1)), one.getsockopt(RAW, 36))
    yield "none of it", (_set(one, RAW, 1, bytes(4)), attempt(lambda: one.getsockopt(RAW, 1)))
    yield "facts", [one.getsockopt(1, n) for n in (socket.SO_TYPE, socket.SO_PROTOCOL, socket.SO_DOMAIN)]


@theme
def raw_v6_filter():
    one = _raw()
    yield "at first", one.getsockopt(ICMP6, 1, 32)
    _only(one, 129, 3)
    yield "set", one.getsockopt(ICMP6, 1, 64)
    yield "cut", one.getsockopt(ICMP6, 1, 4)
    yield "a part", (_set(one, ICMP6, 1, b"\1\2\3\4"), one.getsockopt(ICMP6, 1, 32))
    yield "too much", _set(one, ICMP6, 1, bytes(40))
    yield "unknown", (_set(one, ICMP6, 9, bytes(4)), attempt(lambda: one.getsockopt(ICMP6, 9)))


@theme
def raw_v6_names():
    one = _raw()
    yield "fresh", (one.getsockname(), attempt(one.getpeername), now(one))
    yield "without a destination", attempt(lambda: one.send(_echo(1)))
    yield "an address of others", attempt(lambda: one.bind(("2001:db8::7", 0)))
    yield "of the other version", attempt(lambda: one.bind((f"::ffff:{LOOP[FOUR]}", 0)))
    yield "link-local without a zone", attempt(lambda: one.bind(("fe80::1", 0)))
    yield "bound", (attempt(lambda: one.bind((LOOP[SIX], 0))), one.getsockname())
    yield "bound again", (attempt(lambda: one.bind(("::", 0))), one.getsockname())
    yield "another protocol", attempt(lambda: one.sendto(_echo(1), (LOOP[SIX], 17)))
    yield "its own protocol", attempt(lambda: one.sendto(_echo(1), (LOOP[SIX], 58)))
    yield "connected", (attempt(lambda: one.connect((LOOP[SIX], 0))), one.getsockname(), attempt(one.getpeername))
    yield "bound while connected", attempt(lambda: one.bind(("::", 0)))
    yield "with a port", (attempt(lambda: one.connect((LOOP[SIX], 9))), attempt(one.getpeername))
    yield "to the other family", _connect_raw(one, FOUR)
    yield "to nobody", (_connect_raw(one, 0), one.getsockname(), attempt(one.getpeername))
    yield "shut", (attempt(lambda: one.shutdown(socket.SHUT_RDWR)), now(one))
    yield "not of a stream", (attempt(lambda: one.listen(1)), attempt(one.accept))


def _connect_raw(one, family):
    return name_of(libc.connect(one.fileno(), struct.pack("<HH", family, 9) + bytes(24), 28) and ctypes.get_errno())


@theme
def raw_v6_messages():
    one = _raw()
    seen = {}
    yield "sent", one.sendto(_echo(4711), (LOOP[SIX], 0))
    until(lambda: _heard(one, seen) or len(seen) == 2)
    yield "request and answer", sorted(seen.items())
    _only(one, ANSWER)
    one.sendto(_echo(4712), (LOOP[SIX], 0))
    data, source = readable(one).recvfrom(100)
    yield "answers only", (data[0], data[4:], source)
    one.sendto(_echo(4713, b"0123456789"), (LOOP[SIX], 0))
    data, _, flags, _ = readable(one).recvmsg(10, 0, socket.MSG_PEEK)
    yield "peeked", (len(data), bool(flags & socket.MSG_TRUNC))
    yield "cut", len(one.recv(10, socket.MSG_TRUNC))
    yield "no more", attempt(lambda: one.recv(10, socket.MSG_DONTWAIT))
    one.connect((LOOP[SIX], 0))
    one.send(_echo(4714))
    yield "connected", readable(one).recvfrom(100)[0][4:6]
    yield "urgently", attempt(lambda: one.send(_echo(1), socket.MSG_OOB))
    yield "too short for a checksum", [attempt(lambda n=n: one.send(bytes(n))) for n in (0, 1, 2, 3)]
    yield "a large one", (one.send(_echo(4715, bytes(9000))), len(readable(one).recv(20000)))
    yield "too large", attempt(lambda: one.send(bytes(70000)))
    two = _raw(HERE6)
    _only(two, REQUEST)
    one.sendto(_echo(4716), (HERE6, 0))
    yield "where it is bound", readable(two).recvfrom(100)[1]
    three = _raw()
    _only(three, ANSWER)
    yield "to the wildcard", (three.sendto(_echo(4717), ("::", 0)), readable(three).recvfrom(100)[1])
    yield "nowhere", attempt(lambda: three.sendto(_echo(1), ("::ffff:127.0.0.1", 0)))


def _heard(one, seen):
    """Note one message: by type the rest of it, and who sent it."""
    data, source = one.recvfrom(100)
    seen[data[0]] = data[1], data[4:], source


@theme
def raw_v6_control():
    one = _raw()
    _only(one, REQUEST)
    for name, number in (("PKTINFO", 49), ("HOPLIMIT", 51), ("TCLASS", 66)):
        yield f"RECV{name}", attempt(lambda n=number: one.setsockopt(IPV6, n, 1))
    one.sendto(_echo(1), (LOOP[SIX], 0))
    yield "what comes", _control(one)
    more = [(IPV6, 52, struct.pack("i", 33)), (IPV6, 67, struct.pack("i", 0x20))]
    one.sendmsg([_echo(2)], more, 0, (LOOP[SIX], 0))
    yield "what the sender says", _control(one)
    one.setsockopt(IPV6, 16, 44)
    one.setsockopt(IPV6, 67, 0x40)
    one.sendto(_echo(3), (HERE6, 0))
    yield "what its options say", _control(one)
    info = [(IPV6, 50, socket.inet_pton(SIX, HERE6) + bytes(4))]
    yield "from an address", attempt(lambda: one.sendmsg([_echo(4)], info, 0, (LOOP[SIX], 0)))
    yield "which is its source", readable(one).recvfrom(100)[1][0]
    bad = [(IPV6, 50, socket.inet_pton(SIX, "2001:db8::7") + bytes(4))]
    yield "from one of others", attempt(lambda: one.sendmsg([_echo(5)], bad, 0, (LOOP[SIX], 0)))
    yield "one that is none", attempt(lambda: one.sendmsg([_echo(6)], [(IPV6, 999, b"x")], 0, (LOOP[SIX], 0)))


def _control(one):
    _, control, _, source = readable(one).recvmsg(100, 300)
    return source[0], sorted((kind, data[:16] if kind == 50 else data) for level, kind, data in control)


@theme
def raw_v6_header_included():
    one, two = _raw(), _raw()
    _only(two, REQUEST)
    two.setsockopt(IPV6, 51, 1)
    yield "set", attempt(lambda: one.setsockopt(IPV6, 36, 1)) or one.getsockopt(IPV6, 36)
    loop = socket.inet_pton(SIX, LOOP[SIX])
    body = _echo(9)
    total = sum(struct.unpack(f"!{len(body) // 2}H", body)) + sum(struct.unpack("!16H", loop * 2)) + 58 + len(body)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    body = body[:2] + struct.pack("!H", 0xFFFF ^ total) + body[4:]
    packet = struct.pack("!IHBB", 6 << 28, len(body), 58, 77) + loop * 2 + body
    yield "sent", attempt(lambda: one.sendto(packet, (LOOP[SIX], 0)))
    data, control, _, source = readable(two).recvmsg(100, 100)
    yield "received", (data, [each[2] for each in control], source[0])
    yield "too short", attempt(lambda: one.sendto(packet[:20], (LOOP[SIX], 0)))


@theme
def raw_v6_programs_filters():
    """SO_ATTACH_FILTER, as ping has it: what follows goes for messages of one identifier alone."""
    one = _raw()
    _only(one, ANSWER)
    code = [(0x28, 0, 0, 4), (0x15, 0, 1, 222), (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0)]
    layout = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in code))
    program = struct.pack("HxxxxxxQ", len(code), ctypes.addressof(layout))
    yield "taken", attempt(lambda: one.setsockopt(1, 26, program))
    for number in (221, 222):
        one.sendto(_echo(number), (LOOP[SIX], 0))
    yield "the one alone", readable(one).recv(100)[4:6]
    yield "gone", attempt(lambda: one.setsockopt(1, 27, bytes(4)))
    one.sendto(_echo(221), (LOOP[SIX], 0))
    yield "another one", readable(one).recv(100)[4:6]
    yield "gone twice", attempt(lambda: one.setsockopt(1, 27, bytes(4)))


def _errors(one, family, target, packet):
    """An error in full: of a neighbour that isn't there."""
    level = {FOUR: 0, SIX: IPV6}[family]
    one.setsockopt(level, 11 if family == FOUR else 25, 1)
    yield "none", attempt(lambda: one.recvmsg(100, 500, socket.MSG_ERRQUEUE))
    one.sendto(packet, (target, 0))
    yield "poll", becomes(one, "OUT ERR")
    data, control, flags, address = one.recvmsg(300, 500, socket.MSG_ERRQUEUE)
    yield "the message", (data[0], data[6:])
    number, origin, kind, code = struct.unpack_from("IBBB", control[0][2])
    yield "the error", (control[0][:2], name_of(number), origin, kind, code, bool(flags & socket.MSG_ERRQUEUE))
    yield "its destination", address[:2]
    yield "after it", (becomes(one, "OUT"), error_of(one))


@theme
def errors_of_raw_v6():
    one = _raw()
    _only(one, ANSWER)
    yield from _errors(one, SIX, ELSEWHERE6, _echo(5))


for _label, _family in FAMILIES.items():

    def _theme(family=_family):
        one = socket.socket(family, DGRAM, 1 if family == FOUR else ICMP6)
        packet = _echo(0, b"is anybody there", 8 if family == FOUR else REQUEST)
        yield from _errors(one, family, "10.9.0.99" if family == FOUR else ELSEWHERE6, packet)

    _theme.__name__ = f"errors_of_pings_{_label}"
    theme(_theme)


@theme
def control_of_pings():
    for label, family in FAMILIES.items():
        level = {FOUR: 0, SIX: IPV6}[family]
        one = socket.socket(family, DGRAM, 1 if family == FOUR else ICMP6)
        one.settimeout(PATIENCE)
        packet = _echo(0, b"echo", 8 if family == FOUR else REQUEST)
        for number in (8, 12, 13) if family == FOUR else (49, 51, 66):
            one.setsockopt(level, number, 1)
        one.sendto(packet, (LOOP[family], 0))
        control = one.recvmsg(100, 300)[1]
        yield (
            f"destination {label}",
            [data[8:] if kind == 8 else data[:16] for _, kind, data in control if kind in (8, 50)],
        )
        yield f"the rest {label}", sorted((kind, data) for _, kind, data in control if kind not in (8, 50))
        info = {
            FOUR: (0, 8, struct.pack("I4s4s", 0, socket.inet_aton("10.9.0.1"), bytes(4))),
            SIX: (IPV6, 50, socket.inet_pton(SIX, HERE6) + bytes(4)),
        }
        yield f"from an address {label}", _send_with(one, packet, info[family], LOOP[family])
        yield f"answered {label}", one.recvmsg(100, 300)[0][6:]


def _send_with(one, packet, info, target):
    return attempt(lambda: one.sendmsg([packet], [info], 0, (target, 0)))
