"""Opening: RFC 9293 sections 3.5 and 3.10.7.2 to 3.10.7.4, and what is agreed on then (RFC 6691, RFC 7323)."""

import pytest

from rumpkit.kern.abi.errno import ECONNREFUSED, EHOSTUNREACH, ETIMEDOUT
from rumpkit.net.transport.tcp.options import TcpOptions
from tests.net.transport.tcp.script import MSS, Ack, Data, Fin, Rst, Script, Seg, Syn, SynAck, accepted, established


@pytest.mark.rfc("9293", "MUST-14", "SHLD-5")
def test_active_open():
    t = Script()
    t.state("CLOSED")
    t.open()
    t.state("SYN-SENT")
    t.expect(Syn(mss=MSS, window=65535))
    t.send(10, SynAck())
    t.expect(Ack(1, 1))
    t.state("ESTABLISHED")
    t.events("connected", "writable")
    assert t.block.rtt.smoothed == 10_000_000


def test_passive_open():
    t = Script()
    t.listen(Syn())
    t.state("SYN-RECEIVED")
    t.expect(SynAck(0, 1, mss=MSS))
    t.send(10, Ack(1, 1))
    t.silent()
    t.state("ESTABLISHED")
    t.events("connected", "writable")


def test_data_and_fin_on_the_last_ack_of_a_passive_open():
    t = Script()
    t.listen(Syn())
    t.expect(SynAck())
    t.send(0, Fin(1, 1, data=b"hello"))
    t.expect(Ack(1, 7))
    t.state("CLOSE-WAIT")
    assert t.read() == b"hello"


def test_data_on_the_syn_ack_is_taken():
    t = Script()
    t.open()
    t.expect(Syn())
    t.send(0, SynAck(data=b"hi"))
    t.expect(Ack(1, 3))
    assert t.read() == b"hi"


@pytest.mark.rfc("9293", "MUST-10")
def test_simultaneous_open():
    """RFC 9293 figure 8."""
    t = Script()
    t.open()
    t.expect(Syn())
    t.send(5, Syn())
    t.state("SYN-RECEIVED")
    t.expect(SynAck(0, 1))
    t.send(6, SynAck(0, 1))
    t.state("ESTABLISHED")
    t.events("connected", "writable")


def test_the_window_of_a_syn_ack_is_not_scaled():
    t = Script(window_scaling=1)
    t.open()
    t.send(5, Syn(scale=7, window=4096))
    assert t.block.snd_wnd == 4096
    t.send(6, SynAck(0, 1, scale=7, window=4096))
    assert t.block.snd_wnd == 4096


def test_simultaneous_open_ends_with_a_plain_ack_too():
    t = Script()
    t.open()
    t.send(5, Syn())
    t.send(6, Ack(1, 1))
    t.state("ESTABLISHED")


def test_syn_sent_refused():
    t = Script()
    t.open()
    t.expect(Syn())
    t.send(1, Rst(0, ack=1))
    t.silent()
    t.state("CLOSED")
    t.events("ended")
    assert t.block.error == ECONNREFUSED


@pytest.mark.parametrize("ack", [0, 2, 1000])
def test_syn_sent_ignores_resets_and_resets_acks_of_what_was_not_sent(ack):
    t = Script()
    t.open()
    t.expect(Syn())
    t.send(1, Rst(0, ack=ack))
    t.silent()
    t.send(2, SynAck(0, ack))
    t.expect(Rst(ack))
    t.send(3, Ack(1, ack))
    t.expect(Rst(ack))
    t.state("SYN-SENT")


def test_syn_sent_ignores_a_reset_without_ack_and_an_ack_without_syn():
    t = Script()
    t.open()
    t.expect(Syn())
    t.send(1, Rst(0), Ack(1, 1))
    t.silent()
    t.state("SYN-SENT")


@pytest.mark.rfc("9293", "MUST-22")
def test_syn_is_retransmitted_with_backoff_and_given_up():
    t = Script(syn_retries=3)
    t.open()
    t.expect(Syn())
    t.at(999).silent()
    t.at(1000).expect(Syn())
    t.at(2999).silent()
    t.at(3000).expect(Syn())
    t.at(7000).expect(Syn())
    t.at(14999).silent()
    t.at(15000).silent()
    t.state("CLOSED")
    assert t.block.error == ETIMEDOUT


def test_a_lost_syn_leaves_one_segment_of_window_and_no_sample():
    """RFC 5681 section 3.1, and Karn's rule."""
    t = Script()
    t.open()
    t.at(1000).expect(Syn(), Syn())
    t.send(1010, SynAck())
    t.expect(Ack(1, 1))
    assert t.block.rtt.smoothed == 0
    t.write(bytes(3 * MSS))
    t.expect(Data(1, bytes(MSS)))


def test_syn_ack_is_retransmitted_and_given_up():
    t = Script(synack_retries=2)
    t.listen(Syn())
    t.expect(SynAck())
    t.at(1000).expect(SynAck())
    t.at(3000).expect(SynAck())
    t.at(7000).silent()
    t.state("CLOSED")


def test_a_retransmitted_syn_gets_the_syn_ack_again():
    t = Script()
    t.listen(Syn())
    t.expect(SynAck())
    t.send(10, Syn())
    t.expect(SynAck(0, 1))
    t.state("SYN-RECEIVED")
    t.send(20, Ack(1, 1))
    t.state("ESTABLISHED")


