"""RACK-TLP (RFC 8985), proportional rate reduction (RFC 6937), and taking spurious recoveries back (RFC 3522, 4015, 3708)."""

import pytest

from rumpkit.hyper.time import MILLISECOND
from rumpkit.kern.abi.errno import EMSGSIZE
from rumpkit.net.transport.tcp.episode import FAST, OPEN, TIMEOUT
from tests.net.transport.tcp.script import MSS, Ack, Data, Fin, Script, SynAck


def at(n):
    """The sequence number of the n-th segment, from 0."""
    return 1 + n * MSS


def flight(count=10, timestamps=0, more=0, **arguments):
    """A connection with SACK on a path of 100 ms: `count` segments in flight, sent at 100 ms, and `more` to be sent."""
    t = Script(timestamps=timestamps, **arguments)
    t.open()
    t.send(100, SynAck(sack_ok=True, **({"ts": (1, 0)} if timestamps else {})))
    t.block.congestion.window = count * MSS
    if timestamps:
        t.block.snd_mss = t.block.congestion.mss = MSS  # round numbers, though the option takes room
    t.write(bytes((count + more) * MSS))
    t.out.clear()
    t.times.clear()
    return t


def lost(t):
    return t.block.scoreboard.lost


# The reordering window ----------------------------------------------------------------------------------------------------------


def test_a_few_late_segments_get_a_quarter_of_the_round_trip():
    t = flight()
    t.send(200, Ack(1, 1, sack=[(at(1), at(2))]))
    t.quiet(224)
    t.by(225, Data(1, bytes(MSS), at=225))


def test_a_segment_that_is_only_late_is_not_sent_again():
    t = flight()
    t.send(200, Ack(1, 1, sack=[(at(1), at(2))]))
    t.send(215, Ack(1, at(2)))
    t.quiet(290)
    assert t.environment.counters.retransmits == 0
    assert t.block.scoreboard.reordered


def test_three_segments_beyond_leave_no_doubt():
    t = flight()
    t.send(200, Ack(1, 1, sack=[(at(1), at(4))]))
    assert t.sent()[0].seq == 1


def test_once_reordering_was_seen_even_three_wait():
    t = flight(20)
    t.send(200, Ack(1, 1, sack=[(at(1), at(2))]))
    t.send(201, Ack(1, at(2)))
    t.send(202, Ack(1, at(2), sack=[(at(3), at(9))]))
    assert lost(t) == 0
    t.at(240)
    assert [seg.seq for seg in t.sent()] == [at(2)]


def test_duplicates_widen_the_window_and_recoveries_narrow_it():
    t = flight(20)
    t.send(200, Ack(1, 1, sack=[(at(1), at(5))]))
    t.out.clear()
    t.times.clear()
    t.send(210, Ack(1, at(5), sack=[(1, at(1))]))
    assert t.block.episode.reorder_multiplier == 2
    t.send(211, Ack(1, at(6), sack=[(1, at(1))]))
    assert t.block.episode.reorder_multiplier == 2, "once a round"
    assert t.environment.counters.duplicate_reports == 2


def test_what_was_sent_later_is_not_lost_by_what_was_sent_earlier():
    t = flight(4, more=4)
    t.send(150, Ack(1, at(1)))
    t.out.clear()
    t.times.clear()
    # The last of the first four has arrived, which says nothing of what was sent at 150 ms.
    t.send(200, Ack(1, at(1), sack=[(at(3), at(4))]))
    t.at(230)
    assert [seg.seq for seg in t.sent() if seg.seq < at(4)] == [at(1)]
    board = t.block.scoreboard
    assert all(record.flags == 0 for record in board.records[board.first :] if record.start - t.block.iss >= at(4))


