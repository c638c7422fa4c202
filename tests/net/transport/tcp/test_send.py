"""Sending: windows, Nagle's rule, silly windows, persist, retransmission and congestion (RFC 9293 3.8, 5681, 6298, 6582)."""

import itertools

import pytest

from rumpkit.kern.abi.errno import EHOSTUNREACH, EMSGSIZE, ETIMEDOUT
from rumpkit.net.transport.tcp.episode import FAST, OPEN
from rumpkit.net.transport.tcp.options import TcpOptions
from tests.net.transport.tcp.script import MSS, Ack, Data, Fin, Rst, Script, Seg, Syn, SynAck, established

RTO = 201


def sizes(t):
    """The payload sizes sent since the last time."""
    got = [int(segment.size) for segment in t.out]
    t.out.clear()
    return got


def fast(**arguments):
    """A connection with a large congestion window and a large peer window."""
    t = established(**arguments)
    t.block.congestion.window = 1 << 20
    return t


# Small segments ---------------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("9293", "MUST-60", "MUST-61")
def test_data_is_sent_at_once_with_push():
    t = established()
    t.write(b"hello")
    t.expect(Data(1, b"hello", flags="PA"))


@pytest.mark.rfc("9293", "SHLD-7", "SHLD-27")
def test_nagle_holds_the_second_small_segment():
    t = established()
    t.write(b"a")
    t.expect(Data(1, b"a"))
    t.write(b"b")
    t.write(b"c")
    t.silent()
    t.send(10, Ack(1, 2))
    t.expect(Data(2, b"bc"))


@pytest.mark.rfc("9293", "SHLD-28")
def test_nagle_lets_full_segments_go():
    t = established()
    t.write(b"a")
    t.write(bytes(MSS))
    t.expect(Data(1, b"a"), Data(2, bytes(MSS)))
    t.write(b"tail")
    t.silent()


def test_minshall_lets_a_tail_follow_full_segments():
    t = established()
    t.write(bytes(MSS + 1))
    t.expect(Data(1, bytes(MSS + 1), gso_size=MSS))
    t.write(b"x")
    t.silent()
    t.send(10, Ack(1, MSS + 2))
    t.expect(Data(MSS + 2, b"x"))


@pytest.mark.rfc("9293", "MUST-17")
def test_nodelay():
    options = TcpOptions()
    options.nodelay = True
    t = established(options=options)
    t.write(b"a")
    t.write(b"b")
    t.expect(Data(1, b"a"), Data(2, b"b"))


def test_fin_overrides_nagle():
    t = established()
    t.write(b"a")
    t.connection.write(b"b", 0)
    t.close()
    t.expect(Data(1, b"a"), Fin(2, 1, data=b"b"))


@pytest.mark.rfc("9293", "MUST-60")
def test_cork_holds_all_but_full_segments_for_so_long():
    t = established()
    t.options.cork = True
    t.write(bytes(MSS + 10))
    t.expect(Data(1, bytes(MSS)))
    t.send(10, Ack(1, MSS + 1))
    t.silent()
    t.options.cork = False
    t.connection.transmit(t.out, t.now)
    t.expect(Data(MSS + 1, bytes(10)))
    t.options.cork = True
    t.send(20, Ack(1, MSS + 11))
    t.write(b"held")
    t.silent()
    t.at(219).silent()
    t.at(225).expect(Data(MSS + 11, b"held"))


def test_more_holds_until_the_next_write():
    t = established()
    t.write(b"head", more=True)
    t.silent()
    t.write(b"body")
    t.expect(Data(1, b"headbody"))


# Windows ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("9293", "MUST-1")
def test_super_segments_are_whole_segments_below_64k():
    t = fast()
    t.send(0, Ack(1, 1, window=65535))
    t.write(bytes(200_000))
    assert sizes(t) == [65000]
    assert t.block.snd_nxt - t.block.snd_una == 65000


def test_initial_window_is_ten_segments():
    """RFC 6928."""
    t = established(mss=1460)
    t.write(bytes(100_000))
    assert sum(sizes(t)) == 10 * MSS
    t = Script(mss=1460)
    t.open()
    t.send(0, SynAck(mss=1460))
    t.out.clear()
    t.write(bytes(100_000))
    assert sum(sizes(t)) == 14600


