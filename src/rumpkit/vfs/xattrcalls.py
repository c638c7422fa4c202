"""System calls on extended attributes (Linux xattr(7)), access control lists among them."""

from typing import Final

from mypy_extensions import mypyc_attr

from ..kern.abi.errno import E2BIG, EACCES, EINVAL, ENODATA, ENOTSUP, EPERM, ERANGE, error
from ..kern.abi.fcntl import (
    AT_SYMLINK_NOFOLLOW,
    R_OK,
    S_IFDIR,
    S_IFLNK,
    S_IFREG,
    S_ISGID,
    S_ISVTX,
    W_OK,
    XATTR_CREATE,
    XATTR_NAME_MAX,
    XATTR_REPLACE,
    XATTR_SIZE_MAX,
)
from ..kern.abi.inotify import IN_ATTRIB
from ..kern.process import Credentials, Process
from . import acl as acls
from .access import check_access, check_changeable, check_owner
from .attributecalls import AttributeCalls
from .callbase import Path
from .vfs import decode, encode
from .vnode import Vnode

USER: Final = b"user."
TRUSTED: Final = b"trusted."
SECURITY: Final = b"security."
ACL_NAMES: Final = (acls.ACCESS, acls.DEFAULT)


@mypyc_attr(allow_interpreted_subclasses=True)
class XattrCalls(AttributeCalls):
    """Extended attributes.

    Names have a prefix.  "user." is for everybody who may read or write the file, on regular files and directories only (in a
    sticky directory only its owner writes them); "trusted." is for the superuser; "security." can be read by all and
    written by the superuser; "system.posix_acl_access" and "system.posix_acl_default" are the access control lists
    (vfs/acl.py).  All calls raise ENOTSUP where the file system has no such attributes, and ERANGE for an empty name or one
    longer than XATTR_NAME_MAX.
    """

    def getxattr(self, process: Process, path: Path, name: Path, flags: int = 0) -> bytes:
        """The value of an extended attribute (Linux getxattr; with AT_SYMLINK_NOFOLLOW lgetxattr).  Raises ENODATA."""
        where, wanted = encode(path), _name(name)
        walk = self.walk_at(process, where)
        try:
            return get_attribute(self.found(walk, where, flags & AT_SYMLINK_NOFOLLOW), process.credentials, wanted)
        finally:
            walk.done()

    def lgetxattr(self, process: Process, path: Path, name: Path) -> bytes:
        """As getxattr, of a symbolic link itself."""
        return self.getxattr(process, path, name, AT_SYMLINK_NOFOLLOW)

    def fgetxattr(self, process: Process, fd: int, name: Path) -> bytes:
        """As getxattr, of an open file."""
        wanted = _name(name)
        file = self.changeable(process, fd)
        file.enter()
        try:
            return get_attribute(file.vnode, process.credentials, wanted)
        finally:
            file.leave(self.hyper.now)

    def setxattr(
        self, process: Process, path: Path, name: Path, value: bytes, flags: int = 0, at_flags: int = 0
    ) -> None:
        """Set an extended attribute (Linux setxattr; with AT_SYMLINK_NOFOLLOW in `at_flags` lsetxattr).

        Flags: XATTR_CREATE (EEXIST where it is there), XATTR_REPLACE (ENODATA where it isn't).  Raises EPERM, EACCES,
        E2BIG, ENOSPC, EINVAL.
        """
        where, wanted = encode(path), checked_name(name, value, flags)
        walk = self.walk_at(process, where)
        try:
            vnode = self.found(walk, where, at_flags & AT_SYMLINK_NOFOLLOW)
            self.set_attribute(vnode, process.credentials, wanted, value, flags)
            self.told(walk, vnode, IN_ATTRIB)
        finally:
            walk.done()

    def lsetxattr(self, process: Process, path: Path, name: Path, value: bytes, flags: int = 0) -> None:
        """As setxattr, of a symbolic link itself."""
        self.setxattr(process, path, name, value, flags, AT_SYMLINK_NOFOLLOW)

    def fsetxattr(self, process: Process, fd: int, name: Path, value: bytes, flags: int = 0) -> None:
        """As setxattr, of an open file."""
        wanted = checked_name(name, value, flags)
        file = self.changeable(process, fd)
        file.enter()
        try:
            self.set_attribute(file.vnode, process.credentials, wanted, value, flags)
            file.tell(IN_ATTRIB)
        finally:
            file.leave(self.hyper.now)

    def listxattr(self, process: Process, path: Path, flags: int = 0) -> list[str]:
        """The names of a file's extended attributes (Linux listxattr; with AT_SYMLINK_NOFOLLOW llistxattr).  Those of "trusted."
        only the superuser sees."""
        where = encode(path)
        walk = self.walk_at(process, where)
        try:
            return list_attributes(self.found(walk, where, flags & AT_SYMLINK_NOFOLLOW), process.credentials)
        finally:
            walk.done()

    def llistxattr(self, process: Process, path: Path) -> list[str]:
        """As listxattr, of a symbolic link itself."""
        return self.listxattr(process, path, AT_SYMLINK_NOFOLLOW)

    def flistxattr(self, process: Process, fd: int) -> list[str]:
        """As listxattr, of an open file."""
        file = self.changeable(process, fd)
        file.enter()
        try:
            return list_attributes(file.vnode, process.credentials)
        finally:
            file.leave(self.hyper.now)

    def removexattr(self, process: Process, path: Path, name: Path, flags: int = 0) -> None:
        """Remove an extended attribute (Linux removexattr; with AT_SYMLINK_NOFOLLOW lremovexattr).  Raises ENODATA, EPERM, EACCES."""
        where, wanted = encode(path), _name(name)
        walk = self.walk_at(process, where)
        try:
            vnode = self.found(walk, where, flags & AT_SYMLINK_NOFOLLOW)
            self.remove_attribute(vnode, process.credentials, wanted)
            self.told(walk, vnode, IN_ATTRIB)
        finally:
            walk.done()

    def lremovexattr(self, process: Process, path: Path, name: Path) -> None:
        """As removexattr, of a symbolic link itself."""
        self.removexattr(process, path, name, AT_SYMLINK_NOFOLLOW)

    def fremovexattr(self, process: Process, fd: int, name: Path) -> None:
        """As removexattr, of an open file."""
        wanted = _name(name)
        file = self.changeable(process, fd)
        file.enter()
        try:
            self.remove_attribute(file.vnode, process.credentials, wanted)
            file.tell(IN_ATTRIB)
        finally:
            file.leave(self.hyper.now)

    # -----------------------------------------------------------------------------------------------------

    def set_attribute(self, vnode: Vnode, credentials: Credentials, name: bytes, value: bytes, flags: int) -> None:
        """Set an extended attribute or an access control list.  Raises as `setxattr`."""
        _may_write(vnode, credentials, name)
        if name in ACL_NAMES:
            self._set_acl(vnode, credentials, name, acls.unpack(value) if value else None)
        else:
            vnode.setxattr(name, value, flags)

    def remove_attribute(self, vnode: Vnode, credentials: Credentials, name: bytes) -> None:
        """Remove an extended attribute or an access control list.  Raises as `removexattr`."""
        _may_write(vnode, credentials, name)
        if name in ACL_NAMES:
            self._set_acl(vnode, credentials, name, None)
        else:
            vnode.removexattr(name)

    def _set_acl(self, vnode: Vnode, credentials: Credentials, name: bytes, acl: acls.Acl | None) -> None:
        """Set or remove an access control list.  The permission bits follow the access list."""
        if vnode.kind == S_IFLNK:
            raise error(ENOTSUP)
        if name == acls.DEFAULT and vnode.kind != S_IFDIR:
            if acl is not None:
                raise error(EACCES)
            return
        check_owner(vnode, credentials)
        if acl is not None:
            acls.check(acl)
        if name == acls.DEFAULT:
            self._store_acl(vnode, name, acl)
            vnode.default_acl = acl
            return
        if acl is None:
            self._store_acl(vnode, name, None)
            vnode.acl = None
            return
        mode = vnode.mode & 0o7000 | acl.mode()
        if credentials.uid != 0 and not credentials.in_group(vnode.gid):
            mode &= ~S_ISGID
        kept = None if acl.minimal() else acl
        self._store_acl(vnode, name, kept)
        vnode.acl = kept
        vnode.set_mode(mode, self.hyper.wall())
        vnode.mount.watch.changed(vnode, False)

    def _store_acl(self, vnode: Vnode, name: bytes, acl: acls.Acl | None) -> None:
        if acl is not None:
            vnode.setxattr(name, acl.pack(), 0)
            return
        try:
            vnode.removexattr(name)
        except OSError as problem:
            if problem.errno != ENODATA:
                raise


