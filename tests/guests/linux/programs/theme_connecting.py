"""Making, naming and connecting TCP sockets; what goes wrong with that, errno by errno."""

import ctypes
import socket
import struct

from cases import attempt, libc, name_of  # type: ignore[import-not-found]
from checks import (  # type: ignore[import-not-found]
    ANY,
    DGRAM,
    FAMILIES,
    FOUR,
    LOOP,
    SIX,
    becomes,
    error_of,
    free_port,
    listener,
    now,
    pair,
    readable,
    theme,
)

NOWHERE = {FOUR: "203.0.113.9", SIX: "2001:db8::9"}
NOT_OURS = {FOUR: "192.0.2.77", SIX: "2001:db8::77"}


@theme
def making():
    for name, arguments in {
        "TCP by its number": (FOUR, socket.SOCK_STREAM, 6),
        "UDP by its number": (FOUR, DGRAM, 17),
        "a stream of UDP": (FOUR, socket.SOCK_STREAM, 17),
        "datagrams of TCP": (FOUR, DGRAM, 6),
        "a protocol that is none": (FOUR, socket.SOCK_STREAM, 300),
        "ordered packets": (FOUR, socket.SOCK_SEQPACKET),
        "reliable datagrams": (FOUR, socket.SOCK_RDM),
        "a kind that is none": (FOUR, 99),
        "a family that is none": (60, socket.SOCK_STREAM),
        "TCP over IPv6": (SIX, socket.SOCK_STREAM, 6),
        "ordered packets over IPv6": (SIX, socket.SOCK_SEQPACKET),
        "ICMP for IPv6": (FOUR, DGRAM, 58),
    }.items():
        yield name, attempt(lambda a=arguments: socket.socket(*a).type.name)
    yield "flags that are none", name_of(libc.socket(FOUR, socket.SOCK_STREAM | 0x100, 0) and ctypes.get_errno())
    yield "a pair", attempt(lambda: socket.socketpair(FOUR))
    with socket.socket() as one:
        facts = socket.SO_TYPE, socket.SO_DOMAIN, socket.SO_PROTOCOL, socket.SO_ACCEPTCONN
        yield "facts", [one.getsockopt(socket.SOL_SOCKET, fact) for fact in facts]


def _fresh(family):
    one = socket.socket(family)
    yield "poll", now(one)
    yield "own name", one.getsockname()
    yield "peer's name", attempt(one.getpeername)
    yield "SO_ERROR", error_of(one)
    yield "read", attempt(lambda: one.recv(1))
    yield "write", attempt(lambda: one.send(b"x"))
    yield "accept", attempt(one.accept)
    yield "shutdown", attempt(lambda: one.shutdown(socket.SHUT_WR))
    yield "shutdown how", attempt(lambda: one.shutdown(7))
    yield "disconnect", _disconnect(one)


def _disconnect(one):
    return name_of(libc.connect(one.fileno(), bytes(16), 16) and ctypes.get_errno())


def _binding(family):
    one, host = socket.socket(family), LOOP[family]
    yield "an address of others", attempt(lambda: one.bind((NOT_OURS[family], 0)))
    one.bind((host, 0))
    name = one.getsockname()
    yield "a name", (name[0], name[1] > 1023, name[2:])
    yield "poll", now(one)
    yield "again", attempt(lambda: one.bind((host, 0)))
    two = socket.socket(family)
    yield "what is taken", attempt(lambda: two.bind(name))
    yield "what is taken, by the wildcard", attempt(lambda: two.bind((ANY[family], name[1])))
    two.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    yield "with SO_REUSEADDR on one", attempt(lambda: two.bind(name))
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    yield "with SO_REUSEADDR on both", attempt(lambda: two.bind(name))
    one.listen()
    yield "listening on it then", attempt(two.listen)
    three = socket.socket(family, DGRAM)
    yield "by UDP", attempt(lambda: three.bind(name))
    other = SIX if family == FOUR else FOUR
    yield "the other family's", attempt(lambda: socket.socket(other).bind((LOOP[other], name[1])))
    wrong = struct.pack("<H", other) + bytes(26)
    four = socket.socket(family)
    yield "an address of the other family", name_of(libc.bind(four.fileno(), wrong, 28) and ctypes.get_errno())
    right = struct.pack("<H", family) + bytes(26)
    yield "too short", name_of(libc.bind(four.fileno(), right, 12) and ctypes.get_errno())
    yield "no memory", name_of(libc.bind(four.fileno(), ctypes.c_void_p(1), 28) and ctypes.get_errno())
    yield "too long", name_of(libc.bind(four.fileno(), right + bytes(200), 200) and ctypes.get_errno())
    yield "an ordinary file", _of_a_file(lambda fd: libc.bind(fd, right, 28))
    yield "no descriptor", name_of(libc.bind(999, right, 28) and ctypes.get_errno())


def _of_a_file(function):
    with open("/dev/null") as null:
        return name_of(function(null.fileno()) and ctypes.get_errno())


