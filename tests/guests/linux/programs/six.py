"""AF_INET6 sockets: both versions of IP over one, options, control messages, names."""

import socket
import struct

from cases import attempt, case, events, libc, listening, main, settle  # type: ignore[import-not-found]

SIX = socket.AF_INET6
ONLY, PKTINFO, RECVPKTINFO, RECVHOPS, HOPS, RECVCLASS, CLASS = 26, 50, 49, 51, 16, 66, 67


def datagram(host="::1", only=None):
    one = socket.socket(SIX, socket.SOCK_DGRAM)
    one.settimeout(2)
    if only is not None:
        one.setsockopt(socket.IPPROTO_IPV6, ONLY, only)
    if host is not None:
        one.bind((host, 0))
    return one


def connected(name):
    client = socket.create_connection(name[:2], 5)
    return client


@case
def a_stream():
    with listening(family=SIX, host="::1") as listener:
        client = connected(listener.getsockname())
        server, peer = listener.accept()
        client.sendall(b"question")
        got = server.recv(100)
        server.sendall(b"answer")
        same = peer == client.getsockname() and server.getpeername() == peer
        return got, client.recv(100), same, peer[0], peer[2:], server.getsockname() == listener.getsockname()


@case
def both_versions_over_one_listener():
    with listening(family=SIX, host="::") as listener:
        port = listener.getsockname()[1]
        shown = []
        for host in ("::1", "127.0.0.1", "::ffff:127.0.0.1"):
            client = socket.create_connection((host, port), 5)
            server, peer = listener.accept()
            shown.append((peer[0], server.getsockname()[0], client.getpeername()[0]))
        return listener.getsockname()[0], shown


@case
def one_version_only():
    with listening(family=SIX, host="::") as free:
        port = free.getsockname()[1]
    only = socket.socket(SIX)
    only.setsockopt(socket.IPPROTO_IPV6, ONLY, 1)
    only.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    only.bind(("::", port))
    late = attempt(lambda: only.setsockopt(socket.IPPROTO_IPV6, ONLY, 0))
    only.listen()
    other = socket.socket()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    refused = attempt(lambda: socket.create_connection(("127.0.0.1", port), 5))
    beside = attempt(lambda: other.bind(("0.0.0.0", port)))
    mapped = socket.socket(SIX)
    mapped.setsockopt(socket.IPPROTO_IPV6, ONLY, 1)
    unreachable = attempt(lambda: mapped.connect(("::ffff:127.0.0.1", port)))
    return only.getsockopt(socket.IPPROTO_IPV6, ONLY), late, refused, beside, unreachable


@case
def a_port_that_is_taken():
    with listening(family=SIX, host="::") as listener:
        port = listener.getsockname()[1]
        four, six, here = socket.socket(), socket.socket(SIX), socket.socket(SIX)
        found = attempt(lambda: four.bind(("0.0.0.0", port))), attempt(lambda: six.bind(("::", port)))
        return found, attempt(lambda: here.bind(("::1", port)))


@case
def addresses_that_are_not_ours():
    one = socket.socket(SIX)
    wrong = attempt(lambda: one.bind(("2001:db8::77", 0)))
    four = struct.pack("<HH", socket.AF_INET, 0) + bytes(12)
    short = libc.bind(one.fileno(), struct.pack("<H", SIX) + bytes(20), 22)
    return wrong, libc.bind(one.fileno(), four, 16), short, attempt(lambda: datagram("2001:db8::77"))


@case
def connecting_to_nobody():
    with listening(family=SIX, host="::1") as free:
        name = free.getsockname()
    one = socket.socket(SIX)
    blocking = attempt(lambda: one.connect(name))
    two = socket.socket(SIX)
    two.setblocking(False)
    begun = two.connect_ex(name)
    ready = events(two)
    return blocking, begun == 115, ready, two.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


@case
def datagrams():
    one, two = datagram(), datagram(None)
    two.sendto(b"question", one.getsockname())
    data, source = one.recvfrom(100)
    one.sendto(b"answer", source)
    return (
        data,
        source[0],
        source[2:],
        source[1] == two.getsockname()[1] > 0,
        two.recvfrom(100)[0],
        two.getsockname()[0],
    )


@case
def datagrams_of_both_versions():
    one, four = datagram("::"), socket.socket(type=socket.SOCK_DGRAM)
    four.settimeout(2)
    port = one.getsockname()[1]
    four.sendto(b"four", ("127.0.0.1", port))
    data, source = one.recvfrom(100)
    one.sendto(b"back", source)
    answer = four.recvfrom(100) == (b"back", ("127.0.0.1", port))
    six = datagram("::")
    six.sendto(b"mapped", ("::ffff:127.0.0.1", port))
    return data, source[0], answer, one.recvfrom(100)[1][0]


@case
def datagrams_of_one_version():
    one = datagram("::", only=1)
    four = socket.socket(type=socket.SOCK_DGRAM)
    beside = attempt(lambda: four.bind(("0.0.0.0", one.getsockname()[1])))
    return beside, one.getsockopt(socket.IPPROTO_IPV6, ONLY), attempt(lambda: one.setsockopt(41, ONLY, 0))


@case
def connected_datagrams():
    one, two, stranger = datagram(), datagram(None), datagram()
    two.connect(one.getsockname())
    two.send(b"question")
    data, source = one.recvfrom(100)
    stranger.sendto(b"not for you", source)
    one.sendto(b"answer", source)
    names = source == two.getsockname(), two.getpeername() == one.getsockname(), two.getsockname()[0]
    received = two.recv(100)
    two.settimeout(0.1)
    return data, names, received, attempt(lambda: two.recv(100)), attempt(lambda: one.getpeername())


