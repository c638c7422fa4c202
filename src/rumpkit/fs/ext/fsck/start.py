"""The first pass over a file system: its superblock, group descriptors, and the blocks that these say are taken.

Where the superblock is damaged a copy of it is used, and where group descriptors are, theirs; then nothing is repaired.
"""

from collections.abc import Callable
from typing import Final

from ....hyper.calls import Hypercalls
from ....kern.abi.errno import EINVAL, EUCLEAN
from ....kern.device import Device
from ....vfs.types import Finding
from .. import checksum as sums
from .. import superblock as sb
from ..features import (
    BIGALLOC,
    COMPAT_NAMES,
    FLEX_BG,
    HAS_JOURNAL,
    LARGE_FILE,
    META_BG,
    ORPHAN_PRESENT,
    RECOVER,
    RO_COMPAT_NAMES,
    names,
)
from ..geometry import Geometry
from ..group import BLOCK_UNINIT, INODE_UNINIT, GroupDescriptor
from .context import Check

CHANGING: Final = frozenset(
    "free_blocks_count free_inodes_count free_blocks_count_hi mtime wtime mtime_hi wtime_hi mnt_count state lastcheck lastcheck_hi "
    "block_group_nr last_mounted last_orphan kbytes_written error_count first_error_time first_error_ino first_error_block "
    "first_error_func first_error_line last_error_time last_error_ino last_error_line last_error_block last_error_func "
    "error_times_hi lpf_ino checksum".split()
)
"""Fields of the superblock that copies of it need not share."""
BLOCK_SIZES: Final = (1024, 4096, 2048, 8192, 16384, 32768, 65536)


def open_check(hyper: Hypercalls, device: Device, report: Callable[[Finding], None]) -> Check:
    """Find a superblock to start from.  Raises EUCLEAN where there is none that can be used, EINVAL for unknown features, EIO."""
    raw = read(device, sb.OFFSET)
    try:
        return Check(hyper, device, Geometry(raw, device.size()), report)
    except OSError as problem:
        if problem.errno not in (EUCLEAN, EINVAL):
            raise
        primary = problem
    torn = _torn(hyper, device, raw, report)
    if torn is not None:
        return torn
    for size in BLOCK_SIZES:
        group = min(size * 8, 65528)
        for first in (1, 3, 5, 7, 9):
            raw = read(device, (first * group + (size == 1024)) * size)
            try:
                check = Check(hyper, device, Geometry(raw, device.size()), report)
            except OSError as problem:
                if problem.errno not in (EUCLEAN, EINVAL):
                    raise
                continue
            if check.block_size == size and check.fields.block_group_nr == first:
                check.find(
                    f"the superblock is damaged ({primary.strerror}); that of group {first} is used", "superblock"
                )
                return check
    raise OSError(EUCLEAN, f"there is no usable superblock: {primary.strerror}")


def _torn(hyper: Hypercalls, device: Device, raw: bytes, report: Callable[[Finding], None]) -> Check | None:
    """A check that starts from a superblock of which all but the checksum is right, as a copy of it shows, if there is one.

    The power may fail between its two sectors.  What changes lies in the first, and in the second only the checksum.
    """
    fields = sb.Superblock(raw)
    if fields.magic != sb.MAGIC or not fields.has_checksums:
        return None
    mended = raw[: sb.CHECKSUM_AT] + sums.superblock_checksum(raw).to_bytes(4, "little")
    try:
        check = Check(hyper, device, Geometry(mended, device.size()), report)
    except OSError:
        return None
    geometry = check.geometry
    for group in range(1, geometry.groups):
        if geometry.has_super(group):
            copy = read(device, geometry.group_start(group) * geometry.block_size)
            if _lasting(copy) != _lasting(raw):
                return None
            break
    check.find("the superblock's checksum is wrong", "superblock", True)
    return check


def _lasting(data: bytes) -> dict[str, object]:
    """The fields of a superblock that mounts don't change."""
    fields = sb.Superblock(data)
    fields.feature_incompat &= ~RECOVER
    fields.feature_ro_compat &= ~(LARGE_FILE | ORPHAN_PRESENT)
    return {name: getattr(fields, name) for name, _ in sb.FIELDS if name not in CHANGING}


def read(device: Device, offset: int) -> bytes:
    """1024 bytes; zeros where the device ends before.  Raises EIO."""
    data = device.read(offset, sb.SIZE) if offset + sb.SIZE <= device.size() else b""
    assert isinstance(data, bytes)
    return data.ljust(sb.SIZE, b"\0")