def test_the_peers_window_is_kept():
    t = fast()
    t.send(0, Ack(1, 1, window=2500))
    t.write(bytes(10_000))
    assert sizes(t) == [2000]
    t.send(10, Ack(1, 2001, window=2500))
    assert sizes(t) == [2000]


@pytest.mark.rfc("9293", "MUST-38")
def test_a_small_window_is_not_filled_with_crumbs():
    """Sender's silly window avoidance (RFC 9293 3.8.6.2.1)."""
    t = fast()
    t.write(bytes(10_000))
    assert sizes(t) == [10_000]
    t.send(10, Ack(1, 10_001, window=300))
    t.write(bytes(5000))
    t.silent()
    t.at(300)
    assert sizes(t) == [300]


def test_half_the_largest_window_is_worth_sending():
    t = Script()
    t.open()
    t.send(0, SynAck(window=400))
    t.block.snd_max_wnd = 400
    t.out.clear()
    t.write(bytes(1000))
    assert sizes(t) == [400]


def test_old_segments_do_not_update_the_window():
    t = fast()
    t.send(10, Data(1, b"abc", 1, window=5000))
    t.send(10, Data(4, b"def", 1, window=4000))
    assert t.block.snd_wnd == 4000
    t.send(11, Data(3, b"cdefg", 1, window=9000))
    assert t.block.snd_wnd == 4000
    assert t.read() == b"abcdefg"


@pytest.mark.rfc("9293", "MUST-34", "SHLD-15", "SHLD-16")
def test_a_window_closed_over_data_in_flight_is_probed_and_not_given_up():
    """RFC 9293 3.8.6: a peer that took its window back is probed as ever, and lives as long as it answers."""
    t = fast(retries=3)
    t.write(bytes(3000))
    t.out.clear()
    t.send(10, Ack(1, 1, window=0))
    t.write(bytes(1000))
    t.silent()
    answered = 0
    for time in range(20, 100_000, 20):
        t.at(time)
        if t.out:
            t.expect(Ack(0, 1))
            t.send(time + 5, Ack(1, 1, window=0))
            answered += 1
    assert answered > 5
    t.state("ESTABLISHED")
    t.send(100_000, Ack(1, 1, window=5000))
    t.expect(Data(1, bytes(3000), gso_size=MSS), Data(3001, bytes(1000)))


def test_a_window_closed_over_data_in_flight_and_silence_end_it():
    t = fast(retries=3)
    t.write(bytes(3000))
    t.out.clear()
    t.send(10, Ack(1, 1, window=0))
    t.at(100_000)
    t.expect(Ack(0, 1), Ack(0, 1), Ack(0, 1))
    t.state("CLOSED")
    assert t.block.error == ETIMEDOUT


def test_a_shrunken_window_limits_retransmission():
    """What lies beyond the window that is left waits (RFC 9293 3.8.6, MAY-7 not taken)."""
    t = fast()
    t.write(bytes(3000))
    t.out.clear()
    t.send(10, Ack(1, 1, window=600))
    t.by(300, Data(1, bytes(600)))
    t.send(310, Ack(1, 601, window=5000))
    t.expect(Data(601, bytes(MSS)))


@pytest.mark.rfc("9293", "MUST-36", "MUST-37", "SHLD-30")
def test_persist_probes_a_closed_window_for_ever():
    """RFC 9293 3.8.6.1: as long as the probes are answered the connection stays open."""
    t = fast(retries=3)
    t.send(0, Ack(1, 1, window=0))
    t.write(b"waiting")
    t.silent()
    times = []
    for time in range(10, 400_000, 50):
        t.at(time)
        if t.out:
            t.expect(Ack(0, 1))
            times.append(time)
            t.send(time + 5, Ack(1, 1, window=0))
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert gaps[0] == pytest.approx(400, abs=60)
    assert gaps[1] == pytest.approx(800, abs=60)
    assert max(gaps) == pytest.approx(120_000, abs=60)
    t.state("ESTABLISHED")
    t.send(400_100, Ack(1, 1, window=5000))
    t.expect(Data(1, b"waiting"))
    assert t.block.rtt.backoffs == 0


