"""Scripts of opening: RFC 9293 sections 3.5 and 3.8.3, its figures 6 to 11, and what becomes of a SYN that is lost."""

import pytest

from rumpkit.kern.abi.errno import ECONNREFUSED, ECONNRESET, EHOSTUNREACH, ETIMEDOUT
from rumpkit.net.transport.tcp.options import TcpOptions
from tests.net.transport.tcp.script import MSS, Ack, Data, Fin, Rst, Script, Seg, Syn, SynAck, accepted, established


def opening(**arguments):
    """Our SYN is on its way."""
    t = Script(**arguments)
    t.open()
    t.expect(Syn())
    return t


def answering(**arguments):
    """The peer's SYN has arrived, and our SYN-ACK is on its way."""
    t = Script(**arguments)
    t.listen(Syn())
    t.expect(SynAck())
    return t


@pytest.mark.rfc("9293", "MUST-65")
def test_mss_is_in_the_syn_only():
    t = Script()
    t.open()
    t.expect(Syn(mss=MSS))
    t.send(10, SynAck())
    t.expect(Ack(1, 1, mss=0))
    t.write(b"a")
    t.expect(Data(1, b"a", mss=0))
    t.send(20, Data(1, b"b", ack=2))
    t.by(60, Ack(2, 2, mss=0))
    t.close()
    t.expect(Fin(2, 2, mss=0))


def test_data_follows_the_handshake_at_once():
    t = opening()
    t.write(b"GET /")
    t.quiet(9)
    t.send(10, SynAck())
    t.expect(Data(1, b"GET /", at=10))


def test_a_lost_syn_is_sent_again_after_a_second():
    t = opening()
    t.quiet(999)
    t.by(1000, Syn(mss=MSS, at=1000))
    t.send(1100, SynAck())
    t.expect(Ack(1, 1, at=1100))
    t.state("ESTABLISHED")


def test_after_a_lost_syn_the_timeout_is_three_seconds():
    """RFC 6298 section 5.7."""
    t = opening()
    t.by(1000, Syn())
    t.send(1100, SynAck())
    t.expect(Ack(1, 1))
    t.write(b"a")
    t.expect(Data(1, b"a", at=1100))
    t.quiet(4099)
    t.by(4100, Data(1, b"a", at=4100))


@pytest.mark.rfc("9293", "MUST-23")
def test_a_syn_is_sent_again_for_three_minutes_at_least():
    t = opening()
    t.at(180_000)
    t.state("SYN-SENT")
    assert t.sent()
    t.at(600_000)
    t.state("CLOSED")
    assert t.block.error == ETIMEDOUT


@pytest.mark.rfc("9293", "MUST-22")
def test_a_program_can_say_how_often_a_syn_is_sent():
    options = TcpOptions()
    options.syn_retries = 1
    t = opening(options=options)
    t.by(1000, Syn(at=1000))
    t.quiet(2999)
    t.state("SYN-SENT")
    t.quiet(3000)
    t.state("CLOSED")
    t.events("ended")
    assert t.block.error == ETIMEDOUT


def test_a_syn_ack_is_sent_again_with_the_same_options():
    t = Script(window_scaling=1)
    t.listen(Syn(scale=7))
    [first] = t.sent()
    t.at(1000)
    [second] = t.sent()
    assert (first.seq, first.ack, first.flags) == (second.seq, second.ack, second.flags) == (0, 1, "SA")
    for name in ("mss", "scale"):
        assert first.fields[name] == second.fields[name] > 0


def test_a_syn_ack_backs_off():
    t = answering()
    t.by(1000, SynAck(at=1000))
    t.by(3000, SynAck(at=3000))
    t.by(7000, SynAck(at=7000))
    t.send(7500, Ack(1, 1))
    t.state("ESTABLISHED")
    t.quiet(20_000)


def test_an_old_duplicate_syn():
    """Figure 8, seen from the peer that was fooled."""
    t = Script()
    t.listen(Syn(-10))
    t.expect(SynAck(0, -9))
    t.send(10, Rst(-9))
    t.silent()
    t.state("CLOSED")


def test_an_old_duplicate_syn_ack_is_reset_and_the_true_one_taken():
    """Figure 8, seen from the peer that opens."""
    t = opening()
    t.send(10, SynAck(300, -9))
    t.expect(Rst(-9))
    t.state("SYN-SENT")
    t.send(20, SynAck(0, 1))
    t.expect(Ack(1, 1))
    t.state("ESTABLISHED")


