"""TIME-WAIT without a socket: a small record that answers like the connection it was (RFC 9293 3.10.7.4, RFC 1337, RFC 6191)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rumpkit.kern.abi.errno import EADDRINUSE
from tests.net.transport.tcp.script import Ack, Data, Fin, Rst, Seg, Syn, SynAck
from tests.net.transport.tcp.wire import Wire


def waiting(ts=False, listen=True, **settings):
    """A kernel with one connection in TIME-WAIT, which it closed first, and its peer."""
    wire = Wire(**settings)
    listener = wire.listener()
    peer = wire.peer()
    opened = wire.now // 1_000_000
    stamp = {"ts": (1000, 0)} if ts else {}
    peer.open(**stamp)
    server = wire.accept(listener)
    wire.close(server)
    fin = peer.expect(Fin(1, 1))[0]
    peer.send(Fin(1, 2, **({"ts": (1002, fin.fields["ts"][0])} if ts else {})))
    peer.expect(Ack(2, 2))
    if not listen:
        wire.close(listener)
    assert wire.now // 1_000_000 - opened < 10
    assert not wire.tcp.channels
    assert wire.tcp.time_waits == len(wire.tcp.waits) == 1
    return wire, peer, listener


def test_it_lasts_as_long_as_it_says():
    wire, _, _ = waiting()
    wire.run(59_000)
    assert wire.tcp.time_waits == 1
    wire.run(2000)
    assert wire.tcp.time_waits == 0


def test_a_retransmitted_fin_is_acknowledged_and_the_wait_starts_anew():
    wire, peer, _ = waiting()
    wire.run(30_000)
    peer.send(Fin(1, 2))
    peer.expect(Ack(2, 2, window=65534))
    wire.run(40_000)
    assert wire.tcp.time_waits == 1
    wire.run(80_000)
    assert wire.tcp.time_waits == 0


def test_old_data_is_answered_and_new_data_is_not_taken():
    wire, peer, _ = waiting()
    wire.run(1000)
    peer.send(Data(0, b"x", ack=2))
    peer.expect(Ack(2, 2))
    peer.send(Data(2, b"beyond the FIN", ack=2))
    peer.silent()
    peer.send(Data(100_000, b"outside", ack=2))
    peer.expect(Ack(2, 2))


def test_bare_acks_are_answered_rarely():
    wire, peer, _ = waiting()
    wire.run(1000)
    for _ in range(50):
        peer.send(Ack(-5, 2))
        wire.run(10)
    peer.expect(Ack(2, 2))
    peer.send(Ack(2, 2), Ack(2, 1), Seg("", 2))
    peer.silent()


@pytest.mark.parametrize("seq", [2, 3, 60_000])
def test_a_reset_does_not_end_it(seq):
    """RFC 1337; where it is not exact it is challenged (RFC 5961)."""
    wire, peer, _ = waiting()
    wire.run(1000)
    peer.send(Rst(seq))
    peer.expect(*([Ack(2, 2)] if seq > 2 else []))
    assert wire.tcp.time_waits == 1
    assert wire.counter("resets_received") == (1 if seq == 2 else 0)


def test_a_reset_ends_it_where_rfc1337_is_off():
    wire, peer, _ = waiting(rfc1337=0)
    peer.send(Rst(3))
    assert wire.tcp.time_waits == 1
    peer.send(Rst(2))
    assert wire.tcp.time_waits == 0


def test_an_ack_of_what_was_never_sent_is_challenged():
    wire, peer, _ = waiting()
    wire.run(1000)
    peer.send(Ack(2, 3))
    peer.expect(Ack(2, 2))
    assert wire.counter("challenge_acks") == 1


@pytest.mark.parametrize(
    ("old", "seq", "stamp", "opens"),
    [
        # RFC 6191 section 2, without timestamps in the old connection, ...
        (False, 3, None, True),
        (False, 2, None, False),
        (False, -1000, None, False),
        (False, -1000, 5, True),
        # ... and with them: greater, equal, less, and none any more.
        (True, -1000, 1003, True),
        (True, 3, 1002, True),
        (True, -1000, 1002, False),
        (True, 3, 1001, False),
        (True, 3, None, True),
        (True, -1000, None, False),
    ],
)
def test_which_syn_opens_a_new_connection(old, seq, stamp, opens):
    wire, peer, listener = waiting(ts=old)
    wire.run(1000)
    before = peer.theirs
    peer.send(Seg("S", seq, **({} if stamp is None else {"ts": (stamp, 0)})))
    if not opens:
        peer.expect(Ack(2, 2))
        assert wire.tcp.time_waits == 1
        return
    peer.expect(SynAck(0, seq + 1))
    assert (peer.theirs - before) % 2**32 == 65537 + 2
    assert wire.tcp.time_waits == 0
    peer.send(Ack(seq + 1, 1, **({} if stamp is None else {"ts": (stamp + 1, 0)})))
    assert wire.accept(listener) is not None


def test_timestamps_that_we_would_not_take_count_no_more():
    wire, peer, _ = waiting(ts=True)
    wire.sysctl("timestamps", 0)
    wire.run(1000)
    peer.send(Seg("S", -1000, ts=(5000, 0)))
    peer.expect(Ack(2, 2))


def test_a_new_syn_for_a_port_that_nobody_listens_on():
    """Nobody is there to take it: the old connection goes on waiting."""
    wire, peer, _ = waiting(listen=False)
    wire.run(1000)
    peer.send(Seg("S", 1000))
    peer.expect(Ack(2, 2))
    assert wire.tcp.time_waits == 1


def test_a_full_listener_leaves_it_alone():
    wire, peer, listener = waiting()
    listener.listener.backlog = -1
    peer.send(Seg("S", 1000))
    peer.silent()
    assert wire.tcp.time_waits == 1


def test_old_timestamps_are_answered():
    wire, peer, _ = waiting(ts=True)
    wire.run(1000)
    peer.send(Data(2, b"x", ack=2, ts=(5, 0)))
    answer = peer.expect(Ack(2, 2))[0]
    assert answer.fields["ts"][1] == 1002
    assert wire.counter("paws_drops") == 1


def test_the_port_is_held_until_the_end():
    """The listener's binding, which the connection shares."""
    wire, _, listener = waiting()
    wire.close(listener)
    with pytest.raises(OSError) as caught:
        wire.listener()
    assert caught.value.errno == EADDRINUSE
    wire.run(61_000)
    wire.listener()


