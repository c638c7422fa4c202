"""Receiving: order, delayed acknowledgements, the window that is offered, buffers (RFC 9293 3.8.6.2.2, 3.8.6.3, 5681 4.2)."""

import pytest

from tests.net.transport.tcp.script import MSS, Ack, Data, Script, Seg, SynAck, accepted, established


def test_data_is_kept_by_reference():
    t = established()
    segment = t._real(Data(1, bytes(900)))
    t.connection.receive(segment, t.now)
    [chunk] = t.connection.front(1)
    assert chunk.body is segment.body
    assert (chunk.start, chunk.size) == (1, 900)


def test_a_small_part_of_a_large_body_is_copied():
    t = established()
    segment = t._real(Data(1, b"abc"))
    segment.body = segment.body + bytes(5000)
    t.connection.receive(segment, t.now)
    [chunk] = t.connection.front(1)
    assert chunk.body == b"abc"


@pytest.mark.rfc("9293", "MUST-40", "SHLD-18")
def test_an_ack_is_delayed_for_a_single_segment():
    t = established()
    t.send(10, Data(1, bytes(MSS)))
    t.silent()
    t.at(49).silent()
    t.at(50).expect(Ack(1, MSS + 1))
    assert t.environment.counters.delayed_acks == 1


@pytest.mark.rfc("9293", "SHLD-19")
def test_every_second_full_segment_is_acknowledged():
    t = established()
    t.send(10, Data(1, bytes(MSS)))
    t.silent()
    t.send(11, Data(1 + MSS, bytes(MSS)))
    t.expect(Ack(1, 1 + 2 * MSS))
    t.at(100).silent()


def test_a_full_segment_and_a_bit_are_acknowledged():
    """Else a sender with a rest to send, which Nagle's rule holds back, and we would wait for each other."""
    t = established()
    t.send(10, Data(1, bytes(MSS)), Data(1 + MSS, b"x"))
    t.expect(Ack(1, 2 + MSS))


def test_the_first_acks_wait_a_moment_only():
    t = established(quick_acks=2, quick_ack=1)
    t.send(10, Data(1, b"a"))
    t.silent()
    t.at(11).expect(Ack(1, 2))
    t.send(20, Data(2, b"b"))
    t.at(21).expect(Ack(1, 3))
    t.send(30, Data(3, b"c"))
    t.at(69).silent()
    t.at(70).expect(Ack(1, 4))
    t.send(2000, Data(4, b"d"))
    t.at(2001).expect(Ack(1, 5))


def test_the_moment_begins_when_there_is_somebody_to_answer():
    t = accepted(quick_acks=2, quick_ack=1)
    t.block.unclaimed = True
    t.send(10, Data(1, b"ab"))
    t.at(30).silent()
    t.read(1)
    t.silent()
    t.at(31).expect(Ack(1, 3))
    t.send(40, Data(3, b"c"))
    t.at(41).expect(Ack(1, 4))


def test_the_first_read_tells_nobody_of_a_window_that_is_not_half_used():
    """A SYN-ACK can't offer more than 64 KiB, whatever there is room for."""
    t = Script(quick_acks=2, quick_ack=1, window_scaling=1, receive_buffer=1 << 20, receive_buffer_max=4 << 20)
    t.listen(Seg("S", 0, scale=7))
    t.send(0, Ack(1, 1))
    t.sent()
    t.send(10, Data(1, b"ab"))
    t.read(2)
    t.silent()
    t.at(11).expect(Ack(1, 3))
    t.send(20, *[Data(3 + index * MSS, bytes(MSS)) for index in range(40)])
    t.expect(Ack(1, 3 + 40 * MSS))


def test_the_first_read_tells_of_a_window_that_was_half_used():
    t = Script(window_scaling=0, receive_buffer=900, receive_buffer_max=900)
    t.listen(Seg("S", 0))
    t.send(0, Ack(1, 1))
    t.sent()
    t.send(10, Data(1, bytes(500)))
    t.silent()
    t.read(500)
    t.expect(Ack(1, 501, window=900))


