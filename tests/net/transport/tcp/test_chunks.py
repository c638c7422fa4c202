"""Queues of chunks against plain bytes: whatever is appended and dropped, what is seen is what a bytes object would hold."""

from hypothesis import given
from hypothesis import strategies as st

from rumpkit.net.transport.tcp.chunks import ChunkQueue

SIZES = st.sampled_from([1, 2, 100, 1448, 4096, 5000, 16384, 60000])
STEPS = st.lists(st.tuples(st.sampled_from(["append", "drop", "peek", "front", "cut"]), SIZES, SIZES), max_size=40)


@given(STEPS)
def test_a_queue_is_its_bytes(steps):
    queue = ChunkQueue(1000)
    whole = b""
    start = 0
    number = 0
    for step, size, other in steps:
        there = whole[start:]
        if step == "append":
            number += 1
            body = bytes([number % 251]) * 7 + number.to_bytes(4, "big") * (size // 4 + 1)
            queue.append(body, 7, size)
            whole += body[7 : 7 + size]
        elif step == "drop":
            queue.drop(size)
            start = min(start + size, len(whole))
        elif step == "peek":
            assert queue.peek(size) == there[:size]
        elif step == "front":
            joined = b"".join(chunk.bytes() for chunk in queue.front(size))
            assert there.startswith(joined)
            assert bool(joined) == bool(there)
        elif there:
            at = other % len(there)
            cut = queue.cut(1000 + start + at, size, 1448)
            assert 0 < cut.size <= size
            assert cut.bytes() == there[at : at + cut.size]
        assert queue.size() == len(whole) - start


def test_a_peek_takes_part_of_a_chunk_that_is_larger_than_what_is_left():
    queue = ChunkQueue(0)
    queue.append(b"a" * 5000, 0, 5000)
    queue.append(b"b" * 5000, 0, 5000)
    assert queue.peek(6000) == b"a" * 5000 + b"b" * 1000


def test_a_cut_after_what_the_last_one_gave_is_long_gone():
    queue = ChunkQueue(0)
    for number in range(100):
        queue.append(bytes([number]) * 5000, 0, 5000)
    queue.cut(0, 1000, 1000)
    queue.drop(70 * 5000)
    assert queue.cut(70 * 5000, 1000, 1000).bytes() == bytes([70]) * 1000
    assert queue.cut(99 * 5000, 1000, 1000).bytes() == bytes([99]) * 1000
