"""The second pass: every inode that is in use, its fields, its blocks and its attributes."""

from typing import Final

from ....kern.abi.fcntl import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK
from .. import checksum as sums
from ..dirent import TYPES
from ..features import DIR_INDEX, HUGE_FILE, INLINE_DATA, LARGE_FILE, ORPHAN_FILE, ORPHAN_PRESENT
from ..features import EXTENTS as EXTENTS_FEATURE
from ..group import INODE_UNINIT
from ..inode import BAD_BLOCKS, BASE, EA_INODE, EXTENTS, HUGE, INDEXED, INLINE, JOURNAL, RESIZE, ROOT, Inode
from ..xattrformat import references_of
from .attributes import check_block, check_in_inode
from .context import DIRECTORY, Check
from .maps import FileMap, largest_directory

READ_AT_ONCE: Final = 256
"""Blocks of an inode table that are read in one go."""
SECOND: Final = 1_000_000_000
SPECIAL: Final = (S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK)
MODE_AT: Final = 0
LINKS_AT: Final = 26
DTIME_AT: Final = 20
ATTRIBUTE_KIND: Final = 8
"""In `Check.kinds`: a file that holds the value of an extended attribute."""
RESERVED_KIND: Final = 9
"""In `Check.kinds`: a reserved inode that nothing names."""


