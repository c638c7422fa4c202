"""Small squashfs images made by hand, with any number of theirs replaced."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.fs.squashfs import format as fmt
from tests.vfs.helpers import COMPONENTS, Client, Files

BLOCK = 4096
NAMES = (
    "magic inodes mtime block_size fragments compressor block_log flags ids major minor root bytes_used id_table xattr_table"
    " inode_table directory_table fragment_table export_table"
).split()


def metadata(data: bytes, compress: bool = False) -> bytes:
    """A stream of metadata blocks."""
    out = b""
    for at in range(0, len(data) or 1, fmt.METADATA):
        piece = data[at : at + fmt.METADATA]
        packed = zlib.compress(piece, 9)
        out += struct.pack("<H", len(packed)) + packed if compress else struct.pack("<H", len(piece) | 0x8000) + piece
    return out


def head(kind: int, number: int, mode: int = 0o644, uid: int = 0) -> bytes:
    """The beginning of an inode."""
    return fmt.HEAD.pack(kind, mode, uid, 0, 1000, number)


def file_inode(number: int, start: int, size: int, lengths: list[int]) -> bytes:
    """A regular file without a fragment."""
    return head(2, number) + fmt.FILE.pack(start, fmt.NONE, 0, size) + struct.pack(f"<{len(lengths)}I", *lengths)


def directory_inode(number: int, size: int, offset: int = 0, parent: int = 99, links: int = 2) -> bytes:
    """A directory whose listing begins in the first block of the directory table."""
    return head(1, number, 0o755) + fmt.DIRECTORY.pack(0, links, size + 3, offset, parent)


def run(entries: list[tuple[str | bytes, int, int, int]], count: int = -1) -> bytes:
    """A run of entries: name, offset of the inode, its number, its type."""
    out = fmt.RUN.pack(len(entries) - 1 if count < 0 else count, 0, 0)
    for name, offset, number, kind in entries:
        raw = name.encode() if isinstance(name, str) else name
        out += fmt.ENTRY.pack(offset, number, kind, len(raw) - 1) + raw
    return out


def image(
    made: list[bytes],
    top: int,
    listing: bytes,
    data: bytes = b"",
    compress: bool = False,
    given: Mapping[str, int] | None = None,
) -> bytes:
    """An image of these inodes, of which number `top` is the root's, with one directory table.  `given` has fields of the superblock."""
    table = b"".join(made)
    offset = sum(len(one) for one in made[:top])
    body = data
    inode_table = 96 + len(body)
    body += metadata(table, compress)
    directory_table = 96 + len(body)
    body += metadata(listing, compress)
    ids = 96 + len(body)
    body += metadata(struct.pack("<I", 0))
    id_table = 96 + len(body)
    body += struct.pack("<Q", ids)
    values = [fmt.MAGIC, 3, 1000, BLOCK, 0, 1, 12, 0, 1, 4, 0, offset, 96 + len(body), id_table, fmt.NO_TABLE]
    values += [inode_table, directory_table, fmt.NO_TABLE, fmt.NO_TABLE]
    fields = dict(zip(NAMES, values, strict=True)) | dict(given or {})
    return fmt.SUPERBLOCK.pack(*fields.values()) + body


def one_file(data: bytes = b"hello", name: str | bytes = "file", given: Mapping[str, int] | None = None) -> bytes:
    """An image with one file."""
    lengths = [len(data[at : at + BLOCK]) | fmt.PLAIN for at in range(0, len(data), BLOCK)]
    inode = file_inode(1, 96, len(data), lengths)
    listing = run([(name, 0, 1, 2)])
    return image([inode, directory_inode(2, len(listing))], 1, listing, data, given=given)


def attach(files: Files, data: bytes) -> None:
    disk = RamDisk(len(data))
    disk.write(0, data)
    disk.read_only = True
    files.entered(files.service("Disks").attach, "disk0", disk)


@contextmanager
def mounted(data: bytes, **options: int) -> Iterator[Client]:
    """A process of a kernel that has the image at /mnt."""
    files = Files(components=(*COMPONENTS, "squashfs"))
    attach(files, data)
    files.mount("squashfs", "/mnt", "disk0", **options)
    yield files.root
    files.entered(files.vfs.unmount, "/mnt", None, 1)