def _name(name: Path) -> bytes:
    wanted = encode(name)
    if not 0 < len(wanted) <= XATTR_NAME_MAX:
        raise error(ERANGE)
    return wanted


def checked_name(name: Path, value: bytes, flags: int) -> bytes:
    """The name in bytes of what is about to be set."""
    if flags & ~(XATTR_CREATE | XATTR_REPLACE):
        raise error(EINVAL)
    wanted = _name(name)
    if len(value) > XATTR_SIZE_MAX:
        raise error(E2BIG)
    return wanted


def get_attribute(vnode: Vnode, credentials: Credentials, name: bytes) -> bytes:
    """The value of an extended attribute.  Raises ENODATA, ENOTSUP, EACCES."""
    if name in ACL_NAMES:
        if vnode.kind == S_IFLNK:
            raise error(ENOTSUP)
    elif name.startswith(TRUSTED):
        _check_rest(name, TRUSTED)
        if credentials.uid != 0:
            raise error(ENODATA)
    elif name.startswith(USER):
        if vnode.kind not in (S_IFREG, S_IFDIR):
            raise error(ENODATA)
        check_access(vnode, credentials, R_OK)
        _check_rest(name, USER)
    elif not name.startswith(SECURITY):
        _refuse(vnode, credentials, name, R_OK)
    return vnode.getxattr(name)