def test_an_answer_that_came_too_soon_is_not_to_the_retransmission():
    """Section 6.2 step 2: less than the least round trip after it was sent again."""
    t = flight(10)
    t.send(200, Ack(1, 1, sack=[(at(1), at(10))]))
    t.out.clear()
    t.times.clear()
    newest = t.block.scoreboard.newest_at
    t.send(220, Ack(1, at(10)))
    assert t.block.scoreboard.newest_at == newest


def test_recovery_ends_when_all_that_was_in_flight_is_acknowledged():
    t = flight(10, more=5)
    t.send(200, Ack(1, 1, sack=[(at(1), at(4))]))
    assert t.block.episode.phase == FAST
    t.send(300, Ack(1, at(9)))
    assert t.block.episode.phase == FAST
    t.send(301, Ack(1, at(10)))
    assert t.block.episode.phase == OPEN
    assert t.environment.counters.fast_retransmits == 1


def test_a_second_loss_in_one_episode_reduces_once():
    t = flight(20)
    t.send(200, Ack(1, 1, sack=[(at(1), at(4))]))
    threshold = t.block.congestion.threshold
    t.send(205, Ack(1, 1, sack=[(at(8), at(12)), (at(1), at(4))]))
    assert t.block.congestion.threshold == threshold == 10 * MSS
    assert t.environment.counters.fast_retransmits == 1


def test_a_fin_is_recovered_like_data():
    t = flight(5)
    t.close()
    t.out.clear()
    t.times.clear()
    t.send(200, Ack(1, 1, sack=[(at(2), at(5))]))
    assert t.sent()[0].seq == 1
    t.send(300, Ack(1, at(5)))
    t.at(900)
    assert t.sent()[-1].flags.startswith("F")


# The tail -----------------------------------------------------------------------------------------------------------------------


def test_the_last_segment_goes_again_after_two_round_trips():
    t = flight(4)
    t.send(200, Ack(1, at(2)))
    t.quiet(401)
    t.by(402, Data(at(3), bytes(MSS), at=402))
    assert t.environment.counters.tail_probes == 1
    assert t.block.congestion.window == 6 * MSS, "a probe is no loss"


def test_new_data_is_the_better_probe():
    t = flight(4, more=3)
    t.send(200, Ack(1, 1, window=4 * MSS))
    t.send(210, Ack(1, 1, window=10 * MSS))
    t.quiet(301)
    t.by(302, Data(at(4), bytes(MSS), at=302))


def test_a_single_segment_waits_for_a_delayed_acknowledgement():
    t = flight(1)
    t.quiet(399)
    t.by(400, Data(1, bytes(MSS), at=400))
    assert t.environment.counters.timeouts == 0
    t.by(700, Data(1, bytes(MSS), at=700))
    assert t.environment.counters.timeouts == 1


def test_one_probe_then_the_timer():
    t = flight(4)
    t.at(301)
    t.by(302, Data(at(3), bytes(MSS)))
    t.at(601)
    t.silent()
    t.by(602, Data(1, bytes(MSS)))
    assert t.block.episode.phase == TIMEOUT


def test_an_answer_to_the_probe_shows_the_losses_before_it():
    t = flight(6)
    t.by(302, Data(at(5), bytes(MSS)))
    t.send(402, Ack(1, at(2), sack=[(at(5), at(6))]))
    t.at(430)
    assert t.sent()[0].seq == at(2)
    assert t.environment.counters.timeouts == 0


def test_a_loss_that_the_probe_repaired_counts():
    """Section 7.4.2: the first acknowledgement beyond the probe, and no word of a duplicate."""
    t = flight(4, more=0)
    t.send(200, Ack(1, at(3)))
    t.at(500)
    assert [seg.seq for seg in t.sent()] == [at(3)]
    t.send(600, Ack(1, at(4)))
    before = t.block.congestion.window
    t.write(bytes(MSS))
    t.send(700, Ack(1, at(5)))
    assert t.environment.counters.probes_repaired == 1
    assert t.block.congestion.window < before


