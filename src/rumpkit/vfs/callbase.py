"""What all path calls share: where a path starts, and how names come into directories."""

from typing import TypeAlias

from mypy_extensions import mypyc_attr

from ..hyper.calls import Hypercalls
from ..kern.abi.errno import EBADF, EEXIST, ENOENT, ENOTDIR, EPERM, error
from ..kern.abi.fcntl import AT_FDCWD, FS_IMMUTABLE_FL, S_IFDIR, S_ISGID
from ..kern.process import Credentials, Process
from .access import MODIFY, check_access
from .acl import ACCESS, DEFAULT, Acl, default_acl, inherit
from .file import VnodeFile
from .namei import NORMAL, PARENT, Walk
from .paths import VfsPaths
from .vfs import Vfs
from .vnode import Vnode

Path: TypeAlias = str | bytes
"""A path: UTF-8 text, where lone surrogates stand for other bytes, or bytes.  Calls answer in text."""


@mypyc_attr(allow_interpreted_subclasses=True)
class CallBase:
    """Base of the classes of path calls.

    Paths that are not absolute start at `dirfd`, an open directory, or at the working directory (AT_FDCWD).  All
    path calls raise ENOENT, ENOTDIR, EACCES, ELOOP and ENAMETOOLONG as POSIX 4.16 says, and EROFS where they would
    change a read-only file system.
    """

    def __init__(self, vfs: Vfs) -> None:
        self.vfs: Vfs = vfs
        self.hyper: Hypercalls = vfs.hyper

    def paths_of(self, process: Process) -> VfsPaths:
        """The process's path context.  Raises ENOENT where it was made before there was a root."""
        paths = process.paths
        if not isinstance(paths, VfsPaths):
            raise error(ENOENT)
        return paths

    def walk(self, process: Process, path: bytes, dirfd: int) -> Walk:
        """A walk for `path`; the caller calls its `done`."""
        paths = self.paths_of(process)
        start = paths.directory
        if path[:1] == b"/":
            start = paths.root
        elif dirfd != AT_FDCWD:
            file = process.files.get(dirfd)
            if not isinstance(file, VnodeFile):
                raise error(ENOTDIR)
            start = file.vnode
        return Walk(paths.root, start, process.credentials)

    def vnode_file(self, process: Process, fd: int) -> VnodeFile:
        """The open file `fd`, which has a vnode.  Raises EBADF where it has none."""
        file = process.files.get(fd)
        if not isinstance(file, VnodeFile):
            raise error(EBADF)
        return file

    def new_name(self, walk: Walk, path: bytes, credentials: Credentials, directory: bool) -> Vnode:
        """Walk to where `path` is to be created; returns the directory it goes into, where it may.

        Raises EEXIST, and ENOENT where slashes follow the name of what is not to be a directory.
        """
        walk.find(path, PARENT)
        if walk.last != NORMAL or walk.look() is not None:
            raise error(EEXIST)
        if walk.slash and not directory:
            raise error(ENOENT)
        return self.may_add(walk.directory, credentials)

    def may_add(self, directory: Vnode, credentials: Credentials) -> Vnode:
        """Raise unless the process may add names to `directory`, which is returned."""
        directory.mount.check_writable()
        if directory.flags & FS_IMMUTABLE_FL:
            raise error(EPERM)
        check_access(directory, credentials, MODIFY)
        return directory

    def create(self, directory: Vnode, name: bytes, process: Process, mode: int, device: int = 0) -> Vnode:
        """Make a file of the kind and with the permissions in `mode`, less the process's mask, or as the directory's default
        access control list has it.  Without a name (b"") it is a regular file that has none."""
        credentials = process.credentials
        wanted = mode
        inherited = None
        if directory.default_acl is not None:
            inherited = default_acl(directory)
        paths = process.paths
        if inherited is not None:
            mode = inherit(inherited, mode)[0]
        elif isinstance(paths, VfsPaths):
            mode &= ~paths.mask
        group = directory.gid if directory.mode & S_ISGID else credentials.gid
        if mode & S_ISGID and credentials.uid != 0 and not credentials.in_group(group):
            mode &= ~S_ISGID
        self.vfs.counters.created += 1
        if not name:
            vnode = directory.nameless(mode, credentials.uid, group)
            if inherited is not None:
                self.give_acl(directory, name, vnode, inherited, wanted)
            return vnode
        vnode = directory.create(name, mode, credentials.uid, group, device)
        if inherited is not None:
            self.give_acl(directory, name, vnode, inherited, wanted)
        self.vfs.events.made(vnode, directory, name)
        return vnode

    def told(self, walk: Walk, vnode: Vnode, mask: int) -> None:
        """Tell who watches that something was done to `vnode`, which the walk ended on."""
        events = self.vfs.events
        if events.watches:
            named = walk.last == NORMAL and vnode is not vnode.mount.root
            events.tell(vnode, mask, walk.directory if named else None, walk.name)

    def give_acl(self, directory: Vnode, name: bytes, vnode: Vnode, inherited: Acl, wanted: int) -> None:
        """Give a new file what it inherits of its directory's default list.  It goes again where there is no room."""
        acl = inherit(inherited, wanted)[1]
        is_directory = vnode.kind == S_IFDIR
        try:
            if not acl.minimal():
                vnode.setxattr(ACCESS, acl.pack(), 0)
                vnode.acl = acl
            if is_directory:
                vnode.setxattr(DEFAULT, inherited.pack(), 0)
                vnode.default_acl = inherited
        except OSError:
            if not name:
                vnode.hold()
                vnode.release()
            elif is_directory:
                directory.rmdir(name, vnode)
            else:
                directory.unlink(name, vnode)
            raise
