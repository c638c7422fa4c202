"""qcow2 images that the test makes, good ones and evil ones; those of qemu-img are in tests/system/test_qcow2_qemu.py."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.dev.qcow2 import Qcow2Backend
from rumpkit.dev.ramdisk import RamDisk
from rumpkit.kern.abi.errno import EINVAL, ENOTSUP, EROFS, EUCLEAN
from tests.vfs.helpers import fails

BITS = 12
CLUSTER = 1 << BITS
DISK = 10 * CLUSTER + 100


def disk(data: bytes) -> RamDisk:
    backend = RamDisk(len(data))
    backend.write(0, data)
    return backend


def header(version: int = 3, size: int = DISK, bits: int = BITS, l1: int = 1, place: int = CLUSTER, **more) -> bytes:
    name = more.get("backing", b"")
    fields = (
        b"QFI\xfb",
        version,
        400 if name else 0,
        len(name),
        bits,
        size,
        more.get("crypt", 0),
        l1,
        place,
        0,
        0,
        0,
        0,
    )
    raw = struct.pack(">4sIQIIQIIQQIIQ", *fields)
    raw += struct.pack(">QQQII", more.get("features", 0), 0, 0, 4, more.get("length", 112)) + bytes(
        [more.get("method", 0)]
    )
    return raw.ljust(400, b"\0") + name


def clusters(*parts: bytes) -> bytes:
    return b"".join(part.ljust(CLUSTER, b"\0") for part in parts)


def table(*entries: int) -> bytes:
    return struct.pack(f">{len(entries)}Q", *entries)


def packed(data: bytes) -> bytes:
    work = zlib.compressobj(9, zlib.DEFLATED, -12)
    return work.compress(data) + work.flush()


def compressed_entry(place: int, size: int) -> int:
    shift = 62 - (BITS - 8)
    sectors = (place + size - 1) // 512 - place // 512
    return 1 << 62 | sectors << shift | place


A, B, C = (bytes([value]) * CLUSTER for value in (1, 2, 3))
PACKED = packed(bytes(range(256)) * 16)


def image(**more) -> bytes:
    """A, B, nothing, a zero cluster, C (away from A and B), compressed, and nothing more."""
    place = 6 * CLUSTER + 300
    entries = (3 * CLUSTER | 1 << 63, 4 * CLUSTER, 0, 1, 5 * CLUSTER, compressed_entry(place, len(PACKED)))
    head = clusters(header(**more), table(2 * CLUSTER | 1 << 63), table(*entries), A, B, C)
    return head + bytes(300) + PACKED + bytes(100)


CONTENT = (A + B + bytes(2 * CLUSTER) + C + bytes(range(256)) * 16).ljust(DISK, b"\0")


def test_every_kind_of_cluster() -> None:
    qcow = Qcow2Backend(disk(image()))
    assert qcow.size == DISK and qcow.version == 3 and qcow.read_only
    assert qcow.read(0, DISK) == CONTENT
    fails(EROFS, qcow.write, 0, b"x")
    for bad in ((DISK, 1), (-1, 1), (0, -1)):
        fails(EINVAL, qcow.read, *bad)
    qcow.flush()
    qcow.close()


@given(st.integers(0, DISK), st.integers(0, DISK))
def test_any_range(one: int, other: int) -> None:
    qcow = Qcow2Backend(disk(image()))
    start, end = sorted((one, other))
    assert qcow.read(start, end - start) == CONTENT[start:end]


def test_version_2_has_no_zero_clusters() -> None:
    raw = bytearray(image(version=2))
    raw[2 * CLUSTER + 24 : 2 * CLUSTER + 32] = bytes(8)
    assert Qcow2Backend(disk(bytes(raw))).read(0, DISK) == CONTENT


def test_a_backing_file() -> None:
    below = disk(b"z" * (3 * CLUSTER + 50))
    asked = []

    def resolve(name: str) -> RamDisk:
        asked.append(name)
        return below

    raw = image(backing="bäse.img".encode())
    qcow = Qcow2Backend(disk(raw), resolve)
    assert asked == ["bäse.img"]
    expected = bytearray(CONTENT)
    expected[2 * CLUSTER : 3 * CLUSTER] = b"z" * CLUSTER
    assert qcow.read(0, DISK) == expected
    with pytest.raises(OSError, match=r"bäse\.img") as caught:
        Qcow2Backend(disk(raw))
    assert caught.value.errno == ENOTSUP
    short = Qcow2Backend(disk(image(backing=b"x")), lambda name: disk(b"z" * (2 * CLUSTER + 50)))
    assert short.read(2 * CLUSTER, CLUSTER) == (b"z" * 50).ljust(CLUSTER, b"\0")


@pytest.mark.parametrize(
    ("more", "number"),
    [
        ({"version": 4}, ENOTSUP),
        ({"version": 1}, ENOTSUP),
        ({"crypt": 1}, ENOTSUP),
        ({"features": 4}, ENOTSUP),
        ({"features": 16}, ENOTSUP),
        ({"features": 1 << 40}, ENOTSUP),
        ({"features": 8, "method": 1}, ENOTSUP),
        ({"features": 2}, EUCLEAN),
        ({"length": 50}, EUCLEAN),
        ({"bits": 8}, EUCLEAN),
        ({"bits": 22}, EUCLEAN),
        ({"bits": 1 << 31}, EUCLEAN),
        ({"size": 1 << 63}, EUCLEAN),
        ({"size": CLUSTER * CLUSTER // 8 + 1}, EUCLEAN),
        ({"l1": 1 << 30}, EUCLEAN),
        ({"l1": 0}, EUCLEAN),
        ({"place": 100}, EUCLEAN),
        ({"place": 1 << 62}, EUCLEAN),
        ({"backing": b"x" * 2000}, EUCLEAN),
    ],
)
def test_evil_headers(more: dict[str, int], number: int) -> None:
    with pytest.raises(OSError, match="qcow2: ") as caught:
        Qcow2Backend(disk(image(**more)))
    assert caught.value.errno == number


def test_a_dirty_image_is_read() -> None:
    assert Qcow2Backend(disk(image(features=1))).read(0, DISK) == CONTENT
    assert Qcow2Backend(disk(image(features=8))).read(0, DISK) == CONTENT


@pytest.mark.parametrize(
    ("where", "entry"),
    [
        (CLUSTER, 512),
        (CLUSTER, 1 << 50),
        (2 * CLUSTER, 512),
        (2 * CLUSTER, 1 << 50),
        (2 * CLUSTER, 1 << 62 | 1 << 40),
        (2 * CLUSTER, 1 << 62 | 3 * CLUSTER),
        (2 * CLUSTER, compressed_entry(6 * CLUSTER + 301, 600)),
    ],
)
def test_evil_entries(where: int, entry: int) -> None:
    raw = bytearray(image())
    raw[where : where + 8] = entry.to_bytes(8, "big")
    qcow = Qcow2Backend(disk(bytes(raw)))
    with pytest.raises(OSError, match="qcow2: ") as caught:
        qcow.read(0, 10)
    assert caught.value.errno == EUCLEAN


def test_a_compressed_cluster_that_unpacks_to_more_or_less() -> None:
    for size, good in ((CLUSTER - 1, False), (CLUSTER + 1, True), (50 * CLUSTER, True)):
        data = packed(b"q" * size)
        raw = image()[: 6 * CLUSTER] + data
        raw = raw[: 2 * CLUSTER] + table(compressed_entry(6 * CLUSTER, len(data))) + raw[2 * CLUSTER + 8 :]
        qcow = Qcow2Backend(disk(raw))
        if good:
            assert qcow.read(0, CLUSTER) == b"q" * CLUSTER
        else:
            fails(EUCLEAN, qcow.read, 0, CLUSTER)


@given(st.lists(st.tuples(st.integers(0, 3 * CLUSTER - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_damaged_metadata(changes: list[tuple[int, int]]) -> None:
    """Whatever the tables say, reading ends, with data or with a reason."""
    raw = bytearray(image())
    for where, value in changes:
        raw[where % 150 if where > CLUSTER else where] = value
        raw[where] = value
    try:
        qcow = Qcow2Backend(disk(bytes(raw)), lambda name: RamDisk(100))
        assert len(qcow.read(0, min(qcow.size, DISK))) == min(qcow.size, DISK)
    except OSError as problem:
        assert problem.errno in (EUCLEAN, ENOTSUP) and "qcow2: " in str(problem)


def test_many_tables_and_clusters_take_little_memory() -> None:
    """More L2 tables and compressed clusters than are kept: each is read again."""
    place = 6 * CLUSTER + 300
    entry = compressed_entry(place, len(PACKED))
    raw = bytearray(image())
    raw[2 * CLUSTER : 3 * CLUSTER] = table(*[entry] * (CLUSTER // 8))
    qcow = Qcow2Backend(disk(bytes(raw)))
    qcow._tables_kept = 1
    for index in range(10):
        assert qcow.read(index * CLUSTER, 4) == b"\0\1\2\3"
    assert len(qcow._unpacked) == 1 and len(qcow._tables) == 1