def test_a_peer_that_has_rebooted_opens_anew():
    """Figure 9: its SYN is answered by what we know, and its reset ends the old connection."""
    t = established()
    t.send(1000, Syn(4000))
    t.expect(Ack(1, 1))
    t.send(1010, Rst(1))
    t.silent()
    t.state("CLOSED")
    assert t.block.error == ECONNRESET


@pytest.mark.rfc("9293", "MUST-12")
def test_data_for_a_peer_that_has_rebooted():
    """Figure 10."""
    t = established()
    t.write(b"0123456789")
    t.expect(Data(1, b"0123456789"))
    t.send(10, Rst(1))
    t.silent()
    t.state("CLOSED")
    t.events("ended")
    assert t.block.error == ECONNRESET


@pytest.mark.rfc("9293", "MUST-10")
def test_simultaneous_open_goes_on_to_data():
    t = opening()
    t.send(5, Syn())
    t.expect(SynAck(0, 1))
    t.send(6, SynAck(0, 1))
    t.state("ESTABLISHED")
    t.out.clear()
    t.write(b"ours")
    t.expect(Data(1, b"ours"))
    t.send(10, Data(1, b"theirs", ack=5))
    assert t.read() == b"theirs"


@pytest.mark.rfc("9293", "MUST-10")
def test_simultaneous_open_with_a_lost_syn_ack():
    t = opening()
    t.send(5, Syn())
    t.expect(SynAck(0, 1))
    t.at(5000)
    again = t.sent()
    assert again and all(segment.flags == "SA" for segment in again)
    t.send(5001, SynAck(0, 1))
    t.state("ESTABLISHED")


@pytest.mark.rfc("9293", "MUST-11")
def test_syn_received_remembers_how_it_was_opened():
    """An error ends the attempt of a user, but not a request that anybody might have sent."""
    t = opening()
    t.send(5, Syn())
    t.state("SYN-RECEIVED")
    t.icmp(0, EHOSTUNREACH)
    t.state("CLOSED")
    assert t.block.error == EHOSTUNREACH
    t = answering()
    t.icmp(0, EHOSTUNREACH)
    t.state("SYN-RECEIVED")


@pytest.mark.rfc("9293", "MUST-11")
def test_a_reset_of_a_simultaneous_open_tells_the_user():
    t = opening()
    t.send(5, Syn())
    t.expect(SynAck())
    t.send(6, Rst(1))
    t.state("CLOSED")
    t.events("ended")
    assert t.block.error == ECONNREFUSED


def test_text_on_a_syn_is_not_acknowledged_and_taken_when_it_comes_again():
    t = Script()
    t.listen(Syn(data=b"early"))
    t.expect(SynAck(0, 1))
    t.send(10, Data(1, b"early", ack=1))
    assert t.read() == b"early"
    t.by(60, Ack(1, 6))


def test_a_fin_on_a_syn_ack():
    t = opening()
    t.send(10, Seg("SFA", 0, 1))
    t.expect(Ack(1, 2))
    t.state("CLOSE-WAIT")


@pytest.mark.rfc("9293", "SHLD-2")
def test_a_refusal_may_carry_text():
    t = opening()
    t.send(10, Seg("RA", 0, 1, b"no such service"))
    t.silent()
    t.state("CLOSED")
    assert t.block.error == ECONNREFUSED


def test_the_window_of_a_syn_ack_holds_data_back():
    t = opening()
    t.write(b"waiting")
    t.send(10, SynAck(window=0))
    t.expect(Ack(1, 1))
    t.send(20, Ack(1, 1, window=3))
    t.expect(Data(1, b"wai"))


def test_both_numbers_may_wrap_at_once():
    t = accepted()
    t.write(bytes(3 * MSS))
    t.out.clear()
    t.send(10, Data(1, bytes(3 * MSS), ack=1 + 3 * MSS))
    t.expect(Ack(1 + 3 * MSS, 1 + 3 * MSS))
    assert t.block.snd_una == t.block.snd_max


def test_a_segment_with_nothing_but_the_ack_missing_completes_nothing():
    t = answering()
    t.send(10, Seg("P", 1, data=b"abc"))
    t.silent()
    t.state("SYN-RECEIVED")


def test_the_handshake_ends_with_the_first_acknowledgement_of_data():
    t = answering()
    t.write(b"banner")
    t.silent()
    t.send(10, Ack(1, 1))
    t.expect(Data(1, b"banner"))
    t.send(20, Ack(1, 7))
    t.state("ESTABLISHED")


def test_fin_in_syn_received_follows_the_handshake():
    t = answering()
    t.close()
    t.quiet(5)
    t.send(10, Data(1, b"hello", ack=1))
    t.expect(Fin(1, 6))
    t.state("FIN-WAIT-1")
