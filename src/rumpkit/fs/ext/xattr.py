"""Extended attributes of an inode, read: those in the inode, those in its block, and values that are files of their own."""

from ...kern.abi.errno import ENODATA, error
from ...kern.abi.fcntl import XATTR_SIZE_MAX
from . import blockmap, xattrformat
from .aclformat import from_disk
from .checksum import xattr_checksum
from .geometry import corrupt
from .inode import EA_INODE
from .seals import XATTR
from .state import InodeState
from .xattrformat import ACLS, BLOCK_HEADER, HEAD, INLINE, MAGIC, MAGIC_BYTES, SYSTEM, Attribute


def has_some(state: InodeState) -> bool:
    """Whether there may be attributes.  Reads nothing."""
    inode = state.inode
    return inode.file_acl != 0 or inode.rest[inode.attributes_at : inode.attributes_at + 4] == MAGIC_BYTES


def in_inode(state: InodeState) -> list[Attribute]:
    """The attributes in the inode itself.  Raises EUCLEAN."""
    inode = state.inode
    start = inode.attributes_at
    rest = inode.rest
    if rest[start : start + 4] != MAGIC_BYTES or inode.extra_isize == 0:
        return []
    return xattrformat.parse(rest, start + 4, start + 4, state.where)


def in_block(state: InodeState) -> list[Attribute]:
    """The attributes in the inode's block of them.  Raises EUCLEAN, EIO."""
    block = state.inode.file_acl
    if not block:
        return []
    volume = state.volume
    volume.geometry.check_block(block, 1, f"{state.where}, extended attributes")
    buffer = volume.cache.get(block)
    data = bytes(buffer.data)
    magic, _, blocks, _, checksum = HEAD.unpack_from(data)
    if magic != MAGIC or blocks != 1:
        raise corrupt(f"{state.where}: block {block} has no extended attributes")
    if volume.has_checksums and not volume.is_sound(buffer, XATTR) and block not in volume.unsealed:
        if xattr_checksum(volume.seed, block, data) != checksum:
            raise corrupt(f"{state.where}: the checksum of its extended attributes in block {block} is wrong")
        volume.sound(buffer, XATTR)
    return xattrformat.parse(data, BLOCK_HEADER, 0, state.where)


def attributes(state: InodeState) -> list[Attribute]:
    """All attributes, but for the rest of an inline file."""
    found = [each for each in in_inode(state) if each.index != SYSTEM or each.name != INLINE]
    if state.inode.file_acl:
        found += in_block(state)
    return found


def value_of(state: InodeState, each: Attribute) -> bytes:
    """An attribute's value as it is on disk.  Raises EUCLEAN."""
    if not each.inode:
        return each.value
    if each.size > XATTR_SIZE_MAX:
        raise corrupt(f"{state.where}: the value of an extended attribute has {each.size} bytes")
    holder = state.volume.current_inode(each.inode)
    if not holder.inode.flags & EA_INODE or holder.inode.size != each.size:
        raise corrupt(f"{state.where}: inode {each.inode} is no value of an extended attribute")
    return read_value(state, holder)


def read_value(state: InodeState, holder: InodeState) -> bytes:
    """The value that is a file, of a size that was checked.  Raises EUCLEAN, EIO."""
    volume = state.volume
    volume.write_data()
    parts = []
    bits = volume.block_bits
    size = holder.inode.size
    number = 0
    behind = (size + (1 << bits) - 1) >> bits
    while number < behind:
        run = blockmap.find(holder, number, behind - number)
        if not run.block or run.unwritten:
            raise corrupt(f"{state.where}: inode {holder.number} has a hole")
        parts.append(volume.cache.read_direct(run.block, run.length))
        number += run.length
    return b"".join(parts)[:size]


def get(state: InodeState, name: bytes) -> bytes:
    """The value of the attribute `name`.  Raises ENODATA, ENOTSUP, EUCLEAN."""
    index, rest = xattrformat.split(name)
    for each in attributes(state):
        if each.index == index and each.name == rest:
            value = value_of(state, each)
            return from_disk(value, state.where) if index in ACLS else value
    raise error(ENODATA)


def names(state: InodeState) -> list[bytes]:
    """The names of all attributes whose prefix is known."""
    return [each.full_name for each in attributes(state) if each.full_name]