def _connecting(family):
    nobody = free_port(family)
    one = socket.socket(family)
    yield "refused", attempt(lambda: one.connect(nobody))
    yield "SO_ERROR after it", error_of(one)
    yield "poll after it", now(one)
    with listener(family) as door:
        yield "again, to somebody", attempt(lambda: one.connect(door.getsockname()))
        server, peer = door.accept()
        yield "who they are", (peer == one.getsockname(), one.getpeername() == server.getsockname())
        yield "poll then", becomes(one, "OUT")
        yield "a second time", attempt(lambda: one.connect(door.getsockname()))
        yield "elsewhere", attempt(lambda: one.connect(nobody))
        yield "binding", attempt(lambda: one.bind((LOOP[family], 0)))
        yield "listening", attempt(one.listen)
        two = socket.socket(family)
        two.bind((LOOP[family], 0))
        mine = two.getsockname()
        two.connect(door.getsockname())
        yield "from a bound port", (two.getsockname() == mine, door.accept()[1] == mine)
        yield "a listener", attempt(lambda: door.connect(nobody))
    yield "no way there", attempt(lambda: socket.socket(family).connect((NOWHERE[family], 9)))
    with listener(family, ANY[family]) as door:
        three = socket.socket(family)
        yield "the wildcard", attempt(lambda: three.connect((ANY[family], door.getsockname()[1])))
        yield "which is", three.getpeername()[0]
    four = socket.socket(family)
    own = struct.pack("<H", family) + bytes(26)
    yield "too short", name_of(libc.connect(four.fileno(), own, 12) and ctypes.get_errno())
    yield "nearly nothing", name_of(libc.connect(four.fileno(), own, 1) and ctypes.get_errno())
    yield "no memory", name_of(libc.connect(four.fileno(), ctypes.c_void_p(1), 28) and ctypes.get_errno())
    other = struct.pack("<H", SIX if family == FOUR else FOUR) + bytes(26)
    yield "the other family", name_of(libc.connect(four.fileno(), other, 28) and ctypes.get_errno())
    yield "an ordinary file", _of_a_file(lambda fd: libc.connect(fd, own, 28))
    yield "no descriptor", name_of(libc.connect(999, own, 28) and ctypes.get_errno())


def _not_waiting(family):
    nobody = free_port(family)
    one = socket.socket(family)
    one.setblocking(False)
    yield "begun", name_of(one.connect_ex(nobody))
    yield "poll when refused", becomes(one, "IN OUT ERR HUP RDHUP")
    yield "SO_ERROR", error_of(one)
    yield "SO_ERROR again", error_of(one)
    yield "poll after it", becomes(one, "IN OUT HUP RDHUP")
    yield "read", attempt(lambda: one.recv(1))
    yield "write", attempt(lambda: one.send(b"x"))
    two = socket.socket(family)
    two.setblocking(False)
    two.connect_ex(nobody)
    becomes(two, "IN OUT ERR HUP RDHUP")
    yield "a read tells", attempt(lambda: two.recv(1))
    three = socket.socket(family)
    three.setblocking(False)
    three.connect_ex(nobody)
    becomes(three, "IN OUT ERR HUP RDHUP")
    yield "connect tells", name_of(three.connect_ex(nobody))
    with listener(family) as door:
        four = socket.socket(family)
        four.setblocking(False)
        yield "to somebody", name_of(four.connect_ex(door.getsockname()))
        yield "poll when connected", becomes(four, "OUT")
        yield "SO_ERROR when connected", error_of(four)
        yield "connect once more", name_of(four.connect_ex(door.getsockname()))
        yield "and once more", name_of(four.connect_ex(door.getsockname()))
        yield "after the refusal", name_of(three.connect_ex(door.getsockname()))
        yield "which comes about", (becomes(three, "OUT"), error_of(three))
        yield "its peer", attempt(lambda: three.getpeername() == door.getsockname())
        yield "its data", attempt(lambda: (three.send(b"x"), door.accept() and readable(door).accept()[0].recv(1))[1])


def _disconnecting(family):
    client, server = pair(family)
    yield "a connection", _disconnect(client)
    yield "its peer sees", becomes(server, "IN OUT ERR HUP RDHUP")
    yield "and reads", attempt(lambda: server.recv(1))
    yield "poll", becomes(client, "OUT ERR HUP", "OUT HUP")
    yield "own name", client.getsockname()[0]
    yield "peer's name", attempt(client.getpeername)
    with listener(family) as door:
        yield "connecting again", attempt(lambda: client.connect(door.getsockname()))
        yield "which works", attempt(lambda: (client.send(b"x"), readable(door.accept()[0]).recv(1))[1])
        yield "a listener", _disconnect(door)
        yield "poll of it", becomes(door, "OUT HUP")
        yield "accepting", attempt(door.accept)


for _label, _family in FAMILIES.items():
    for _function in (_fresh, _binding, _connecting, _not_waiting, _disconnecting):

        def _theme(function=_function, family=_family):
            yield from function(family)

        _theme.__name__ = f"{_function.__name__[1:]}_{_label}"
        theme(_theme)


@theme
def names_in_memory():
    with listener() as door:
        for room in (0, 2, 8, 16, 100):
            buffer, length = ctypes.create_string_buffer(b"\xff" * 100, 100), ctypes.c_uint(room)
            code = libc.getsockname(door.fileno(), buffer, ctypes.byref(length))
            kept = buffer.raw[min(room, 16) :] == b"\xff" * (100 - min(room, 16))
            yield f"room for {room}", (code, length.value, kept)
        length = ctypes.c_uint(0x80000000)
        yield (
            "negative room",
            name_of(libc.getsockname(door.fileno(), buffer, ctypes.byref(length)) and ctypes.get_errno()),
        )
        length = ctypes.c_uint(16)
        yield (
            "no memory",
            name_of(libc.getsockname(door.fileno(), ctypes.c_void_p(1), ctypes.byref(length)) and ctypes.get_errno()),
        )
        yield "no length", name_of(libc.getsockname(door.fileno(), buffer, ctypes.c_void_p(1)) and ctypes.get_errno())
        yield "no descriptor", name_of(libc.getsockname(999, buffer, ctypes.byref(length)) and ctypes.get_errno())
        yield "peer of a listener", attempt(door.getpeername)