def test_persist_gives_up_on_a_peer_that_does_not_answer():
    t = fast(retries=3)
    t.send(0, Ack(1, 1, window=0))
    t.write(b"waiting")
    t.at(100_000)
    t.expect(Ack(0, 1), Ack(0, 1), Ack(0, 1))
    t.state("CLOSED")
    assert t.block.error == ETIMEDOUT


def test_a_fin_waits_for_a_closed_window_too():
    t = fast()
    t.send(0, Ack(1, 1, window=0))
    t.close()
    t.silent()
    t.at(300).expect(Ack(0, 1))
    t.send(310, Ack(1, 1, window=100))
    t.expect(Fin(1, 1))


def test_the_queue_tells_when_there_is_room_again():
    t = fast(send_buffer=6000, send_buffer_max=6000)
    assert t.write(bytes(10_000)) == 6000
    assert t.connection.space() == 0
    t.send(10, Ack(1, 1001))
    t.events()
    t.send(20, Ack(1, 3001))
    t.events("writable")
    t.send(30, Ack(1, 6001))
    t.events()


# Round trips and the timer ------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("9293", "MUST-18")
def test_rto_follows_rfc_6298():
    t = established()
    t.write(b"a")
    t.send(100, Ack(1, 2))
    first = t.block.rtt.smoothed
    assert first == pytest.approx(100_000_000 / 8, rel=0.01)
    t = Script()
    t.open()
    t.send(100, SynAck())
    assert t.block.rtt.smoothed == 100_000_000
    assert t.block.rtt.variation == 50_000_000
    assert t.block.rtt.timeout == 300_000_000
    t.write(b"a")
    t.send(260, Ack(1, 2))
    assert t.block.rtt.variation == 52_500_000
    assert t.block.rtt.smoothed == 107_500_000


@pytest.mark.rfc("9293", "MUST-19", "MUST-20")
def test_retransmission_backs_off_and_ends():
    t = established(retries=4)
    t.write(b"abc")
    t.expect(Data(1, b"abc"))
    times = []
    for time in range(0, 20_000, 1):
        t.at(time)
        if t.out:
            t.expect(Data(1, b"abc"))
            times.append(time)
    assert times == [201, 601, 1401, 3001]
    t.state("CLOSED")
    assert t.block.error == ETIMEDOUT


@pytest.mark.rfc("9293", "MUST-56")
def test_soft_errors_name_the_timeout():
    t = established(retries=1)
    t.write(b"abc")
    t.icmp(1, EHOSTUNREACH)
    t.state("ESTABLISHED")
    t.at(1000)
    t.state("CLOSED")
    assert t.block.error == EHOSTUNREACH


@pytest.mark.rfc("9293", "MUST-21")
def test_user_timeout():
    """RFC 5482."""
    t = established()
    t.options.user_timeout = 2000
    t.write(b"abc")
    t.at(1999).state("ESTABLISHED")
    t.at(2000).state("CLOSED")
    assert t.block.error == ETIMEDOUT


@pytest.mark.rfc("9293", "MUST-18")
def test_karn_no_sample_from_a_retransmitted_segment():
    t = established()
    before = t.block.rtt.smoothed
    t.write(b"abc")
    t.at(1500)
    t.send(1510, Ack(1, 4))
    assert t.block.rtt.smoothed == before
    assert t.block.rtt.backoffs == 3
    t.write(b"next")
    t.send(1520, Ack(1, 8))
    assert t.block.rtt.smoothed > before
    assert t.block.rtt.backoffs == 0


def test_timestamps_give_a_sample_all_the_same():
    """RFC 7323 section 4."""
    t = Script(timestamps=1)
    t.open()
    t.send(0, SynAck(ts=(5, 0)))
    t.write(b"abc")
    t.at(1000)
    t.send(1450, Ack(1, 4, ts=(6, 1400)))
    assert t.block.rtt.smoothed == pytest.approx(50_000_000 / 8, rel=0.01)