def _may_write(vnode: Vnode, credentials: Credentials, name: bytes) -> None:
    """Raise unless the process may set or remove this attribute."""
    check_changeable(vnode)
    if name in ACL_NAMES:
        return
    if name.startswith(USER):
        if vnode.kind not in (S_IFREG, S_IFDIR):
            raise error(EPERM)
        if vnode.kind == S_IFDIR and vnode.mode & S_ISVTX:
            check_owner(vnode, credentials)
        check_access(vnode, credentials, W_OK)
        _check_rest(name, USER)
    elif name.startswith((TRUSTED, SECURITY)):
        if credentials.uid != 0:
            raise error(EPERM)
        _check_rest(name, TRUSTED if name.startswith(TRUSTED) else SECURITY)
    else:
        _refuse(vnode, credentials, name, W_OK)


def _refuse(vnode: Vnode, credentials: Credentials, name: bytes, wanted: int) -> None:
    """Raise what Linux does for a name of no known kind, which may be something of the file system's to it."""
    if not name.startswith(b"system."):
        check_access(vnode, credentials, wanted)
    raise error(ENOTSUP)


def _check_rest(name: bytes, prefix: bytes) -> None:
    if name == prefix:
        raise error(EINVAL)


def list_attributes(vnode: Vnode, credentials: Credentials) -> list[str]:
    """The names of the extended attributes that the process may see."""
    names = vnode.listxattr()
    return [decode(name) for name in names if credentials.uid == 0 or not name.startswith(TRUSTED)]
