"""UDP and ping: names, connecting, sizes, errors, flags, control messages, groups, many at once."""

import ctypes
import select
import socket
import struct

from cases import attempt, libc, name_of  # type: ignore[import-not-found]
from checks import (  # type: ignore[import-not-found]
    ANY,
    DGRAM,
    FAMILIES,
    FOUR,
    LOOP,
    PATIENCE,
    SIX,
    becomes,
    counts,
    error_of,
    free_port,
    now,
    readable,
    theme,
    until,
)

HERE = {FOUR: "10.9.0.1", SIX: "fd00:9::1"}
LEVEL = {FOUR: socket.IPPROTO_IP, SIX: socket.IPPROTO_IPV6}


def _socket(family=FOUR, host=None, bound=True):
    one = socket.socket(family, DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", PATIENCE, 0))
    if bound:
        one.bind((LOOP[family] if host is None else host, 0))
    return one


def _disconnect(one):
    return name_of(libc.connect(one.fileno(), bytes(16), 16) and ctypes.get_errno())


def _names(family):
    one, two = _socket(family), _socket(family, bound=False)
    yield "fresh", (two.getsockname(), attempt(two.getpeername), now(two))
    yield "sent", two.sendto(b"question", one.getsockname())
    yield "a name by sending", (two.getsockname()[0], two.getsockname()[1] > 0)
    data, source = one.recvfrom(100)
    yield "received", (data, source[0], source[1] == two.getsockname()[1], source[2:])
    one.sendto(b"answer", source)
    yield "answered", (readable(two).recvfrom(100)[0], now(two))
    yield "a taken port", attempt(lambda: _socket(family, bound=False).bind(one.getsockname()))
    yield (
        "an address of others",
        attempt(lambda: socket.socket(family, DGRAM).bind(("192.0.2.77" if family == FOUR else "2001:db8::7", 0))),
    )
    yield "bound twice", attempt(lambda: one.bind((LOOP[family], 0)))
    yield "without a destination", attempt(lambda: two.send(b"x"))
    yield "nowhere", attempt(lambda: two.sendto(b"x", ("203.0.113.9" if family == FOUR else "2001:db8::9", 9)))
    yield "to port 0", attempt(lambda: two.sendto(b"x", (LOOP[family], 0)))
    yield "shutdown", attempt(lambda: two.shutdown(socket.SHUT_WR))
    yield "no waiting", attempt(lambda: one.recv(1, socket.MSG_DONTWAIT))
    shared = [socket.socket(family, DGRAM) for _ in range(2)]
    for each in shared:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    shared[0].bind((LOOP[family], 0))
    yield "SO_REUSEADDR", attempt(lambda: shared[1].bind(shared[0].getsockname()))


def _connected(family):
    one, two, stranger = _socket(family), _socket(family, bound=False), _socket(family)
    two.connect(one.getsockname())
    yield "names", (two.getsockname()[0], two.getpeername() == one.getsockname())
    two.send(b"question")
    source = one.recvfrom(100)[1]
    stranger.sendto(b"not for you", source)
    one.sendto(b"answer", source)
    yield "the peer alone is heard", (two.recv(100), attempt(lambda: two.recv(100, socket.MSG_DONTWAIT)))
    two.sendto(b"elsewhere", stranger.getsockname())
    yield "sent elsewhere", stranger.recvfrom(100)[0]
    yield "connected anew", attempt(lambda: two.connect(stranger.getsockname()))
    two.send(b"new")
    yield "to another", stranger.recv(10)
    yield "to nobody", _disconnect(two)
    yield "names after it", (attempt(two.getpeername), attempt(lambda: two.send(b"x")))
    yield "nothing heard", now(two)
    nobody = free_port(family, DGRAM)
    three = _socket(family, bound=False)
    three.connect(nobody)
    yield "refused, poll", _refused(three, lambda: three.send(b"x"))
    yield "refused, SO_ERROR", error_of(three)
    yield "poll after it", now(three)
    _refused(three, lambda: three.send(b"x"))
    yield "refused, read", attempt(lambda: three.recv(1))
    _refused(three, lambda: three.send(b"x"))
    yield "refused, write", attempt(lambda: three.send(b"x"))
    yield "the other family", attempt(lambda: _connect_raw(three, SIX if family == FOUR else FOUR))


def _refused(one, send):
    """Send until that is refused: as a guest, that a socket is closed shows after a moment.  What poll says."""
    until(lambda: now(one) == "OUT ERR" or (attempt(send), until_asked(one))[1])
    return now(one)


def until_asked(one):
    """Let what was sent come to something, for a moment."""
    select.select([], [], [one], 0.05)
    return now(one) == "OUT ERR"


def _connect_raw(one, family):
    return name_of(libc.connect(one.fileno(), struct.pack("<HH", family, 9) + bytes(24), 28) and ctypes.get_errno())


def _sizes(family):
    one, two = _socket(family), _socket(family, bound=False)
    largest = 65507 if family == FOUR else 65487
    for size in (0, 1, 1472, 9000, largest):
        two.sendto(bytes(size), one.getsockname())
        yield f"{size} bytes", len(one.recv(70000))
    yield "too many", attempt(lambda: two.sendto(bytes(65528), one.getsockname()))
    two.sendto(b"", one.getsockname())
    yield "an empty one, poll", becomes(one, "IN OUT")
    yield "an empty one", one.recvfrom(10)[0]
    two.sendto(b"0123456789", one.getsockname())
    two.sendto(b"next", one.getsockname())
    yield "FIONREAD", counts(one, 10)
    data, _, flags, _ = one.recvmsg(4, 0, socket.MSG_PEEK)
    yield "looking", (data, flags == socket.MSG_TRUNC)
    yield "its true size", one.recv_into(bytearray(4), 4, socket.MSG_TRUNC | socket.MSG_PEEK)
    yield "cut", one.recv(4)
    yield "the rest is lost", one.recv(10)
    two.connect(one.getsockname())
    two.send(b"in ", socket.MSG_MORE)
    two.send(b"parts")
    yield "in parts (MSG_MORE)", one.recv(20)
    two.sendmsg([b"a", b"", b"b"])
    yield "of parts", one.recvmsg(10)[0]
    two.send(b"x")
    becomes(one, "IN OUT")
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 20_000))
    one.recv(1)
    yield "a time limit", attempt(lambda: one.recv(1))
    yield "urgent", attempt(lambda: two.send(b"x", socket.MSG_OOB))