def test_an_echo_from_before_the_retransmission_says_nothing():
    """The peer had the data, its ACK was lost, and it repeats an old echo."""
    t = Script(timestamps=1)
    t.open()
    t.send(0, SynAck(ts=(5, 0)))
    t.write(b"abc")
    t.at(1500)
    t.send(1510, Ack(1, 4, ts=(6, 1)))
    assert t.block.rtt.smoothed == 1
    assert t.block.snd_una == t.block.snd_max


@pytest.mark.rfc("9293", "MUST-19")
def test_timeout_goes_back_to_the_first_and_slow_starts():
    t = fast()
    t.write(bytes(8000))
    assert sizes(t) == [8000]
    t.at(RTO)
    assert t.block.congestion.window == MSS
    assert t.block.congestion.threshold == 4000
    t.expect(Data(1, bytes(MSS)))
    t.send(250, Ack(1, 1001))
    t.expect(Data(1001, bytes(2 * MSS)))
    t.send(300, Ack(1, 8001))
    t.silent()
    assert t.block.snd_nxt == t.block.snd_max == t.block.snd_una


# Congestion --------------------------------------------------------------------------------------------------------------------


def lossy(count=10):
    """`count` segments in flight, all numbered from 1 by thousands."""
    t = established()
    t.block.congestion.window = count * MSS
    t.write(bytes(count * MSS))
    assert sizes(t) == [count * MSS]
    return t


@pytest.mark.rfc("9293", "MUST-19")
def test_slow_start_and_congestion_avoidance():
    t = lossy()
    t.send(10, Ack(1, 5001))
    assert t.block.congestion.window == 15 * MSS
    t.block.congestion.threshold = 15 * MSS
    t.write(bytes(40_000))
    t.out.clear()
    t.send(20, Ack(1, 10_001))
    assert t.block.congestion.window == 15 * MSS
    t.send(30, Ack(1, 20_001))
    assert t.block.congestion.window == 16 * MSS


def test_an_unused_window_does_not_grow():
    """RFC 7661's point: what was not used was not tested."""
    t = established()
    before = t.block.congestion.window
    t.write(b"a")
    t.send(10, Ack(1, 2))
    assert t.block.congestion.window == before


def test_limited_transmit():
    """RFC 3042."""
    t = lossy()
    t.write(bytes(5000))
    t.silent()
    t.send(10, Ack(1, 1))
    assert sizes(t) == [1000]
    t.send(11, Ack(1, 1))
    assert sizes(t) == [1000]


def test_fast_retransmit_and_full_recovery():
    t = lossy()
    t.send(10, Ack(1, 1), Ack(1, 1))
    t.silent()
    t.send(11, Ack(1, 1))
    t.expect(Data(1, bytes(MSS)))
    assert t.block.congestion.threshold == 5000
    # Proportional rate reduction (RFC 6937): the window is what is in flight, and what has earned it.
    assert t.block.congestion.window == 7000
    t.send(12, Ack(1, 1), Ack(1, 1))
    assert t.block.congestion.window <= 7000
    t.send(50, Ack(1, 10_001))
    t.silent()
    assert t.block.congestion.window == 2000
    assert not t.block.disorder


def test_partial_acks_retransmit_the_next_hole():
    """RFC 6582."""
    t = lossy()
    t.send(10, Ack(1, 1), Ack(1, 1), Ack(1, 1))
    t.expect(Data(1, bytes(MSS)))
    t.send(50, Ack(1, 4001))
    t.expect(Data(4001, bytes(MSS)))
    assert t.block.episode.phase == FAST
    t.send(90, Ack(1, 7001))
    t.expect(Data(7001, bytes(MSS)))
    t.send(130, Ack(1, 10_001))
    assert t.block.episode.phase == OPEN


def test_no_second_fast_retransmit_for_the_same_window():
    t = lossy()
    t.at(RTO)
    t.expect(Data(1, bytes(MSS)))
    t.send(250, Ack(1, 1), Ack(1, 1), Ack(1, 1), Ack(1, 1))
    t.silent()
    assert t.environment.counters.fast_retransmits == 0