def test_what_nobody_accepts_is_acknowledged_in_time():
    t = accepted(quick_acks=2, quick_ack=1)
    t.block.unclaimed = True
    t.send(10, Data(1, b"a"))
    t.at(49).silent()
    t.at(50).expect(Ack(1, 2))


@pytest.mark.rfc("9293", "MUST-58", "MUST-59")
def test_a_batch_costs_one_ack():
    t = established()
    t.send(10, *[Data(1 + index * MSS, bytes(MSS)) for index in range(16)])
    t.expect(Ack(1, 1 + 16 * MSS))


def test_a_super_segment_counts_as_its_segments():
    t = established()
    t.send(10, Data(1, bytes(2 * MSS), segments=2, gso_size=MSS))
    t.expect(Ack(1, 1 + 2 * MSS))


def test_small_segments_wait():
    t = established()
    for index in range(5):
        t.send(10 + index, Data(1 + index, b"x"))
    t.silent()
    t.at(50).expect(Ack(1, 6))


@pytest.mark.rfc("9293", "MUST-58")
def test_data_carries_the_ack():
    t = established()
    t.send(10, Data(1, b"question"))
    t.write(b"answer")
    t.expect(Data(1, b"answer", 9))
    t.at(200).silent()


def test_quickack():
    t = established()
    t.options.quickack = True
    t.send(10, Data(1, b"x"))
    t.expect(Ack(1, 2))


def test_each_out_of_order_segment_is_acknowledged_at_once():
    t = established()
    t.send(10, *[Data(1 + index * MSS, bytes(MSS)) for index in range(1, 5)])
    t.expect(Ack(1, 1), Ack(1, 1), Ack(1, 1), Ack(1, 1))
    t.send(11, Data(1, bytes(MSS)))
    t.expect(Ack(1, 1 + 5 * MSS))
    assert t.environment.counters.out_of_order == 4


def test_an_out_of_order_super_segment_counts_as_three():
    t = established()
    t.send(10, Data(1001, bytes(5 * MSS), segments=5, gso_size=MSS))
    t.expect(Ack(1, 1), Ack(1, 1), Ack(1, 1))


def test_filling_a_part_of_a_gap_is_acknowledged_at_once():
    """RFC 5681 section 4.2."""
    t = established()
    t.send(10, Data(3001, bytes(MSS)))
    t.out.clear()
    t.send(11, Data(1, bytes(MSS)))
    t.expect(Ack(1, 1001))


@pytest.mark.rfc("9293", "SHLD-31")
@pytest.mark.parametrize(
    "pieces",
    [
        [(0, 4), (4, 8)],
        [(4, 8), (0, 4)],
        [(4, 8), (0, 8)],
        [(2, 6), (4, 8), (0, 4)],
        [(2, 4), (6, 8), (1, 7), (0, 1)],
        [(4, 5), (2, 8), (0, 3)],
        [(6, 7), (4, 5), (2, 3), (0, 8)],
        [(3, 8), (3, 8), (0, 8), (0, 8)],
    ],
)
def test_pieces_in_any_order(pieces):
    t = established()
    for first, end in pieces:
        t.send(10, Data(1 + first, b"abcdefgh"[first:end]))
    assert t.read() == b"abcdefgh"
    assert t.block.reassembly.empty()
    assert t.block.rcv_nxt == t.block.irs + 9


def test_duplicates_are_acknowledged_at_once():
    t = established()
    t.send(10, Data(1, b"abc"))
    t.silent()
    t.send(20, Data(1, b"abc"))
    t.expect(Ack(1, 4))
    assert t.read() == b"abc"


def test_reassembly_has_a_limit():
    t = established(max_reassembly=16)
    for index in range(20):
        t.send(10, Data(3 + 2 * index, b"x"))
    assert t.block.reassembly.count() == 16
    assert t.environment.counters.reassembly_drops == 4


@pytest.mark.rfc("9293", "SHLD-14")
def test_the_window_shrinks_with_unread_data_and_never_moves_back():
    t = established(receive_buffer=10_000)
    t.send(10, Data(1, bytes(2 * MSS)))
    t.expect(Ack(1, 2001, window=8000))
    t.send(20, Data(2001, bytes(8 * MSS)))
    t.expect(Ack(1, 10_001, window=0))