def test_a_probe_that_was_not_needed_costs_nothing():
    t = flight(4)
    t.by(302, Data(at(3), bytes(MSS)))
    window = t.block.congestion.window
    t.send(310, Ack(1, at(4)))
    t.send(402, Ack(1, at(4), sack=[(at(3), at(4))]))
    assert t.block.episode.probe_end < 0
    assert t.environment.counters.probes_repaired == 0
    assert t.block.congestion.window >= window


def test_no_probe_without_sack_or_when_it_is_off():
    t = flight(4, tail_loss_probe=0)
    t.quiet(399)
    t.by(400, Data(1, bytes(MSS)))
    t = Script()
    t.open()
    t.send(100, SynAck())
    t.write(bytes(4 * MSS))
    t.out.clear()
    t.times.clear()
    t.quiet(399)
    assert t.environment.counters.tail_probes == 0


def test_a_lone_fin_is_probed_too():
    t = flight(1)
    t.send(200, Ack(1, at(1)))
    t.close()
    t.expect(Fin(at(1), 1))
    t.at(600)
    t.expect(Fin(at(1), 1))
    assert t.environment.counters.timeouts == 0


# The timer ------------------------------------------------------------------------------------------------------------------------


def test_after_a_timeout_what_was_sent_just_now_is_not_lost():
    """RFC 8985 section 6.3."""
    t = flight(4, more=4, tail_loss_probe=0)
    t.at(380)
    t.block.congestion.window = 8 * MSS
    t.flush()
    t.out.clear()
    t.times.clear()
    t.block.retransmit_at = 400 * MILLISECOND
    t.by(400, Data(1, bytes(MSS)))
    assert lost(t) == 3 * MSS


def test_slow_start_after_a_timeout_sends_all_that_is_missing():
    t = flight(8, tail_loss_probe=0)
    t.by(400, Data(1, bytes(MSS), at=400))
    assert t.block.congestion.window == MSS
    t.send(500, Ack(1, at(1)))
    t.expect(Data(at(1), bytes(2 * MSS), gso_size=MSS))
    t.send(600, Ack(1, at(3)))
    t.expect(Data(at(3), bytes(4 * MSS), gso_size=MSS))
    t.send(700, Ack(1, at(8)))
    assert t.block.episode.phase == OPEN
    assert not t.block.disorder


# Proportional rate reduction --------------------------------------------------------------------------------------------------------


def test_while_more_is_in_flight_than_wanted_sending_slows_in_proportion():
    """Half as much goes out as is delivered, from the first acknowledgement on."""
    t = flight(20, more=40)
    t.send(200, Ack(1, 1, sack=[(at(1), at(4))]))
    t.out.clear()
    t.times.clear()
    sent = 0
    for n in range(4, 20):
        t.send(200 + n, Ack(1, 1, sack=[(at(1), at(n + 1))]))
        sent += sum(len(seg.data) for seg in t.sent())
    assert 7 * MSS <= sent <= 10 * MSS
    pipe = t.block.flight() - t.block.scoreboard.missing()
    assert abs(pipe - t.block.congestion.threshold) <= 2 * MSS


def test_the_window_is_the_threshold_when_recovery_ends():
    t = flight(20, more=40)
    t.send(200, Ack(1, 1, sack=[(at(1), at(20))]))
    t.send(300, Ack(1, at(20)))
    assert t.block.episode.phase == OPEN
    assert t.block.congestion.window == t.block.congestion.threshold == 10 * MSS


def test_after_heavy_losses_it_never_bursts():
    """Fewer are in flight than the threshold: what goes is what was delivered, and one more (slow start reduction bound)."""
    t = flight(40, more=100)
    t.send(200, Ack(1, 1, sack=[(at(36), at(40))]))
    first = sum(len(seg.data) for seg in t.sent())
    assert first <= 5 * MSS
    for n in range(1, 10):
        t.send(300 + n, Ack(1, at(n), sack=[(at(36), at(40))]))
        assert sum(len(seg.data) for seg in t.sent()) <= 3 * MSS


