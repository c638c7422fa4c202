"""What is not to be believed: RFC 9293 section 3.10.7.4 first to fifth, RFC 5961, RFC 7323 section 5."""

import pytest

from tests.net.transport.tcp.script import MSS, Ack, Data, Fin, Rst, Script, Seg, Syn, SynAck, established

WINDOW = 65535


def edge(t):
    return t.block.rcv_edge - t.block.irs


@pytest.mark.parametrize(
    ("seq", "data", "acceptable"),
    [
        (1, b"", True),
        (0, b"", False),
        (-5, b"abc", False),
        (-1, b"ab", False),
        (-1, b"abc", True),
        (1 + WINDOW, b"", True),
        (2 + WINDOW, b"", False),
        (WINDOW, b"x", True),
        (1 + WINDOW, b"x", False),
    ],
)
def test_the_window(seq, data, acceptable):
    """RFC 9293 section 3.4, table 6.  An unacceptable segment is answered, and its text is not taken; what it
    acknowledges counts if it is old, but not if it is of the future."""
    t = established()
    t.write(b"x")
    t.out.clear()
    assert edge(t) == 1 + WINDOW
    t.send(10, Data(seq, data, ack=2))
    assert (t.block.snd_una == t.block.snd_max) == (acceptable or seq <= 1)
    if not acceptable:
        t.expect(Ack(2, 1))
    t.state("ESTABLISHED")


def test_what_very_old_segments_acknowledge_does_not_count():
    t = established()
    t.write(b"x")
    t.send(10, Data(-WINDOW, b"old", ack=2))
    assert t.block.snd_una < t.block.snd_max
    t.send(20, Data(1 - WINDOW, b"old", ack=2))
    assert t.block.snd_una == t.block.snd_max


def test_two_ends_that_time_out_at_once_catch_up():
    """Each has all that the other sent, and no acknowledgement arrived: what they send again is old to the other."""
    ends = [established(), established()]
    for t in ends:
        t.block.congestion.window = 100_000
        t.write(bytes(5 * MSS))
        t.out.clear()
        t.send(0, Data(1, bytes(5 * MSS)))
        t.at(100)
        t.out.clear()
    for time in range(110, 1000, 10):
        for one, other in (ends, ends[::-1]):
            sent = [one._relative(segment) for segment in one.out]
            one.out.clear()
            other.send(time, *[Seg(s.flags, s.seq, s.ack, s.data) for s in sent])
    for t in ends:
        assert t.block.snd_una == t.block.snd_max


def test_a_closed_window_lets_acks_and_resets_in():
    t = established(receive_buffer=4096)
    t.send(10, Data(1, bytes(4096)))
    t.expect(Ack(1, 4097, window=0))
    t.write(b"abc")
    t.out.clear()
    t.send(20, Data(4097, b"x", ack=4))
    t.expect(Ack(4, 4097, window=0))
    assert t.block.snd_una == t.block.snd_max
    t.send(30, Rst(4097))
    t.state("CLOSED")


def test_old_empty_segments_are_answered_rarely():
    """So that two ends that disagree don't keep each other busy."""
    t = established()
    t.send(1000, Ack(70000, 1), Ack(70000, 1))
    t.expect(Ack(1, 1))
    t.send(1100, Ack(70000, 1))
    t.silent()
    t.send(1600, Ack(70000, 1))
    t.expect(Ack(1, 1))


def test_keepalive_probes_are_answered():
    t = established()
    for time in (1000, 1500, 2000):
        t.send(time, Ack(0, 1))
        t.expect(Ack(1, 1))


def test_two_ends_that_disagree_do_not_storm():
    """Somebody has put a byte into each stream: now each end acknowledges what the other never sent."""
    ours, theirs = established(), established()
    for t in (ours, theirs):
        t.send(0, Data(1, b"x"))
        t.at(100)
        t.out.clear()
    ours.write(b"hello")
    count = 0
    for time in range(200, 10_000, 10):
        for one, other in ((ours, theirs), (theirs, ours)):
            sent = [one._relative(segment) for segment in one.out]
            one.out.clear()
            count += len(sent)
            other.send(time, *[Seg(s.flags, s.seq, s.ack, s.data) for s in sent])
    assert count < 60


@pytest.mark.parametrize(("seq", "answer"), [(0, False), (2, True), (WINDOW, True), (WINDOW + 2, False)])
def test_resets_count_at_the_exact_number_only(seq, answer):
    """RFC 5961 section 3.2."""
    t = established()
    t.send(10, Rst(seq))
    if answer:
        t.expect(Ack(1, 1))
    else:
        t.silent()
    t.state("ESTABLISHED")


@pytest.mark.parametrize("segment", [Syn(1), Syn(500), Seg("SA", 1, 1), Seg("SF", 1)])
def test_syns_are_challenged(segment):
    """RFC 5961 section 4.2."""
    t = established()
    t.send(10, segment)
    t.expect(Ack(1, 1))
    t.state("ESTABLISHED")


def test_challenges_are_limited():
    """RFC 5961 section 7: over all connections, and by chance, so that nobody can count what others have left of them."""
    t = established(challenge_acks=20)
    others = [established(environment=t.environment) for _ in range(50)]
    budgets = set()
    for second in range(1, 30):
        before = t.environment.counters.challenge_acks
        for other in others:
            other.send(second * 1000, Rst(2))
            other.out.clear()
        budgets.add(t.environment.counters.challenge_acks - before)
    assert min(budgets) >= 10 and max(budgets) <= 30
    assert len(budgets) > 5


