"""System calls that make, remove and move names: mkdir, mknod, symlink, link, unlink, rmdir, rename, and readlink."""

from mypy_extensions import mypyc_attr

from ..kern.abi.errno import (
    EBUSY,
    EEXIST,
    EINVAL,
    EISDIR,
    ENAMETOOLONG,
    ENOENT,
    ENOTDIR,
    ENOTEMPTY,
    EPERM,
    error,
)
from ..kern.abi.fcntl import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_REMOVEDIR,
    AT_SYMLINK_FOLLOW,
    PATH_MAX,
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFMT,
    S_IFREG,
    S_IFSOCK,
    S_ISGID,
    S_ISVTX,
    W_OK,
)
from ..kern.process import Credentials, Process
from .access import FIXED, check_access, check_delete, group_for
from .acl import default_acl, inherit
from .callbase import Path
from .namei import DOT, DOT_DOT, FOLLOW, NO_FOLLOW, NORMAL, PARENT, Walk
from .opencalls import OpenCalls
from .vfs import decode, encode
from .vnode import Vnode, let_go


@mypyc_attr(allow_interpreted_subclasses=True)
class NameCalls(OpenCalls):
    """Names come, go and move."""

    # Names come ----------------------------------------------------------------------------------------

    def mkdir(self, process: Process, path: Path, mode: int = 0o777, dirfd: int = AT_FDCWD) -> None:
        """Make a directory with permissions `mode` less the mask (POSIX mkdir).  Raises EEXIST, EMLINK, ENOSPC."""
        where = encode(path)
        credentials = process.credentials
        walk = self.walk(process, where, dirfd)
        try:
            directory = self.new_name(walk, where, credentials, directory=True)
            bits = mode & (0o777 | S_ISVTX)
            inherited = default_acl(directory) if directory.default_acl is not None else None
            made = bits & ~self.paths_of(process).mask if inherited is None else inherit(inherited, bits)[0]
            group = group_for(directory, credentials)
            vnode = directory.mkdir(walk.name, made | directory.mode & S_ISGID, credentials.uid, group)
            if inherited is not None:
                self.give_acl(directory, walk.name, vnode, inherited, bits)
            self.vfs.events.made(vnode, directory, walk.name)
            self.vfs.counters.created += 1
        finally:
            walk.done()

    def mknod(self, process: Process, path: Path, mode: int, device: int = 0, dirfd: int = AT_FDCWD) -> None:
        """Make a regular file, FIFO, socket name or (superuser) special file (POSIX mknod).

        Raises EEXIST, EINVAL, EPERM, ENOSPC.
        """
        where = encode(path)
        kind = mode & S_IFMT or S_IFREG
        if kind == S_IFDIR:
            raise error(EPERM)
        if kind not in (S_IFREG, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK):
            raise error(EINVAL)
        walk = self.walk(process, where, dirfd)
        try:
            directory = self.new_name(walk, where, process.credentials, directory=False)
            if kind in (S_IFCHR, S_IFBLK) and process.credentials.uid != 0:
                raise error(EPERM)
            self.create(directory, walk.name, process, kind | mode & 0o7777, device)
        finally:
            walk.done()

    def mkfifo(self, process: Process, path: Path, mode: int = 0o666, dirfd: int = AT_FDCWD) -> None:
        """Make a FIFO (POSIX mkfifo).  Raises EEXIST, ENOSPC."""
        self.mknod(process, path, S_IFIFO | mode & 0o7777, 0, dirfd)

    def symlink(self, process: Process, target: Path, path: Path, dirfd: int = AT_FDCWD) -> None:
        """Make a symbolic link to `target`, which need not exist (POSIX symlink).  Raises EEXIST, ENAMETOOLONG."""
        where = encode(path)
        points_to = encode(target)
        if not points_to:
            raise error(ENOENT)
        if len(points_to) >= PATH_MAX:
            raise error(ENAMETOOLONG)
        credentials = process.credentials
        walk = self.walk(process, where, dirfd)
        try:
            directory = self.new_name(walk, where, credentials, directory=False)
            vnode = directory.symlink(walk.name, points_to, credentials.uid, group_for(directory, credentials))
            self.vfs.events.made(vnode, directory, walk.name)
            self.vfs.counters.created += 1
        finally:
            walk.done()

    def link(
        self,
        process: Process,
        path: Path,
        new_path: Path,
        flags: int = 0,
        dirfd: int = AT_FDCWD,
        new_dirfd: int = AT_FDCWD,
    ) -> None:
        """Give a file a further name (POSIX link, linkat).  A symbolic link at the end of `path` is linked itself,
        unless `flags` has AT_SYMLINK_FOLLOW; with AT_EMPTY_PATH an empty `path` means the open file `dirfd`, which needs no
        name if it was opened with O_TMPFILE.  Raises EEXIST, EMLINK, EPERM (directories), EXDEV, ENOENT where it lost its last name."""
        if flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH):
            raise error(EINVAL)
        where, new_where = encode(path), encode(new_path)
        if flags & AT_EMPTY_PATH and not where and dirfd != AT_FDCWD:
            file = self.vnode_file(process, dirfd)
            file.enter()
            try:
                vnode = file.vnode
                vnode.hold()
            finally:
                file.leave(self.hyper.now)
        else:
            walk = self.walk(process, where, dirfd)
            try:
                vnode = walk.get(where, FOLLOW if flags & AT_SYMLINK_FOLLOW else NO_FOLLOW)
                vnode.hold()
            finally:
                walk.done()
        try:
            walk = self.walk(process, new_where, new_dirfd)
        except BaseException:
            let_go(vnode)
            raise
        try:
            directory = self.new_name(walk, new_where, process.credentials, directory=False)
            directory.mount.check_same(vnode.mount)
            if vnode.kind == S_IFDIR:
                raise error(EPERM)
            if vnode.links == 0 and not vnode.linkable:
                raise error(ENOENT)
            if vnode.flags & FIXED:
                raise error(EPERM)
            directory.link(walk.name, vnode)
            vnode.linkable = False
            self.vfs.events.linked(vnode, directory, walk.name)
            self.vfs.counters.created += 1
        finally:
            walk.drop(vnode)

    # Names go ------------------------------------------------------------------------------------------

    def unlink(self, process: Process, path: Path, flags: int = 0, dirfd: int = AT_FDCWD) -> None:
        """Remove a name of a file, or with AT_REMOVEDIR a directory (POSIX unlink, unlinkat).  The file goes with its
        last name and its last descriptor.  Raises EISDIR, EPERM (sticky directory), EBUSY (mount point)."""
        if flags & AT_REMOVEDIR:
            self.rmdir(process, path, dirfd)
            return
        where = encode(path)
        walk = self.walk(process, where, dirfd)
        try:
            walk.find(where, PARENT)
            if walk.last != NORMAL:
                raise error(EISDIR)
            directory = walk.directory
            vnode = walk.present()
            if walk.slash:
                raise error(EISDIR if vnode.kind == S_IFDIR else ENOTDIR)
            directory.mount.check_writable()
            check_delete(directory, vnode, process.credentials)
            if vnode.kind == S_IFDIR:
                raise error(EISDIR)
            if vnode.mounted_here is not None:
                raise error(EBUSY)
            directory.unlink(walk.name, vnode)
            self.vfs.counters.removed += 1
            self.vfs.events.gone(vnode, directory, walk.name)
        finally:
            walk.done()

    def rmdir(self, process: Process, path: Path, dirfd: int = AT_FDCWD) -> None:
        """Remove an empty directory (POSIX rmdir).  Raises ENOTEMPTY, ENOTDIR, EBUSY (mount point), EINVAL (".")."""
        where = encode(path)
        walk = self.walk(process, where, dirfd)
        try:
            walk.find(where, PARENT)
            if walk.last != NORMAL:
                raise error({DOT: EINVAL, DOT_DOT: ENOTEMPTY}.get(walk.last, EBUSY))
            directory = walk.directory
            vnode = walk.present()
            directory.mount.check_writable()
            check_delete(directory, vnode, process.credentials)
            if vnode.kind != S_IFDIR:
                raise error(ENOTDIR)
            if vnode.mounted_here is not None:
                raise error(EBUSY)
            directory.rmdir(walk.name, vnode)
            self.vfs.counters.removed += 1
            self.vfs.events.gone(vnode, directory, walk.name)
        finally:
            walk.done()

    def readlink(self, process: Process, path: Path, dirfd: int = AT_FDCWD) -> str:
        """What a symbolic link points to (POSIX readlink).  Raises EINVAL where it is none."""
        where = encode(path)
        walk = self.walk(process, where, dirfd)
        try:
            return decode(walk.get(where, NO_FOLLOW).readlink())
        finally:
            walk.done()

    # Names move ----------------------------------------------------------------------------------------

    def rename(
        self,
        process: Process,
        path: Path,
        new_path: Path,
        flags: int = 0,
        dirfd: int = AT_FDCWD,
        new_dirfd: int = AT_FDCWD,
    ) -> None:
        """Move a name, in one step over what had the new name (POSIX rename, renameat; Linux renameat2).

        Flags: RENAME_NOREPLACE (EEXIST instead), RENAME_EXCHANGE (swap both).  Raises EINVAL (a directory into
        itself), EISDIR, ENOTDIR, ENOTEMPTY, EXDEV, EBUSY (mount points, "." and ".."), EPERM (sticky directory).
        """
        if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE) or flags == RENAME_NOREPLACE | RENAME_EXCHANGE:
            raise error(EINVAL)
        where, new_where = encode(path), encode(new_path)
        old = self.walk(process, where, dirfd)
        try:
            old.find(where, PARENT)
            source = old.directory
            source.hold()
        finally:
            old.done()
        new = old
        try:
            new = self.walk(process, new_where, new_dirfd)
            new.find(new_where, PARENT)
            source.mount.check_same(new.directory.mount)
            if old.last != NORMAL:
                raise error(EBUSY)
            if new.last != NORMAL:
                raise error(EEXIST if flags & RENAME_NOREPLACE else EBUSY)
            source.mount.check_writable()
            self._rename(process.credentials, old, new, flags)
        finally:
            new.drop(source)

    def _rename(self, credentials: Credentials, old: Walk, new: Walk, flags: int) -> None:
        source = old.directory
        target = new.directory
        vnode = old.present()
        replaced = new.look()
        exchange = flags & RENAME_EXCHANGE != 0
        if flags & RENAME_NOREPLACE and replaced is not None:
            raise error(EEXIST)
        if exchange and replaced is None:
            raise error(ENOENT)
        if new.slash and exchange and replaced is not None and replaced.kind != S_IFDIR:
            raise error(ENOTDIR)
        if vnode.kind != S_IFDIR and (old.slash or (new.slash and not exchange)):
            raise error(ENOTDIR)
        if source is not target:
            if vnode.kind == S_IFDIR and is_within(target, vnode):
                raise error(EINVAL)
            if replaced is not None and replaced.kind == S_IFDIR and is_within(source, replaced):
                raise error(EINVAL if exchange else ENOTEMPTY)
        if vnode is replaced:
            if exchange or source is not target or old.name == new.name or not source.mount.folds_case:
                return
            # Another spelling of the name that the file has.
            replaced = None
        check_delete(source, vnode, credentials)
        if replaced is None:
            self.may_add(target, credentials)
        else:
            check_delete(target, replaced, credentials)
            if not exchange and (vnode.kind == S_IFDIR) != (replaced.kind == S_IFDIR):
                raise error(EISDIR if replaced.kind == S_IFDIR else ENOTDIR)
        if source is not target:
            # A directory's ".." changes with its parent.
            for moved in (vnode, replaced if exchange else None):
                if moved is not None and moved.kind == S_IFDIR:
                    check_access(moved, credentials, W_OK)
        if vnode.mounted_here is not None or (replaced is not None and replaced.mounted_here is not None):
            raise error(EBUSY)
        if exchange and replaced is not None:
            source.exchange(old.name, vnode, target, new.name, replaced)
        else:
            source.rename(old.name, vnode, target, new.name, replaced)
        self.vfs.counters.renamed += 1
        self.vfs.events.moved(vnode, source, old.name, target, new.name, replaced, exchange)


def is_within(directory: Vnode, ancestor: Vnode) -> bool:
    """Whether `directory` is `ancestor` or below it.  Both are of one mount."""
    while directory is not ancestor:
        above = directory.parent()
        if above is directory:
            return False
        directory = above
    return True
