"""Scripts of windows: RFC 9293 section 3.8.6 (closed, shrunk, silly), RFC 7323 section 2 (scaled)."""

import pytest

from rumpkit.kern.abi.errno import ETIMEDOUT
from tests.net.transport.tcp.script import MSS, Ack, Data, Fin, Script, Syn, SynAck, established


def shut(**arguments):
    """The peer's window is closed, and data waits."""
    t = established(**arguments)
    t.send(0, Ack(1, 1, window=0))
    t.write(b"waiting")
    t.silent()
    return t


def full(size=4096):
    """Our window is closed: the user does not read."""
    t = established(receive_buffer=size)
    t.options.receive_buffer = size  # and it doesn't grow
    t.send(10, Data(1, bytes(size)))
    t.expect(Ack(1, 1 + size, window=0))
    return t


# The peer's window -------------------------------------------------------------------------------------------------------


def test_a_window_that_opens_lets_data_out_at_once():
    t = shut()
    t.send(50, Ack(1, 1, window=5000))
    t.expect(Data(1, b"waiting", at=50))


@pytest.mark.rfc("9293", "MUST-36", "SHLD-29", "SHLD-30")
def test_the_first_probe_comes_after_one_timeout_and_the_others_ever_later():
    t = Script()
    t.open()
    t.expect(Syn())
    t.send(100, SynAck(window=0))
    t.expect(Ack(1, 1))
    t.write(b"waiting")
    for time in (400, 1000, 2200, 4600):
        t.quiet(time - 1)
        t.by(time, Ack(0, 1, at=time))
        t.send(time, Ack(1, 1, window=0))


@pytest.mark.rfc("9293", "MUST-36")
def test_the_answer_to_a_probe_may_open_the_window():
    t = shut()
    t.by(300, Ack(0, 1))
    t.send(310, Ack(1, 1, window=5000))
    t.expect(Data(1, b"waiting"))
    t.send(320, Ack(1, 8, window=5000))
    t.quiet(100_000)


def test_a_lost_window_update_is_made_good_by_a_probe():
    t = shut()
    t.by(250, Ack(0, 1))
    t.at(10_000)
    assert all((segment.seq, segment.data) == (0, b"") for segment in t.sent())
    t.send(10_001, Ack(1, 1, window=5000))
    t.expect(Data(1, b"waiting"))


def test_a_peer_that_answers_no_probe_is_given_up():
    t = shut(retries=3)
    t.at(100_000)
    assert len(t.sent()) == 3
    t.state("CLOSED")
    assert t.block.error == ETIMEDOUT


@pytest.mark.rfc("9293", "MUST-37")
def test_a_window_that_stays_closed_for_a_day():
    t = shut()
    for half_minute in range(1, 24 * 120):
        t.at(half_minute * 30_000)
        if t.sent():
            t.send(half_minute * 30_000, Ack(1, 1, window=0))
    t.state("ESTABLISHED")
    t.send(24 * 3_600_000, Ack(1, 1, window=100))
    t.expect(Data(1, b"waiting"))


def test_nothing_is_probed_when_nothing_waits():
    t = established()
    t.send(0, Ack(1, 1, window=0))
    t.quiet(1_000_000)


def test_a_window_smaller_than_a_segment_is_used_whole():
    t = Script()
    t.open()
    t.send(0, SynAck(window=100))
    t.out.clear()
    t.write(bytes(250))
    t.expect(Data(1, bytes(100)))
    t.send(10, Ack(1, 101, window=100))
    t.expect(Data(101, bytes(100)))
    t.send(20, Ack(1, 201, window=100))
    t.expect(Data(201, bytes(50), flags="PA"))


@pytest.mark.rfc("9293", "MUST-38")
def test_crumbs_of_a_window_are_left_until_the_override():
    t = established()
    t.write(bytes(3 * MSS))
    t.out.clear()
    t.send(10, Ack(1, 1 + 3 * MSS, window=50))
    t.write(bytes(500))
    t.quiet(110)
    t.at(1000)
    first = t.sent()[0]
    assert (first.seq, first.data) == (1 + 3 * MSS, bytes(50))


@pytest.mark.rfc("9293", "MUST-1")
def test_a_window_with_its_top_bit_set_is_large():
    t = established()
    t.block.congestion.window = 1 << 20
    t.send(0, Ack(1, 1, window=0x8000))
    t.write(bytes(0x8000))
    assert sum(len(segment.data) for segment in t.sent()) == 0x8000


@pytest.mark.rfc("9293", "REC-1")
def test_a_scaled_window_needs_more_than_sixteen_bits():
    t = Script(window_scaling=1)
    t.open()
    t.send(0, SynAck(scale=14))
    t.out.clear()
    t.send(1, Ack(1, 1, window=0xFFFF))
    assert t.block.snd_wnd == 0xFFFF << 14


