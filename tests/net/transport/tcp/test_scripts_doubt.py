"""Scripts of what is not believed, or only half: resets, old duplicates by their timestamps, ICMP, urgent pointers."""

import pytest

from rumpkit.kern.abi.errno import ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EMSGSIZE, ENETUNREACH, ETIMEDOUT
from tests.net.transport.tcp.script import MSS, Ack, Data, Fin, Rst, Script, Seg, Syn, SynAck, established


def stamped(**arguments):
    """Established with timestamps: ours are milliseconds, the peer's began at 5000; the time is 1000."""
    t = Script(timestamps=1, **arguments)
    t.at(1000)
    t.open()
    t.expect(Syn(ts=(1000, 0)))
    t.send(1000, SynAck(ts=(5000, 1000)))
    t.expect(Ack(1, 1, ts=(1000, 5000)))
    return t


# Resets --------------------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("9293", "SHLD-2")
def test_a_reset_may_carry_text():
    t = established()
    t.send(10, Seg("R", 1, data=b"go away"))
    t.silent()
    t.state("CLOSED")
    assert t.block.error == ECONNRESET
    assert t.connection.readable() == 0


def test_a_reset_in_the_window_is_asked_back():
    t = established()
    t.send(10, Rst(100))
    t.expect(Ack(1, 1))
    t.state("ESTABLISHED")
    t.send(20, Rst(1))
    t.state("CLOSED")


def test_a_reset_outside_the_window_is_nothing():
    t = established()
    t.send(10, Rst(-1), Rst(100_000))
    t.quiet(1000)
    t.state("ESTABLISHED")


def test_data_that_came_before_a_reset_can_be_read():
    t = established()
    t.send(10, Data(1, b"last words"), Rst(11))
    t.state("CLOSED")
    assert t.read() == b"last words"


def test_a_reset_with_a_gap_before_it_is_asked_back():
    t = established()
    t.send(10, Data(1 + MSS, bytes(MSS)), Rst(1 + 2 * MSS))
    t.state("ESTABLISHED")


@pytest.mark.rfc("9293", "MUST-66")
def test_a_reset_gets_through_a_closed_window():
    t = established(receive_buffer=4096)
    t.send(10, Data(1, bytes(4096)))
    t.expect(Ack(1, 4097, window=0))
    t.send(20, Rst(4097))
    t.state("CLOSED")


def test_after_a_reset_nothing_is_sent():
    t = established()
    t.write(bytes(5 * MSS))
    t.out.clear()
    t.send(10, Rst(1))
    t.quiet(1_000_000)


def test_a_reset_and_a_fin_is_a_reset():
    t = established()
    t.send(10, Seg("RFA", 1, 1))
    t.silent()
    t.state("CLOSED")
    assert t.block.error == ECONNRESET


# Old duplicates ------------------------------------------------------------------------------------------------------------


def test_every_segment_has_a_timestamp():
    t = stamped()
    t.write(b"a")
    t.expect(Data(1, b"a", ts=(1000, 5000)))
    t.send(1010, Data(1, b"b", ack=2, ts=(5010, 1000)))
    t.by(1050, Ack(2, 2, ts=(1050, 5010)))
    t.close()
    t.expect(Fin(2, 2, ts=(1050, 5010)))
    t.abort()
    t.expect(Rst(3, 2, ts=(1050, 5010)))


def test_an_old_duplicate_is_told_by_its_timestamp():
    t = stamped()
    t.send(1010, Data(1, b"new", ts=(5010, 1000)))
    t.by(1050, Ack(1, 4))
    t.send(1060, Data(4, b"old", ts=(4999, 900)))
    t.expect(Ack(1, 4, ts=(1060, 5010)))
    t.send(1070, Data(4, b"too", ts=(5070, 1000)))
    assert t.read() == b"newtoo"


def test_the_timestamp_clock_may_wrap():
    t = Script(timestamps=1)
    t.open()
    t.send(0, SynAck(ts=(0xFFFFFFFE, 0)))
    t.out.clear()
    t.send(10, Data(1, b"a", ts=(0xFFFFFFFF, 0)))
    t.by(50, Ack(1, 2, ts=(50, 0xFFFFFFFF)))
    t.send(60, Data(2, b"b", ts=(3, 0)))
    t.by(100, Ack(1, 3, ts=(100, 3)))
    assert t.read() == b"ab"
    t.send(600, Data(3, b"c", ts=(0xFFFFFFFF, 0)))
    assert t.connection.readable() == 0


def test_an_old_fin_does_not_close():
    t = stamped()
    t.send(1010, Fin(1, 1, ts=(4000, 900)))
    t.expect(Ack(1, 1))
    t.state("ESTABLISHED")


def test_what_an_old_duplicate_acknowledges_does_not_count():
    t = stamped()
    t.write(b"abc")
    t.out.clear()
    t.send(1600, Ack(1, 4, ts=(4000, 900)))
    assert t.block.snd_una < t.block.snd_max


def test_a_retransmitted_segment_is_echoed_when_it_fills_the_gap():
    """RFC 7323 section 4.3, its case of a filled hole."""
    t = stamped()
    t.send(1010, Data(4, b"def", ts=(5010, 1000)))
    t.expect(Ack(1, 1, ts=(1010, 5000)))
    t.send(1100, Data(1, b"abc", ts=(5100, 1000)))
    t.expect(Ack(1, 7, ts=(1100, 5100)))


