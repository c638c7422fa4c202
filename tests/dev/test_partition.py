"""Partition tables on ram disks: what is written is read back, and what is damaged is told."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.dev.partition import ALIGNMENT, Partition, PartitionBackend, PartitionTable
from rumpkit.dev.partition_gpt import guid_bytes, guid_text, new_guid
from rumpkit.dev.partition_table import TYPES, PartitionSpec, plan, read_table, type_name, write_table
from rumpkit.dev.ramdisk import RamDisk
from rumpkit.kern.abi.errno import EINVAL, ENOSPC, EROFS, EUCLEAN
from tests.vfs.helpers import fails

MIB = 1 << 20


def counting(start: int = 1):
    """Bytes that differ from call to call, for GUIDs."""
    state = [start]

    def random(size: int) -> bytes:
        state[0] += 1
        return state[0].to_bytes(size, "big")

    return random


def specs(*sizes: int, **more) -> list[PartitionSpec]:
    return [PartitionSpec(size, **more) for size in sizes]


def made(kind: str, *sizes: int, disk: int = 64 * MIB) -> tuple[RamDisk, PartitionTable]:
    backend = RamDisk(disk)
    table = plan(kind, disk, specs(*sizes), counting())
    write_table(backend, table)
    return backend, table


@pytest.mark.parametrize("kind", ["gpt", "dos"])
@pytest.mark.parametrize("sizes", [(MIB,), (MIB, 2 * MIB, 0), (5,) * 9, (MIB, MIB, MIB, MIB, 0)])
def test_written_and_read_back(kind: str, sizes: tuple[int, ...]) -> None:
    backend, table = made(kind, *sizes)
    assert read_table(backend) == table
    data = [one for one in table.partitions if one.type != "0f"]
    assert len(data) == len(sizes)
    assert all(one.start % ALIGNMENT == 0 and one.size % ALIGNMENT == 0 for one in data)
    assert [one.size for one in data[:-1]] == [-(-size // MIB) * MIB for size in sizes[:-1]]


def test_logical_partitions_are_numbered_from_five() -> None:
    _, table = made("dos", *[MIB] * 6)
    assert [one.number for one in table.partitions] == [1, 2, 3, 4, 5, 6, 7]
    assert table.partitions[3].type == "0f"
    assert all(table.partitions[3].start < one.start < table.partitions[3].end for one in table.partitions[4:])


def test_names_types_and_flags() -> None:
    backend = RamDisk(32 * MIB)
    uuid = "01234567-89ab-cdef-0123-456789abcdef"
    wanted = [PartitionSpec(MIB, "efi", "Ümlaut €", uuid, True, 1 << 60), PartitionSpec(0, uuid.upper(), "x" * 36)]
    write_table(backend, plan("gpt", 32 * MIB, wanted, counting(), uuid))
    table = read_table(backend)
    assert table is not None and table.identifier == uuid.upper()
    first, second = table.partitions
    assert (first.name, first.uuid, first.type) == ("Ümlaut €", uuid.upper(), TYPES["efi"][0])
    assert first.bootable and first.attributes == 1 << 60 | 4
    assert second.type == uuid.upper() and second.name == "x" * 36
    assert type_name(first.type) == "efi" and type_name("83") == "linux" and type_name("a5") == "a5"
    assert table.find("Ümlaut €") is table.find("1") is table.find(uuid) is first and table.find("3") is None


def test_what_does_not_fit() -> None:
    for kind in ("gpt", "dos"):
        fails(ENOSPC, plan, kind, 4 * MIB, specs(4 * MIB), counting())
        fails(ENOSPC, plan, kind, 4 * MIB, specs(3 * MIB, 0), counting())
        fails(EINVAL, plan, kind, 4 * MIB, specs(0, MIB), counting())
    fails(ENOSPC, plan, "gpt", 10_000, specs(0), counting())
    fails(EINVAL, plan, "bsd", 4 * MIB, specs(0), counting())
    fails(EINVAL, plan, "dos", 4 * MIB, [PartitionSpec(type="zz")], counting())
    fails(EINVAL, plan, "dos", 4 * MIB, [PartitionSpec(name="x")], counting())
    fails(EINVAL, plan, "gpt", 4 * MIB, [PartitionSpec(type="83")], counting())
    table = plan("gpt", 4 * MIB, [PartitionSpec(name="x" * 37)], counting())
    fails(EINVAL, write_table, RamDisk(4 * MIB), table)
    fails(EUCLEAN, write_table, RamDisk(2 * MIB), table)


def test_an_empty_disk_has_no_table() -> None:
    for size in (0, 100, 512, 1024, 5000, MIB):
        assert read_table(RamDisk(size)) is None


def test_the_boot_code_stays() -> None:
    for kind in ("gpt", "dos"):
        backend = RamDisk(16 * MIB)
        backend.write(0, b"B" * 440)
        write_table(backend, plan(kind, 16 * MIB, specs(0), counting()))
        assert backend.read(0, 440) == b"B" * 440


def test_a_boot_sector_is_no_table() -> None:
    backend = RamDisk(16 * MIB)
    sector = bytearray(512)
    sector[:13] = b"\xeb\x3c\x90mkfs.fat\0\2"
    sector[510:] = b"\x55\xaa"
    backend.write(0, bytes(sector))
    assert read_table(backend) is None
    sector[446:462] = b"\0text" + bytes(range(11))
    backend.write(0, bytes(sector))
    assert read_table(backend) is None
    sector[446] = 0x41
    backend.write(0, bytes(sector))
    assert read_table(backend) is None


def test_the_backup_gpt_is_read_and_mends_the_primary() -> None:
    for where in (512, 512 + 60, 1024):
        backend, table = made("gpt", MIB, 0)
        backend.write(where, b"\xff")
        found = read_table(backend)
        assert found is not None and found.partitions == table.partitions and found.identifier == table.identifier
        if where != 512:
            assert "primary GPT is damaged" in found.notes[0]
        write_table(backend, found)
        assert read_table(backend) == table


def test_both_damaged() -> None:
    backend, _ = made("gpt", MIB, 0)
    backend.write(512 + 60, b"\xff")
    backend.write(backend.size - 512 + 60, b"\xff")
    with pytest.raises(OSError, match=r"primary GPT.*checksum.*backup GPT.*checksum") as caught:
        read_table(backend)
    assert caught.value.errno == EUCLEAN


def test_a_backup_that_is_not_at_the_end_is_told() -> None:
    small, table = made("gpt", MIB, disk=8 * MIB)
    backend = RamDisk(16 * MIB)
    backend.write(0, small.read(0, small.size))
    found = read_table(backend)
    assert found is not None and found.partitions == table.partitions and "not at the end" in found.notes[0]


def evil_header(backend: RamDisk, offset: int, value: int, size: int) -> None:
    """Change a field of the primary header and make its checksum right; the backup is destroyed."""
    header = bytearray(backend.read(512, 92))
    header[offset : offset + size] = value.to_bytes(size, "little")
    header[16:20] = bytes(4)
    header[16:20] = zlib.crc32(header).to_bytes(4, "little")
    backend.write(512, bytes(header))
    backend.write(backend.size - 512, b"gone")


@pytest.mark.parametrize(
    ("offset", "value", "size"),
    [
        (24, 2, 8),
        (40, 1 << 63, 8),
        (48, 1 << 62, 8),
        (72, 1, 8),
        (72, 1 << 60, 8),
        (80, 0xFFFFFFFF, 4),
        (80, 0, 4),
        (84, 0, 4),
        (84, 130, 4),
        (84, 1 << 31, 4),
        (88, 5, 4),
    ],
)
def test_an_evil_header_with_a_right_checksum(offset: int, value: int, size: int) -> None:
    backend, _ = made("gpt", MIB)
    evil_header(backend, offset, value, size)
    with pytest.raises(OSError, match="primary GPT is damaged") as caught:
        read_table(backend)
    assert caught.value.errno == EUCLEAN


def test_overlapping_gpt_partitions() -> None:
    table = plan("gpt", 16 * MIB, specs(MIB, MIB), counting())
    first, second = table.partitions
    with pytest.raises(OSError, match="overlap"):
        write_table(RamDisk(16 * MIB), table._replace(partitions=(first, second._replace(start=first.start))))


def mbr_entry(backend: RamDisk, at: int, index: int, kind: int, start: int, count: int) -> None:
    raw = bytes([0, 0, 0, 0, kind, 0, 0, 0]) + start.to_bytes(4, "little") + count.to_bytes(4, "little")
    backend.write(at * 512 + 446 + 16 * index, raw)
    backend.write(at * 512 + 510, b"\x55\xaa")


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([(0, 0, 0x83, 1, 1 << 31)], "outside the disk"),
        ([(0, 0, 0x83, 0, 10)], "outside the disk"),
        ([(0, 0, 0x83, 1, 10), (0, 1, 0x83, 10, 10)], "overlap"),
        ([(0, 0, 5, 1, 10), (0, 1, 5, 20, 10)], "two extended"),
        ([(0, 0, 5, 10, 10)], "should have"),
        ([(0, 0, 5, 10, 100), (10, 0, 0x83, 1, 5), (10, 1, 5, 0, 5)], "endless"),
        ([(0, 0, 5, 10, 100), (10, 0, 0x83, 1, 5), (10, 1, 5, 200, 5)], "outside the extended"),
        ([(0, 0, 5, 10, 100), (10, 0, 0x83, 1, 500)], "outside the disk"),
    ],
)
def test_an_evil_mbr(entries: list[tuple[int, int, int, int, int]], why: str) -> None:
    backend = RamDisk(16 * MIB)
    for at, index, kind, start, count in entries:
        mbr_entry(backend, at, index, kind, start, count)
    with pytest.raises(OSError, match=why) as caught:
        read_table(backend)
    assert caught.value.errno == EUCLEAN


def test_a_long_chain_of_logical_partitions_has_a_limit() -> None:
    backend = RamDisk(16 * MIB)
    mbr_entry(backend, 0, 0, 5, 10, 10_000)
    for index in range(200):
        mbr_entry(backend, 10 + 2 * index, 0, 0x83, 1, 1)
        mbr_entry(backend, 10 + 2 * index, 1, 5, 2 * index + 2, 2)
    with pytest.raises(OSError, match="longer than 128"):
        read_table(backend)


def test_what_an_mbr_cannot_say() -> None:
    fails(EINVAL, write_table, RamDisk(MIB), PartitionTable("bsd", "", ()))
    logical = PartitionTable("dos", "0x0", (Partition(5, MIB, MIB, "83"),))
    fails(EINVAL, write_table, RamDisk(4 * MIB), logical)
    odd = PartitionTable("dos", "0x0", (Partition(1, 1000, MIB, "83"),))
    fails(EINVAL, write_table, RamDisk(4 * MIB), odd)


@given(st.binary(min_size=512, max_size=512), st.sampled_from(["gpt", "dos"]), st.integers(0, 40), st.booleans())
def test_any_bytes_are_read_or_refused(noise: bytes, kind: str, sector: int, signed: bool) -> None:
    backend, _ = made(kind, MIB, MIB, MIB, MIB, MIB, disk=16 * MIB)
    backend.write(sector * 512, noise[:510] + (b"\x55\xaa" if signed else noise[510:]))
    try:
        table = read_table(backend)
    except OSError as problem:
        assert problem.errno == EUCLEAN and problem.strerror
    else:
        for one in table.partitions if table else ():
            assert 0 < one.start < one.end <= backend.size


def test_guids() -> None:
    text = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
    assert guid_bytes(text.lower()).hex() == "28732ac11ff8d211ba4b00a0c93ec93b"
    assert guid_text(guid_bytes(text)) == text
    assert new_guid(b"\xff" * 16)[14] == "4" and new_guid(b"\xff" * 16)[19] == "B"
    for bad in ("", "x", text[:-1], text.replace("-", ""), "G" + text[1:]):
        fails(EINVAL, guid_bytes, bad)


def test_a_window_on_a_disk() -> None:
    disk = RamDisk(4 * MIB)
    part = PartitionBackend(disk, MIB, MIB)
    part.write(5, b"hello")
    assert disk.read(MIB + 5, 5) == part.read(5, 5) == b"hello"
    for call in (lambda: part.read(MIB - 1, 2), lambda: part.read(-1, 1), lambda: part.write(MIB, b"x")):
        fails(EINVAL, call)
    assert part.read(MIB, 0) == b""
    assert part.discard(0, 100) and part.read(0, 10) == bytes(10)
    fails(EINVAL, part.discard, MIB, 1)
    part.flush()
    part.close()
    fails(EINVAL, PartitionBackend, disk, 4 * MIB, 1)
    fails(EROFS, PartitionBackend(RamDisk(10, read_only=True), 0, 5).write, 0, b"x")
