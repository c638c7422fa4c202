"""Evil ext2, ext3 and ext4 for the fuzzer: a log that anybody may have written, and a small file system with bytes of it changed."""

from __future__ import annotations

from rumpkit.dev.block import BlockDevice
from rumpkit.dev.ramdisk import RamDisk
from rumpkit.fs.ext.fsck.check import check_file_system
from rumpkit.fs.ext.journal import format as fmt
from rumpkit.fs.ext.journal.replay import scan
from rumpkit.fs.ext.journal.space import LogSpace
from rumpkit.hosts.sim.host import SimHost
from rumpkit.kern.abi.errno import EFBIG, EINVAL, ENOTSUP, EUCLEAN
from rumpkit.vfs.buffer import BufferCache
from rumpkit.vfs.types import Finding
from tests.fs.ext.mkfs.mkhelp import new_disk

BLOCK = 1024
LOG = 8
PIECE = 96
"""Bytes of each block of a log that an input has."""
BLOCKS = 40
IMAGE_SIZE = 48 << 10


def journal(data: bytes) -> None:
    """A log: what it comes to are blocks of the device and of the log, or there is an error that says why not.

    The first two bytes say which features it has, and where it starts; the others are the first bytes of each block.
    """
    host = SimHost()
    host.enter()
    disk = RamDisk(BLOCK * BLOCKS)
    made = fmt.JournalSuperblock(BLOCK, LOG, bytes(16))
    made.incompat = (0, 2, 2 | 1)[data[0] % 3] if data else 0
    made.start = data[1] % (LOG - 1) + 1 if len(data) > 1 else 1
    for block in range(1, LOG):
        disk.write((BLOCKS - LOG + block) * BLOCK, data[2 + PIECE * (block - 1) : 2 + PIECE * block])
    space = LogSpace(BufferCache(BlockDevice(host, "disk0", 0, disk), BLOCK, 1 << 16), [(BLOCKS - LOG, LOG)])
    try:
        found = scan(space, made)
    except OSError as problem:
        assert problem.errno in (EUCLEAN, ENOTSUP) and problem.strerror
        return
    for block, at in found.blocks.items():
        assert 0 <= block < BLOCKS and 1 <= at < LOG
        assert len(found.contents(space, block)) == BLOCK


def _log(*blocks: bytes) -> bytes:
    return b"\0\0" + b"".join(block[:PIECE].ljust(PIECE, b"\0") for block in blocks)


_PLAIN = fmt.JournalSuperblock(BLOCK, LOG, bytes(16))
JOURNALS = [
    _log(
        fmt.encode_descriptor(_PLAIN, 1, [fmt.Tag(5, 0), fmt.Tag(6, fmt.ESCAPED)], 0),
        b"five",
        b"six",
        fmt.encode_commit(_PLAIN, 1, 0, 0, 0),
        fmt.encode_revokes(_PLAIN, 2, [5], 0),
        fmt.encode_commit(_PLAIN, 2, 0, 0, 0),
    ),
]


def _image(kind: str, features: str) -> bytes:
    disk = new_disk(kind, IMAGE_SIZE, features=features, inodes=16, inode_size=128)
    return disk.read(0, disk.size)


IMAGES = (_image("ext2", "^resize_inode"), _image("ext4", "^resize_inode,^metadata_csum,^has_journal"))


def image(data: bytes) -> None:
    """A file system with bytes changed: each three of the input are a place and a byte.  A check finds something, or nothing.

    The first byte says which file system it is, and whether it is to be repaired: then it is clean behind that, if that is said.
    """
    if not data:
        return
    disk = RamDisk(IMAGE_SIZE)
    changed = bytearray(IMAGES[data[0] & 1])
    for at in range(1, len(data) - 2, 3):
        changed[(data[at] << 8 | data[at + 1]) % IMAGE_SIZE] = data[at + 2]
    disk.write(0, bytes(changed))
    sound = check(disk, data[0] & 2 != 0)
    if sound and data[0] & 2:
        assert check(disk, False), "repaired, and not sound"


def check(disk: RamDisk, repair: bool) -> bool:
    host = SimHost()
    host.enter()
    found: list[Finding] = []
    try:
        sound = check_file_system(host, BlockDevice(host, "disk0", 0, disk), repair, found.append)
    except OSError as problem:
        assert problem.errno in (EUCLEAN, EINVAL, EFBIG) and problem.strerror
        return False
    assert sound or found
    return sound


IMAGE_CHANGES = [b"\0", b"\3\x04\x0c\x20", b"\2\x14\x00\x0b\x14\x04\x10"]
