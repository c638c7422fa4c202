"""Scripts of loss that only the timer notices: RFC 6298, RFC 9293 sections 3.8.1 to 3.8.3, and Karn's rule."""

from itertools import pairwise

import pytest

from rumpkit.kern.abi.errno import EHOSTUNREACH, ETIMEDOUT
from tests.net.transport.tcp.script import MSS, Ack, Data, Script, Syn, SynAck, established


def measured(rtt, **arguments):
    """Established, with a first round trip of `rtt` ms; nothing is under way."""
    t = Script(**arguments)
    t.open()
    t.expect(Syn())
    t.send(rtt, SynAck())
    t.expect(Ack(1, 1))
    return t


def test_the_timeout_is_the_round_trip_and_four_deviations():
    """RFC 6298 section 2.2: 100 ms and a deviation of 50."""
    t = measured(100)
    t.write(b"a")
    t.expect(Data(1, b"a", at=100))
    t.quiet(399)
    t.by(400, Data(1, b"a", at=400))


def test_the_timeout_is_never_less_than_the_minimum():
    t = measured(1)
    t.write(b"a")
    t.out.clear()
    t.quiet(200)
    t.by(210, Data(1, b"a"))


def test_the_timeout_is_never_more_than_the_maximum():
    t = measured(100, max_rto=1000, retries=20)
    t.write(b"a")
    t.at(20_000)
    times = [segment.fields["at"] for segment in t.sent()]
    assert [later - earlier for earlier, later in pairwise(times[4:])][:5] == [1000] * 5


@pytest.mark.rfc("9293", "MUST-19")
def test_each_timeout_doubles_the_next():
    t = measured(100)
    t.write(b"a")
    t.expect(Data(1, b"a"))
    for time in (400, 1000, 2200, 4600, 9400):
        t.quiet(time - 1)
        t.by(time, Data(1, b"a", at=time))


def test_only_the_first_segment_is_sent_again_at_a_timeout():
    t = measured(100, split=True)
    t.write(bytes(4 * MSS))
    t.expect(*[Data(1 + index * MSS, bytes(MSS)) for index in range(4)])
    t.at(600)
    assert {segment.seq for segment in t.sent()} == {1}


def test_the_rest_follows_the_acknowledgement():
    t = measured(100, split=True)
    t.write(bytes(4 * MSS))
    t.out.clear()
    t.at(401)
    t.out.clear()
    t.send(500, Ack(1, 1 + MSS))
    t.expect(Data(1 + MSS, bytes(MSS)), Data(1 + 2 * MSS, bytes(MSS)))
    t.send(600, Ack(1, 1 + 3 * MSS))
    t.expect(Data(1 + 3 * MSS, bytes(MSS)))
    t.send(700, Ack(1, 1 + 4 * MSS))
    t.quiet(10_000)


@pytest.mark.rfc("9293", "MUST-19")
def test_slow_start_follows_a_timeout():
    t = measured(100, split=True)
    t.write(bytes(10 * MSS))
    t.out.clear()
    t.at(401)
    assert len(t.sent()) == 1
    sizes = []
    for time, ack in ((500, 1), (600, 3)):
        t.send(time, Ack(1, 1 + ack * MSS))
        sizes.append(len(t.sent()))
    assert sizes == [2, 4]


@pytest.mark.rfc("9293", "MUST-18")
def test_the_backed_off_timeout_holds_until_new_data_is_acknowledged():
    """The other half of Karn's rule (RFC 6298 section 5): no sample came of what was sent twice."""
    t = measured(100)
    t.write(b"a")
    t.by(1000, Data(1, b"a"), Data(1, b"a", at=400), Data(1, b"a", at=1000))
    t.send(1100, Ack(1, 2))
    t.write(b"b")
    t.expect(Data(2, b"b", at=1100))
    t.quiet(2299)
    t.by(2300, Data(2, b"b", at=2300))
    t.send(2400, Ack(1, 3))
    t.write(b"c")
    t.send(2500, Ack(1, 4))
    t.write(b"d")
    t.out.clear()
    t.by(3100, Data(4, b"d"))


def test_an_acknowledgement_just_in_time():
    t = measured(100)
    t.write(b"a")
    t.out.clear()
    t.send(399, Ack(1, 2))
    t.quiet(100_000)


