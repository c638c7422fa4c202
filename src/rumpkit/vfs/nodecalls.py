"""File calls on vnodes instead of paths, for servers of files: whoever asks them knows files by numbers and not by names.

Beside the path calls (`calls.py`), above vnodes.  A caller holds the vnodes that it passes, and is on the schedule; each call takes the
lock of the mount it goes into.  A vnode that a call returns is not held: hold it before the schedule is given up.

Permissions are checked as the path calls do.  Where somebody else has done so (the Linux kernel, for a FUSE mount with
default_permissions), the caller passes SUPERUSER, and what doesn't depend on who asks is checked: read-only mounts, inode flags,
names, kinds, mount points.
"""

from typing import Final, final

from ..hyper.calls import Hypercalls
from ..kern.abi.errno import (
    EBUSY,
    EEXIST,
    EFBIG,
    EINVAL,
    EIO,
    EISDIR,
    ENAMETOOLONG,
    ENOENT,
    ENOTDIR,
    ENOTEMPTY,
    EPERM,
    error,
)
from ..kern.abi.fcntl import (
    FALLOC_FL_KEEP_SIZE,
    FS_IMMUTABLE_FL,
    NAME_MAX,
    R_OK,
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    S_IFDIR,
    S_IFMT,
    S_IFREG,
    S_ISGID,
    S_ISUID,
    W_OK,
    X_OK,
)
from ..kern.abi.inotify import (
    IN_MODIFY,
)
from ..kern.process import Credentials
from .access import FIXED, MODIFY, SEARCH, check_access, check_changeable, check_delete, without_suid
from .acl import default_acl, inherit
from .attributecalls import change_mode, change_owner, change_times
from .calls import VfsCalls
from .file import OFFSET_MAX, touch, truncate
from .namecalls import is_within
from .namei import FOLLOW, Walk
from .vfs import Vfs, encode
from .vnode import Entry, Mount, Vnode, make_durable
from .xattrcalls import checked_name, get_attribute, list_attributes

SUPERUSER: Final = Credentials()
SLASH: Final = 47
"""What a byte is looked for by: a tenth of the time that bytes within bytes take."""


