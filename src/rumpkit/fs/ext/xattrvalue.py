"""Values of extended attributes that are files of their own (the feature ea_inode): made, shared by those that have them, counted, dropped.

Such a file has no name.  How many entries name it is in its time of change (the high half) and its version; the checksum of its
bytes is in its time of access, and an entry's hash is made of that.  A block of entries that several files share counts once.
"""

from typing import Final

from ...hyper.time import Instant
from ...kern.abi.errno import EIO, ENOSPC, ENOTSUP, error
from ...kern.abi.fcntl import S_IFMT, S_IFREG
from . import filewrite, storage, xattr, xattrformat
from .crc import crc32c
from .extentmap import RESERVE
from .geometry import corrupt
from .inode import BASE, EA_INODE, EXTRA, Inode
from .state import InodeState
from .xattrformat import Attribute

SECOND: Final = 1_000_000_000
KNOWN: Final = 512
"""Values that are remembered for sharing."""
LOW: Final = 0xFFFFFFFF


def blocks_of(state: InodeState, attributes: list[Attribute]) -> int:
    """Blocks of such values that count as the owner's."""
    bits = state.volume.block_bits
    return sum([(each.size + (1 << bits) - 1) >> bits for each in attributes if each.inode])


def check_changeable(state: InodeState, attributes: list[Attribute]) -> None:
    """Raise ENOTSUP where a value is kept as Lustre once did: with no count, its owner's alone, and not in its owner's blocks."""
    for each in attributes:
        if each.inode and each.hash != _entry_hash(each.name, _hash(holder_of(state, each.inode))):
            raise OSError(
                ENOTSUP,
                f"{state.where}: it has an extended attribute whose value is a file without a checksum; that is not changed",
            )


def holder_of(state: InodeState, number: int) -> InodeState:
    """The file that has a value.  Raises EUCLEAN where it can't be one."""
    volume = state.volume
    if volume.geometry.first_inode <= number <= volume.geometry.inodes and number != state.number:
        holder = volume.current_inode(number)
        if holder.inode.flags & EA_INODE and holder.inode.mode & S_IFMT == S_IFREG:
            return holder
    raise corrupt(f"{state.where}: inode {number} is no value of an extended attribute")


def is_lustre(holder: InodeState, owner: InodeState) -> bool:
    """Whether a value is kept as Lustre once did: it names its owner and counts nothing."""
    return holder.inode.mtime // SECOND == owner.number and holder.inode.generation == owner.inode.generation


def make(state: InodeState, attribute: Attribute) -> bool:
    """Put an attribute's value into a file, one that has the same already if there is one.  Whether it is new: then it has one
    reference, for its maker to give up.  Raises ENOSPC, EUCLEAN, EIO."""
    volume = state.volume
    value = attribute.value
    hashed = crc32c(volume.seed, value)
    key = (hashed, len(value))
    number = volume.attribute_values.get(key, 0)
    fresh = False
    if not number or not _is_equal(state, number, key, value):
        number = _new(state, value, hashed)
        fresh = True
        if len(volume.attribute_values) >= KNOWN:
            volume.attribute_values.clear()
        volume.attribute_values[key] = number
    attribute.inode = number
    attribute.hash = _entry_hash(attribute.name, hashed)
    attribute.value = b""
    return fresh


def count(state: InodeState, number: int, more: int) -> InodeState | None:
    """A value has `more` references; the file that has it, where it has none any more and is to go.  Raises EUCLEAN, EIO."""
    holder = holder_of(state, number)
    now = 1 if is_lustre(holder, state) else xattrformat.references_of(holder.inode)
    now += more
    if now <= 0:
        if holder.inode.file_acl or xattr.in_inode(holder):
            raise error(EIO)
        return holder
    _set_references(holder, now)
    state.volume.mark_inode(holder)
    return None


def _set_references(holder: InodeState, now: int) -> None:
    holder.inode.ctime = (now >> 32) * SECOND
    holder.inode.version = now & LOW


def _hash(holder: InodeState) -> int:
    return holder.inode.atime // SECOND & LOW


def _entry_hash(name: bytes, hashed: int) -> int:
    return xattrformat.entry_hash(name, hashed.to_bytes(4, "little"))


def _is_equal(state: InodeState, number: int, key: tuple[int, int], value: bytes) -> bool:
    """Whether a file is still the value that it was."""
    holder = state.volume.current_inode(number)
    inode = holder.inode
    if not inode.flags & EA_INODE or not inode.links or (_hash(holder), inode.size) != key:
        return False
    return xattr.read_value(state, holder) == value


def _new(state: InodeState, value: bytes, hashed: int) -> int:
    """A file with a value and one reference.  Raises ENOSPC, EUCLEAN, EIO."""
    volume = state.volume
    bits = volume.block_bits
    node = state.node
    uid, gid = (state.inode.uid, state.inode.gid) if node is None else (node.uid, node.gid)
    if (
        volume.blocks.available(uid in (0, volume.fields.def_resuid))
        < ((len(value) + (1 << bits) - 1) >> bits) + RESERVE
    ):
        raise error(ENOSPC)
    number = volume.inodes.allocate(state.number, False, False)
    size = volume.geometry.inode_size
    inode = Inode(bytes(BASE))
    now: Instant = state.inode.mtime if volume.mount is None else volume.mount.hyper.wall()
    if size > BASE:
        inode.extra_isize = EXTRA
        inode.rest = bytes(size - BASE - EXTRA)
        inode.crtime = now
    inode.mode = S_IFREG | 0o600
    inode.uid = uid
    inode.gid = gid
    inode.links = 1
    inode.flags = EA_INODE
    inode.mtime = now
    inode.atime = hashed * SECOND
    holder = InodeState(volume, number, inode)
    storage.empty_map(holder)
    _set_references(holder, 1)
    volume.mark_inode(holder)
    if filewrite.store(holder, 0, value) != len(value):
        raise OSError(EIO, f"{state.where}: there was less room for a value than free blocks")
    return number