def test_a_connection_with_a_socket_waits_with_it():
    """Until the socket goes: then it's a record like any other."""
    wire = Wire()
    listener = wire.listener()
    peer = wire.peer()
    peer.open()
    server = wire.accept(listener)
    wire.do(server.finish, wire.now)
    peer.expect(Fin(1, 1))
    peer.send(Fin(1, 2))
    peer.expect(Ack(2, 2))
    assert len(wire.tcp.channels) == wire.tcp.time_waits == 1
    wire.run(10_000)
    wire.close(server)
    assert not wire.tcp.channels
    assert wire.tcp.time_waits == 1
    peer.send(Fin(1, 2))
    peer.expect(Ack(2, 2))
    wire.run(130_000)
    assert wire.tcp.time_waits == 0


@pytest.mark.parametrize("how", ["reopened", "one too many"])
def test_a_socket_whose_wait_was_cut_short_leaves_no_orphan(how):
    wire = Wire(max_time_wait=0 if how == "one too many" else 10)
    listener = wire.listener()
    peer = wire.peer()
    peer.open()
    server = wire.accept(listener)
    wire.do(server.finish, wire.now)
    peer.expect(Fin(1, 1))
    peer.send(Fin(1, 2))
    peer.expect(Ack(2, 2))
    if how == "reopened":
        peer.send(Syn(3))
        peer.expect(SynAck(0, 4))
        peer.send(Ack(4, 1))
    assert wire.do(server.receive, 10, 0, wire.now).data == b""
    wire.close(server)
    assert wire.tcp.orphans == wire.tcp.time_waits == 0
    assert len(wire.tcp.channels) == (1 if how == "reopened" else 0)


