"""SYN cookies: handshakes of which nothing is kept (RFC 4987 section 3.6)."""

import pytest

from rumpkit.hyper.time import MILLISECOND
from rumpkit.net.transport.tcp.cookies import MSS_TABLE, PERIOD, SynCookies
from rumpkit.net.wire.segment import ECE, NO_SCALE, SYN, Segment
from tests.net.transport.tcp.script import Ack, Data, Fin, Rst, Seg, Syn, SynAck
from tests.net.transport.tcp.wire import Wire

KEY = bytes(range(12))


class Dice:
    """Random bytes that differ from call to call."""

    def __init__(self):
        self.calls = 0

    def __call__(self, size):
        self.calls += 1
        return bytes([self.calls]) * size


def crowded(**settings):
    """A listener that answers by cookies: one half-open connection is all it takes."""
    wire = Wire(max_syn_backlog=1, **settings)
    listener = wire.listener()
    wire.peer("10.9.9.9").send(Syn())
    wire.peer("10.9.9.9").expect(SynAck())
    return wire, listener


# The numbers themselves


@pytest.mark.parametrize(
    ("mss", "kept"), [(64, 64), (535, 64), (536, 536), (1460, 1460), (1500, 1460), (8960, 8940), (65495, 32768)]
)
def test_a_cookie_brings_its_mss_back_rounded_down(mss, kept):
    cookies = SynCookies(Dice())
    cookie = cookies.make(KEY, 77, mss, 10**12)
    assert cookies.check(KEY, 77, cookie, 10**12) == kept
    assert kept in MSS_TABLE


def test_a_cookie_is_good_for_its_connection_only():
    cookies = SynCookies(Dice())
    cookie = cookies.make(KEY, 77, 1460, 0)
    assert not cookies.check(KEY[:-1] + b"x", 77, cookie, 0)
    assert not cookies.check(KEY, 78, cookie, 0)
    assert not SynCookies(Dice()).check(KEY, 77, cookie, 0)
    wrong = sum(1 for step in range(1, 20_000) if cookies.check(KEY, 77, (cookie + step * 7919) % 2**32, 0))
    assert wrong <= 2


def test_a_cookie_lives_through_one_change_of_secrets():
    dice = Dice()
    cookies = SynCookies(dice)
    cookie = cookies.make(KEY, 1, 1460, PERIOD - 1)
    assert dice.calls == 2
    second = cookies.make(KEY, 1, 1460, PERIOD)
    assert dice.calls == 3
    assert cookies.check(KEY, 1, cookie, 2 * PERIOD - 1) == cookies.check(KEY, 1, second, 2 * PERIOD - 1) == 1460
    assert not cookies.check(KEY, 1, cookie, 2 * PERIOD)
    cookies.make(KEY, 1, 1460, 2 * PERIOD)
    assert not cookies.check(KEY, 1, cookie, PERIOD), "its secret is forgotten"


def test_cookies_are_expected_for_two_periods_after_the_last():
    cookies = SynCookies(Dice())
    assert not cookies.expected(5)
    cookies.make(KEY, 1, 1460, 5)
    assert cookies.expected(4 + 2 * PERIOD)
    assert not cookies.expected(5 + 2 * PERIOD)


# Through a kernel


def test_a_handshake_by_cookie():
    wire, listener = crowded()
    peer = wire.peer()
    peer.send(Syn(mss=1400))
    peer.expect(SynAck(0, 1, mss=1460, scale=NO_SCALE, ts=None))
    assert len(listener.listener.half_open) == 1, "nothing was kept of it"
    assert len(wire.tcp.channels) == 1
    peer.send(Ack(1, 1))
    peer.silent()
    server = wire.accept(listener)
    assert server.peer_address() == (peer.address, peer.port)
    assert server.channel.connection.block.snd_mss == 1380
    peer.send(Data(1, b"hello"))
    wire.run(50)
    peer.expect(Ack(1, 6))
    assert wire.do(server.receive, 100, 0, wire.now).data == b"hello"
    wire.do(server.send, b"world", 0, 0, None, wire.now)
    peer.expect(Data(1, b"world", ack=6))
    assert wire.counter("syncookies_sent") == wire.counter("syncookies_received") == 1


def test_data_with_the_ack_that_brings_the_cookie():
    wire, listener = crowded()
    peer = wire.peer()
    peer.send(Syn())
    peer.expect(SynAck())
    peer.send(Data(1, b"GET /"))
    wire.run(50)
    peer.expect(Ack(1, 6))
    assert wire.do(wire.accept(listener).receive, 100, 0, wire.now).data == b"GET /"


def test_the_ack_was_lost_and_data_brings_the_cookie_and_a_fin():
    wire, listener = crowded()
    peer = wire.peer()
    peer.send(Syn())
    peer.expect(SynAck())
    wire.run(3000)
    peer.silent()
    peer.send(Fin(1, data=b"x"))
    peer.expect(Ack(1, 3))
    server = wire.accept(listener)
    assert wire.do(server.receive, 100, 0, wire.now).data == b"x"
    assert server.at_end()