def test_an_acknowledgement_of_a_part_starts_the_timer_anew():
    """RFC 6298 section 5.3."""
    t = measured(100, split=True)
    t.write(bytes(2 * MSS))
    t.out.clear()
    t.send(390, Ack(1, 1 + MSS))
    t.quiet(600)
    t.at(2000)
    assert t.sent()[0].seq == 1 + MSS


def test_what_is_sent_again_acknowledges_what_came_meanwhile():
    t = measured(100)
    t.write(b"question")
    t.out.clear()
    t.send(200, Data(1, b"note"))
    t.by(240, Ack(9, 5))
    t.by(400, Data(1, b"question", ack=5, at=400))


def test_what_is_sent_again_offers_the_window_of_now():
    t = measured(100, receive_buffer=10_000)
    t.write(b"question")
    t.out.clear()
    t.send(150, Data(1, bytes(3 * MSS)))
    t.out.clear()
    t.by(400, Data(1, b"question", ack=1 + 3 * MSS, window=10_000 - 3 * MSS))


def test_a_late_acknowledgement_of_the_first_copy():
    t = measured(100)
    t.write(b"slow")
    t.by(400, Data(1, b"slow"), Data(1, b"slow"))
    t.send(401, Ack(1, 5))
    t.quiet(100_000)
    t.write(b"next")
    t.expect(Data(5, b"next"))


def test_new_data_waits_for_a_window_that_a_timeout_closed():
    t = measured(100, split=True)
    t.write(bytes(4 * MSS))
    t.by(400, *[Data(1 + index * MSS, bytes(MSS)) for index in range(4)], Data(1, bytes(MSS), at=400))
    t.write(bytes(MSS))
    t.silent()


@pytest.mark.rfc("9293", "SHLD-10", "SHLD-11")
def test_a_connection_is_not_given_up_for_a_hundred_seconds():
    t = established()
    t.write(b"a")
    t.at(100_000)
    t.state("ESTABLISHED")
    assert len(t.sent()) > 4
    t.at(3_600_000)
    t.state("CLOSED")
    assert t.block.error == ETIMEDOUT


@pytest.mark.rfc("9293", "MUST-20")
def test_the_count_begins_anew_with_each_acknowledgement():
    t = established(retries=3)
    t.write(b"abc")
    for turn in range(5):
        t.at(turn * 100_000 + 1200)
        t.state("ESTABLISHED")
        t.send(turn * 100_000 + 1300, Ack(1, 4 + 3 * turn))
        t.at(turn * 100_000 + 99_000)
        t.write(b"abc")
    t.at(10_000_000)
    t.state("CLOSED")


@pytest.mark.rfc("9293", "MUST-21")
def test_a_program_can_wait_for_longer():
    t = established(retries=3)
    t.options.user_timeout = 3_600_000
    t.write(b"abc")
    t.at(3_590_000)
    t.state("ESTABLISHED")
    t.at(3_800_000)
    t.state("CLOSED")


def test_a_timeout_says_what_icmp_said():
    t = established(retries=2)
    t.write(b"abc")
    t.icmp(1, EHOSTUNREACH)
    t.at(100_000)
    t.state("CLOSED")
    assert t.block.error == EHOSTUNREACH


def test_what_icmp_said_is_forgotten_when_the_path_works_again():
    t = established(retries=2)
    t.write(b"abc")
    t.icmp(1, EHOSTUNREACH)
    t.send(50, Ack(1, 4))
    t.write(b"def")
    t.at(100_000)
    t.state("CLOSED")
    assert t.block.error == ETIMEDOUT


def test_small_segments_are_joined_when_they_are_sent_again():
    t = measured(100)
    t.options.nodelay = True
    t.write(b"one ")
    t.write(b"two ")
    t.write(b"three")
    t.expect(Data(1, b"one "), Data(5, b"two "), Data(9, b"three"))
    t.by(400, Data(1, b"one two three", at=400))


def test_a_duplicate_of_our_own_does_not_confuse_the_count():
    t = measured(100)
    t.write(b"a")
    t.by(400, Data(1, b"a"), Data(1, b"a"))
    t.send(450, Ack(1, 2), Ack(1, 2))
    t.write(b"b")
    t.expect(Data(2, b"b"))
    t.send(460, Ack(1, 3))
    t.quiet(100_000)


def test_the_timer_stops_with_the_last_acknowledgement():
    t = measured(100, split=True)
    t.write(bytes(3 * MSS))
    t.out.clear()
    t.send(200, Ack(1, 1 + 2 * MSS))
    t.send(210, Ack(1, 1 + 3 * MSS))
    t.quiet(1_000_000)