def _control(family):
    level = LEVEL[family]
    one, two = _socket(family, ANY[family]), _socket(family, bound=False)
    target = (LOOP[family], one.getsockname()[1])
    wanted = (
        {"PKTINFO": 8, "RECVTTL": 12, "RECVTOS": 13}
        if family == FOUR
        else {"PKTINFO": 49, "RECVHOPS": 51, "RECVCLASS": 66}
    )
    for name, number in wanted.items():
        one.setsockopt(level, number, 1)
        two.sendto(b"x", target)
        kinds = {kind: data for at, kind, data in one.recvmsg(10, 200)[1] if at == level}
        one.setsockopt(level, number, 0)
        if name == "PKTINFO" and family == FOUR:
            yield name, [socket.inet_ntoa(kinds[8][at : at + 4]) for at in (4, 8)]
        elif name == "PKTINFO":
            yield name, socket.inet_ntop(SIX, kinds[50][:16])
        else:
            yield name, kinds
    one.setsockopt(socket.SOL_SOCKET, 35, 1)
    two.sendto(b"x", target)
    yield "a time stamp", [(at, kind, len(data)) for at, kind, data in one.recvmsg(10, 200)[1]]
    one.setsockopt(socket.SOL_SOCKET, 35, 0)
    ttl = {
        FOUR: [(0, 2, struct.pack("i", 33)), (0, 1, b"\x20")],
        SIX: [(41, 52, struct.pack("i", 33)), (41, 67, struct.pack("i", 0x20))],
    }
    for number in list(wanted.values())[1:]:
        one.setsockopt(level, number, 1)
    two.sendmsg([b"x"], ttl[family], 0, target)
    yield "what the sender says", sorted((kind, data) for _, kind, data in one.recvmsg(10, 200)[1])
    two.setsockopt(level, 2 if family == FOUR else 16, 44)
    two.setsockopt(level, 1 if family == FOUR else 67, 0x40)
    two.sendto(b"x", target)
    yield "what its options say", sorted((kind, data) for _, kind, data in one.recvmsg(10, 200)[1])
    yield "too little room", (two.sendto(b"x", target), one.recvmsg(10, 18)[2])[1] & socket.MSG_CTRUNC != 0
    info = {
        FOUR: (0, 8, struct.pack("I4s4s", 0, socket.inet_aton("127.0.0.1"), bytes(4))),
        SIX: (41, 50, socket.inet_pton(SIX, "::1") + bytes(4)),
    }
    yield "from an address", attempt(lambda: two.sendmsg([b"x"], [info[family]], 0, target))
    yield "which is its source", one.recvfrom(10)[1][0]
    answer = _socket(family, ANY[family])
    answer.setsockopt(level, 8 if family == FOUR else 49, 1)
    two.sendto(b"?", (LOOP[family], answer.getsockname()[1]))
    _, control, _, source = answer.recvmsg(10, 200)
    control = [each for each in control if each[1] in (8, 50)]
    yield "an answer from there", attempt(lambda: answer.sendmsg([b"!"], control, 0, source))
    yield "as it came", two.recvfrom(10)[1][0]
    bad = [(level, 999, b"x")]
    yield "one that is none", attempt(lambda: two.sendmsg([b"x"], bad, 0, target))