def test_a_connection_is_not_challenged_twice_in_half_a_second():
    t = established(answer_interval=500)
    t.send(600, Rst(2))
    t.expect(Ack(1, 1))
    t.send(1099, Rst(2), Syn(1), Data(1, b"x", ack=2))
    t.silent()
    t.send(1100, Syn(1))
    t.expect(Ack(1, 1))


def test_acks_of_what_was_never_sent():
    t = established()
    t.send(10, Data(1, b"abc", ack=2))
    t.expect(Ack(1, 1))
    assert t.connection.readable() == 0


def test_acks_older_than_any_window():
    """RFC 5961 section 5.2."""
    t = established()
    for start in range(1, 200_001, 50_000):
        t.write(bytes(50_000))
        t.block.snd_wnd = 100_000
        t.block.congestion.window = 100_000
        t.connection.transmit(t.out, t.now)
        t.send(0, Ack(1, start + 50_000))
    t.out.clear()
    t.send(10, Data(1, b"abc", ack=200_001 - 60_000))
    assert t.read() == b"abc"
    t.out.clear()
    t.send(20, Data(4, b"def", ack=200_001 - 60_001))
    t.expect(Ack(200_001, 4))
    assert t.connection.readable() == 0


def test_segments_without_ack_are_dropped():
    t = established()
    t.send(10, Seg("", 1, data=b"abc"))
    t.silent()
    assert t.connection.readable() == 0


def test_the_right_edge_cuts_off_what_is_beyond():
    t = established(receive_buffer=4096)
    t.send(10, Data(1, bytes(4000)), Fin(4001, 1, data=bytes(200)))
    t.expect(Ack(1, 4097, window=0))
    t.state("ESTABLISHED")
    assert t.connection.readable() == 4096


# PAWS -------------------------------------------------------------------------------------------------------------------------


def with_timestamps():
    t = Script(timestamps=1)
    t.at(1000)
    t.open()
    t.send(1000, SynAck(ts=(500, 1000)))
    t.out.clear()
    return t


def test_an_old_timestamp_drops_the_segment():
    """RFC 7323 section 5.3 R1."""
    t = with_timestamps()
    t.send(1010, Data(1, b"abc", ts=(510, 1000)))
    assert t.read() == b"abc"
    t.send(1100, Data(4, b"old", ts=(509, 1000)))
    assert t.connection.readable() == 0
    assert t.environment.counters.paws_drops == 1
    t.send(1100, Data(4, b"new", ts=(510, 1000)))
    assert t.read() == b"new"


def test_an_ack_that_data_has_overtaken_is_no_old_duplicate():
    """Its SACK blocks count, and what we echo does not go back (tcp_disordered_ack of Linux)."""
    t = Script(timestamps=1, sack=1, tail_loss_probe=0)
    t.at(1000)
    t.open()
    t.send(1000, SynAck(ts=(500, 1000), sack_ok=True))
    t.write(bytes(6 * MSS))
    t.out.clear()
    t.send(1010, Data(1, b"abc", ts=(511, 1000)))
    t.by(1100, Ack(None, 4))
    size = t.block.snd_mss
    t.send(1100, Ack(4, 1, ts=(510, 1000), sack=[(1 + size, 1 + 4 * size)]))
    assert t.environment.counters.paws_drops == 0
    assert t.block.scoreboard.sacked == 3 * size  # type: ignore[union-attr]
    assert t.block.ts_recent == 511
    again = t.sent()[0]
    assert (again.seq, again.fields["ts"]) == (1, (1100, 511))


@pytest.mark.parametrize(
    "late",
    [
        pytest.param(Ack(4, 1, ts=(510 - 400, 1000)), id="much too old"),
        pytest.param(Ack(4, 1, ts=(510, 1000), window=99), id="another window"),
        pytest.param(Ack(3, 1, ts=(510, 1000)), id="before the window"),
        pytest.param(Data(4, b"x", 1, ts=(510, 1000)), id="data"),
        pytest.param(Fin(4, 1, ts=(510, 1000)), id="a FIN"),
    ],
)
def test_whatever_else_is_old_is_dropped(late):
    t = with_timestamps()
    t.send(1010, Data(1, b"abc", ts=(511, 1000)))
    t.send(1020, late)
    assert t.environment.counters.paws_drops == 1


def test_an_old_timestamp_does_not_protect_from_resets():
    t = with_timestamps()
    t.send(1100, Rst(1, ts=(1, 0)))
    t.state("CLOSED")


def test_timestamps_mean_nothing_after_24_days():
    t = with_timestamps()
    t.send(25 * 86_400_000, Data(1, b"abc", ts=(1, 0)))
    assert t.read() == b"abc"


def test_ts_recent_follows_only_what_covers_the_last_ack():
    """RFC 7323 section 4.3: an out-of-order segment's timestamp is not echoed."""
    t = with_timestamps()
    t.send(1010, Data(4, b"def", ts=(520, 1000)))
    t.expect(Ack(1, 1, ts=(1010, 500)))
    t.send(1020, Data(1, b"abc", ts=(515, 1000)))
    t.expect(Ack(1, 7, ts=(1020, 515)))


def test_the_echo_of_a_delayed_ack_is_the_first_segments():
    t = with_timestamps()
    t.send(1010, Data(1, b"abc", ts=(510, 1000)))
    t.silent()
    t.send(1020, Data(4, bytes(2000), ts=(520, 1000)))
    t.expect(Ack(1, 2004, ts=(1020, 510)))


def test_segments_without_timestamps_are_taken_all_the_same():
    t = with_timestamps()
    t.send(1010, Data(1, b"abc"))
    assert t.read() == b"abc"