def test_there_is_a_limit():
    wire = Wire(max_time_wait=3)
    listener = wire.listener()
    for port in range(5000, 5010):
        peer = wire.peer(port=port)
        peer.open()
        wire.close(wire.accept(listener))
        peer.expect(Fin(1, 1))
        peer.send(Fin(1, 2))
    assert wire.tcp.time_waits == 3
    assert wire.counter("time_wait_overflows") == 7
    assert not wire.tcp.channels


def test_many_reopened_ones_leave_nothing_behind():
    wire = Wire()
    listener = wire.listener()
    peer = wire.peer()
    seq = 0
    for _ in range(300):
        peer.send(Syn(seq))
        peer.expect(SynAck(0, seq + 1))
        peer.send(Ack(seq + 1, 1))
        wire.close(wire.accept(listener))
        peer.expect(Fin(1, seq + 1))
        peer.send(Fin(seq + 1, 2))
        peer.expect(Ack(2, seq + 2))
        seq += 1000
    assert len(wire.tcp.waits) == 1
    assert len(wire.tcp.waits._queue) < 150
    assert not wire.tcp.channels
    wire.run(61_000)
    assert not wire.tcp.waits._queue


# The record against the whole connection


def _both(ts):
    """A connection in TIME-WAIT, as a whole and as a record."""
    from rumpkit.hosts.sim.host import SimHost
    from rumpkit.kern.timer import TimerQueue
    from rumpkit.net.transport.ports import PortAllocator
    from rumpkit.net.transport.tcp.timewait import TimeWait, TimeWaits
    from tests.net.transport.tcp.script import established

    t = established()
    t.close()
    t.send(100, Ack(1, 2))
    t.send(200, Fin(1, ack=2))
    t.state("TIME-WAIT")
    t.out.clear()
    t.at(5000)
    if ts:
        t.block.timestamps = True
        t.block.ts_recent = 5000
        t.block.ts_recent_at = t.now
    host = SimHost()
    waits = TimeWaits(PortAllocator(host), TimerQueue(host), t.environment)
    record = TimeWait(bytes(12), t.block, None)
    waits.add(record)
    return t, waits, record


@settings(deadline=None, max_examples=150)
@given(
    st.booleans(),
    st.lists(
        st.tuples(
            st.sampled_from(["A", "FA", "S", "SA", "R", "RA", "", "F", "PA", "SFA"]),
            st.one_of(st.integers(-3, 6), st.sampled_from([-70_000, 60_000, 65_535, 65_536, 70_000, 1 << 30, 1 << 31])),
            st.sampled_from([1, 2, 3, -70_000, 5000, 1 << 30]),
            st.sampled_from([0, 0, 1, 100]),
            st.sampled_from([4000, 5000, 6000, None]),
            st.sampled_from([0, 1, 100, 499, 501]),
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_a_record_answers_as_the_connection_would(ts, steps):
    t, waits, record = _both(ts)
    for flags, seq, ack, size, stamp, later in steps:
        t.now += later * 1_000_000
        fields = {"ts": (stamp, 0)} if stamp is not None and ts else {}
        wanted = Seg(flags, seq, ack if "A" in flags else None, b"x" * size, **fields)
        if t.connection.reopens(t._real(wanted)):
            continue
        t.out.clear()
        # The two share the limit on challenges, which must not make a difference.
        t.connection.receive(t._real(wanted), t.now)
        t._transmit()
        answer = waits.receive(record, t._real(wanted), t.now)
        expected = [(s.seq, s.ack, s.flags, s.window, s.has_timestamp, s.ts_value, s.ts_echo) for s in t.out]
        got = [] if answer is None else [answer]
        assert [(s.seq, s.ack, s.flags, s.window, s.has_timestamp, s.ts_value, s.ts_echo) for s in got] == expected, (
            wanted
        )
        assert record.until == t.block.linger_at, wanted