def _connected_control(family):
    level, kind = (0, 8) if family == FOUR else (41, 50)
    here = HERE[family]
    for label, host, target in (
        ("lo", ANY[family], LOOP[family]),
        ("an address", ANY[family], here),
        ("bound", here, here),
    ):
        one, two = _socket(family, host), _socket(family, target)
        one.setsockopt(level, 8 if family == FOUR else 49, 1)
        one.connect(two.getsockname())
        one.send(b"question")
        source = two.recvfrom(10)[1]
        two.sendto(b"answer", source)
        data, control, _, peer = one.recvmsg(10, 200)
        yield f"{label}, the answer", (data, peer == two.getsockname(), source[0] == one.getsockname()[0])
        yield f"{label}, its destination", _destination(control, kind)
        info = (
            level,
            kind,
            struct.pack("I4s4s", 0, socket.inet_pton(FOUR, here if family == FOUR else "0.0.0.0"), bytes(4)),
        )
        if family == SIX:
            info = (level, kind, socket.inet_pton(SIX, here) + bytes(4))
        yield f"{label}, from another address", attempt(lambda o=one, i=info: o.sendmsg([b"from there"], [i]))
        yield f"{label}, which is its source", two.recvfrom(10)[1][0]
        three = _socket(family, LOOP[family])
        one.connect(three.getsockname())
        three.sendto(b"anew", one.getsockname())
        data, control, _, _ = one.recvmsg(10, 200)
        yield f"{label}, connected anew", (data, _destination(control, kind))


def _destination(control, wanted):
    found = [data for _, kind, data in control if kind == wanted]
    return [socket.inet_ntoa(data[8:]) if wanted == 8 else socket.inet_ntop(SIX, data[:16]) for data in found]


