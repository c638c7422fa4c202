"""File access permissions: owner, group, other, the superuser, the sticky bit (POSIX 4.7 and 4.3)."""

from typing import Final

from ..kern.abi.errno import EACCES, EPERM, error
from ..kern.abi.fcntl import R_OK, S_IFDIR, S_ISGID, S_ISUID, S_ISVTX, W_OK, X_OK
from ..kern.process import Credentials
from .vnode import Vnode

READ: Final = R_OK
WRITE: Final = W_OK
SEARCH: Final = X_OK
MODIFY: Final = W_OK | X_OK
"""What it takes to change a directory's names."""

S_IXGRP: Final = 0o010


def may_access(vnode: Vnode, credentials: Credentials, wanted: int) -> bool:
    """Whether the process may do all of `wanted` (R_OK, W_OK, X_OK).  The superuser may, but to execute a file that
    nobody may execute."""
    mode = vnode.mode
    uid = credentials.uid
    if uid == 0:
        return not wanted & X_OK or mode & 0o111 != 0 or vnode.kind == S_IFDIR
    if uid == vnode.uid:
        mode >>= 6
    elif credentials.in_group(vnode.gid):
        mode >>= 3
    return not wanted & ~mode


def check_access(vnode: Vnode, credentials: Credentials, wanted: int) -> None:
    """Raise EACCES unless the process may do all of `wanted`."""
    if credentials.uid != 0 or wanted & X_OK:
        if not may_access(vnode, credentials, wanted):
            raise error(EACCES)


def check_delete(directory: Vnode, vnode: Vnode, credentials: Credentials) -> None:
    """Raise unless the process may take `vnode`'s name out of `directory`: EACCES without write and search
    permission, EPERM in a sticky directory where it owns neither."""
    check_access(directory, credentials, MODIFY)
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
