"""Scripts of closing: RFC 9293 section 3.6, FINs that are lost, doubled or early, and connections that are half closed."""

import pytest

from rumpkit.kern.abi.errno import ETIMEDOUT
from tests.net.transport.tcp.script import MSS, Ack, Data, Fin, Rst, Seg, established


def closing(**arguments):
    """We have sent our FIN."""
    t = established(**arguments)
    t.close()
    t.expect(Fin(1, 1))
    return t


def close_wait(**arguments):
    """The peer has sent its FIN."""
    t = established(**arguments)
    t.send(0, Fin(1, 1))
    t.expect(Ack(1, 2))
    t.state("CLOSE-WAIT")
    return t


def test_data_goes_on_through_a_half_closed_connection():
    t = closing()
    t.send(10, Ack(1, 2))
    for index in range(10):
        t.send(20 + index, Data(1 + index * MSS, bytes(MSS), ack=2))
        t.read()
    t.at(100)
    assert t.sent()[-1].ack == 1 + 10 * MSS
    t.send(200, Fin(1 + 10 * MSS, 2))
    t.expect(Ack(2, 2 + 10 * MSS))
    t.state("TIME-WAIT")


def test_we_send_through_a_connection_that_the_peer_has_closed():
    t = close_wait()
    for index in range(5):
        t.write(bytes(MSS))
        t.expect(Data(1 + index * MSS, bytes(MSS), 2))
        t.send(10 + index, Ack(2, 1 + (index + 1) * MSS))
    t.close()
    t.expect(Fin(1 + 5 * MSS, 2))
    t.send(20, Ack(2, 2 + 5 * MSS))
    t.state("CLOSED")
    assert t.block.error == 0


def test_a_doubled_fin_is_acknowledged_again():
    t = close_wait()
    t.send(1000, Fin(1, 1))
    t.expect(Ack(1, 2))
    t.state("CLOSE-WAIT")


def test_a_lost_fin_is_sent_again_with_its_data():
    t = established()
    t.connection.write(b"tail", 0)
    t.close()
    t.expect(Fin(1, 1, data=b"tail"))
    t.quiet(200)
    t.by(201, Fin(1, 1, data=b"tail"))
    t.send(210, Ack(1, 6))
    t.state("FIN-WAIT-2")
    t.quiet(10_000)


def test_a_fin_whose_data_arrived_is_sent_again_alone():
    t = established()
    t.connection.write(b"tail", 0)
    t.close()
    t.expect(Fin(1, 1, data=b"tail"))
    t.send(10, Ack(1, 5))
    t.state("FIN-WAIT-1")
    t.at(1000)
    again = t.sent()
    assert again and all((segment.flags, segment.seq, segment.data) == ("FA", 5, b"") for segment in again)


def test_last_ack_sends_its_fin_again():
    t = close_wait()
    t.close()
    t.expect(Fin(1, 2))
    t.state("LAST-ACK")
    t.by(201, Fin(1, 2, at=201))
    t.by(601, Fin(1, 2, at=601))
    t.send(700, Ack(2, 2))
    t.silent()
    t.state("CLOSED")


def test_last_ack_gives_up():
    t = close_wait(retries=2)
    t.close()
    t.expect(Fin(1, 2))
    t.at(100_000)
    t.expect(Fin(1, 2), Fin(1, 2))
    t.state("CLOSED")
    assert t.block.error == ETIMEDOUT


def test_closing_acknowledges_the_peers_fin_again():
    t = closing()
    t.send(10, Fin(1, 1))
    t.expect(Ack(2, 2))
    t.state("CLOSING")
    t.send(20, Fin(1, 1))
    t.expect(Ack(2, 2))
    t.send(30, Ack(2, 2))
    t.state("TIME-WAIT")


def test_simultaneous_close_with_data_both_ways():
    t = established()
    t.connection.write(b"ours", 0)
    t.close()
    t.expect(Fin(1, 1, data=b"ours"))
    t.send(10, Fin(1, 1, data=b"theirs"))
    t.expect(Ack(6, 8))
    t.state("CLOSING")
    t.send(20, Ack(8, 6))
    t.state("TIME-WAIT")
    assert t.read() == b"theirs"


