"""A file's storage against a plain bytearray."""

from hypothesis import given
from hypothesis import strategies as st

from rumpkit.fs.tmpfs.extents import EXTENT, Extents
from rumpkit.fs.tmpfs.pool import UNIT, Pool

LIMIT = 1 << 40


def extents(limit: int = LIMIT) -> tuple[Extents, Pool]:
    pool = Pool(limit, 10, LIMIT, 10)
    return Extents(pool), pool


def test_whole_extents_go_in_and_out_by_reference():
    storage, _ = extents()
    block = bytes(range(256)) * (EXTENT // 256)
    storage.write(EXTENT, block)
    assert storage.read(EXTENT, 2 * EXTENT) is block
    storage.write(EXTENT + 5, b"x")
    changed = storage.read(EXTENT, 2 * EXTENT)
    assert changed == block[:5] + b"x" + block[6:]
    assert storage.read(EXTENT, 2 * EXTENT) is changed


def test_what_a_reader_has_does_not_change():
    storage, _ = extents()
    storage.write(0, b"abc")
    before = storage.read(0, 3)
    storage.write(1, b"X")
    middle = storage.read(0, 3)
    storage.write(3, b"def")
    storage.truncate(2)
    assert (before, middle, storage.read(0, 3)) == (b"abc", b"aXc", b"aX\0")


def test_storage_is_counted_in_units():
    storage, pool = extents()
    storage.write(0, b"x")
    assert storage.allocated == pool.used == UNIT
    storage.write(UNIT - 1, b"x")
    assert pool.used == UNIT
    storage.write(UNIT, b"x")
    assert pool.used == 2 * UNIT
    storage.write(10 * EXTENT, b"x")
    assert pool.used == 3 * UNIT
    storage.truncate(UNIT + 1)
    assert pool.used == 2 * UNIT
    storage.truncate(UNIT)
    assert pool.used == UNIT
    storage.truncate(0)
    assert storage.allocated == pool.used == 0


def test_a_full_pool_takes_a_part():
    storage, pool = extents(3 * UNIT + 100)
    assert storage.write(10, bytes(5 * UNIT)) == 3 * UNIT - 10
    assert storage.write(3 * UNIT, b"x") == 0
    assert storage.write(5, b"fits") == 4
    assert storage.write(EXTENT, b"x") == 0
    assert pool.used == 3 * UNIT
    storage.truncate(UNIT)
    assert storage.write(EXTENT, bytes(5 * UNIT)) == 2 * UNIT
    assert storage.write(3 * EXTENT - 5, b"0123456789") == 0


def test_a_hole_before_the_data_counts_within_an_extent():
    storage, pool = extents(2 * UNIT)
    assert storage.write(3 * UNIT, b"x") == 0
    assert pool.used == 0
    assert storage.write(UNIT + 5, b"x") == 1
    assert pool.used == 2 * UNIT


def test_data_and_holes():
    storage, _ = extents()
    assert storage.next_data(0) == -1 and storage.next_hole(5) == 5
    storage.write(3 * EXTENT, bytes(EXTENT + 1))
    storage.write(500 * EXTENT, b"x")
    assert storage.next_data(0) == 3 * EXTENT
    assert storage.next_hole(0) == 0
    assert storage.next_data(3 * EXTENT + 7) == 3 * EXTENT + 7
    assert storage.next_hole(3 * EXTENT + 7) == 4 * EXTENT + UNIT
    assert storage.next_data(4 * EXTENT + UNIT) == 500 * EXTENT
    assert storage.next_data(501 * EXTENT) == -1


OFFSETS = st.one_of(
    st.integers(0, 200),
    st.builds(lambda near, off: max(near + off, 0), st.sampled_from([UNIT, EXTENT, 2 * EXTENT]), st.integers(-20, 20)),
)
SIZES = st.one_of(st.integers(0, 50), st.sampled_from([UNIT, EXTENT - 1, EXTENT, EXTENT + 1, 3 * EXTENT]))
STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "write", "read", "truncate", "reserve", "zero", "punch"]), OFFSETS, SIZES),
    max_size=30,
)


@given(STEPS)
def test_like_a_bytearray(steps):
    storage, pool = extents()
    model = bytearray(6 * EXTENT)
    for number, (name, offset, size) in enumerate(steps, 1):
        if name == "write":
            data = bytes([number]) * size
            assert storage.write(offset, data) == size
            model[offset : offset + size] = data
        elif name == "truncate":
            storage.truncate(offset)
            model[offset:] = bytes(len(model) - offset)
        elif size:
            assert storage.read(offset, offset + size) == model[offset : offset + size]
        assert pool.used == storage.allocated <= 6 * EXTENT
    assert storage.read(0, len(model)) == model
    # Whatever is not data is zero, and the walk over data and holes ends.
    place = 0
    while (start := storage.next_data(place)) >= 0:
        assert start >= place and not any(model[place:start])
        place = storage.next_hole(start)
        assert place > start
    assert not any(model[place:])
    storage.truncate(0)
    assert pool.used == 0