# Spurious retransmissions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("echo", [100, 399])
def test_an_answer_older_than_the_retransmission_undoes_a_timeout(echo):
    """Eifel detection (RFC 3522): a delay spike of 300 ms."""
    t = flight(4, timestamps=1, more=8, tail_loss_probe=0)
    window, threshold = t.block.congestion.window, t.block.congestion.threshold
    t.at(400)
    assert len(t.sent()) == 1
    assert t.block.congestion.window == MSS
    t.send(450, Ack(1, at(1), ts=(2, echo)))
    assert t.environment.counters.spurious_recoveries == 1
    assert t.block.congestion.window >= window
    assert t.block.congestion.threshold == threshold
    assert all(seg.seq >= at(4) for seg in t.sent()), "nothing goes again"
    assert t.block.rtt.backoffs == 0


def test_an_answer_to_the_retransmission_undoes_nothing():
    t = flight(4, timestamps=1, tail_loss_probe=0)
    t.at(400)
    t.out.clear()
    t.times.clear()
    t.send(500, Ack(1, at(1), ts=(2, 400)))
    assert t.environment.counters.spurious_recoveries == 0
    assert t.block.episode.phase == TIMEOUT


def test_an_answer_older_than_the_retransmission_undoes_a_fast_recovery():
    t = flight(10, timestamps=1)
    window = t.block.congestion.window
    t.send(200, Ack(1, 1, sack=[(at(1), at(5))], ts=(2, 0)))
    assert t.sent()[0].seq == 1
    t.send(210, Ack(1, at(5), ts=(3, 100)))
    assert t.environment.counters.spurious_recoveries == 1
    assert t.block.congestion.window >= window
    assert t.block.episode.phase == OPEN


def test_duplicates_of_all_that_was_sent_again_undo_it_without_timestamps():
    t = flight(10)
    window = t.block.congestion.window
    t.send(200, Ack(1, 1, sack=[(at(1), at(5))]))
    assert t.block.congestion.window < window
    t.send(210, Ack(1, at(10)))
    assert t.environment.counters.spurious_recoveries == 0
    t.send(300, Ack(1, at(10), sack=[(1, at(1))]))
    assert t.environment.counters.spurious_recoveries == 1
    assert t.block.congestion.window >= window


def test_a_duplicate_of_half_of_it_undoes_nothing():
    t = flight(10)
    t.send(200, Ack(1, 1, sack=[(at(2), at(10))]))
    assert t.environment.counters.retransmits == 2
    t.send(300, Ack(1, at(10), sack=[(1, at(1))]))
    assert t.environment.counters.spurious_recoveries == 0


def test_an_earlier_retransmission_does_not_make_a_later_one_look_spurious():
    """What goes again in one episode may be answered in the next."""
    t = flight(20, timestamps=1, more=20)
    t.send(200, Ack(1, 1, sack=[(at(1), at(10))], ts=(2, 0)))
    t.send(205, Ack(1, 1, sack=[(at(1), at(19))], ts=(2, 0)))
    t.send(300, Ack(1, at(19), sack=(), ts=(3, 200)))
    t.send(301, Ack(1, at(19), sack=[(at(20), at(24))], ts=(3, 200)))
    t.send(310, Ack(1, at(20), sack=(), ts=(3, 301)))
    assert t.environment.counters.spurious_recoveries == 0


def test_a_smaller_path_mtu_is_no_congestion():
    """What goes again because it was too large is not lost, though it takes several windows."""
    t = flight(10)
    window = t.block.congestion.window
    t.block.congestion.window = 4 * MSS
    t.icmp(1, EMSGSIZE, 500)
    sent = sum(len(seg.data) for seg in t.sent())
    assert sent <= 4 * MSS
    assert lost(t) > 0
    t.send(200, Ack(1, 501))
    t.send(201, Ack(1, 501, sack=[(1001, 1501)]))
    assert t.block.episode.phase == OPEN
    assert t.environment.counters.fast_retransmits == 0
    assert window > t.block.congestion.window >= 4 * MSS


