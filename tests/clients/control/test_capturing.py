"""Captures over the control socket: filters, limits, clients that go or don't read."""

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit import Kernel
from rumpkit.clients.control import session
from rumpkit.clients.control.capturing import Filter
from rumpkit.clients.control.client import connect
from rumpkit.clients.control.protocol import ControlError
from rumpkit.net.transport.tcp.notes import connection_key
from rumpkit.net.wire.arp import REQUEST, ArpPacket
from rumpkit.net.wire.ethernet import ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, emit_ethernet
from rumpkit.net.wire.ipv4 import emit_ipv4_header
from tests.clients.control.kernels import runtime  # noqa: F401 (a fixture)
from tests.clients.control.test_pinging import collect
from tests.net.link.test_pcapng import blocks, comments, packets

A, B, C = b"\x0a\0\0\1", b"\x0a\0\0\2", b"\x0a\0\0\3"
V4, V6, ARP = (emit_ethernet(bytes(6), bytes(6), kind) for kind in (ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_ARP))


def v4(protocol, ports=b"\0\x50\x10\0", fragment=0):
    return V4 + emit_ipv4_header(A, B, protocol, 20, 0, fragment, 64, 0) + ports + bytes(16)


TCP6 = V6 + b"\x60\0\0\0\0\x14\6\x40" + A * 4 + B * 4 + b"\0\x50\x10\0" + bytes(16)
WHO_HAS = ARP + ArpPacket(REQUEST, bytes(6), A, bytes(6), C).emit()


@pytest.mark.parametrize(
    ("wanted", "heads", "others"),
    [
        (Filter("", b"", 0), [v4(6), WHO_HAS, b"junk"], []),
        (Filter("tcp", b"", 0), [v4(6), TCP6], [v4(17), WHO_HAS, b"junk"]),
        (Filter("ip", b"", 0), [v4(6), v4(1)], [TCP6, WHO_HAS]),
        (Filter("ip6", b"", 0), [TCP6], [v4(6)]),
        (Filter("arp", b"", 0), [WHO_HAS], [v4(6)]),
        (Filter("", A, 0), [v4(6), WHO_HAS], [TCP6]),
        (Filter("", B, 0), [v4(17)], [WHO_HAS]),
        (Filter("", C, 0), [WHO_HAS], [v4(17)]),
        (Filter("", B * 4, 0), [TCP6], [v4(6)]),
        (Filter("", b"", 80), [v4(6), v4(17), TCP6], [v4(1), WHO_HAS, v4(6, b"\0\x51\x10\0"), v4(17, fragment=1)]),
        (Filter("udp", b"", 0x1000), [v4(17)], [v4(6)]),
        (Filter("", A, 81), [v4(6, b"\x10\0\0\x51")], [v4(6)]),
    ],
)
def test_filters(wanted, heads, others):
    assert [wanted.wants(head) for head in heads] == [True] * len(heads)
    assert [wanted.wants(head) for head in others] == [False] * len(others)


@given(st.binary(max_size=80), st.sampled_from([b"", V4, V6, ARP]), st.booleans())
def test_no_frame_is_too_strange_to_be_looked_at(rest, link, inbound):
    head = link + rest
    for wanted in (Filter("tcp", A, 80), Filter("", B * 4, 0), Filter("arp", A, 0), Filter("", b"", 7)):
        assert wanted.wants(head) in (True, False)
    assert len(connection_key(head, inbound)) in (0, 12, 36)


@pytest.fixture
def lan():
    with (
        Kernel(net="switch:lan", address="10.0.0.1/24", control=True) as kernel,
        Kernel(net="switch:lan", address="10.0.0.2/24") as peer,
        connect() as control,
    ):
        yield kernel, peer, control


def talk(kernel, peer, data=b"x" * 1000, port=80):
    """A TCP connection with some bytes, and a datagram."""
    with kernel.process() as here, peer.process() as there:
        listener = there.listen("tcp", port)
        with here.connect("tcp", ("10.0.0.2", port)) as client, listener, listener.accept()[0] as server:
            for start in range(0, len(data), 50_000):
                part = data[start : start + 50_000]
                client.sendall(part)
                size = 0
                while size < len(part):
                    size += len(server.recv(65536))
        with here.socket("udp") as datagram:
            datagram.sendto(b"y", ("10.0.0.2", 9))


