"""How long data may stay unacknowledged: the user's wish, and the peer's (RFC 5482)."""

import pytest

from rumpkit.kern.abi.errno import ETIMEDOUT
from rumpkit.net.transport.tcp.options import TcpOptions
from rumpkit.net.transport.tcp.user_timeout import decode, encode
from rumpkit.net.wire.segment import Segment
from rumpkit.net.wire.tcp_options import emit_options, parse_options
from tests.net.transport.tcp.script import Ack, Data, Rst, Syn, SynAck
from tests.net.transport.tcp.wire import Wire

ON = {"user_timeout_option": 1}


@pytest.mark.parametrize(
    ("milliseconds", "field"),
    [(1, 1), (1000, 1), (1001, 2), (32_767_000, 32767), (32_767_001, 0x8000 | 547), (0x7FFFFFFF, 0x8000 | 32767)],
)
def test_the_field(milliseconds, field):
    assert encode(milliseconds) == field
    assert decode(field) >= min(milliseconds, 32767 * 60_000)


def test_the_option_there_and_back():
    segment = Segment(1, 0, 2, 0)
    segment.mss = 1460
    segment.has_timestamp = segment.sack_permitted = True
    segment.window_scale = 7
    segment.fast_open = b"12345678"
    segment.user_timeout = 0x8123
    data = emit_options(segment)
    assert len(data) <= 40
    again = Segment(1, 0, 2, 0)
    assert parse_options(again, data, 0, len(data))
    assert again.user_timeout == 0x8123
    assert again.fast_open == b"12345678"


def connected(own=0, **settings):
    wire = Wire(retries=127, **settings)
    listener = wire.listener(user_timeout=own)
    return wire, listener, wire.peer()


def test_off_by_default():
    wire, listener, peer = connected(30_000)
    peer.send(Syn(user_timeout=7))
    assert peer.out[0].user_timeout == -1
    peer.expect(SynAck())
    peer.send(Ack(1, 1, user_timeout=7))
    assert wire.accept(listener).channel.connection.block.peer_timeout == 0


def test_the_users_timeout_goes_with_the_syn_ack():
    _, _, peer = connected(30_000, **ON)
    peer.send(Syn())
    assert peer.out[0].user_timeout == 30


def test_and_with_the_syn():
    wire = Wire(**ON)
    socket = wire.socket()
    socket.own_options().user_timeout = 90_000
    peer = wire.peer(port=9, to=6000)
    wire.do(socket.bind, (bytes(4), 6000))
    wire.do(socket.connect, (peer.address, 9), wire.now)
    assert peer.out[0].user_timeout == 90


def test_a_new_timeout_is_told_at_once():
    wire, listener, peer = connected(**ON)
    peer.open()
    server = wire.accept(listener)
    server.own_options().user_timeout = 40_000
    wire.do(server.options_changed)
    assert peer.out[0].user_timeout == 40
    peer.expect(Ack(1, 1))
    wire.do(server.options_changed)
    peer.silent()


@pytest.mark.parametrize(
    ("field", "milliseconds"), [(1, 100_000), (200, 200_000), (0x8000 | 30, 1_800_000), (32767, 3_600_000)]
)
def test_the_peers_timeout_within_limits(field, milliseconds):
    wire, listener, peer = connected(**ON)
    peer.send(Syn(user_timeout=field))
    peer.expect(SynAck())
    peer.send(Ack(1, 1))
    assert wire.accept(listener).channel.connection.block.peer_timeout == milliseconds


def test_the_peer_may_change_its_mind():
    wire, listener, peer = connected(**ON)
    peer.open()
    block = wire.accept(listener).channel.connection.block
    peer.send(Ack(1, 1, user_timeout=300))
    assert block.peer_timeout == 300_000
    peer.send(Data(1, b"x", user_timeout=400))
    assert block.peer_timeout == 400_000
    peer.send(Ack(1 << 20, 1, user_timeout=500))
    assert block.peer_timeout == 400_000, "a segment that is not acceptable says nothing"


@pytest.mark.parametrize(("own", "peers", "ends"), [(0, 200, 200), (30_000, 200, 30), (300_000, 150, 300)])
def test_when_a_connection_is_given_up(own, peers, ends):
    """The user's own timeout counts, the peer's where there is none."""
    wire, listener, peer = connected(own, **ON)
    peer.send(Syn(user_timeout=peers))
    peer.expect(SynAck())
    peer.send(Ack(1, 1))
    server = wire.accept(listener)
    wire.do(server.send, b"x", 0, 0, None, wire.now)
    wire.run(ends * 1000 - 2000)
    assert server.reset_by() == 0
    wire.run(130_000)
    assert server.reset_by() == ETIMEDOUT
    peer.out.clear()
    peer.send(Ack(1, 2))
    peer.expect(Rst(2))


def test_full_segments_do_not_grow_by_it():
    """Only segments without data carry it: a full one would exceed the path's MTU."""
    wire, listener, peer = connected(**ON)
    peer.open()
    server = wire.accept(listener)
    wire.do(server.send, bytes(5000), 0, 0, None, wire.now)
    server.own_options().user_timeout = 40_000
    wire.do(server.options_changed)
    assert all(segment.user_timeout == -1 for segment in peer.out if segment.size)
    assert [segment.user_timeout for segment in peer.out if not segment.size] == [40]


def test_the_copy_of_the_options_has_it():
    options = TcpOptions()
    options.user_timeout = 5
    assert options.copy().user_timeout == 5