def _disconnected(family):
    one, two = _socket(family), _socket(family, bound=False)
    port = free_port(family, DGRAM)[1]
    two.bind((LOOP[family], port))
    for label in ("once", "twice"):
        two.connect(one.getsockname())
        yield f"{label}", (_disconnect(two), two.getsockname()[:2] == (LOOP[family], port))
        one.sendto(b"still there?", (LOOP[family], port))
        yield f"{label}, heard", readable(two).recvfrom(20)[0]
        two.sendto(b"yes", one.getsockname())
        yield f"{label}, answered", one.recvfrom(20)[1][:2] == (LOOP[family], port)
    free = _socket(family, bound=False)
    free.connect(one.getsockname())
    free.send(b"x")
    yield "never bound", (one.recv(1), _disconnect(free), free.getsockname()[:2])
    yield "and sends", (free.sendto(b"y", one.getsockname()), one.recvfrom(9)[1][1] == free.getsockname()[1])


def _errors_in_full(family):
    level = LEVEL[family]
    nobody = free_port(family, DGRAM)
    one = _socket(family, bound=False)
    one.setsockopt(level, 11 if family == FOUR else 25, 1)
    yield "none", attempt(lambda: one.recvmsg(100, 500, socket.MSG_ERRQUEUE))
    yield "poll", _refused(one, lambda: one.sendto(b"to nobody", nobody))
    data, control, flags, address = one.recvmsg(100, 500, socket.MSG_ERRQUEUE)
    yield "the datagram", data
    number, origin, kind, code = struct.unpack_from("IBBB", control[0][2])
    yield "the error", (control[0][:2], name_of(number), origin, kind, code, bool(flags & socket.MSG_ERRQUEUE))
    yield "its destination", address == nobody
    yield "poll after it", becomes(one, "OUT")


def _many(family):
    one, two = _socket(family), _socket(family, bound=False)
    two.connect(one.getsockname())
    count = 8

    class Vector(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]

    class Header(ctypes.Structure):
        _fields_ = [
            ("name", ctypes.c_void_p), ("name_size", ctypes.c_uint), ("vectors", ctypes.POINTER(Vector)),
            ("count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_size", ctypes.c_size_t),
            ("flags", ctypes.c_int), ("length", ctypes.c_uint), ("padding", ctypes.c_uint),
        ]  # fmt: skip

    def headers(buffers):
        vectors = [Vector(ctypes.addressof(b), len(b)) for b in buffers]
        found = (Header * len(buffers))()
        for header, vector in zip(found, vectors, strict=True):
            header.vectors, header.count = ctypes.pointer(vector), 1
        return found

    sending = [ctypes.create_string_buffer(b"%d" % n * 3, 3) for n in range(count)]
    yield "sendmmsg", libc.sendmmsg(two.fileno(), headers(sending), count, 0)
    receiving = [ctypes.create_string_buffer(10) for _ in range(count)]
    found = headers(receiving)
    yield "recvmmsg", libc.recvmmsg(one.fileno(), found, count, 0, None)
    yield "what came", [b.value for b in receiving]
    yield (
        "no more",
        name_of(
            libc.recvmmsg(one.fileno(), headers(receiving), count, socket.MSG_DONTWAIT, None) and ctypes.get_errno()
        ),
    )
    libc.sendmmsg(two.fileno(), headers(sending[:2]), 2, 0)
    becomes(one, "IN OUT")
    yield "waiting for one", libc.recvmmsg(one.fileno(), headers(receiving), 1, 0x10000, None)