@final
class NodeCalls:
    """The calls of one kernel."""

    def __init__(self, vfs: Vfs) -> None:
        self.vfs: Vfs = vfs
        self.hyper: Hypercalls = vfs.hyper
        self._calls: VfsCalls = VfsCalls(vfs)

    def find(self, path: str | bytes) -> Vnode:
        """What the superuser finds at `path`.  Raises as path calls do."""
        root = self.vfs.root()
        walk = Walk(root, root, Credentials())
        try:
            return walk.get(encode(path), FOLLOW)
        finally:
            walk.done()

    # Reading directories -------------------------------------------------------------------------------

    def lookup(self, directory: Vnode, name: bytes, credentials: Credentials) -> Vnode | None:
        """What `name` is in a directory, over mount points, or None.  Raises ENOTDIR, EACCES, ENAMETOOLONG."""
        _check_directory(directory, name)
        mount = directory.mount
        enter(mount)
        try:
            check_access(directory, credentials, SEARCH)
            found = directory.lookup(name)
        finally:
            leave(mount)
        while found is not None and found.mounted_here is not None:
            found = found.mounted_here.root
        return found

    def readdir(self, directory: Vnode, cookie: int, count: int) -> list[Entry]:
        """Up to `count` entries from `cookie` on, without "." and ".."; none at the end, nor in a directory that has been
        removed."""
        if directory.links == 0:
            return []
        mount = directory.mount
        enter(mount)
        try:
            entries = directory.readdir(cookie, count)
            if mount.access_times:
                touch(directory)
            return entries
        finally:
            leave(mount)

    # Data ----------------------------------------------------------------------------------------------

    def read(self, vnode: Vnode, offset: int, size: int) -> bytes:
        """Up to `size` bytes from byte `offset` of a regular file."""
        mount = vnode.mount
        enter(mount)
        try:
            data = vnode.read(offset, size)
            if mount.access_times:
                touch(vnode)
            return data
        finally:
            leave(mount)

    def write(self, vnode: Vnode, offset: int, data: bytes, privileged: bool) -> int:
        """Write at byte `offset`; how much there was room for.  Unless `privileged`, the file loses set-user-ID."""
        mount = vnode.mount
        mount.check_writable()
        if vnode.flags & FIXED:
            _check_append(vnode, offset)
        enter(mount)
        try:
            done = vnode.write(offset, data) if data else 0
            if not privileged and vnode.mode & (S_ISUID | S_ISGID):
                vnode.set_mode(without_suid(vnode.mode), self.hyper.wall())
            mount.watch.changed(vnode, True)
            self.vfs.events.tell(vnode, IN_MODIFY)
            return done
        finally:
            leave(mount)

    def truncate(self, vnode: Vnode, size: int, privileged: bool) -> None:
        """Make a regular file `size` bytes long.  Raises EISDIR, EINVAL, EFBIG, ENOSPC."""
        if vnode.kind != S_IFREG:
            raise error(EISDIR if vnode.kind == S_IFDIR else EINVAL)
        check_changeable(vnode)
        with Call(vnode.mount):
            truncate(vnode, size, privileged)

    def fallocate(self, vnode: Vnode, mode: int, offset: int, length: int) -> None:
        """Give a part of a regular file storage, or make it a hole (`Vnode.fallocate`)."""
        vnode.mount.check_writable()
        if vnode.kind != S_IFREG or offset < 0 or length <= 0:
            raise error(EISDIR if vnode.kind == S_IFDIR else EINVAL)
        if offset + length > OFFSET_MAX:
            raise error(EFBIG)
        if vnode.flags & FIXED and (vnode.flags & FS_IMMUTABLE_FL or mode & ~FALLOC_FL_KEEP_SIZE):
            raise error(EPERM)
        with Call(vnode.mount):
            vnode.fallocate(mode, offset, length)
            vnode.mount.watch.changed(vnode, True)

    def next_data(self, vnode: Vnode, offset: int, hole: bool) -> int:
        """The first byte at or behind `offset` that is stored, or with `hole` that is not; -1 if there is none."""
        if not 0 <= offset < vnode.size:
            return -1
        with Call(vnode.mount):
            return vnode.next_hole(offset) if hole else vnode.next_data(offset)

    def sync(self, vnode: Vnode, data_only: bool) -> None:
        """Return once the file is durable."""
        with Call(vnode.mount):
            make_durable(vnode, data_only)

    def readlink(self, vnode: Vnode) -> bytes:
        """What a symbolic link points to.  Raises EINVAL where it is none."""
        with Call(vnode.mount):
            return vnode.readlink()

    # Attributes ----------------------------------------------------------------------------------------

    def refresh(self, vnode: Vnode) -> None:
        """Bring a file's attributes up to date where others may have changed them.  Raises EIO, ESTALE."""
        mount = vnode.mount
        if mount.refreshes or mount.finished:
            with Call(mount):
                vnode.refresh()

    def set_mode(self, vnode: Vnode, mode: int, credentials: Credentials) -> None:
        """Set the permission bits of a file.  Raises EPERM, EROFS."""
        with Call(vnode.mount):
            change_mode(vnode, credentials, mode, self.hyper.wall())

    def set_owner(self, vnode: Vnode, uid: int, gid: int, credentials: Credentials) -> None:
        """Set owner and group (-1: as it is); other than directories lose set-user-ID.  Raises EPERM, EROFS."""
        with Call(vnode.mount):
            change_owner(vnode, credentials, uid, gid, self.hyper.wall())

    def set_times(self, vnode: Vnode, atime: int, mtime: int, credentials: Credentials) -> None:
        """Set the times of access and modification, in nanoseconds, or UTIME_NOW, UTIME_OMIT.  Raises EPERM, EACCES, EROFS."""
        with Call(vnode.mount):
            change_times(vnode, credentials, atime, mtime, self.hyper.wall())

    def set_flags(self, vnode: Vnode, flags: int) -> None:
        """Set the inode flags (FS_IOC_SETFLAGS), as the superuser may.  Raises EROFS, ENOTSUP."""
        vnode.mount.check_writable()
        with Call(vnode.mount):
            vnode.set_flags(flags, self.hyper.wall())

    def access(self, vnode: Vnode, credentials: Credentials, wanted: int) -> None:
        """Raise EACCES unless the process may do all of `wanted` (R_OK, W_OK, X_OK); EROFS, EINVAL."""
        if wanted & ~(R_OK | W_OK | X_OK):
            raise error(EINVAL)
        check_access(vnode, credentials, wanted)
        if wanted & W_OK:
            vnode.mount.check_writable()

    # Extended attributes -------------------------------------------------------------------------------

    def getxattr(self, vnode: Vnode, name: bytes, credentials: Credentials) -> bytes:
        """The value of an extended attribute.  Raises ENODATA, ENOTSUP, EACCES."""
        with Call(vnode.mount):
            return get_attribute(vnode, credentials, name)

    def listxattr(self, vnode: Vnode, credentials: Credentials) -> list[str]:
        """The names of a file's extended attributes.  Raises ENOTSUP."""
        with Call(vnode.mount):
            return list_attributes(vnode, credentials)

    def setxattr(self, vnode: Vnode, name: bytes, value: bytes, flags: int, credentials: Credentials) -> None:
        """Set an extended attribute or an access control list (as the system call).  Raises EEXIST, ENODATA, ENOSPC, ENOTSUP,
        ERANGE, E2BIG, EINVAL, EPERM."""
        wanted = checked_name(name, value, flags)
        with Call(vnode.mount):
            self._calls.set_attribute(vnode, credentials, wanted, value, flags)

    def removexattr(self, vnode: Vnode, name: bytes, credentials: Credentials) -> None:
        """Remove an extended attribute or an access control list.  Raises ENODATA, ENOTSUP, EPERM."""
        with Call(vnode.mount):
            self._calls.remove_attribute(vnode, credentials, name)

    # Names come ----------------------------------------------------------------------------------------

    def create(
        self,
        directory: Vnode,
        name: bytes,
        mode: int,
        mask: int,
        uid: int,
        gid: int,
        device: int,
        credentials: Credentials,
    ) -> Vnode:
        """Make a file of the kind in `mode` and with the permissions there, less `mask`, or as the directory's default access control list
        has it.  In a set-group-ID directory it gets that one's group.

        Raises EEXIST, ENOSPC, and as `lookup`.
        """
        mount = self._enter_to_add(directory, name, credentials)
        try:
            self.vfs.counters.created += 1
            inherited = default_acl(directory) if directory.default_acl is not None else None
            made = mode & ~mask if inherited is None else inherit(inherited, mode)[0]
            if mode & S_IFMT == S_IFDIR:
                bits = made & 0o1777 | directory.mode & S_ISGID
                vnode = directory.mkdir(name, bits, uid, _group(directory, gid))
            else:
                vnode = directory.create(name, made, uid, _group(directory, gid), device)
            if inherited is not None:
                self._calls.give_acl(directory, name, vnode, inherited, mode)
            self.vfs.events.made(vnode, directory, name)
            return vnode
        finally:
            leave(mount)

    def nameless(self, directory: Vnode, mode: int, mask: int, uid: int, gid: int, credentials: Credentials) -> Vnode:
        """Make a regular file without a name near a directory, which `link` may give one; held, for the caller to let go of.

        Raises ENOTDIR, EACCES, EROFS, ENOSPC, ENOTSUP.
        """
        if directory.kind != S_IFDIR:
            raise error(ENOTDIR)
        mount = directory.mount
        mount.check_writable()
        enter(mount)
        try:
            check_access(directory, credentials, MODIFY)
            inherited = default_acl(directory) if directory.default_acl is not None else None
            made = mode & ~mask if inherited is None else inherit(inherited, mode)[0]
            vnode = directory.nameless(made, uid, _group(directory, gid))
            if inherited is not None:
                self._calls.give_acl(directory, b"", vnode, inherited, mode)
            vnode.linkable = True
            vnode.hold()
            self.vfs.counters.created += 1
            return vnode
        finally:
            leave(mount)

    def symlink(
        self, directory: Vnode, name: bytes, target: bytes, uid: int, gid: int, credentials: Credentials
    ) -> Vnode:
        """Make a symbolic link.  Raises as `create`."""
        if not target:
            raise error(ENOENT)
        mount = self._enter_to_add(directory, name, credentials)
        try:
            self.vfs.counters.created += 1
            made = directory.symlink(name, target, uid, _group(directory, gid))
            self.vfs.events.made(made, directory, name)
            return made
        finally:
            leave(mount)

    def link(self, vnode: Vnode, directory: Vnode, name: bytes, credentials: Credentials) -> None:
        """Give a file a further name.  Raises EXDEV, EPERM (directories), ENOENT (it has none left), and as `create`."""
        directory.mount.check_same(vnode.mount)
        if vnode.kind == S_IFDIR:
            raise error(EPERM)
        mount = self._enter_to_add(directory, name, credentials)
        try:
            if vnode.links == 0 and not vnode.linkable:
                raise error(ENOENT)
            directory.link(name, vnode)
            vnode.linkable = False
            self.vfs.events.linked(vnode, directory, name)
            self.vfs.counters.created += 1
        finally:
            leave(mount)

    # Names go, and move --------------------------------------------------------------------------------

    def remove(self, directory: Vnode, name: bytes, is_directory: bool, credentials: Credentials) -> None:
        """Take a name of a file away, or an empty directory.  Raises EISDIR, ENOTDIR, EBUSY (mount point), ENOTEMPTY."""
        _check_directory(directory, name)
        mount = directory.mount
        mount.check_writable()
        enter(mount)
        try:
            vnode = directory.lookup(name)
            if vnode is None:
                raise error(ENOENT)
            check_delete(directory, vnode, credentials)
            if (vnode.kind == S_IFDIR) != is_directory:
                raise error(ENOTDIR if is_directory else EISDIR)
            if vnode.mounted_here is not None:
                raise error(EBUSY)
            if is_directory:
                directory.rmdir(name, vnode)
            else:
                directory.unlink(name, vnode)
            self.vfs.events.gone(vnode, directory, name)
            self.vfs.counters.removed += 1
        finally:
            leave(mount)

    def rename(
        self,
        source: Vnode,
        name: bytes,
        target: Vnode,
        new_name: bytes,
        flags: int,
        credentials: Credentials,
    ) -> None:
        """Move a name, over what has the new one (renameat2, with RENAME_NOREPLACE and RENAME_EXCHANGE).

        Raises EXDEV, EINVAL, EEXIST, ENOENT, ENOTEMPTY, EISDIR, ENOTDIR, EBUSY.
        """
        if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE) or flags == RENAME_NOREPLACE | RENAME_EXCHANGE:
            raise error(EINVAL)
        _check_directory(source, name)
        _check_directory(target, new_name)
        mount = source.mount
        mount.check_same(target.mount)
        mount.check_writable()
        with Call(mount):
            self._rename(source, name, target, new_name, flags, credentials)
            self.vfs.counters.renamed += 1

    def _rename(
        self, source: Vnode, name: bytes, target: Vnode, new_name: bytes, flags: int, credentials: Credentials
    ) -> None:
        vnode = source.lookup(name)
        if vnode is None:
            raise error(ENOENT)
        replaced = target.lookup(new_name)
        exchange = flags & RENAME_EXCHANGE != 0
        if flags & RENAME_NOREPLACE and replaced is not None:
            raise error(EEXIST)
        if exchange and replaced is None:
            raise error(ENOENT)
        if source is not target:
            if vnode.kind == S_IFDIR and is_within(target, vnode):
                raise error(EINVAL)
            if replaced is not None and replaced.kind == S_IFDIR and is_within(source, replaced):
                raise error(EINVAL if exchange else ENOTEMPTY)
        if vnode is replaced:
            if exchange or source is not target or name == new_name or not source.mount.folds_case:
                return
            # Another spelling of the name that the file has.
            replaced = None
        _may_rename(source, vnode, target, replaced, exchange, credentials)
        if not exchange and replaced is not None and (vnode.kind == S_IFDIR) != (replaced.kind == S_IFDIR):
            raise error(EISDIR if replaced.kind == S_IFDIR else ENOTDIR)
        if vnode.mounted_here is not None or (replaced is not None and replaced.mounted_here is not None):
            raise error(EBUSY)
        if exchange and replaced is not None:
            source.exchange(name, vnode, target, new_name, replaced)
        else:
            source.rename(name, vnode, target, new_name, replaced)
        self.vfs.events.moved(vnode, source, name, target, new_name, replaced, exchange)

    # -----------------------------------------------------------------------------------------------------

    def _enter_to_add(self, directory: Vnode, name: bytes, credentials: Credentials) -> Mount:
        """Take the lock of a directory that `name`, which is free, can be added to; returns what to `leave`."""
        _check_directory(directory, name)
        mount = directory.mount
        mount.check_writable()
        enter(mount)
        try:
            if directory.flags & FS_IMMUTABLE_FL:
                raise error(EPERM)
            check_access(directory, credentials, MODIFY)
            if directory.lookup(name) is not None:
                raise error(EEXIST)
        except BaseException:
            leave(mount)
            raise
        return mount