def test_a_part_of_our_data_is_acknowledged_before_the_peers_fin():
    t = established()
    t.connection.write(b"ours", 0)
    t.close()
    t.expect(Fin(1, 1, data=b"ours"))
    t.send(10, Fin(1, 3))
    t.state("CLOSING")
    t.at(1000)
    assert any(segment.seq == 3 and segment.flags == "FA" and segment.data == b"rs" for segment in t.sent())
    t.send(1001, Ack(2, 6))
    t.state("TIME-WAIT")


def test_data_and_fin_in_one_batch_cost_one_ack():
    t = closing()
    t.send(10, Ack(1, 2))
    t.send(20, Data(1, bytes(MSS), 2), Data(1 + MSS, b"x", 2), Fin(2 + MSS, 2))
    t.expect(Ack(2, 3 + MSS))
    t.state("TIME-WAIT")


def test_fin_is_sent_when_the_window_has_let_all_data_out():
    t = established()
    t.send(0, Ack(1, 1, window=MSS))
    t.connection.write(bytes(2 * MSS), 0)
    t.close()
    t.expect(Data(1, bytes(MSS)))
    t.state("FIN-WAIT-1")
    t.send(10, Ack(1, 1 + MSS, window=MSS))
    t.expect(Data(1 + MSS, bytes(MSS)))
    t.send(20, Ack(1, 1 + 2 * MSS, window=MSS))
    t.expect(Fin(1 + 2 * MSS, 1))


def test_time_wait_answers_old_data():
    t = closing()
    t.send(10, Fin(1, 2))
    t.expect(Ack(2, 2))
    t.send(20, Data(-5, b"old!!", 2))
    t.expect(Ack(2, 2))
    t.state("TIME-WAIT")


@pytest.mark.rfc("9293", "MUST-13")
def test_time_wait_is_not_ended_by_what_arrives():
    t = closing()
    t.send(10, Fin(1, 2))
    t.expect(Ack(2, 2))
    t.send(20, Ack(2, 2))
    t.silent()
    t.send(30, Data(2, b"ghost", 2))
    t.out.clear()
    t.at(60_009)
    t.state("TIME-WAIT")
    t.at(60_010)
    t.state("CLOSED")
    assert t.connection.readable() == 0


def test_a_closing_connection_times_out():
    t = established(retries=3)
    t.connection.write(b"last words", 0)
    t.close()
    t.out.clear()
    t.at(100_000)
    t.state("CLOSED")
    assert t.block.error == ETIMEDOUT


def test_a_fin_beyond_the_window_is_not_taken():
    t = established(receive_buffer=4096)
    t.send(10, Data(1, bytes(4096)))
    t.expect(Ack(1, 4097, window=0))
    t.send(20, Fin(4098, 1))
    t.expect(Ack(1, 4097, window=0))
    t.state("ESTABLISHED")


def test_a_bare_fin_at_a_closed_window_is_taken_when_it_opens():
    t = established(receive_buffer=4096)
    t.send(10, Data(1, bytes(4096)))
    t.out.clear()
    t.send(20, Fin(4097, 1))
    t.out.clear()
    t.read()
    t.out.clear()
    t.send(30, Fin(4097, 1))
    t.expect(Ack(1, 4098))
    t.state("CLOSE-WAIT")


def test_an_abort_resets_behind_all_that_was_sent():
    t = established()
    t.write(bytes(3 * MSS))
    t.out.clear()
    t.abort()
    t.expect(Rst(1 + 3 * MSS, 1))
    t.state("CLOSED")
    t.quiet(100_000)


def test_writing_after_the_fin_sends_nothing():
    t = closing()
    assert t.write(b"more") == 0
    t.quiet(100)


def test_fin_ends_what_more_held_back():
    t = established()
    t.write(b"held", more=True)
    t.silent()
    t.close()
    t.expect(Fin(1, 1, data=b"held"))


def test_segments_of_the_future_in_fin_wait_2_are_answered():
    t = closing()
    t.send(10, Ack(1, 2))
    t.send(20, Data(1, b"abc", ack=99))
    t.expect(Ack(2, 1))
    assert t.connection.readable() == 0


def test_what_the_peer_sent_before_our_fin_reached_it_is_kept():
    t = closing()
    t.send(10, Data(1, b"in flight", ack=1))
    t.send(11, Data(10, b" still", ack=2))
    t.state("FIN-WAIT-2")
    assert t.read() == b"in flight still"


def test_push_alone_does_not_end_anything():
    t = close_wait()
    t.send(10, Seg("PA", 2, 1))
    t.state("CLOSE-WAIT")
