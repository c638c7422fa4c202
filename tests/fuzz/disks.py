"""Evil disks for the fuzzer: partition tables and qcow2 images, whose numbers anybody may have written."""

from __future__ import annotations

import struct
import zlib

from rumpkit.dev.partition_table import PartitionSpec, plan, read_table, write_table
from rumpkit.dev.qcow2 import Qcow2Backend
from rumpkit.dev.ramdisk import RamDisk
from rumpkit.kern.abi.errno import ENOTSUP, EUCLEAN

SIZE = 24 << 20
PLACES = ((446, 64), (512, 92), (1024, 640), (10 * 512 + 446, 64), (20 * 512 + 446, 64))
"""Where on the disk an input's bytes are, and how many: the MBR's table, the GPT's header, its first entries, the tables of two EBRs."""


def partitions(data: bytes) -> None:
    """The partition tables of a disk: partitions that are within the disk, none, or an error that says why."""
    disk = RamDisk(SIZE)
    at = 0
    for place, size in PLACES:
        disk.write(place, data[at : at + size])
        at += size
    for sector in (0, 10, 20):
        disk.write(sector * 512 + 510, b"\x55\xaa")
    if disk.read(512, 8) == b"EFI PART":
        _mend_checksums(disk)
    try:
        table = read_table(disk)
    except OSError as problem:
        assert problem.errno == EUCLEAN and problem.strerror
        return
    for one in table.partitions if table is not None else ():
        assert (
            0 < one.start < one.end <= SIZE
            and one.number > 0
            and table is not None
            and table.find(str(one.number)) is one
        )


def _mend_checksums(disk: RamDisk) -> None:
    """A GPT with right checksums, so that what is behind them is reached."""
    header = bytearray(disk.read(512, 92))
    place, count, size = struct.unpack_from("<QII", header, 72)
    if place < SIZE // 512 and 0 < count * size <= 1 << 20 and place * 512 + count * size <= SIZE:
        header[88:92] = zlib.crc32(disk.read(place * 512, count * size)).to_bytes(4, "little")
    header[12:16] = (92).to_bytes(4, "little")
    header[16:20] = bytes(4)
    header[16:20] = zlib.crc32(header).to_bytes(4, "little")
    disk.write(512, bytes(header))


def qcow2(data: bytes) -> None:
    """An image: its first and last bytes can be read, or there is an error that says why not."""
    disk = RamDisk(len(data))
    disk.write(0, data)
    try:
        image = Qcow2Backend(disk, lambda name: RamDisk(1000))
        for offset in (0, image.size // 2, max(image.size - 5000, 0)):
            size = min(5000, image.size - offset)
            assert len(image.read(offset, size)) == size
    except OSError as problem:
        assert problem.errno in (EUCLEAN, ENOTSUP) and str(problem.strerror).startswith("qcow2: ")


def _gpt() -> bytes:
    disk = RamDisk(SIZE)
    write_table(disk, plan("gpt", SIZE, [PartitionSpec(1 << 20)] * 4, lambda size: bytes(range(size))))
    return b"".join(disk.read(place, size) for place, size in PLACES)


def _mbr() -> bytes:
    """An MBR with a primary and an extended partition, and two EBRs."""

    def entry(kind: int, start: int, count: int) -> bytes:
        return struct.pack("<4xB3xII", kind, start, count)

    tables = (
        entry(0x83, 1, 5) + entry(5, 10, 40),
        entry(0x83, 1, 3) + entry(5, 10, 5),
        entry(0x83, 1, 1),
    )
    head, *chain = [table.ljust(64, b"\0") for table in tables]
    return head + bytes(92 + 640) + b"".join(chain)


def _qcow2() -> bytes:
    """Clusters of 512 bytes: the header, and one that is L1, L2 and data at once, with a compressed cluster behind."""
    work = zlib.compressobj(9, zlib.DEFLATED, -12)
    packed = work.compress(b"text" * 128) + work.flush()
    head = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 3, 0, 0, 9, 4000, 0, 1, 512, 0, 0, 0, 0)
    head += struct.pack(">QQQII", 0, 0, 0, 4, 104)
    entries = struct.pack(">4Q", 512, 1, 0, 1 << 62 | 512 + 64)
    return head.ljust(512, b"\0") + (entries.ljust(64, b"\0") + packed).ljust(512, b"\0")


PARTITIONS = [_gpt(), _mbr()]
QCOW2 = [_qcow2()]
