"""Scripts of acknowledgements and of small segments: delayed ACKs, Nagle's algorithm, PSH (RFC 9293 3.7.4, 3.8.6.3, 5681 4.2)."""

import pytest

from rumpkit.net.transport.tcp.options import TcpOptions
from rumpkit.net.transport.tcp.settings import TCP_SYSCTLS
from tests.net.transport.tcp.script import MSS, Ack, Data, Fin, established


def waiting(**arguments):
    """One small segment of ours is not acknowledged yet."""
    t = established(**arguments)
    t.write(b"1")
    t.expect(Data(1, b"1"))
    return t


# Delayed acknowledgements ------------------------------------------------------------------------------------------------


@pytest.mark.rfc("9293", "MUST-40")
def test_no_setting_delays_an_acknowledgement_by_half_a_second():
    [limit] = [row.high for row in TCP_SYSCTLS if row.attribute == "delayed_ack"]
    t = established(delayed_ack=limit)
    t.send(1000, Data(1, b"x"))
    t.silent()
    t.by(1499, Ack(1, 2))


@pytest.mark.rfc("9293", "SHLD-18")
def test_the_delay_begins_with_the_first_of_several():
    t = established()
    t.send(10, Data(1, b"a"))
    t.send(30, Data(2, b"b"))
    t.quiet(49)
    t.by(50, Ack(1, 3, at=50))
    t.send(60, Data(3, b"c"))
    t.by(100, Ack(1, 4, at=100))


@pytest.mark.rfc("9293", "SHLD-19")
def test_a_stream_of_full_segments_is_acknowledged_by_twos():
    t = established()
    for index in range(10):
        t.send(10 + index, Data(1 + index * MSS, bytes(MSS)))
    t.expect(*[Ack(1, 1 + (index + 2) * MSS) for index in range(0, 10, 2)])


def test_a_window_update_carries_the_delayed_acknowledgement():
    t = established(receive_buffer=4 * MSS)
    t.send(10, Data(1, bytes(MSS)))
    t.send(11, Data(1 + MSS, bytes(3 * MSS)))
    t.out.clear()
    t.send(12, Data(1 + 4 * MSS, b""))
    t.out.clear()
    t.read()
    [update] = t.sent()
    assert (update.ack, update.window) == (1 + 4 * MSS, t.block.rcv_edge - t.block.rcv_nxt)
    t.quiet(200)


def test_our_fin_carries_the_delayed_acknowledgement():
    t = established()
    t.send(10, Data(1, b"bye"))
    t.close()
    t.expect(Fin(1, 4))
    t.quiet(200)


def test_an_acknowledgement_of_ours_needs_none():
    t = established()
    t.send(10, Ack(1, 1))
    t.quiet(1000)


def test_a_gap_is_reported_once_a_segment_and_its_end_once():
    t = established()
    t.send(10, Data(1 + MSS, bytes(MSS)))
    t.expect(Ack(1, 1, at=10))
    t.send(11, Data(1 + 2 * MSS, bytes(MSS)))
    t.expect(Ack(1, 1, at=11))
    t.send(12, Data(1, bytes(MSS)))
    t.expect(Ack(1, 1 + 3 * MSS, at=12))
    t.quiet(200)


def test_two_gaps_are_filled_one_after_the_other():
    t = established()
    t.send(10, Data(3, b"c"), Data(5, b"e"))
    t.expect(Ack(1, 1), Ack(1, 1))
    t.send(20, Data(1, b"ab"))
    t.expect(Ack(1, 4))
    t.send(30, Data(4, b"d"))
    t.expect(Ack(1, 6))
    assert t.read() == b"abcde"


def test_old_and_new_in_one_segment():
    t = established()
    t.send(10, Data(1, b"abc"))
    t.by(50, Ack(1, 4))
    t.send(60, Data(2, b"bcdef"))
    t.by(100, Ack(1, 7))
    assert t.read() == b"abcdef"