@pytest.mark.rfc("9293", "MUST-34", "SHLD-15")
def test_a_window_that_shrinks_below_what_is_under_way():
    t = established(split=True)
    t.write(bytes(5 * MSS))
    t.out.clear()
    t.send(10, Ack(1, 1 + MSS, window=MSS))
    t.write(bytes(MSS))
    t.silent()
    t.send(20, Ack(1, 1 + 5 * MSS, window=10 * MSS))
    t.expect(Data(1 + 5 * MSS, bytes(MSS)))


@pytest.mark.rfc("9293", "MUST-35", "SHLD-17")
def test_a_window_that_shrinks_to_nothing_is_probed_and_does_not_end_the_connection():
    """Data is under way beyond the window.  The peer acknowledges no more of it, but goes on answering."""
    t = established(retries=3)
    t.write(bytes(3 * MSS))
    t.out.clear()
    t.send(10, Ack(1, 1, window=0))
    probes = 0
    for second in range(1, 3600):
        t.at(second * 1000)
        if t.sent():
            probes += 1
            t.send(second * 1000, Ack(1, 1, window=0))
    assert probes > 10
    t.state("ESTABLISHED")
    t.send(3_600_000, Ack(1, 1, window=60_000))
    t.at(3_800_000)
    assert t.sent()[0].data[:10] == bytes(10)


def test_a_shrunk_window_whose_owner_is_gone_ends_in_a_timeout():
    t = established(retries=3)
    t.write(bytes(3 * MSS))
    t.send(10, Ack(1, 1, window=0))
    t.at(3_600_000)
    t.state("CLOSED")
    assert t.block.error == ETIMEDOUT


# Ours --------------------------------------------------------------------------------------------------------------------


def test_a_probe_of_our_closed_window_is_answered_and_not_taken():
    t = full()
    t.send(100, Data(4097, b"?"))
    t.expect(Ack(1, 4097, window=0))
    assert t.connection.readable() == 4096


def test_reading_everything_opens_the_window_at_once():
    t = full()
    t.at(100)
    t.read()
    t.expect(Ack(1, 4097, window=4096, at=100))


@pytest.mark.rfc("9293", "MUST-39", "SHLD-14")
def test_reading_by_bytes_opens_the_window_by_segments():
    t = full()
    t.read(MSS - 1)
    t.silent()
    t.read(1)
    t.expect(Ack(1, 4097, window=MSS))
    t.read(MSS // 2)
    t.silent()


def test_a_probe_after_a_lost_window_update_hears_of_the_window():
    t = full()
    t.read()
    t.out.clear()
    t.send(500, Ack(4096, 1))
    t.expect(Ack(1, 4097, window=4096))


@pytest.mark.rfc("9293", "MUST-66")
def test_urgent_news_gets_through_a_closed_window():
    t = full()
    t.block.events = 0
    t.send(100, Data(4097, b"!", flags="AU", urgent=1))
    t.expect(Ack(1, 4097, window=0))
    t.events("urgent")


def test_data_beyond_the_window_is_cut_off():
    t = established(receive_buffer=4096)
    t.send(10, Data(1, bytes(5000)))
    t.expect(Ack(1, 4097, window=0))
    assert t.connection.readable() == 4096


def test_out_of_order_data_keeps_the_window_where_it_is():
    t = established(receive_buffer=10_000)
    t.send(10, Data(1 + MSS, bytes(MSS)))
    t.expect(Ack(1, 1, window=10_000))
    t.send(11, Data(1, bytes(MSS)))
    t.expect(Ack(1, 1 + 2 * MSS, window=10_000 - 2 * MSS))


def test_the_scale_is_chosen_for_the_largest_buffer():
    t = Script(window_scaling=1, receive_buffer=65535, receive_buffer_max=1 << 20)
    t.open()
    t.expect(Syn(scale=5, window=65535))


def test_a_scaled_window_is_never_more_than_there_is_room_for():
    t = Script(window_scaling=1, receive_buffer=100_000, receive_buffer_max=4 << 20)
    t.open()
    t.expect(Syn())
    t.send(0, SynAck(scale=7))
    [ack] = t.sent()
    scale = t.block.rcv_scale
    assert 0 <= 100_000 - (ack.window << scale) < 1 << scale


def test_the_fin_takes_no_room():
    t = full()
    t.send(20, Fin(4097, 1))
    t.read()
    t.out.clear()
    t.send(30, Fin(4097, 1))
    t.expect(Ack(1, 4098))
