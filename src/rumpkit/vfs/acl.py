"""Access control lists (POSIX 1003.1e draft 17, acl(5)): their form, what they permit, what new files inherit.

A list is kept by a file system as the extended attribute ACCESS or DEFAULT, in the form that Linux gives those: the version 2 as 4
bytes, then for each entry the tag and the permissions in 2 bytes each and the id in 4, all little-endian.  vfs reads and writes
them through the vnode's extended attributes, so any file system that has these has access control lists.
"""

import struct
from typing import TYPE_CHECKING, Final, NamedTuple, final

from ..kern.abi.errno import EINVAL, EIO, ENODATA, ENOTSUP, error
from ..kern.process import Credentials

if TYPE_CHECKING:
    from .vnode import Vnode

ACCESS: Final = b"system.posix_acl_access"
DEFAULT: Final = b"system.posix_acl_default"

USER_OBJ: Final = 0x01
USER: Final = 0x02
GROUP_OBJ: Final = 0x04
GROUP: Final = 0x08
MASK: Final = 0x10
OTHER: Final = 0x20
UNDEFINED_ID: Final = 0xFFFFFFFF
"""The id of entries that are for nobody in particular."""

VERSION: Final = 2
MAX_ENTRIES: Final = 8191
"""What fits into XATTR_SIZE_MAX."""

_HEADER: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<HHI")
_AFTER: Final[dict[int, tuple[int, ...]]] = {
    0: (USER_OBJ,),
    USER_OBJ: (USER, GROUP_OBJ),
    USER: (USER, GROUP_OBJ),
    GROUP_OBJ: (GROUP, MASK, OTHER),
    GROUP: (GROUP, MASK, OTHER),
    MASK: (OTHER,),
    OTHER: (),
}
"""Which tags may follow which."""


class AclEntry(NamedTuple):
    """One entry: for whom, and which of R_OK, W_OK, X_OK."""

    tag: int
    permissions: int
    id: int
    """User or group of USER and GROUP; UNDEFINED_ID of the others."""


@final
class Acl:
    """An access control list.  Immutable."""

    def __init__(self, entries: tuple[AclEntry, ...]) -> None:
        self.entries: tuple[AclEntry, ...] = entries

    def pack(self) -> bytes:
        """The list as an extended attribute has it."""
        return _HEADER.pack(VERSION) + b"".join(_ENTRY.pack(*entry) for entry in self.entries)

    def permissions(self, tag: int) -> int:
        """Those of the one entry with this tag; -1 where there is none."""
        for entry in self.entries:
            if entry.tag == tag:
                return entry.permissions
        return -1

    def group_class(self) -> int:
        """The permissions that the mode's group bits show: the mask's, or where there is none the group's."""
        mask = self.permissions(MASK)
        return mask if mask >= 0 else self.permissions(GROUP_OBJ)

    def mode(self) -> int:
        """The nine permission bits that go with the list."""
        return self.permissions(USER_OBJ) << 6 | self.group_class() << 3 | self.permissions(OTHER)

    def minimal(self) -> bool:
        """Whether it says no more than permission bits do."""
        return len(self.entries) == 3

    def with_mode(self, mode: int) -> "Acl":
        """The list after a chmod to `mode`: the mask changes where there is one, else the group's entry."""
        bits = {USER_OBJ: mode >> 6 & 7, OTHER: mode & 7}
        bits[GROUP_OBJ if self.permissions(MASK) < 0 else MASK] = mode >> 3 & 7
        return Acl(tuple(entry._replace(permissions=bits.get(entry.tag, entry.permissions)) for entry in self.entries))

    def permits(self, uid: int, gid: int, credentials: Credentials, wanted: int) -> bool:
        """Whether somebody other than the superuser may do all of `wanted` to a file of `uid` and `gid`."""
        user = credentials.uid
        if user == uid:
            return not wanted & ~self.permissions(USER_OBJ)
        mask = self.permissions(MASK)
        if mask < 0:
            mask = 7
        in_group = False
        for entry in self.entries:
            tag = entry.tag
            if tag == USER:
                if entry.id == user:
                    return not wanted & ~(entry.permissions & mask)
            elif tag == GROUP_OBJ or tag == GROUP:
                if credentials.in_group(gid if tag == GROUP_OBJ else entry.id):
                    in_group = True
                    if not wanted & ~entry.permissions:
                        return not wanted & ~mask
        return not in_group and not wanted & ~self.permissions(OTHER)


UNREAD: Final = Acl(())
"""Stands for the list of a file whose file system may have one stored, until somebody asks."""


def unpack(value: bytes) -> Acl | None:
    """The list in the value of an extended attribute, which `check` has yet to look at; None if it has no entries.

    Raises EINVAL where it is no list of entries with known tags and ids, ENOTSUP for another version.
    """
    count, rest = divmod(len(value) - _HEADER.size, _ENTRY.size)
    if count < 0:
        raise error(EINVAL)
    if _HEADER.unpack_from(value)[0] != VERSION:
        raise error(ENOTSUP)
    if rest or count > MAX_ENTRIES:
        raise error(EINVAL)
    entries: list[AclEntry] = []
    for tag, permissions, number in _ENTRY.iter_unpack(value[_HEADER.size :]):
        named = tag == USER or tag == GROUP
        if not tag or tag not in _AFTER or (named and number == UNDEFINED_ID):
            raise error(EINVAL)
        entries.append(AclEntry(tag, permissions, number if named else UNDEFINED_ID))
    return Acl(tuple(entries)) if entries else None


def check(acl: Acl) -> None:
    """Raise EINVAL unless the list has what it must have, in order."""
    last = 0
    named = False
    for entry in acl.entries:
        if entry.tag not in _AFTER[last] or entry.permissions & ~7:
            raise error(EINVAL)
        last = entry.tag
        named = named or last == USER or last == GROUP
    if last != OTHER or (named and acl.permissions(MASK) < 0):
        raise error(EINVAL)


def access_acl(vnode: "Vnode") -> Acl | None:
    """The file's access control list, or None where its permission bits say it all.  Raises EIO."""
    acl = vnode.acl
    if acl is UNREAD:
        acl = vnode.acl = _read(vnode, ACCESS)
    return acl


def default_acl(vnode: "Vnode") -> Acl | None:
    """What new files in this directory inherit, or None.  Raises EIO."""
    acl = vnode.default_acl
    if acl is UNREAD:
        acl = vnode.default_acl = _read(vnode, DEFAULT)
    return acl


def _read(vnode: "Vnode", name: bytes) -> Acl | None:
    try:
        value = vnode.getxattr(name)
    except OSError as problem:
        if problem.errno in (ENODATA, ENOTSUP):
            return None
        raise
    try:
        acl = unpack(value)
        if acl is not None:
            check(acl)
        return acl
    except OSError:
        raise OSError(EIO, f"inode {vnode.number}: a broken access control list") from None


def inherit(default: Acl, mode: int) -> tuple[int, Acl]:
    """The permission bits and the access list of a file that is made with `mode` (which no mask was applied to) in a
    directory with this default list: what both allow."""
    limits = {USER_OBJ: mode >> 6 & 7, OTHER: mode & 7}
    limits[GROUP_OBJ if default.permissions(MASK) < 0 else MASK] = mode >> 3 & 7
    acl = Acl(
        tuple(entry._replace(permissions=entry.permissions & limits.get(entry.tag, 7)) for entry in default.entries)
    )
    return mode & ~0o777 | acl.mode(), acl