def test_a_loss_after_the_episode_began_is_the_next_episodes():
    t = flight(10, more=30)
    t.send(200, Ack(1, 1, sack=[(at(1), at(10))]))
    first = t.block.congestion.threshold
    sent = [seg.seq for seg in t.sent()]
    new = min(seq for seq in sent if seq >= at(10))
    newest = t.block.snd_max - t.block.iss
    assert newest - new >= 4 * MSS
    t.send(300, Ack(1, at(10), sack=[(new + MSS, newest)]))
    assert t.block.episode.phase == FAST
    assert t.environment.counters.fast_retransmits == 2
    assert t.block.congestion.threshold < first


# F-RTO (RFC 5682): the same without timestamps ----------------------------------------------------------------------------------------


def spiked(more=8, **arguments):
    """Four segments of which nothing was heard until the timer went off at 400 ms and sent the first again."""
    t = flight(4, more=more, tail_loss_probe=0, **arguments)
    t.by(400, Data(1, bytes(MSS), at=400))
    return t


def test_two_answers_to_what_was_sent_once_undo_a_timeout():
    t = spiked()
    t.send(450, Ack(1, at(1)))
    t.expect(Data(at(4), bytes(2 * MSS)))
    t.send(455, Ack(1, at(2)))
    assert t.environment.counters.spurious_recoveries == 1
    assert t.block.congestion.window >= 4 * MSS
    assert t.block.episode.phase == OPEN
    assert all(seg.seq >= at(6) for seg in t.sent())
    t.send(460, Ack(1, at(4)))
    assert t.environment.counters.retransmits == 1


def test_a_duplicate_instead_says_that_the_rest_is_lost():
    t = spiked()
    t.send(500, Ack(1, at(1)))
    t.expect(Data(at(4), bytes(2 * MSS)))
    t.send(600, Ack(1, at(1), sack=[(at(4), at(5))]))
    assert t.environment.counters.spurious_recoveries == 0
    assert t.sent()[0].seq == at(1)
    assert t.block.episode.phase == TIMEOUT


def test_a_duplicate_first_says_so_at_once():
    t = spiked()
    t.send(450, Ack(1, 1, sack=[(at(2), at(3))]))
    t.send(500, Ack(1, at(1), sack=[(at(2), at(3))]))
    assert t.environment.counters.spurious_recoveries == 0
    assert at(1) in [seg.seq for seg in t.sent()]


def test_without_new_data_it_can_not_be_told():
    t = spiked(more=0)
    t.send(500, Ack(1, at(1)))
    t.expect(Data(at(1), bytes(2 * MSS)))


def test_it_needs_no_sack():
    t = Script()
    t.open()
    t.send(100, SynAck())
    t.block.congestion.window = 4 * MSS
    t.write(bytes(12 * MSS))
    t.out.clear()
    t.times.clear()
    t.by(400, Data(1, bytes(MSS)))
    t.send(450, Ack(1, at(1)))
    t.expect(Data(at(4), bytes(2 * MSS)))
    t.send(455, Ack(1, at(2)))
    assert t.environment.counters.spurious_recoveries == 1
    t = Script()
    t.open()
    t.send(100, SynAck())
    t.block.congestion.window = 4 * MSS
    t.write(bytes(12 * MSS))
    t.out.clear()
    t.times.clear()
    t.by(400, Data(1, bytes(MSS)))
    t.send(500, Ack(1, at(1)))
    t.expect(Data(at(4), bytes(2 * MSS)))
    t.send(600, Ack(1, at(1)))
    assert t.sent()[0].seq == at(1)
    assert t.environment.counters.spurious_recoveries == 0
