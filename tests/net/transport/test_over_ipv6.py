"""TCP and UDP over IPv6, as RFC 8200 section 8 and RFC 9293 want them."""

from __future__ import annotations

import pytest

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.frame import Frame
from rumpkit.hyper.time import SECOND
from rumpkit.kern.abi.socket import AF_INET6, IPPROTO_IPV6, IPV6_UNICAST_HOPS, SOCK_DGRAM, SOCK_STREAM
from rumpkit.kern.socket import Received, Socket
from rumpkit.kern.wait import Blocked
from rumpkit.net.wire.address import parse_ipv6
from rumpkit.net.wire.checksum import internet_checksum, pseudo_sum
from rumpkit.net.wire.ipv6 import DESTINATION_OPTIONS
from rumpkit.net.wire.ipv6_extensions import emit_options_header
from rumpkit.net.wire.segment import SYN, Segment
from rumpkit.net.wire.tcp import emit_segment, parse_segment
from rumpkit.net.wire.udp import emit_udp_header
from tests.net.lan import Hub
from tests.net.lan6 import STRANGER, Node6, frame6

US, THEM = "fd00::1", "fd00::9"


def lone(mtu: int = 1500) -> Node6:
    """A kernel at US whose link does no checksums, and which knows where THEM is."""
    host = SimHost(seed=1)
    node = Node6(host, "a", (Hub(host, mtu=mtu, features=0), f"{US}/64"))
    host.run(host.now + 20 * SECOND)
    node.do(node.table.add_static, parse_ipv6(THEM), STRANGER, host.now)
    node.forget_sent()
    return node


def socket(node: Node6, kind: int, port: int = 0) -> Socket:
    made = node.do(node.kernel.sockets.make, AF_INET6, kind, 0)
    made.hold()
    node.do(made.bind, (bytes(16), port))
    return made


def checked(protocol: int, data: bytes, at: int) -> bytes:
    """A transport's packet from THEM with its checksum in place."""
    blank = data[:at] + bytes(2) + data[at + 2 :]
    pseudo = pseudo_sum(parse_ipv6(THEM), parse_ipv6(US), protocol, len(data))
    value = int(internet_checksum(blank, 0, len(blank), pseudo)) or 0xFFFF
    return data[:at] + value.to_bytes(2, "big") + data[at + 2 :]


def datagram(text: bytes, port: int = 7) -> bytes:
    return checked(17, emit_udp_header(9, port, len(text)) + text, 6)


def transports(node: Node6, protocol: int) -> list[bytes]:
    """What was sent of a protocol."""
    return [
        frame.linear()[54 : int(header.end)] for _, header, frame in node.packets() if header.next_header == protocol
    ]


def drain(node: Node6, server: Socket) -> list[bytes]:
    found: list[bytes] = []
    while True:
        got = node.do(server.receive, 1000, 0, node.host.now)
        if isinstance(got, Blocked):
            return found
        assert isinstance(got, Received)
        found.append(got.data)


@pytest.mark.rfc("8200", "8.1-a", "8.1-e")
def test_datagrams_need_a_right_checksum():
    a = lone()
    server = socket(a, SOCK_DGRAM, 7)
    good = datagram(b"good")
    for data in (good[:6] + bytes(2) + good[8:], good[:8] + b"G" + good[9:]):
        a.inject(frame6(17, data, THEM, US))
    assert drain(a, server) == []
    assert a.counter("udp.bad_checksum") == 2
    a.inject(frame6(17, good, THEM, US))
    assert drain(a, server) == [b"good"]


@pytest.mark.rfc("8200", "8.1-b")
def test_extension_headers_are_not_in_a_checksum():
    a = lone()
    server = socket(a, SOCK_DGRAM, 7)
    a.inject(frame6(DESTINATION_OPTIONS, emit_options_header(17, b"") + datagram(b"behind"), THEM, US))
    assert drain(a, server) == [b"behind"]


def test_who_chooses_no_hop_limit_has_the_sysctls():
    a = lone()
    client = socket(a, SOCK_DGRAM, 4000)
    for hops in (64, 99):
        a.kernel.sysctl.set("net.ip6.hop_limit", hops)
        a.do(client.send, b"x", 0, 0, (parse_ipv6(THEM), 9), a.host.now)
        assert [header.hop_limit for _, header, _ in a.packets() if header.next_header == 17] == [hops]
        assert client.get_option(IPPROTO_IPV6, IPV6_UNICAST_HOPS) == bytes([hops, 0, 0, 0])
        a.forget_sent()


@pytest.mark.rfc("8200", "8.1-a", "8.1-c", "8.1-d")
def test_datagrams_are_sent_with_a_checksum_that_is_never_zero():
    a = lone()
    client = socket(a, SOCK_DGRAM, 4000)
    a.do(client.send, bytes(2), 0, 0, (parse_ipv6(THEM), 9), a.host.now)
    [first] = transports(a, 17)
    rest = 0xFFFF - int.from_bytes(first[6:8], "big")  # the sum with 0 as text
    a.forget_sent()
    text = (0xFFFF - rest).to_bytes(2, "big")
    a.do(client.send, text, 0, 0, (parse_ipv6(THEM), 9), a.host.now)
    [data] = transports(a, 17)
    assert data[6:8] == b"\xff\xff"
    pseudo = pseudo_sum(parse_ipv6(US), parse_ipv6(THEM), 17, len(data))
    assert internet_checksum(data, 0, len(data), pseudo) == 0


@pytest.mark.rfc("8200", "8.3-a")
@pytest.mark.rfc("9293", "MUST-67")
@pytest.mark.parametrize("mtu", [1280, 1500])
def test_the_mss_is_the_mtu_less_sixty(mtu):
    a = lone(mtu)
    client = socket(a, SOCK_STREAM)
    a.do(client.connect, (parse_ipv6(THEM), 80), a.host.now)
    [data] = transports(a, 6)
    segment = parse_segment(Frame(data), 0, len(data))
    assert segment is not None and segment.flags & SYN and segment.mss == mtu - 60


@pytest.mark.rfc("9293", "MUST-15")
def test_who_tells_no_mss_takes_1220_bytes():
    a = lone()
    server = socket(a, SOCK_STREAM, 80)
    a.do(server.listen, 5)
    syn = checked(6, emit_segment(Segment(5000, 0, SYN, 60_000), 1000, 80, 0).linear(), 16)
    a.inject(frame6(6, syn, THEM, US))
    [answer] = transports(a, 6)
    ack = int.from_bytes(answer[4:8], "big") + 1
    a.inject(frame6(6, checked(6, emit_segment(Segment(5001, ack, 16, 60_000), 1000, 80, 0).linear(), 16), THEM, US))
    accepted = a.do(server.accept, a.host.now)
    assert isinstance(accepted, Socket)
    accepted.hold()
    a.forget_sent()
    a.do(accepted.send, bytes(5000), 0, 0, None, a.host.now)
    a.host.run(a.host.now + SECOND // 10)
    assert max(len(data) - (data[12] >> 4) * 4 for data in transports(a, 6)) == 1220


@pytest.mark.rfc("9293", "MUST-46")
def test_nobody_connects_to_a_group():
    a = lone()
    client = socket(a, SOCK_STREAM)
    with pytest.raises(OSError):
        a.do(client.connect, (parse_ipv6("ff02::1"), 80), a.host.now)
    assert transports(a, 6) == []
