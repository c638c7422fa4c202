"""File access permissions: owner, group, other, access control lists, the superuser, the sticky bit (POSIX 4.7 and 4.3),
and the inode flags immutable and append-only."""

from typing import Final

from ..kern.abi.errno import EACCES, EPERM, error
from ..kern.abi.fcntl import (
    FS_APPEND_FL,
    FS_IMMUTABLE_FL,
    R_OK,
    S_IFDIR,
    S_ISGID,
    S_ISUID,
    S_ISVTX,
    W_OK,
    X_OK,
)
from ..kern.process import Credentials
from .acl import access_acl
from .vnode import Vnode

READ: Final = R_OK
WRITE: Final = W_OK
SEARCH: Final = X_OK
MODIFY: Final = W_OK | X_OK
"""What it takes to change a directory's names."""

S_IXGRP: Final = 0o010
FIXED: Final = FS_IMMUTABLE_FL | FS_APPEND_FL


def may_access(vnode: Vnode, credentials: Credentials, wanted: int) -> bool:
    """Whether the process may do all of `wanted` (R_OK, W_OK, X_OK).  The superuser may, but to execute a file that
    nobody may execute."""
    mode = vnode.mode
    uid = credentials.uid
    if uid == 0:
        return not wanted & X_OK or mode & 0o111 != 0 or vnode.kind == S_IFDIR
    if uid == vnode.uid:
        mode >>= 6
    elif vnode.acl is not None:
        acl = access_acl(vnode)
        if acl is not None:
            return acl.permits(vnode.uid, vnode.gid, credentials, wanted)
        if credentials.in_group(vnode.gid):
            mode >>= 3
    elif credentials.in_group(vnode.gid):
        mode >>= 3
    return not wanted & ~mode


def check_access(vnode: Vnode, credentials: Credentials, wanted: int) -> None:
    """Raise EACCES unless the process may do all of `wanted`."""
    if credentials.uid == 0 and (vnode.kind == S_IFDIR or not wanted & X_OK):
        return
    if not may_access(vnode, credentials, wanted):
        raise error(EACCES)


def check_changeable(vnode: Vnode) -> None:
    """Raise EROFS or EPERM unless the file's attributes may change: mount and inode flags let them."""
    vnode.mount.check_writable()
    if vnode.flags & FIXED:
        raise error(EPERM)


def check_delete(directory: Vnode, vnode: Vnode, credentials: Credentials) -> None:
    """Raise unless the process may take `vnode`'s name out of `directory`: EACCES without write and search
    permission, EPERM in a sticky directory where it owns neither, and where inode flags forbid it."""
    if directory.flags & FS_IMMUTABLE_FL:
        raise error(EPERM)
    check_access(directory, credentials, MODIFY)
    if (directory.flags | vnode.flags) & FIXED:
        raise error(EPERM)
    if directory.mode & S_ISVTX and credentials.uid not in (0, vnode.uid, directory.uid):
        raise error(EPERM)


def check_owner(vnode: Vnode, credentials: Credentials) -> None:
    """Raise EPERM unless the process owns the file or is the superuser."""
    if credentials.uid not in (0, vnode.uid):
        raise error(EPERM)


def group_for(directory: Vnode, credentials: Credentials) -> int:
    """The group of a new file: its creator's, or that of a set-group-ID directory."""
    return directory.gid if directory.mode & S_ISGID else credentials.gid


def without_suid(mode: int) -> int:
    """Permission bits as they are after the file was written or given away: not set-user-ID, nor set-group-ID
    where that means execution."""
    mode &= 0o7777 & ~S_ISUID
    return mode & ~S_ISGID if mode & S_IXGRP else mode