def test_a_whole_file_comes_with_states_as_comments(lan):
    kernel, peer, control = lan
    stream = control.stream("capture", interface="vif0", protocol="tcp")
    parts = [next(stream)]
    talk(kernel, peer)
    control.cancel()
    rest, result = collect(stream)
    data = b"".join(parts + rest)
    found = list(packets(data))
    assert len(found) == result["frames"] >= 5
    assert result["skipped"] == 0
    assert list(blocks(data))[-1][0] == 5  # the statistics, at the end
    said = [one.decode() for one in comments(data) if one]
    assert len(said) == len(found)
    assert said[0].startswith("TCP SYN-SENT cwnd=")
    assert any("TCP ESTABLISHED" in one and "flight=1000" in one for one in said)


def test_after_so_many_frames_it_ends_by_itself(lan):
    kernel, peer, control = lan
    stream = control.stream("capture", count=2, comments=False)
    first = next(stream)
    talk(kernel, peer)
    rest, result = collect(stream)
    data = b"".join([first, *rest])
    assert result["frames"] == len(list(packets(data))) == 2
    assert set(comments(data)) == {None}
    assert not any(row["captured"] for row in control.call("interfaces"))


def test_a_client_that_goes_ends_it(lan):
    kernel, peer, control = lan
    with connect() as other:
        next(other.stream("capture"))
        assert all(row["captured"] for row in control.call("interfaces"))
    control.call("info")
    assert not any(row["captured"] for row in control.call("interfaces"))
    talk(kernel, peer)


def test_a_client_that_does_not_read_loses_frames_and_nothing_waits(lan, monkeypatch):
    kernel, peer, control = lan
    monkeypatch.setattr(session, "MAX_WAITING", 1 << 20)
    with connect() as lazy:
        stream = lazy.stream("capture", interface="vif0")
        parts = [next(stream)]
        talk(kernel, peer, b"x" * 4_000_000)
        assert max(one._size for one in kernel._control._sessions) <= (1 << 20) + 200
        lazy.cancel()
        rest, result = collect(stream)
        data = b"".join(parts + rest)
        assert result["skipped"] > 0
        assert len(list(packets(data))) == result["frames"] > 0
    assert control.call("info")


def test_clients_that_do_not_read_have_a_limit_together(lan, monkeypatch):
    kernel, peer, control = lan
    monkeypatch.setattr(session, "MAX_WAITING_IN_ALL", 1 << 20)
    with ExitStack() as stack:
        streams = []
        for _ in range(4):
            lazy = stack.enter_context(connect())
            streams.append((lazy, stream := lazy.stream("capture", interface="vif0")))
            next(stream)
        talk(kernel, peer, b"x" * 4_000_000)
        server = kernel._control
        assert server.waiting == sum(one._size for one in server._sessions)
        assert server.waiting <= (1 << 20) + 4 * 200
        for lazy, _ in streams:
            lazy.cancel()
        assert all(collect(stream)[1]["skipped"] > 0 for _, stream in streams)
    assert control.call("info")
    assert server.waiting == sum(one._size for one in server._sessions)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"interface": "eth9"}, "no interface 'eth9'; there are: lo, vif0"),
        ({"protocol": "sctp"}, "cannot filter by 'sctp'; known: arp, ip"),
        ({"host": "here"}, "'here' is not"),
        ({"port": 65536}, "port must be from 0 to 65535"),
        ({"snaplen": 1}, "snaplen must be from 14"),
    ],
)
def test_what_cannot_be_captured(lan, parameters, message):
    with pytest.raises(ControlError, match=message):
        collect(lan[2].stream("capture", **parameters))


def test_a_capture_that_ends_takes_no_frame_from_another(lan):
    kernel, _, control = lan
    whole = control.stream("capture", interface="vif0", protocol="udp")
    parts = [next(whole)]
    with connect() as other:
        short = other.stream("capture", interface="vif0", protocol="udp", count=1)
        next(short)
        with connect() as third:  # hears of each frame after the one that ends
            last = third.stream("capture", interface="vif0", protocol="udp", count=2)
            late = [next(last)]
            with kernel.process() as here, here.socket("udp") as datagram:
                for _ in range(2):
                    datagram.sendto(b"y", ("10.0.0.2", 9))
            rest, result = collect(last)
            assert len(list(packets(b"".join(late + rest)))) == result["frames"] == 2
        assert collect(short)[1]["frames"] == 1
    control.cancel()
    rest, result = collect(whole)
    assert len(list(packets(b"".join(parts + rest)))) == result["frames"] == 2
