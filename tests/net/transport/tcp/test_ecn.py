"""Explicit congestion notification (RFC 3168 section 6.1), and the marks in the IP header."""

import pytest

from rumpkit.net.transport.tcp.ecn import congestion_experienced
from rumpkit.net.wire.segment import CE
from tests.net.transport.tcp.script import MSS, Ack, Data, Rst, Script, Seg, Syn, SynAck


def opened(count=0, **arguments):
    """A connection that we opened, with ECN and SACK, `count` segments in flight, on a path of 100 ms."""
    t = Script(ecn=1, **arguments)
    t.open()
    t.expect(Seg("SEC", 0))
    t.send(100, Seg("SAE", 0, 1, sack_ok=True))
    t.expect(Ack(1, 1))
    if count:
        t.block.congestion.window = count * MSS
        t.write(bytes(count * MSS))
        t.out.clear()
        t.times.clear()
    return t


def accepted(**arguments):
    t = Script(**arguments)
    t.listen(Seg("SEC", 0))
    t.expect(Seg("SAE", 0, 1))
    t.send(0, Ack(1, 1))
    return t


def marked(t, time, segment):
    """A segment arrives with congestion experienced."""
    t.at(time)
    real = t._real(segment)
    real.flags |= CE
    t.connection.receive(real, t.now)
    t.flush()


# The handshake ----------------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("9293", "SHLD-8")
@pytest.mark.parametrize(("ecn", "answer"), [(0, "SA"), (1, "SAE"), (2, "SAE")])
def test_a_listener_agrees_as_the_sysctl_says(ecn, answer):
    t = Script(ecn=ecn)
    t.listen(Seg("SEC", 0))
    t.expect(Seg(answer, 0, 1))
    assert t.block.ecn == (ecn != 0)


@pytest.mark.rfc("9293", "SHLD-8")
@pytest.mark.parametrize(("ecn", "flags"), [(0, "S"), (1, "SEC"), (2, "S")])
def test_a_client_asks_as_the_sysctl_says(ecn, flags):
    t = Script(ecn=ecn)
    t.open()
    t.expect(Seg(flags, 0))


@pytest.mark.parametrize("answer", ["SA", "SAEC", "SAC"])
def test_an_answer_that_does_not_agree(answer):
    """ECE and CWR both is a peer that only copies flags (section 6.1.1)."""
    t = Script(ecn=1)
    t.open()
    t.out.clear()
    t.send(0, Seg(answer, 0, 1))
    assert not t.block.ecn


@pytest.mark.parametrize("flags", ["S", "SE", "SC"])
def test_a_syn_that_does_not_ask(flags):
    t = Script(ecn=1)
    t.listen(Seg(flags, 0))
    t.expect(SynAck(0, 1))
    assert not t.block.ecn


def test_a_syn_that_got_no_answer_asks_no_more():
    """Section 6.1.1.1: some networks drop what asks."""
    t = Script(ecn=1)
    t.open()
    t.expect(Seg("SEC", 0))
    t.by(1000, Syn(at=1000))


# The receiver -----------------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("9293", "SHLD-8")
def test_a_mark_is_echoed_until_the_peer_has_slowed_down():
    t = accepted()
    marked(t, 10, Data(1, bytes(MSS)))
    t.expect(Seg("AE", 1, MSS + 1, at=10))
    t.send(20, Data(MSS + 1, bytes(2 * MSS), segments=2, gso_size=MSS))
    t.expect(Seg("AE", 1, 3 * MSS + 1))
    t.send(30, Data(3 * MSS + 1, bytes(2 * MSS), flags="AC", segments=2, gso_size=MSS))
    t.expect(Ack(1, 5 * MSS + 1))
    assert t.environment.counters.ce_received == 1


def test_a_mark_beside_cwr_is_a_new_one():
    t = accepted()
    marked(t, 10, Data(1, bytes(MSS)))
    t.out.clear()
    t.times.clear()
    marked(t, 20, Data(MSS + 1, bytes(MSS), flags="AC"))
    t.expect(Seg("AE", 1, 2 * MSS + 1))


