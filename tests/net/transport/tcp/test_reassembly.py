"""The reassembly queue against a plain picture of it: a dictionary of bytes."""

from hypothesis import given
from hypothesis import strategies as st

from rumpkit.net.transport.tcp.chunks import ChunkQueue
from rumpkit.net.transport.tcp.reassembly import Reassembly

TEXT = bytes(range(200))


@given(st.lists(st.tuples(st.integers(1, 100), st.integers(1, 40)), max_size=30), st.integers(0, 60))
def test_against_a_model(pieces, ready):
    """Pieces of one text in any order; some are new, most overlap.  `ready` bytes are in the queue already."""
    reassembly = Reassembly()
    known: set[int] = set()
    for position, size in pieces:
        fresh = set(range(position, position + size)) - known
        assert reassembly.insert(position, b"##" + TEXT[position : position + size], 2, size) == bool(fresh)
        known |= fresh
        ranges = reassembly.ranges()
        assert {number for first, end in ranges for number in range(first, end)} == known
        assert all(ranges[i][1] < ranges[i + 1][0] for i in range(len(ranges) - 1))
    queue = ChunkQueue(0)
    queue.append(TEXT, 0, ready)
    reassembly.deliver(queue)
    end = ready
    while end in known:
        end += 1
    assert queue.peek(1000) == TEXT[:end]
    assert {number for first, last in reassembly.ranges() for number in range(first, last)} == {
        number for number in known if number >= end
    }
    reassembly.clear()
    assert reassembly.empty()
    assert reassembly.count() == 0


def test_what_came_first_stays():
    """Nothing may change what was acknowledged."""
    reassembly = Reassembly()
    reassembly.insert(5, b"AAAA", 0, 4)
    assert not reassembly.insert(6, b"bb", 0, 2)
    reassembly.insert(3, b"cccccccccc", 0, 10)
    queue = ChunkQueue(3)
    reassembly.deliver(queue)
    assert queue.peek(100) == b"ccAAAAcccc"


def test_data_is_kept_by_reference():
    reassembly = Reassembly()
    body = bytes(5000)
    reassembly.insert(10, body, 1000, 3000)
    queue = ChunkQueue(10)
    reassembly.deliver(queue)
    [chunk] = queue.front(1)
    assert chunk.body is body