@case
def the_source_of_a_mapped_peer():
    """glibc's getaddrinfo gives up unless this is so."""
    one = datagram(None)
    one.connect(("::ffff:127.0.0.1", 9))
    return one.getsockname()[0], one.getpeername()[0]


@case
def datagrams_refused_and_disconnected():
    with datagram() as free:
        name = free.getsockname()
    settle()
    one = datagram(None)
    one.connect(name)
    one.send(b"x")
    settle()
    refused = attempt(lambda: one.recv(1)), attempt(lambda: one.send(b"y"))
    gone = libc.connect(one.fileno(), bytes(28), 28)
    return refused[0], gone, attempt(one.getpeername), attempt(lambda: one.send(b"z")), one.getsockname()[0]


@case
def datagram_sizes():
    one, two = datagram(), datagram(None)
    sizes = [0, 1, 1452, 9000, 65000]
    for size in sizes:
        two.sendto(bytes(size), one.getsockname())
    return [len(one.recv(70000)) for _ in sizes]


@case
def control_messages():
    one, two = datagram("::"), datagram(None)
    for wish in (RECVPKTINFO, RECVHOPS, RECVCLASS):
        one.setsockopt(socket.IPPROTO_IPV6, wish, 1)
    name = ("::1", one.getsockname()[1])
    two.setsockopt(socket.IPPROTO_IPV6, HOPS, 33)
    two.setsockopt(socket.IPPROTO_IPV6, CLASS, 0x48)
    two.sendto(b"by options", name)
    first = one.recvmsg(100, 500)
    two.sendmsg([b"by messages"], [(41, 52, struct.pack("i", 7)), (41, 67, struct.pack("i", 0x20))], 0, name)
    second = one.recvmsg(100, 500)
    info = struct.pack("16si", socket.inet_pton(SIX, "::1"), 0)
    one.sendmsg([b"from there"], [(41, PKTINFO, info)], 0, first[3])
    found = [(*message[:2], message[2][:16]) for got in (first, second) for message in got[1]]
    return first[0], second[0], found, two.recvfrom(100)[1][0]


@case
def control_messages_of_the_other_version():
    one, four = datagram("::"), socket.socket(type=socket.SOCK_DGRAM)
    one.setsockopt(socket.IPPROTO_IPV6, RECVPKTINFO, 1)
    four.sendto(b"four", ("127.0.0.1", one.getsockname()[1]))
    return [(level, kind, data[:16]) for level, kind, data in one.recvmsg(100, 500)[1]]


def change(one, name):
    before = attempt(lambda: one.getsockopt(41, name))
    done = attempt(lambda: one.setsockopt(41, name, 1))
    return before, done, attempt(lambda: one.getsockopt(41, name))


@case
def options():
    one, two = datagram(None), socket.socket(SIX)
    found = []
    for name in (ONLY, HOPS, CLASS, 18, 19, 49, 51, 66, 25, 23):
        found += [(name, change(one, name)), (name, change(two, name))]
    return found, attempt(lambda: one.setsockopt(41, HOPS, 256)), attempt(lambda: two.setsockopt(41, 18, 300))


@case
def groups():
    one, two = datagram("::"), datagram(None)
    name = ("ff01::77", one.getsockname()[1])
    request = socket.inet_pton(SIX, "ff01::77") + struct.pack("i", 1)
    one.setsockopt(41, 20, request)
    again = attempt(lambda: one.setsockopt(41, 20, request))
    left = attempt(lambda: one.setsockopt(41, 21, request)), attempt(lambda: one.setsockopt(41, 21, request))
    nobody = attempt(lambda: one.setsockopt(41, 20, bytes(20)))
    return name[0], again, left, nobody, attempt(lambda: two.setsockopt(41, 17, 4711))


@case
def sources_of_groups():
    one = datagram("::")

    def name(text):
        return struct.pack("<H6x", SIX) + socket.inet_pton(SIX, text) + bytes(104)

    found = []
    for option, source in (
        (46, "fd00::1"), (46, "fd00::1"), (46, "fd00::2"), (47, "fd00::2"), (47, "fd00::2"), (43, "fd00::3"), (42, ""),
        (47, "fd00::1"), (47, "fd00::1"), (45, ""), (42, ""), (42, ""), (43, "fd00::3"), (43, "fd00::3"), (44, "fd00::3"),
        (44, "fd00::3"), (46, "fd00::1"), (47, "fd00::1"), (45, ""), (45, ""), (43, "fd00::3"),
    ):  # fmt: skip
        value = struct.pack("<i4x", 1) + name("ff01::77") + (name(source) if source else b"")
        found.append((option, attempt(lambda option=option, value=value: one.setsockopt(41, option, value))))
    wrong = struct.pack("<i4x", 1) + struct.pack("<H", socket.AF_INET) + bytes(126)
    return found, attempt(lambda: one.setsockopt(41, 42, wrong)), attempt(lambda: one.setsockopt(41, 42, wrong[:99]))


@case
def names_by_the_library():
    found = socket.getaddrinfo("::1", 80, type=socket.SOCK_STREAM)
    passive = socket.getaddrinfo(None, 80, SIX, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
    return [one[4] for one in found], [one[4] for one in passive]


main()