def _in_segments(family):
    one, two = _socket(family), _socket(family, bound=False)
    two.connect(one.getsockname())
    yield "UDP_SEGMENT", attempt(lambda: two.setsockopt(17, 103, 1000)) or "taken"
    two.send(b"a" * 1000 + b"b" * 1000 + b"c" * 10)
    yield "what comes", [len(one.recv(5000)) for _ in range(3)]
    two.setsockopt(17, 103, 0)
    two.sendmsg([b"d" * 700], [(17, 103, struct.pack("H", 300))])
    yield "by a control message", [one.recv(5000)[:2] + b"%d" % n for n in range(3)]
    two.send(b"e" * 700)
    yield "and without", len(one.recv(5000))
    yield "too many", attempt(lambda: two.sendmsg([b"f" * 60000], [(17, 103, struct.pack("H", 100))]))
    yield (
        "larger than the datagram",
        (attempt(lambda: two.sendmsg([b"g" * 60], [(17, 103, struct.pack("H", 100))])), len(one.recv(5000))),
    )
    one.setsockopt(17, 104, 1)
    yield "UDP_GRO", one.getsockopt(17, 104)
    two.send(b"h" * 300)
    data, control, _, _ = one.recvmsg(5000, 100)
    yield "one alone", (len(data), control)


for _label, _family in FAMILIES.items():
    for _function in (
        _names,
        _connected,
        _sizes,
        _control,
        _connected_control,
        _disconnected,
        _errors_in_full,
        _many,
        _in_segments,
    ):

        def _theme(function=_function, family=_family):
            yield from function(family)

        _theme.__name__ = f"datagrams_{_function.__name__[1:]}_{_label}"
        theme(_theme)


@theme
def datagrams_of_both_versions():
    one, four = _socket(SIX, ANY[SIX]), _socket(FOUR, bound=False)
    four.sendto(b"x", (LOOP[FOUR], one.getsockname()[1]))
    data, source = one.recvfrom(10)
    yield "from IPv4", (data, source[0])
    one.sendto(b"y", source)
    yield "back", four.recvfrom(10)[0]
    two = socket.socket(SIX, DGRAM)
    two.connect((f"::ffff:{LOOP[FOUR]}", 53))
    yield "mapped names", (two.getsockname()[0], two.getpeername()[0])
    only = socket.socket(SIX, DGRAM)
    only.setsockopt(41, 26, 1)
    yield "V6ONLY", attempt(lambda: only.connect((f"::ffff:{LOOP[FOUR]}", 53)))
    only = socket.socket(SIX, DGRAM)
    only.setsockopt(41, 26, 1)
    only.bind((ANY[SIX], 0))
    yield "the port by IPv4", attempt(lambda: _socket(FOUR, bound=False).bind((ANY[FOUR], only.getsockname()[1])))


@theme
def groups_of_datagrams():
    group = "239.1.2.3"
    one, two = socket.socket(type=DGRAM), _socket(FOUR, bound=False)
    one.settimeout(PATIENCE)
    one.bind((ANY[FOUR], 0))
    port = one.getsockname()[1]
    member = socket.inet_aton(group) + socket.inet_aton("10.9.0.1")
    yield "joined", attempt(lambda: one.setsockopt(0, 35, member)) or "yes"
    yield "joined twice", attempt(lambda: one.setsockopt(0, 35, member))
    yield "no group", attempt(lambda: one.setsockopt(0, 35, socket.inet_aton("10.1.2.3") + bytes(4)))
    yield "too short", attempt(lambda: one.setsockopt(0, 35, member[:6]))
    two.setsockopt(0, 32, socket.inet_aton("10.9.0.1"))
    two.sendto(b"to all", (group, port))
    data, source = one.recvfrom(10)
    yield "heard", (data, source[0])
    two.setsockopt(0, 34, 0)
    two.sendto(b"not to us", (group, port))
    two.sendto(b"to one", ("10.9.0.1", port))
    yield "not looped", one.recv(20)
    yield "left", attempt(lambda: one.setsockopt(0, 36, member)) or "yes"
    yield "left twice", attempt(lambda: one.setsockopt(0, 36, member))
    two.setsockopt(0, 34, 1)
    two.sendto(b"to nobody", (group, port))
    two.sendto(b"to one", ("10.9.0.1", port))
    yield "not heard", one.recv(20)
    yield "the interface", socket.inet_ntoa(two.getsockopt(0, 32, 4))
    yield "TTL", (two.getsockopt(0, 33), two.setsockopt(0, 33, b"\5"), two.getsockopt(0, 33))
    six = socket.socket(SIX, DGRAM)
    yield (
        "a group of IPv6 that is none",
        attempt(lambda: six.setsockopt(41, 20, socket.inet_pton(SIX, "fd00::1") + bytes(4))),
    )
    yield (
        "leaving what was not joined",
        attempt(lambda: six.setsockopt(41, 21, socket.inet_pton(SIX, "ff15::1") + struct.pack("i", 1))),
    )


