"""Files of the host's as vnodes.  Attributes are copies, refreshed whenever somebody enters the mount or looks a name up."""

from bisect import bisect_left
from typing import TYPE_CHECKING, Final, final

from ...hyper.hostdir import HostFile, HostStat
from ...kern.abi.errno import EACCES, ENODATA, ENOENT, ENOTDIR, ENOTSUP, ENXIO, EPERM, ESTALE, error
from ...kern.abi.fcntl import RENAME_EXCHANGE, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK
from ...vfs.vnode import FIRST_COOKIE, Entry, Vnode

if TYPE_CHECKING:
    from .mount import HostMount

USER: Final = b"user."


@final
class HostVnode(Vnode):
    """One file.  Its path is made of names up to the root, so that it moves with its directory."""

    def __init__(self, mount: "HostMount", number: int, stat: HostStat) -> None:
        super().__init__(mount, number, stat.mode, stat.uid, stat.gid, 0)
        self.host: HostMount = mount
        self.directory: HostVnode = self
        self.name: bytes = b""
        self.key: tuple[int, int] = (stat.device, stat.number)
        self.file: HostFile | None = None
        """The open host file, while somebody holds this one."""
        self._blocks: int = 0
        self._cookies: dict[bytes, int] = {}
        self._listing: list[Entry] = []
        self._next_cookie: int = FIRST_COOKIE
        self.take(stat)

    def take(self, stat: HostStat) -> None:
        """Have the attributes that the host says."""
        mount = self.host
        self.kind = stat.mode & S_IFMT
        self.mode = stat.mode
        self.uid = stat.uid if mount.uid < 0 else mount.uid
        self.gid = stat.gid if mount.gid < 0 else mount.gid
        self.links = stat.links
        self.size = stat.size
        self.device = stat.rdev
        self._blocks = stat.blocks
        self.atime = stat.atime
        self.mtime = stat.mtime
        self.ctime = stat.ctime

    def path(self, name: bytes = b"") -> bytes:
        """Its path beneath the root, or that of `name` in it."""
        names = [name] if name else []
        vnode = self
        while vnode.directory is not vnode:
            names.append(vnode.name)
            vnode = vnode.directory
        return b"/".join(reversed(names))

    def refresh(self) -> None:
        """Ask the host.  A file that has gone keeps what was known of it, and has no links."""
        mount = self.host
        file = self.file
        try:
            if file is not None:
                self.take(mount.off(file.stat))
                return
            path = self.path()
            stat = mount.off(lambda: mount.directory.stat(path))
        except OSError as problem:
            if problem.errno not in (ENOENT, ENOTDIR):
                raise
            self.links = 0
            return
        if (stat.device, stat.number) == self.key:
            self.take(stat)
        else:
            self.links = 0

    def blocks(self) -> int:
        """As the host counts them."""
        return self._blocks

    def inactive(self) -> None:
        """Close the host file."""
        file = self.file
        if file is not None:
            self.file = None
            self.host.off(file.close)

    # Attributes ----------------------------------------------------------------------------------------

    def set_mode(self, mode: int, now: int) -> None:
        file = self.file
        if file is not None:
            self.host.off(lambda: file.chmod(mode & 0o7777))
        else:
            path = self._here()
            self.host.off(lambda: self.host.directory.chmod(path, mode & 0o7777))
        self.refresh()

    def set_owner(self, uid: int, gid: int, mode: int, now: int) -> None:
        """The host's owner changes only where owners are shown as they are there."""
        if self.host.uid >= 0 or self.host.gid >= 0:
            if (uid, gid) != (self.uid, self.gid):
                raise error(EPERM)
            return
        file = self.file
        if file is not None:
            self.host.off(lambda: file.chown(uid, gid))
        else:
            path = self._here()
            self.host.off(lambda: self.host.directory.chown(path, uid, gid))
        self.refresh()

    def set_times(self, atime: int, mtime: int, now: int) -> None:
        file = self.file
        if file is not None:
            self.host.off(lambda: file.utimens(atime, mtime))
        else:
            path = self._here()
            self.host.off(lambda: self.host.directory.utimens(path, atime, mtime))
        self.refresh()

    def accessed(self, now: int) -> None:
        """The host keeps access times itself."""

    def getxattr(self, name: bytes) -> bytes:
        """Those of users only: what the others say is between the host and its own users."""
        if not name.startswith(USER):
            raise error(ENOTSUP if not name.startswith(b"trusted.") else ENODATA)
        file = self.file
        if file is not None:
            return self.host.off(lambda: file.getxattr(name))
        path = self._here()
        return self.host.off(lambda: self.host.directory.getxattr(path, name))

    def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        if not name.startswith(USER):
            raise error(ENOTSUP)
        file = self.file
        if file is not None:
            self.host.off(lambda: file.setxattr(name, value, flags))
            return
        path = self._here()
        self.host.off(lambda: self.host.directory.setxattr(path, name, value, flags))

    def listxattr(self) -> list[bytes]:
        if self.kind == S_IFLNK:
            return []
        file = self.file
        if file is not None:
            names = self.host.off(file.listxattr)
        else:
            path = self._here()
            names = self.host.off(lambda: self.host.directory.listxattr(path))
        return [name for name in names if name.startswith(USER)]

    def removexattr(self, name: bytes) -> None:
        if not name.startswith(USER):
            raise error(ENOTSUP)
        file = self.file
        if file is not None:
            self.host.off(lambda: file.removexattr(name))
            return
        path = self._here()
        self.host.off(lambda: self.host.directory.removexattr(path, name))

    # Files ---------------------------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> bytes:
        file = self._open(writable=False)
        try:
            return self.host.off(lambda: file.read(offset, size))
        finally:
            self._done()

    def write(self, offset: int, data: bytes) -> int:
        file = self._open(writable=True)
        try:
            return self.host.off(lambda: file.write(offset, data))
        finally:
            self._done()

    def truncate(self, size: int) -> None:
        file = self._open(writable=True)
        try:
            self.host.off(lambda: file.truncate(size))
        finally:
            self._done()

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        file = self._open(writable=True)
        try:
            self.host.off(lambda: file.fallocate(mode, offset, length))
        finally:
            self._done()

    def sync(self, data_only: bool) -> None:
        if self.kind == S_IFREG:
            file = self._open(writable=False)
            try:
                self.host.off(lambda: file.sync(data_only))
            finally:
                self._done()
        elif self.kind == S_IFDIR:
            self.host.sync()

    def next_data(self, offset: int) -> int:
        return self._seek(offset, hole=False)

    def next_hole(self, offset: int) -> int:
        return self._seek(offset, hole=True)

    def readlink(self) -> bytes:
        path = self._here()
        return self.host.off(lambda: self.host.directory.readlink(path))

    def _seek(self, offset: int, hole: bool) -> int:
        file = self._open(writable=False)
        try:
            return self.host.off(lambda: file.seek(offset, hole))
        except OSError as problem:
            if problem.errno == ENXIO:
                return -1
            raise
        finally:
            self._done()

    def _open(self, writable: bool) -> HostFile:
        """The open host file.  It stays open while somebody holds this one."""
        file = self.file
        if file is not None and (file.writable or not writable):
            return file
        path = self._here()
        opened = self.host.off(lambda: self._open_best(path, writable))
        stat = self.host.off(opened.stat)
        if (stat.device, stat.number) != self.key:
            self.host.off(opened.close)
            raise error(ESTALE)
        if file is not None:
            self.host.off(file.close)
        self.file = opened
        return opened

    def _open_best(self, path: bytes, writable: bool) -> HostFile:
        """Open the file for both, if it may be, so that a write later need not open it again."""
        directory = self.host.directory
        if writable or directory.read_only or self.kind == S_IFDIR:
            return directory.open(path, writable)
        try:
            return directory.open(path, True)
        except OSError:
            return directory.open(path, False)

    def _done(self) -> None:
        """A call on the open host file is over: show what it changed, and close it again where nobody holds this file."""
        self.refresh()
        if self.references == 0:
            self.inactive()

    def _here(self) -> bytes:
        """Its path.  Raises ENOENT where it has gone; the root stays, whatever the host does to it."""
        if self.links == 0 and self is not self.mount.root:
            raise error(ENOENT)
        return self.path()

    # Directories ---------------------------------------------------------------------------------------

    def lookup(self, name: bytes) -> Vnode | None:
        if self.links == 0:
            return None
        path = self.path(name)
        try:
            stat = self.host.off(lambda: self.host.directory.stat(path))
        except OSError as problem:
            if problem.errno in (ENOENT, ENOTDIR):
                return None
            raise
        return self.host.vnode(self, name, stat)

    def parent(self) -> Vnode:
        return self.directory

    def name_of(self, child: Vnode) -> bytes:
        if isinstance(child, HostVnode) and child.directory is self and child.links:
            return child.name
        raise error(ENOENT)

    def readdir(self, cookie: int, count: int) -> list[Entry]:
        """Names keep their cookies as long as they are there each time a listing starts."""
        if cookie <= FIRST_COOKIE:
            self._list()
        listing = self._listing
        place = bisect_left(listing, cookie + 1, key=lambda entry: entry.cookie)
        return listing[place : place + count]

    def end_cookie(self) -> int:
        self._list()
        return self._next_cookie

    def _list(self) -> None:
        mount = self.host
        path = self._here()
        found = mount.off(lambda: mount.directory.names(path, mount.max_names))
        old = self._cookies
        self._cookies = {}
        listing: list[Entry] = []
        for name, device, number, kind in sorted(found):
            cookie = old.get(name, 0)
            if not cookie:
                cookie = self._next_cookie
                self._next_cookie += 1
            self._cookies[name] = cookie
            listing.append(Entry(name, mount.number_of(device, number), kind, cookie + 1))
        listing.sort(key=lambda entry: entry.cookie)
        self._listing = listing

    def create(self, name: bytes, mode: int, uid: int, gid: int, device: int) -> Vnode:
        if mode & S_IFMT not in (S_IFREG, S_IFIFO, S_IFSOCK):
            raise error(EPERM)
        path = self._inside(name)
        self.host.off(lambda: self.host.directory.create(path, mode))
        return self._made(name, uid, gid)

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Vnode:
        path = self._inside(name)
        self.host.off(lambda: self.host.directory.mkdir(path, mode))
        return self._made(name, uid, gid)

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> Vnode:
        path = self._inside(name)
        self.host.off(lambda: self.host.directory.symlink(path, target))
        return self._made(name, uid, gid)

    def link(self, name: bytes, vnode: Vnode) -> None:
        assert isinstance(vnode, HostVnode)
        path, new = vnode._here(), self._inside(name)
        self.host.off(lambda: self.host.directory.link(path, new))
        vnode.refresh()
        self.refresh()

    def unlink(self, name: bytes, vnode: Vnode) -> None:
        self._remove(name, vnode, directory=False)

    def rmdir(self, name: bytes, vnode: Vnode) -> None:
        self._remove(name, vnode, directory=True)

    def rename(self, name: bytes, vnode: Vnode, directory: Vnode, new_name: bytes, replaced: Vnode | None) -> None:
        assert isinstance(vnode, HostVnode) and isinstance(directory, HostVnode)
        if isinstance(replaced, HostVnode):
            replaced.keep()
        path, new = self._inside(name), directory._inside(new_name)
        self.host.off(lambda: self.host.directory.rename(path, new, 0))
        vnode.directory = directory
        vnode.name = new_name
        if isinstance(replaced, HostVnode):
            replaced.lost_name()
        for changed in (vnode, directory, self):
            changed.refresh()

    def exchange(self, name: bytes, vnode: Vnode, directory: Vnode, other_name: bytes, other: Vnode) -> None:
        assert isinstance(vnode, HostVnode) and isinstance(directory, HostVnode) and isinstance(other, HostVnode)
        path, new = self._inside(name), directory._inside(other_name)
        self.host.off(lambda: self.host.directory.rename(path, new, RENAME_EXCHANGE))
        vnode.directory, vnode.name = directory, other_name
        other.directory, other.name = self, name
        for changed in (vnode, other, directory, self):
            changed.refresh()

    def keep(self) -> None:
        """The name is about to go: open the file, so that those who hold it keep it."""
        if self.references and self.file is None and self.kind in (S_IFREG, S_IFDIR):
            try:
                self._open(writable=False)
            except OSError as problem:
                if problem.errno != EACCES:
                    raise

    def lost_name(self) -> None:
        """A name of it has gone, perhaps the one that its path goes by."""
        if self.file is not None:
            self.refresh()
        else:
            self.links -= 1 if self.kind != S_IFDIR else self.links

    def _remove(self, name: bytes, vnode: Vnode, directory: bool) -> None:
        assert isinstance(vnode, HostVnode)
        vnode.keep()
        path = self._inside(name)
        self.host.off(lambda: self.host.directory.remove(path, directory))
        vnode.lost_name()
        self.refresh()

    def _inside(self, name: bytes) -> bytes:
        """The path of `name` in this directory.  Raises ENOENT where the directory has gone."""
        if self.links == 0:
            raise error(ENOENT)
        return self.path(name)

    def _made(self, name: bytes, uid: int, gid: int) -> Vnode:
        """What was just made, given to its owner if owners are the host's and the host lets us."""
        mount = self.host
        path = self.path(name)
        if mount.uid < 0 and mount.gid < 0:
            try:
                mount.off(lambda: mount.directory.chown(path, uid, gid))
            except OSError as problem:
                if problem.errno != EPERM:
                    raise
        stat = mount.off(lambda: mount.directory.stat(path))
        self.refresh()
        return mount.vnode(self, name, stat)