def test_data_echoes_too():
    t = accepted()
    marked(t, 10, Data(1, bytes(MSS)))
    t.out.clear()
    t.times.clear()
    t.write(b"answer")
    t.expect(Seg("AE", 1, MSS + 1, b"answer"))


def test_a_mark_on_a_pure_acknowledgement_means_nothing():
    t = opened(2)
    marked(t, 110, Ack(1, 1 + MSS))
    assert not t.block.ecn_echo


def test_a_mark_on_what_is_out_of_the_window_means_nothing():
    t = accepted()
    marked(t, 10, Data(100_000, bytes(MSS)))
    assert not t.block.ecn_echo


def test_marks_without_agreement_mean_nothing():
    t = Script()
    t.listen(Syn())
    t.send(0, Ack(1, 1))
    t.out.clear()
    t.times.clear()
    marked(t, 10, Data(1, bytes(2 * MSS), segments=2, gso_size=MSS))
    t.expect(Ack(1, 2 * MSS + 1))


# The sender -------------------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("9293", "SHLD-8")
def test_an_echo_halves_the_window_once_a_round_trip():
    t = opened(10)
    t.send(200, Seg("AE", 1, 1 + 2 * MSS, b""))
    assert t.block.congestion.threshold == 4 * MSS
    assert t.environment.counters.ecn_reductions == 1
    t.send(201, Seg("AE", 1, 1 + 4 * MSS, b""))
    t.send(202, Seg("AE", 1, 1 + 8 * MSS, b""))
    assert t.block.congestion.threshold == 4 * MSS
    t.send(203, Ack(1, 1 + 10 * MSS))
    assert t.block.congestion.window == 4 * MSS
    assert t.environment.counters.retransmits == 0
    assert not t.block.disorder
    t.write(bytes(4 * MSS))
    t.send(303, Seg("AE", 1, 1 + 11 * MSS, b""))
    assert t.environment.counters.ecn_reductions == 2


def test_the_next_new_data_says_that_the_window_came_down():
    t = opened(4)
    t.write(bytes(20 * MSS))
    t.send(200, Seg("AE", 1, 1 + 2 * MSS, b""), Ack(1, 1 + 4 * MSS))
    sent = t.sent()
    assert sent[0].flags.replace("P", "") == "AC"
    assert len(sent[0].data) == MSS, "CWR is for one segment"
    assert all("C" not in seg.flags for seg in sent[1:])


@pytest.mark.rfc("9293", "SHLD-8")
def test_only_new_data_may_be_marked():
    """Section 6.1.4 and 6.1.5: neither pure acknowledgements nor what is sent again carry ECT."""
    t = opened()
    t.block.congestion.window = 10 * MSS
    t.write(bytes(10 * MSS))
    assert [segment.ecn for segment in t.out] == [2]
    t.out.clear()
    t.times.clear()
    t.send(200, Ack(1, 1, sack=[(1 + MSS, 1 + 10 * MSS)]))
    assert [(segment.size, segment.ecn) for segment in t.out] == [(MSS, 0)]
    t.out.clear()
    t.times.clear()
    t.send(201, Data(1 + MSS, bytes(MSS), 1))
    assert [(segment.size, segment.ecn) for segment in t.out] == [(0, 0)]


def test_probes_and_resets_are_not_marked():
    t = opened()
    t.abort()
    assert [segment.ecn for segment in t.out] == [0]
    t.expect(Rst(1, 1))


def test_a_loss_beside_the_mark_is_one_reduction():
    t = opened(10)
    t.send(200, Seg("AE", 1, 1, b""))
    assert t.block.congestion.threshold == 5 * MSS
    t.send(201, Ack(1, 1, sack=[(1 + MSS, 1 + 6 * MSS)]))
    assert t.sent()[0].seq == 1
    assert t.block.congestion.threshold == 5 * MSS


# The mark ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "marked"), [(0, False), (1, False), (2, False), (3, True)])
def test_the_mark_lies_in_either_header(code, marked):
    head = bytes(14) + bytes([0x45, 0xFC & 0xFC | code])
    assert congestion_experienced(head, 14) is marked
    head = bytes(14) + bytes([0x60 | 0xF, 0xC0 | code << 4])
    assert congestion_experienced(head, 14) is marked