def test_syn_received_resets_a_wrong_ack():
    t = Script()
    t.listen(Syn())
    t.expect(SynAck())
    t.send(1, Ack(1, 2))
    t.expect(Rst(2))
    t.send(2, Ack(1, 0))
    t.expect(Rst(0))
    t.state("SYN-RECEIVED")


def test_syn_received_is_ended_by_an_exact_reset_only():
    t = Script()
    t.listen(Syn())
    t.expect(SynAck())
    t.send(1, Rst(5))
    t.expect(Ack(1, 1))
    t.state("SYN-RECEIVED")
    t.send(2, Rst(1))
    t.silent()
    t.state("CLOSED")


def test_the_lost_last_ack_is_sent_again_for_another_syn_ack():
    t = established()
    t.send(1000, SynAck())
    t.expect(Ack(1, 1))
    t.state("ESTABLISHED")


def test_close_in_syn_sent():
    t = Script()
    t.open()
    t.expect(Syn())
    t.close()
    t.silent()
    t.state("CLOSED")
    t.at(10000).silent()


def test_close_in_syn_received_waits_for_the_handshake():
    t = Script()
    t.listen(Syn())
    t.expect(SynAck())
    t.close()
    t.silent()
    t.send(1, Ack(1, 1))
    t.expect(Fin(1, 1))
    t.state("FIN-WAIT-1")


def test_abort_in_syn_sent_is_silent_and_in_syn_received_is_not():
    t = Script()
    t.open()
    t.expect(Syn())
    t.abort()
    t.silent()
    t.state("CLOSED")
    t = Script()
    t.listen(Syn())
    t.expect(SynAck())
    t.abort()
    t.expect(Rst(1, 1))
    t.state("CLOSED")


def test_icmp_ends_syn_sent_at_once():
    t = Script()
    t.open()
    t.expect(Syn())
    t.icmp(7, EHOSTUNREACH)
    t.state("SYN-SENT")
    t.icmp(0, EHOSTUNREACH)
    t.state("CLOSED")
    assert t.block.error == EHOSTUNREACH


def test_data_written_before_the_handshake_follows_it():
    t = Script()
    t.open()
    t.expect(Syn())
    assert t.write(b"early") == 5
    t.silent()
    t.send(1, SynAck())
    t.expect(Data(1, b"early", 1))


# Options -----------------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("9293", "MUST-4", "MUST-14", "MUST-15", "MUST-16")
@pytest.mark.parametrize(("peer", "size"), [(None, 536), (0, 536), (500, 500), (1, 64), (5000, MSS)])
def test_the_peers_mss_counts(peer, size):
    t = Script()
    t.open()
    t.send(0, SynAck(mss=peer or 0))
    t.out.clear()
    t.write(bytes(2 * MSS))
    assert t.block.snd_mss == size
    assert max(min(segment.size, segment.gso_size) for segment in t.out) == size


@pytest.mark.rfc("9293", "MUST-16")
def test_max_segment_option_limits_both_ways():
    options = TcpOptions()
    options.max_segment = 300
    t = Script(options=options)
    t.open()
    t.expect(Syn(mss=300))
    t.send(0, SynAck())
    assert t.block.snd_mss == 300


@pytest.mark.rfc("9293", "REC-1")
def test_window_scale_both_ways():
    t = Script(window_scaling=1, receive_buffer=1 << 20, receive_buffer_max=4 << 20)
    t.open()
    t.expect(Syn(scale=7, window=65535))
    t.send(0, SynAck(scale=3, window=50000))
    assert t.block.snd_wnd == 50000
    t.expect(Ack(1, 1, window=(1 << 20) >> 7))
    t.send(1, Ack(1, 1, window=1000))
    assert t.block.snd_wnd == 8000


def test_window_scale_only_if_both_offer_it():
    t = Script(window_scaling=1)
    t.open()
    t.expect(Syn(scale=11))
    t.send(0, SynAck())
    t.expect(Ack(1, 1, window=65535))
    t = Script(window_scaling=1)
    t.listen(Syn())
    t.expect(SynAck(scale=-1))
    t = Script(window_scaling=0)
    t.listen(Syn(scale=7))
    t.expect(SynAck(scale=-1))
    assert t.block.snd_scale == 0


def test_window_scale_above_14_counts_as_14():
    t = Script(window_scaling=1)
    t.listen(Syn(scale=200))
    t.send(0, Ack(1, 1, window=2))
    assert t.block.snd_wnd == 2 << 14


def test_timestamps_if_both_offer_them():
    t = Script(timestamps=1)
    t.at(5)
    t.open()
    t.expect(Syn(ts=(5, 0)))
    t.send(7, SynAck(ts=(100, 5)))
    t.expect(Ack(1, 1, ts=(7, 100)))
    assert t.block.snd_mss == MSS - 12
    t = Script(timestamps=1)
    t.open()
    t.expect(Syn(ts=(0, 0)))
    t.send(0, SynAck())
    t.expect(Ack(1, 1, ts=None))
    t = Script(timestamps=1)
    t.listen(Syn(ts=(77, 0)))
    t.expect(SynAck(ts=(0, 77)))


def test_accepted_is_established_and_a_segment_for_closed_changes_nothing():
    t = accepted()
    t.abort()
    t.expect(Rst(1, 1))
    t.send(1, Seg("A", 1, 1, b"x"))
    t.silent()
    t.state("CLOSED")