@pytest.mark.parametrize(("scale", "sack"), [(7, True), (0, False), (14, True), (NO_SCALE, True)])
def test_options_ride_in_the_timestamp(scale, sack):
    wire, listener = crowded()
    peer = wire.peer()
    clock = wire.now // MILLISECOND
    peer.send(Syn(scale=scale, sack=sack, ts=(1000, 0)))
    answer = peer.expect(SynAck(0, 1))[0]
    assert (answer.fields["scale"] != NO_SCALE) == (scale != NO_SCALE)
    stamp, echo = answer.fields["ts"]
    assert echo == 1000
    assert stamp & 0x3F == (scale if scale >= 0 else 0x0F) | (0x10 if sack else 0)
    wire.run(20)
    peer.send(Ack(1, 1, ts=(1020, stamp), window=500))
    block = wire.accept(listener).channel.connection.block
    assert block.peer_scales == (scale != NO_SCALE)
    assert block.snd_wnd == 500 << max(scale, 0)
    assert block.timestamps
    assert block.ts_recent == 1020
    assert 0 <= (block.clock(clock * MILLISECOND) - stamp) % 2**32 < 64, "not later than the clock, not much earlier"


def test_without_timestamps_the_options_are_not_offered():
    wire, _ = crowded()
    wire.peer().send(Syn(scale=7, sack=True))
    wire.peer().expect(SynAck(0, 1, scale=NO_SCALE, sack=False))


def test_a_forged_cookie_is_refused():
    wire, listener = crowded()
    peer = wire.peer()
    peer.send(Syn())
    peer.expect(SynAck())
    peer.send(Ack(1, 1000))
    peer.expect(Rst(1000))
    peer.send(Ack(2, 1))
    peer.expect(Rst(1))
    assert wire.counter("syncookies_failed") == 2
    assert wire.accept(listener) is None


def test_a_stale_cookie_is_refused():
    wire, listener = crowded()
    peer = wire.peer()
    peer.send(Syn())
    peer.expect(SynAck())
    wire.run(200_000)
    peer.send(Ack(1, 1))
    peer.expect(Rst(1))
    assert wire.accept(listener) is None


def test_an_ack_out_of_the_blue_costs_no_hashing_when_no_cookie_is_out():
    wire = Wire()
    wire.listener()
    wire.peer().send(Ack(1, 1))
    wire.peer().expect(Rst(1))
    assert wire.counter("syncookies_failed") == 0


def test_a_reset_or_a_syn_ack_brings_no_cookie():
    wire, listener = crowded()
    peer = wire.peer()
    peer.send(Syn())
    peer.expect(SynAck())
    peer.send(Rst(1, 1))
    peer.silent()
    peer.send(Seg("SA", 1, 1))
    peer.expect(Rst(1))
    assert wire.accept(listener) is None


def test_no_cookies():
    """0: what doesn't fit is dropped, as if it had been lost."""
    wire, _ = crowded(syncookies=0)
    wire.peer().send(Syn())
    wire.peer().silent()
    assert wire.counter("listen_drops") == 1


def test_always_cookies():
    """2: no half-open connection is ever kept."""
    wire = Wire(syncookies=2)
    listener = wire.listener()
    wire.peer().open()
    assert wire.accept(listener) is not None
    assert wire.counter("syncookies_received") == 1


def test_a_full_accept_queue_sends_no_cookies_and_takes_none():
    wire = Wire(syncookies=2)
    listener = wire.listener(backlog=0)
    late = wire.peer(port=5001)
    late.send(Syn())
    late.expect(SynAck())
    wire.peer(port=5000).open()
    late.send(Ack(1, 1))
    late.silent()
    assert wire.counter("listen_overflows") == 1
    wire.peer(port=5002).send(Syn())
    wire.peer(port=5002).silent()
    wire.accept(listener)
    late.send(Data(1, b"again"))
    assert wire.accept(listener) is not None


def test_accepted_by_cookie_has_the_listeners_options():
    wire = Wire(syncookies=2)
    listener = wire.listener(nodelay=True, max_segment=700, receive_buffer=5000)
    wire.peer().send(Syn())
    wire.peer().expect(SynAck(0, 1, mss=700, window=5000))
    wire.peer().send(Ack(1, 1))
    server = wire.accept(listener)
    assert server.options.nodelay
    assert server.channel.connection.block.rcv_edge - server.channel.connection.block.rcv_nxt == 5000
    assert server.channel.connection.block.snd_mss == 700


def test_the_same_syn_gets_the_same_cookie():
    wire = Wire(syncookies=2)
    wire.listener()
    peer = wire.peer()
    peer.send(Syn())
    peer.expect(SynAck())
    first = peer.theirs
    wire.run(10)
    peer.send(Syn())
    peer.expect(SynAck())
    assert peer.theirs == first


def test_a_new_syn_for_what_waits_in_time_wait_may_get_a_cookie():
    wire = Wire(syncookies=2)
    listener = wire.listener()
    peer = wire.peer()
    peer.open()
    server = wire.accept(listener)
    wire.close(server)
    peer.expect(Fin(1, 1))
    peer.send(Fin(1, 2))
    peer.expect(Ack(2, 2))
    peer.send(Seg("S", 100_000))
    peer.expect(SynAck(0, 100_001))
    assert not wire.tcp.channels
    peer.send(Ack(100_001, 1))
    assert wire.accept(listener) is not None


def test_ecn_is_remembered():
    """The SYN's ECN bits are in the timestamp too."""
    wire = Wire(syncookies=2)
    wire.listener()
    peer = wire.peer()
    segment = Segment(peer.iss, 0, SYN | ECE | 0x80, 1000)
    segment.has_timestamp = True
    segment.ts_value = 5
    wire.inject(peer.address, peer.port, 80, segment)
    wire.run(0)
    assert peer.expect(Seg("SAE", 0, 1))[0].fields["ts"][0] & 0x3F == 0x2F