@theme
def broadcasts():
    one = _socket(FOUR, bound=False)
    yield "not allowed", attempt(lambda: one.sendto(b"x", ("10.9.0.255", 9)))
    yield "connecting", attempt(lambda: one.connect(("10.9.0.255", 9)))


@theme
def echoes():
    for label, family, protocol, request, answer in (("v4", FOUR, 1, 8, 0), ("v6", SIX, 58, 128, 129)):
        try:
            one = socket.socket(family, DGRAM, protocol)
        except OSError as problem:
            yield label, name_of(problem.errno)
            continue
        one.settimeout(PATIENCE)
        yield f"facts {label}", [one.getsockopt(1, n) for n in (socket.SO_TYPE, socket.SO_PROTOCOL, socket.SO_DOMAIN)]
        packet = struct.pack("!BBHHH", request, 0, 0, 0, 7) + b"echo"
        yield f"sent {label}", attempt(lambda p=packet, o=one, f=family: o.sendto(p, (LOOP[f], 0)))
        data, source = one.recvfrom(100)
        yield f"answered {label}", (data[0], data[6:], source[0])
        yield f"its identifier {label}", struct.unpack_from("!H", data, 4)[0] == one.getsockname()[1]
        yield (
            f"not a request {label}",
            attempt(lambda o=one, f=family, a=answer: o.sendto(bytes([a]) + bytes(7), (LOOP[f], 0))),
        )
        yield f"too short {label}", attempt(lambda o=one, f=family: o.sendto(b"\x08", (LOOP[f], 0)))
        one.connect((LOOP[family], 0))
        one.send(packet)
        yield f"connected {label}", (one.recv(100)[0], attempt(one.getpeername))


@theme
def raw_sockets():
    one = socket.socket(FOUR, socket.SOCK_RAW, 1)
    one.settimeout(PATIENCE)
    yield "facts", [one.getsockopt(1, n) for n in (socket.SO_TYPE, socket.SO_PROTOCOL, socket.SO_DOMAIN)]
    body = struct.pack("!BBHHH", 8, 0, 0, 4711, 7) + b"raw echo"
    total = sum(struct.unpack(f"!{len(body) // 2}H", body))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    packet = body[:2] + struct.pack("!H", 0xFFFF ^ total) + body[4:]
    one.setsockopt(0, 2, 41)
    for name, number in {"RECVERR": 11, "RECVTTL": 12}.items():
        yield name, attempt(lambda n=number: one.setsockopt(0, n, 1)) or one.getsockopt(0, number)
    yield "sent", one.sendto(packet, (LOOP[FOUR], 0))
    seen = {}
    until(lambda: _heard(one, seen) or len(seen) == 2)
    yield "request and answer", sorted(seen.items())
    one.setsockopt(255, 1, struct.pack("I", 0xFFFFFFFF ^ 1))  # ICMP_FILTER: answers only
    one.connect((LOOP[FOUR], 0))
    one.send(packet)
    data, source = one.recvfrom(100)
    yield "answers only", (data[20], data[28:], source)


def _heard(one, seen):
    """Note one packet: by type its lifetime, the rest of the message, and who sent it."""
    data, source = one.recvfrom(100)
    seen[data[20]] = data[0], data[8], data[24:], source