def test_a_doubled_segment_is_acknowledged_at_once():
    t = established()
    t.send(10, Data(1, b"abc"))
    t.by(50, Ack(1, 4))
    t.send(60, Data(1, b"abc"))
    t.expect(Ack(1, 4, at=60))


def test_a_question_is_answered_within_the_delay_and_costs_no_ack():
    t = established()
    for turn in range(5):
        t.send(100 * turn, Data(1 + turn, b"?", ack=1 + turn))
        t.at(100 * turn + 20)
        t.write(b"!")
        t.expect(Data(1 + turn, b"!", ack=2 + turn))


@pytest.mark.rfc("9293", "MUST-59")
def test_a_batch_with_a_gap_filled_in_it_is_seen_whole():
    t = established()
    t.send(10, Data(1, bytes(MSS)), Data(1 + MSS, bytes(MSS)), Data(1 + 2 * MSS, bytes(MSS)))
    t.expect(Ack(1, 1 + 3 * MSS))


# Nagle ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("9293", "SHLD-7", "SHLD-27", "SHLD-28")
def test_bytes_join_until_they_fill_a_segment():
    t = waiting()
    for _ in range(MSS - 1):
        t.write(b"x")
    t.silent()
    t.write(b"x")
    t.expect(Data(2, b"x" * MSS, flags="PA"))


@pytest.mark.rfc("9293", "SHLD-7")
def test_a_typist_on_a_slow_line():
    """One segment a round trip, with all that was typed meanwhile."""
    t = established()
    t.write(b"a")
    t.expect(Data(1, b"a"))
    for time in range(20, 100, 20):
        t.at(time)
        t.write(b"b")
    t.silent()
    t.send(100, Ack(1, 2))
    t.expect(Data(2, b"bbbb", at=100))


def test_what_nagle_holds_is_not_held_by_a_lost_acknowledgement():
    t = waiting()
    t.write(b"2")
    t.quiet(200)
    t.at(210)
    assert t.sent()[0].data.startswith(b"1")
    t.send(220, Ack(1, 2))
    t.expect(Data(2, b"2", at=220))
    t.send(230, Ack(1, 3))
    t.quiet(10_000)


@pytest.mark.rfc("9293", "MUST-17")
def test_switching_nagle_off_sends_what_it_held():
    t = waiting()
    t.write(b"2")
    t.silent()
    t.options.nodelay = True
    t.flush()
    t.expect(Data(2, b"2"))


def test_the_first_small_segment_is_never_held():
    t = established()
    t.send(10, Data(1, b"hello"))
    t.write(b"world")
    t.expect(Data(1, b"world", ack=6, at=10))


@pytest.mark.rfc("9293", "MUST-61")
def test_push_is_on_the_last_segment_only():
    t = established(split=True)
    t.write(bytes(3 * MSS))
    flags = [segment.flags for segment in t.sent()]
    assert flags == ["A", "A", "PA"]


@pytest.mark.rfc("9293", "MUST-60")
def test_more_is_not_held_for_ever():
    t = established()
    t.write(b"to be continued", more=True)
    t.silent()
    t.at(500)
    first = t.sent()[0]
    assert (first.seq, first.data) == (1, b"to be continued")


@pytest.mark.rfc("9293", "MUST-60")
def test_a_cork_is_not_held_for_ever():
    options = TcpOptions()
    options.cork = True
    t = established(options=options)
    t.write(b"corked")
    t.quiet(100)
    t.at(1000)
    assert t.sent()[0].data == b"corked"


def test_a_cork_lets_full_segments_out():
    options = TcpOptions()
    options.cork = True
    t = established(options=options)
    for _ in range(5):
        t.write(bytes(MSS // 2))
    assert sum(len(segment.data) for segment in t.sent()) == 2 * MSS


def test_full_segments_need_no_acknowledgement_to_follow():
    t = established(split=True)
    for _ in range(3):
        t.write(bytes(MSS))
    t.expect(*[Data(1 + index * MSS, bytes(MSS)) for index in range(3)])