@pytest.mark.rfc("9293", "MUST-39")
def test_silly_window_avoidance():
    """The edge moves by a full segment (or half the buffer) at least."""
    t = established(receive_buffer=10_000)
    t.send(10, Data(1, bytes(10_000)))
    t.expect(Ack(1, 10_001, window=0))
    t.read(999)
    t.silent()
    t.send(20, Seg("A", 10_000, 1, b"x"))
    t.expect(Ack(1, 10_001, window=0))
    t.read(1)
    t.expect(Ack(1, 10_001, window=1000))


def test_a_reader_that_keeps_up_causes_no_window_updates():
    t = established(receive_buffer=64_000)
    for index in range(10):
        t.send(10 + index, Data(1 + index * 2 * MSS, bytes(2 * MSS)))
        t.out.clear()
        t.read()
        t.silent()


@pytest.mark.rfc("9293", "SHLD-14")
def test_the_scaled_window_never_shrinks_by_rounding():
    t = Script(window_scaling=1, receive_buffer=1 << 20, receive_buffer_max=4 << 20)
    t.open()
    t.send(0, SynAck(scale=7))
    promised = 0
    seq = 1
    for size in (1, 3, 127, 128, 129, 1000, 1000, 777):
        t.send(t.now // 1_000_000 + 1, Data(seq, bytes(size)))
        seq += size
        t.at(t.now // 1_000_000 + 50)
        for segment in t.out:
            edge = seq + (int(segment.window) << 7)
            if segment is t.out[-1]:
                assert edge >= promised
                promised = edge
        t.out.clear()
        assert t.block.rcv_edge - t.block.irs == promised


def test_the_buffer_grows_with_a_fast_reader():
    t = Script(window_scaling=1, receive_buffer=10_000, receive_buffer_max=200_000)
    t.open()
    t.send(20, SynAck(scale=7))
    seq = 1
    for round_trip in range(12):
        time = 40 + 20 * round_trip
        room = t.block.rcv_edge - t.block.rcv_nxt
        for _ in range(room // MSS):
            t.send(time, Data(seq, bytes(MSS)))
            t.read()
            seq += MSS
    assert t.block.receive_buffer == 200_000


def test_a_fixed_buffer_does_not_grow():
    t = established(receive_buffer=10_000)
    t.options.receive_buffer = 10_000
    for index in range(100):
        t.send(10 + index, Data(1 + index * MSS, bytes(MSS)))
        t.read()
    assert t.block.receive_buffer == 10_000


def test_window_clamp():
    t = established()
    t.options.window_clamp = 70_000
    t.send(10, Data(1, bytes(64_000)))
    t.out.clear()
    t.read()
    assert t.block.rcv_edge - t.block.rcv_nxt <= 70_000
    t.options.window_clamp = 5000
    t.send(20, Data(64_001, bytes(60_000)))
    t.read()
    assert t.block.rcv_edge - t.block.rcv_nxt <= 5535


@pytest.mark.rfc("9293", "MUST-62")
def test_urgent_pointer():
    t = established()
    t.send(10, Data(1, b"ab!", flags="AU", urgent=3))
    assert t.block.rcv_urgent == t.block.irs + 3
    assert t.read() == b"ab!"


def test_a_scaled_window_does_not_creep_beyond_the_buffer():
    """What rounding up adds to the window is added once, not for each byte that comes."""
    t = Script(window_scaling=1, receive_buffer=8192, receive_buffer_max=64 << 20)
    t.listen(Seg("S", 0, scale=7))
    t.send(0, Ack(1, 1))
    t.block.quick_acks = 0
    granule = 1 << t.block.rcv_scale
    assert granule == 2048
    seq = 1
    for time in range(1, 20_000, 50):
        room = min(t.block.rcv_edge - t.block.rcv_nxt, 100)
        if room <= 0:
            break
        t.send(time, Data(seq, bytes(room)))
        t.at(time + 45)
        seq += room
    assert 8192 <= t.block.receive_queue.size() <= 8192 + granule