def check_superblock(check: Check) -> None:
    """Numbers of the superblock that Geometry leaves alone."""
    fields = check.fields
    where = "superblock"
    if fields.free_blocks_count > fields.blocks_count:
        check.find(f"{fields.free_blocks_count} free blocks of {fields.blocks_count}", where, True)
    if fields.free_inodes_count > fields.inodes_count:
        check.find(f"{fields.free_inodes_count} free inodes of {fields.inodes_count}", where, True)
    if fields.r_blocks_count > fields.blocks_count // 2:
        check.find(f"{fields.r_blocks_count} of {fields.blocks_count} blocks are reserved", where)
    if fields.state & sb.STATE_ERROR:
        check.find("it is marked as having errors", where, True)
    if fields.feature_compat & HAS_JOURNAL and not fields.journal_inum and not any(fields.journal_uuid):
        check.find("it has a journal that lies nowhere", where)
    if any(fields.journal_uuid) and (fields.journal_inum or not fields.feature_compat & HAS_JOURNAL):
        check.find("it names a journal on another device and has none there", where)
    unknown = fields.feature_compat & ~sum(COMPAT_NAMES), 0, fields.feature_ro_compat & ~sum(RO_COMPAT_NAMES)
    if any(unknown):
        check.find(f"it has features that are not known: {', '.join(names(*unknown))}", where)
    if not fields.feature_ro_compat & BIGALLOC and (
        fields.log_cluster_size != fields.log_block_size or fields.clusters_per_group != fields.blocks_per_group
    ):
        check.find(f"clusters of 2^{10 + fields.log_cluster_size} bytes, {fields.clusters_per_group} in a group", where)
    if fields.log_groups_per_flex > 31:
        check.find(f"flex groups of 2^{fields.log_groups_per_flex} groups", where)


def check_groups(check: Check) -> bool:
    """Read the group descriptors and claim what they name.  False where they can't be used."""
    geometry = check.geometry
    first = 0
    for group in range(1, geometry.groups):
        if geometry.has_super(group):
            first = group
            break
    read_descriptors(check)
    wrong = [group for group in range(geometry.groups) if _problem(check, group)]
    if wrong and first and not geometry.fields.feature_incompat & META_BG:
        for group in wrong:
            check.find(_problem(check, group), f"group {group}")
        kept = check.descriptors
        check.descriptors = [_descriptor(check, group, first) for group in range(geometry.groups)]
        again = [group for group in range(geometry.groups) if _problem(check, group)]
        if again:
            check.descriptors = kept
            check.find("the copies of the group descriptors are no better", "group descriptors", fatal=True)
            return False
        check.find(f"the group descriptors of group {first} are used", "group descriptors")
    elif wrong:
        for group in wrong:
            check.find(_problem(check, group), f"group {group}", fatal=True)
        return False
    for group in range(geometry.groups):
        count = min(geometry.fixed_blocks(group), geometry.group_blocks(group))
        if count < geometry.fixed_blocks(group):
            check.find("its group descriptors are behind the end of the file system", f"group {group}")
        if count:
            check.claimed.add(geometry.group_start(group), count)
    for group, descriptor in enumerate(check.descriptors):
        where = f"group {group}"
        check.claim(descriptor.block_bitmap, 1, where)
        check.claim(descriptor.inode_bitmap, 1, where)
        check.claim(descriptor.inode_table, geometry.inode_blocks, where)
    return True


def read_descriptors(check: Check) -> None:
    """Read the group descriptors, whatever they are."""
    check.descriptors = [_descriptor(check, group, 0) for group in range(check.geometry.groups)]


def _descriptor(check: Check, group: int, copy: int) -> GroupDescriptor:
    """A group's descriptor, from the copies in group `copy`."""
    geometry = check.geometry
    index, slot = divmod(group, geometry.descriptors_per_block)
    block = geometry.descriptor_block(index)
    if copy:
        block += copy * geometry.blocks_per_group
    size = geometry.descriptor_size
    at = slot * size
    return GroupDescriptor(bytes(check.cache.get(block).data[at : at + size]))


def _problem(check: Check, group: int) -> str:
    """What is wrong with a descriptor; "" if it can be used."""
    geometry = check.geometry
    fields = check.fields
    descriptor = check.descriptors[group]
    for block, count, name in (
        (descriptor.block_bitmap, 1, "block bitmap"),
        (descriptor.inode_bitmap, 1, "inode bitmap"),
        (descriptor.inode_table, geometry.inode_blocks, "inode table"),
    ):
        low, high = geometry.first_data_block + 1, geometry.blocks
        if not fields.feature_incompat & FLEX_BG:
            low = geometry.group_start(group)
            high = low + geometry.group_blocks(group)
        if block < low or block + count > high:
            return f"the {name} at block {block} is outside of where it may be"
    if fields.has_group_checksums:
        raw = descriptor.emit(geometry.descriptor_size)
        if sums.group_checksum(fields, check.seed, group, raw) != descriptor.checksum:
            return "the descriptor's checksum is wrong"
        if descriptor.itable_unused > geometry.inodes_per_group:
            return f"{descriptor.itable_unused} unused inodes of {geometry.inodes_per_group}"
        if group == geometry.groups - 1 and descriptor.flags & BLOCK_UNINIT:
            return "the last group's block bitmap is not written"
    elif descriptor.flags & (BLOCK_UNINIT | INODE_UNINIT):
        return "it has flags without checksums"
    return ""
