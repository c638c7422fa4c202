"""Extended attributes, checked: those behind an inode's fields, and blocks of them that inodes may share."""

from .. import checksum as sums
from ..features import EA_INODE, EXT_ATTR
from ..inode import BASE, Inode
from ..xattrformat import BLOCK_HEADER, HEAD, INLINE, MAGIC, MAGIC_BYTES, SYSTEM, Attribute, entry_hash, parse
from .context import Check


def check_in_inode(check: Check, raw: bytes, extra: int, where: str) -> bytes | None:
    """Check the attributes in an inode.  Returns the rest of inline data, where there is some."""
    start = BASE + extra
    if len(raw) <= BASE or raw[start : start + 4] != MAGIC_BYTES:
        return None
    found = _parse(check, raw, start + 4, start + 4, where)
    for each in found:
        if each.hash and not each.inode and each.hash != entry_hash(each.name, each.value):
            check.find("the hash of an extended attribute is wrong", where)
    for each in found:
        if each.index == SYSTEM and each.name == INLINE:
            return each.value
    return None


def inline_rest(raw: bytes, inode: Inode) -> bytes:
    """The part of inline data behind the inode's first 60 bytes; it was checked before, so nothing is reported."""
    start = BASE + inode.extra_isize
    if raw[start : start + 4] != MAGIC_BYTES:
        return b""
    try:
        found = parse(raw, start + 4, start + 4, "")
    except OSError:
        return b""
    return next((each.value for each in found if each.index == SYSTEM and each.name == INLINE), b"")


def check_block(check: Check, block: int, where: str) -> bool:
    """Check a block of attributes that an inode names.  Whether the inode has it."""
    known = check.xattr_blocks.get(block)
    if known is not None:
        known[1] += 1
        return True
    if not check.fields.feature_compat & EXT_ATTR:
        check.find(f"it has a block of extended attributes ({block}) in a file system without them", where)
    if not check.claim(block, 1, f"{where}, extended attributes"):
        return False
    data = bytes(check.cache.get(block).data)
    magic, references, blocks, _, checksum = HEAD.unpack_from(data)
    if magic != MAGIC or blocks != 1:
        check.find(f"block {block} has no extended attributes", where)
        return False
    check.xattr_blocks[block] = [references, 1]
    if check.fields.has_checksums and sums.xattr_checksum(check.seed, block, data) != checksum:
        check.find(f"the checksum of the extended attributes in block {block} is wrong", where)
        return True
    for each in _parse(check, data, BLOCK_HEADER, 0, where):
        if not each.inode and each.hash != entry_hash(each.name, each.value):
            check.find(f"the hash of an extended attribute in block {block} is wrong", where)
    return True


def _parse(check: Check, data: bytes, start: int, base: int, where: str) -> list[Attribute]:
    try:
        found = parse(data, start, base, where)
    except OSError as problem:
        check.find(str(problem.strerror).removeprefix(f"{where}: "), where)
        return []
    for each in found:
        if each.inode:
            _check_value_inode(check, each, where)
        if not each.full_name:
            check.find(f"an extended attribute has the unknown prefix {each.index}", where)
    if sum((each.size + 3) & ~3 for each in found if not each.inode) > len(data):
        check.find("values of extended attributes overlap", where)
    return found


def _check_value_inode(check: Check, each: Attribute, where: str) -> None:
    if not check.fields.feature_incompat & EA_INODE or not 0 < each.inode <= check.geometry.inodes:
        check.find(f"the value of an extended attribute is in inode {each.inode}", where)
        return
    # It counts as a link: such an inode has no name.
    check.count(each.inode)


def check_references(check: Check) -> None:
    """Whether each block of attributes has as many inodes as it says."""
    for block, (said, found) in check.xattr_blocks.items():
        if said != found:
            check.find(f"block {block} of extended attributes is used {found} times, not {said}", f"block {block}")
