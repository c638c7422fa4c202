"""Pacing: bursts of a millisecond, spread over the round trip."""

from tests.net.transport.tcp.script import MSS, Ack, Script, SynAck


def paced(rate=0, window=100, rtt=100, **arguments):
    """A connection on a path of `rtt` ms with a window of `window` segments."""
    t = Script(**arguments)
    t.options.max_pacing_rate = rate
    t.open()
    t.send(rtt, SynAck(sack_ok=True))
    t.out.clear()
    t.times.clear()
    t.block.congestion.window = window * MSS
    return t


def test_a_limited_rate_is_kept():
    t = paced(rate=1_000_000)
    t.write(bytes(50 * MSS))
    t.at(120)
    sent = t.sent()
    assert all(len(seg.data) == 2 * MSS for seg in sent)
    assert [seg.fields["at"] for seg in sent] == list(range(100, 121, 2))


def test_it_is_off_by_default():
    t = paced()
    t.write(bytes(50 * MSS))
    assert sum(len(seg.data) for seg in t.sent()) == 50 * MSS


def test_a_window_takes_most_of_a_round_trip():
    """Twelve tenths of a window a round trip in congestion avoidance, two in slow start."""
    t = paced(pacing=1, window=60)
    t.block.congestion.threshold = 60 * MSS
    t.write(bytes(60 * MSS))
    t.at(200)
    sent = t.sent()
    assert 100 + 75 <= sent[-1].fields["at"] <= 100 + 85
    assert sum(len(seg.data) for seg in sent) == 60 * MSS
    t = paced(pacing=1, window=60)
    t.write(bytes(60 * MSS))
    t.at(200)
    assert 100 + 45 <= t.sent()[-1].fields["at"] <= 100 + 52


def test_large_rates_go_in_large_bursts():
    t = paced(rate=20_000_000)
    t.write(bytes(50 * MSS))
    assert [len(seg.data) for seg in t.sent()] == [20 * MSS]
    t.at(102)
    assert [len(seg.data) for seg in t.sent()] == [20 * MSS, 10 * MSS]


def test_retransmissions_are_paced_but_the_first():
    t = paced(rate=1_000_000, window=20, tail_loss_probe=0)
    t.write(bytes(20 * MSS))
    t.at(140)
    t.out.clear()
    t.times.clear()
    t.send(250, Ack(1, 1, sack=[(1 + 16 * MSS, 1 + 20 * MSS)]))
    assert t.sent()[0].seq == 1


def test_an_acknowledgement_does_not_wait():
    from tests.net.transport.tcp.script import Data

    t = paced(rate=100_000)
    t.write(bytes(10 * MSS))
    t.out.clear()
    t.times.clear()
    t.send(101, Data(1, bytes(2 * MSS), segments=2, gso_size=MSS))
    t.expect(Ack(1 + 2 * MSS, 1 + 2 * MSS, at=101))