@pytest.mark.parametrize(
    "segment",
    [Ack(1, 1, window=50_000), Data(1, b"x", 1), Fin(1, 1)],
)
def test_what_is_no_duplicate(segment):
    """RFC 5681 section 2: data, FIN, or another window make an ACK more than a duplicate."""
    t = lossy()
    t.send(10, segment)
    assert t.block.duplicate_acks == 0


def test_no_duplicates_without_data_in_flight():
    t = established()
    for time in range(5):
        t.send(time, Ack(1, 1))
    assert t.block.duplicate_acks == 0
    t.silent()


def test_idle_restart():
    """RFC 5681 section 4.1."""
    t = fast()
    t.write(bytes(1000))
    t.send(10, Ack(1, 1001))
    t.out.clear()
    t.at(5000)
    t.write(bytes(60_000))
    assert sum(sizes(t)) == 10 * MSS


# Paths ---------------------------------------------------------------------------------------------------------------------------


def test_a_smaller_path_mtu_sends_again_at_once():
    """RFC 1191 section 6.4."""
    t = fast()
    t.write(bytes(3000))
    t.out.clear()
    window = t.block.congestion.window
    t.icmp(1, EMSGSIZE, 500)
    t.expect(Data(1, bytes(3000), gso_size=500))
    assert t.block.congestion.window == window
    t.icmp(1, EMSGSIZE, 400 + MSS)
    t.silent()


def test_a_wider_path_makes_later_segments_larger():
    t = fast()
    t.connection.path_changed(500)
    t.connection.path_changed(2000)
    t.write(bytes(5000))
    t.expect(Data(1, bytes(5000), gso_size=MSS))


@pytest.mark.rfc("9293", "MUST-62")
def test_urgent_data_is_pointed_to_until_it_is_acknowledged():
    t = fast()
    t.connection.write(b"urgent", 0)
    t.connection.mark_urgent()
    t.write(b"more")
    assert t.out[0].urgent == 6
    t.expect(Data(1, b"urgentmore", flags="AU"))
    t.send(10, Ack(1, 11))
    t.write(b"x")
    t.expect(Data(11, b"x", flags="A"))


def test_icmp_about_what_is_not_in_flight_is_not_believed():
    """RFC 5927 section 4.1."""
    t = fast()
    t.write(bytes(3000))
    t.out.clear()
    t.icmp(3001, EMSGSIZE, 500)
    t.icmp(-1, EMSGSIZE, 500)
    t.silent()
    assert t.block.snd_mss == MSS


# Keepalive ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("9293", "MUST-27", "MUST-29", "SHLD-12")
def test_keepalive_probes_and_ends():
    options = TcpOptions()
    options.keepalive = True
    options.keepalive_time = 10_000
    options.keepalive_interval = 1000
    options.keepalive_probes = 3
    t = established(options=options)
    t.at(9999).silent()
    t.at(10_000).expect(Ack(0, 1))
    t.send(10_010, Ack(1, 1))
    t.at(20_009).silent()
    t.at(20_010).expect(Ack(0, 1))
    t.at(21_010).expect(Ack(0, 1))
    t.at(22_010).expect(Ack(0, 1))
    t.at(23_010).expect(Rst(1, 1))
    t.state("CLOSED")
    assert t.block.error == ETIMEDOUT


@pytest.mark.rfc("9293", "MUST-24")
def test_keepalive_can_be_switched_on_later():
    t = established()
    t.at(5000)
    t.options.keepalive = True
    t.options.keepalive_time = 1000
    t.connection.options_changed(t.now)
    t.at(6000).expect(Ack(0, 1))
    t.options.keepalive = False
    t.connection.options_changed(t.now)
    t.at(10_000_000).silent()


@pytest.mark.rfc("9293", "MUST-26")
def test_segments_on_the_way_in_put_keepalive_off():
    options = TcpOptions()
    options.keepalive = True
    options.keepalive_time = 1000
    t = established(options=options)
    t.send(600, Ack(1, 1))
    t.at(1599).silent()
    t.at(1600).expect(Ack(0, 1))


def test_unknown_letters_are_no_flags():
    with pytest.raises(KeyError):
        established().send(0, Seg("X", 1))
    assert Syn().flags == "S"