@final
class Call:
    """A call into a mount, as a context manager: `enter` and `leave`."""

    def __init__(self, mount: Mount) -> None:
        self._mount: Mount = mount

    def __enter__(self) -> None:
        enter(self._mount)

    def __exit__(self, *exception: object) -> None:
        leave(self._mount)


def enter(mount: Mount) -> None:
    """Start a call into a mount.  Raises EIO where it has been taken away, perhaps while we waited for its lock."""
    mount.begin_call()
    if mount.finished:
        leave(mount)
        raise error(EIO)


def leave(mount: Mount) -> None:
    """End a call into a mount."""
    mount.end_call()


def _check_directory(directory: Vnode, name: bytes) -> None:
    """Raise unless `name` can be one in `directory`: what a server is asked is not to be trusted."""
    if directory.kind != S_IFDIR:
        raise error(ENOTDIR)
    if len(name) > NAME_MAX:
        raise error(ENAMETOOLONG)
    if not name or name == b"." or name == b".." or SLASH in name:
        raise error(EINVAL)


def _check_append(vnode: Vnode, offset: int) -> None:
    """Raise EPERM unless the inode flags let a write at `offset` be."""
    if vnode.flags & FS_IMMUTABLE_FL or offset < vnode.size:
        raise error(EPERM)


def _group(directory: Vnode, gid: int) -> int:
    return directory.gid if directory.mode & S_ISGID else gid


def _may_rename(
    source: Vnode, vnode: Vnode, target: Vnode, replaced: Vnode | None, exchange: bool, credentials: Credentials
) -> None:
    check_delete(source, vnode, credentials)
    if replaced is None:
        check_access(target, credentials, MODIFY)
    else:
        check_delete(target, replaced, credentials)
    if source is not target:
        # A directory's ".." changes with its parent.
        for moved in (vnode, replaced if exchange else None):
            if moved is not None and moved.kind == S_IFDIR:
                check_access(moved, credentials, W_OK)