def check_inodes(check: Check) -> None:
    """Read all inode tables, as far as they are in use."""
    geometry = check.geometry
    size = geometry.inode_size
    lazy = check.fields.has_group_checksums
    for group, descriptor in enumerate(check.descriptors):
        count = geometry.inodes_per_group
        if lazy:
            count = 0 if descriptor.flags & INODE_UNINIT else count - descriptor.itable_unused
        first = group * geometry.inodes_per_group + 1
        blocks = -(-count // geometry.inodes_per_block)
        for at in range(0, blocks, READ_AT_ONCE):
            piece = min(READ_AT_ONCE, blocks - at)
            data = check.cache.read_direct(descriptor.inode_table + at, piece)
            for index in range(piece):
                block = data[index * check.block_size : (index + 1) * check.block_size]
                if block.count(0) == len(block):
                    continue
                number = first + (at + index) * geometry.inodes_per_block
                for slot in range(0, len(block), size):
                    raw = block[slot : slot + size]
                    if any(raw):
                        _check_inode(check, number, raw)
                    number += 1
    if check.kinds[ROOT] != DIRECTORY:
        check.find("there is no root directory", f"inode {ROOT}", fatal=True)


def _check_inode(check: Check, number: int, raw: bytes) -> None:
    mode = raw[MODE_AT] | raw[MODE_AT + 1] << 8
    links = raw[LINKS_AT] | raw[LINKS_AT + 1] << 8
    where = f"inode {number}"
    reserved = number < check.geometry.first_inode and number != ROOT
    if not links and not reserved:
        if mode and number not in check.orphans and not any(raw[DTIME_AT : DTIME_AT + 4]):
            check.find("it has no links and no time of deletion", where, True)
            check.bad_dtimes.append((number, 1))
        if not mode or number not in check.orphans:
            return
    inode = Inode(raw, len(raw))
    if check.fields.has_checksums:
        start = sums.inode_seed(check.seed, number, inode.generation)
        if sums.inode_checksum(start, raw) != sums.stored_inode_checksum(raw):
            check.find("the checksum is wrong", where)
    if reserved and not mode and not links and number != BAD_BLOCKS:
        return
    kind = mode & S_IFMT
    if reserved:
        _check_reserved(check, number, inode, raw)
        return
    if kind not in TYPES:
        check.find(f"it is of no known kind (mode {mode:o})", where)
        return
    if links:
        check.kinds[number] = ATTRIBUTE_KIND if inode.flags & EA_INODE else TYPES[kind]
    if links and inode.flags & EA_INODE:
        lustre = inode.mtime // SECOND <= check.geometry.inodes  # its owner, in place of a count
        check.values[number] = -1 if lustre else references_of(inode)
    if links != 1:
        check.links[number] = links
    if kind == S_IFDIR and links:
        check.parents[number] = number if number == ROOT else 0
    if inode.dtime and number not in check.orphans:
        check.find("it is in use and has a time of deletion", where, True)
        check.bad_dtimes.append((number, 0))
    _check_fields(check, number, inode, raw, kind)


def _check_reserved(check: Check, number: int, inode: Inode, raw: bytes) -> None:
    """The bad blocks', the resize and the journal inode; others are left alone, but for their blocks."""
    where = f"inode {number}"
    fields = check.fields
    if number == RESIZE:
        if inode.mode:
            _check_resize(check, inode)
        return
    if number == JOURNAL and fields.journal_inum == JOURNAL and (inode.mode & S_IFMT != S_IFREG or not inode.links):
        check.find("the journal is no file", where)
        return
    if number == BAD_BLOCKS or inode.mode & S_IFMT == S_IFREG:
        if number == BAD_BLOCKS:
            if inode.uid or inode.gid or inode.size or inode.flags or inode.file_acl or inode.faddr or inode.generation:
                check.find("the list of bad blocks is not as it should be", where)
            if not any(inode.block):
                return
        check.kinds[number] = RESERVED_KIND
        _check_fields(check, number, inode, raw, S_IFREG)
        return
    check.find(f"a reserved inode is in use (mode {inode.mode:o})", where)


def _check_resize(check: Check, inode: Inode) -> None:
    """The resize inode: its one block of addresses names those kept for group descriptors, and these name their copies."""
    geometry = check.geometry
    fields = check.fields
    where = f"inode {RESIZE}"
    block = int.from_bytes(inode.block[52:56], "little")
    if not block and not fields.reserved_gdt_blocks:
        return
    if (
        any(inode.block[:52])
        or any(inode.block[56:])
        or inode.file_acl
        or inode.mode & S_IFMT != S_IFREG
        or not inode.links
    ):
        check.find("the inode for resizing is not as it should be", where)
        return
    if not check.claim(block, 1, where):
        return
    table = bytes(check.cache.get(block).data)
    per_block = check.block_size // 4
    first = geometry.first_data_block + 1 + geometry.descriptor_blocks
    backups = [group for group in range(1, geometry.groups) if geometry.has_super(group)]
    blocks = 1
    for index in range(fields.reserved_gdt_blocks):
        at = (geometry.descriptor_blocks + index) % per_block * 4
        kept = first + index
        expected = b"".join((kept + group * geometry.blocks_per_group).to_bytes(4, "little") for group in backups)
        blocks += 1 + len(backups)
        if table[at : at + 4] != kept.to_bytes(4, "little") or check.cache.get(kept).data[: len(expected)] != expected:
            check.find(f"block {kept}, kept for group descriptors, is not as it should be", where)
            return
    if inode.blocks != blocks * (check.block_size // 512):
        check.find(f"it has {inode.blocks} sectors and not {blocks * (check.block_size // 512)}", where)


def _check_fields(check: Check, number: int, inode: Inode, raw: bytes, kind: int) -> None:
    where = f"inode {number}"
    fields = check.fields
    if inode.faddr:
        check.find(f"it has a fragment at {inode.faddr}", where)
    room = len(raw) - BASE
    extra = inode.extra_isize
    tail = None
    if room > 0 and (extra > room or extra & 3 or (extra and extra < 4)):
        check.find(f"extra_isize is {extra}", where)
    elif room > 0:
        tail = check_in_inode(check, raw, extra, where)
    for flag, feature, word, name in (
        (EXTENTS, EXTENTS_FEATURE, fields.feature_incompat, "extents"),
        (INLINE, INLINE_DATA, fields.feature_incompat, "inline data"),
        (HUGE, HUGE_FILE, fields.feature_ro_compat, "a huge size"),
        (INDEXED, DIR_INDEX, fields.feature_compat, "a hash tree"),
    ):
        if inode.flags & flag and not word & feature:
            check.find(f"it has {name} in a file system without them", where)
            if flag == INLINE:
                return
    if inode.flags & INDEXED and kind != S_IFDIR:
        check.find("it has a hash tree and is no directory", where)
    if inode.flags & INLINE:
        _check_inline(check, inode, kind, tail, where)
        return
    blocks = 1 if inode.file_acl and check_block(check, inode.file_acl, where) else 0
    if kind in SPECIAL or (kind == S_IFLNK and _is_fast(check, inode, blocks)):
        _check_special(check, inode, kind, where)
    elif kind == S_IFLNK and inode.size < 60 and not inode.flags & EXTENTS:
        check.find(f"a short symbolic link has {inode.blocks} sectors", where)
    else:
        blocks += _check_map(check, number, inode, kind)
        # The blocks of attributes' values in inodes of their own count, too, and are not followed here.
    _check_blocks(check, number, inode, blocks, where)


def _check_blocks(check: Check, number: int, inode: Inode, blocks: int, where: str) -> None:
    found = blocks if inode.flags & HUGE else blocks * (check.block_size // 512)
    if inode.blocks != found and not _has_values(check):
        check.find(f"it has {found} sectors and says {inode.blocks}", where, True)
        check.bad_sectors.append((number, found))


def _is_fast(check: Check, inode: Inode, blocks: int) -> bool:
    """Whether a symbolic link has nothing but its inode, and `blocks` of attributes."""
    if inode.flags & EXTENTS:
        return False
    return not inode.blocks - blocks * (check.block_size // 512) or (_has_values(check) and inode.size < 60)


def _has_values(check: Check) -> bool:
    """Whether values of attributes may lie in inodes: their blocks count in the owner's."""
    from ..features import EA_INODE as FEATURE

    return check.fields.feature_incompat & FEATURE != 0


def _check_special(check: Check, inode: Inode, kind: int, where: str) -> None:
    if kind == S_IFLNK:
        size = inode.size
        if not 0 < size < 60 or inode.block.find(b"\0") not in (size, -1) or b"\0" in inode.block[:size]:
            check.find(f"a symbolic link of {size} bytes is not as long as it says", where)
    elif inode.size:
        check.find(f"a special file has a size of {inode.size}", where)
    elif inode.flags & EXTENTS:
        check.find("a special file has extents", where)


def _check_inline(check: Check, inode: Inode, kind: int, tail: bytes | None, where: str) -> None:
    room = 60 + (len(tail) if tail is not None else 0)
    if inode.size > room or (inode.size > 60 and tail is None):
        check.find(f"{inode.size} bytes of inline data have room for {room}", where)
    if kind == S_IFDIR and inode.size != room and tail is not None:
        check.find(f"an inline directory of {inode.size} bytes takes {room}", where)
    if inode.flags & EXTENTS or kind in SPECIAL:
        check.find("it has inline data and cannot", where)
    blocks = 1 if inode.file_acl and check_block(check, inode.file_acl, where) else 0
    if inode.blocks != blocks * (check.block_size // 512) and not inode.flags & HUGE and not _has_values(check):
        check.find(f"it has inline data and {inode.blocks} sectors", where)


def _check_map(check: Check, number: int, inode: Inode, kind: int) -> int:
    """Walk the blocks of a file; how many it takes."""
    where = f"inode {number}"
    made = FileMap(check, number, inode, True, sums.inode_seed(check.seed, number, inode.generation))
    size = inode.size
    block_size = check.block_size
    if kind == S_IFDIR:
        if size % block_size or size > largest_directory(check) or (not size and made.sound):
            check.find(f"a directory of {size} bytes", where)
        elif made.sound and size != (made.last + 1) * block_size:
            check.find(f"a directory of {size} bytes has {made.last + 1} blocks", where)
        if made.last != made.last_written:
            check.find("a directory has blocks that are not written", where)
    elif kind == S_IFLNK:
        if not 0 < size <= block_size:
            check.find(f"a symbolic link of {size} bytes", where)
        elif made.blocks != 1 and made.sound:
            check.find(f"a symbolic link has {made.blocks} blocks", where)
    else:
        if made.sound and made.last_written * block_size >= max(size, 1) and inode.links:
            waits = "; a mount for writing finishes its truncation" if number in check.orphans else ""
            check.find(f"it has {size} bytes and a block at {made.last_written * block_size}{waits}", where)
        if size >= 1 << 31 and not check.fields.feature_ro_compat & LARGE_FILE:
            check.find(f"it has {size} bytes in a file system without large files", where)
        if size > _largest(check, inode):
            check.find(f"it has {size} bytes, more than it can", where)
    return made.blocks


def _largest(check: Check, inode: Inode) -> int:
    if inode.flags & EXTENTS:
        return check.block_size << 32
    per_block = check.block_size // 4
    return (12 + per_block + per_block**2 + per_block**3) * check.block_size


def read_orphans(check: Check) -> None:
    """Follow the list of orphans: files without a name that were open, or being truncated, when the mount ended."""
    number = check.fields.last_orphan
    while number:
        if number > check.geometry.inodes or number < check.geometry.first_inode or number in check.orphans:
            check.find(f"the list of orphans goes to inode {number}", "superblock")
            return
        check.orphans.add(number)
        raw = check.raw_inode(number)
        number = int.from_bytes(raw[DTIME_AT : DTIME_AT + 4], "little")
    if check.orphans:
        check.find(f"{len(check.orphans)} files wait to be removed or truncated", "superblock", True)
    if check.fields.feature_ro_compat & ORPHAN_PRESENT:
        check.find("files wait to be removed or truncated, which are listed in the file of orphans", "superblock")
    if check.fields.feature_compat & ORPHAN_FILE and check.fields.orphan_file_inum > check.geometry.inodes:
        check.find(f"the file of orphans is inode {check.fields.orphan_file_inum}", "superblock")