def test_timestamps_give_a_round_trip_to_what_was_sent_again():
    t = stamped()
    t.write(b"abc")
    t.at(1300)
    t.out.clear()
    t.send(1350, Ack(1, 4, ts=(5350, 1300)))
    assert t.block.rtt.backoffs == 0


def test_segments_shrink_by_the_option():
    t = stamped(split=True)
    t.write(bytes(2 * MSS))
    assert [len(segment.data) for segment in t.sent()] == [MSS - 12, MSS - 12, 24]


# ICMP ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("9293", "MUST-56")
@pytest.mark.parametrize("errno", [EHOSTUNREACH, ENETUNREACH])
def test_unreachable_does_not_end_a_connection(errno):
    t = established()
    t.write(b"abc")
    t.out.clear()
    t.icmp(1, errno)
    t.silent()
    t.state("ESTABLISHED")
    t.send(50, Ack(1, 4))
    t.quiet(100_000)
    t.state("ESTABLISHED")


def test_a_closed_port_in_icmp_ends_an_attempt_only():
    t = Script()
    t.open()
    t.icmp(0, ECONNREFUSED)
    t.state("CLOSED")
    assert t.block.error == ECONNREFUSED
    t = established()
    t.write(b"abc")
    t.icmp(1, ECONNREFUSED)
    t.state("ESTABLISHED")
    t.at(3_600_000)
    assert t.block.error == ETIMEDOUT


def test_a_narrow_path_does_not_wait_for_the_timer():
    t = established(split=True)
    t.write(bytes(2 * MSS))
    t.out.clear()
    t.at(20)
    t.icmp(1, EMSGSIZE, 600)
    sizes = [len(segment.data) for segment in t.sent()]
    assert sizes == [600, 600, 600, 200]
    t.send(40, Ack(1, 1 + 2 * MSS))
    t.quiet(100_000)


def test_a_wide_path_in_icmp_changes_nothing():
    t = established()
    t.write(bytes(MSS))
    t.out.clear()
    t.icmp(1, EMSGSIZE, 5000)
    t.silent()
    assert t.block.snd_mss == MSS


def test_a_narrow_path_is_found_under_the_syn():
    t = Script()
    t.open()
    t.expect(Syn())
    t.icmp(0, EMSGSIZE, 500)
    t.send(10, SynAck())
    t.out.clear()
    t.write(bytes(MSS))
    assert t.block.snd_mss == 500


# Urgent data -----------------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("9293", "MUST-32")
def test_the_user_hears_of_each_advance_of_the_pointer():
    t = established()
    t.send(10, Data(1, b"a", flags="AU", urgent=1))
    t.events("readable", "urgent")
    t.send(20, Data(2, b"b"))
    t.events("readable")
    t.send(30, Data(3, b"c", flags="AU", urgent=5))
    t.events("readable", "urgent")
    t.send(40, Data(4, b"d", flags="AU", urgent=4))
    t.events("readable")


@pytest.mark.rfc("9293", "MUST-33")
def test_the_user_can_see_how_far_the_urgent_byte_is():
    t = established()
    assert t.connection.until_urgent() == -1
    t.send(10, Data(1, b"ab", flags="AU", urgent=5))
    assert t.connection.until_urgent() == 4
    t.read()
    assert t.connection.until_urgent() == 2
    t.send(20, Data(3, b"cde"))
    t.read()
    assert t.connection.until_urgent() == -1


@pytest.mark.rfc("9293", "MUST-32")
def test_news_of_urgent_data_goes_before_it():
    """A pure acknowledgement with URG: the data itself waits for the window."""
    t = established()
    t.send(10, Seg("AU", 1, 1, b"", urgent=100))
    t.events("urgent")
    assert t.connection.until_urgent() == 99


@pytest.mark.rfc("9293", "MUST-31")
def test_urgent_data_may_be_longer_than_the_pointer_reaches():
    """Each segment points on from its own number, so none is a super-segment, whose pieces would all say the same."""
    t = established()
    t.block.congestion.window = 1 << 20
    t.connection.write(bytes(100_000), 0)
    t.connection.mark_urgent()
    seq = 1
    for _ in range(2):
        t.flush()
        for segment in t.sent():
            assert "U" in segment.flags and len(segment.data) <= MSS
            assert segment.fields["urgent"] == min(100_001 - segment.seq, 65535)
            seq = segment.seq + len(segment.data)
        t.send(10, Ack(1, seq, window=65535))
    assert seq == 100_001
    t.write(b"calm")
    t.expect(Data(100_001, b"calm", flags="A", urgent=0))


@pytest.mark.rfc("9293", "MUST-62")
def test_what_is_sent_again_still_points_behind_the_urgent_byte():
    t = established()
    t.connection.write(b"stop!", 0)
    t.connection.mark_urgent()
    t.flush()
    t.expect(Data(1, b"stop!", flags="AU", urgent=5))
    t.by(210, Data(1, b"stop!", flags="AU", urgent=5))


@pytest.mark.rfc("9293", "MUST-30")
def test_an_urgent_pointer_without_the_flag_means_nothing():
    t = established()
    t.send(10, Data(1, b"abc", urgent=3))
    t.events("readable")
    assert t.connection.until_urgent() == -1


def test_an_urgent_pointer_into_the_past_means_nothing():
    t = established()
    t.send(10, Data(1, b"abcdef"))
    t.read()
    t.block.events = 0
    t.send(20, Data(5, b"efgh", flags="AU", urgent=1))
    t.events("readable")
    assert t.connection.until_urgent() == -1
