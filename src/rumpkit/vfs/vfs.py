"""The state of the vfs faction: the tree of mounts, the file system types, and limits.

Above are the system calls (`rumpkit.vfs.calls`), and whoever composes a kernel and mounts its file systems.
"""

from collections.abc import Mapping
from typing import Final, final

from ..hyper.calls import Hypercalls
from ..kern.abi.errno import EACCES, EBUSY, EEXIST, EINVAL, ENFILE, ENOENT, ENOTBLK, ENOTDIR, error
from ..kern.abi.fcntl import MNT_DETACH, MNT_FORCE, O_RDONLY, O_RDWR, S_IFBLK, S_IFDIR, S_IFMT, S_IFREG
from ..kern.counters import Counters
from ..kern.device import Device, DeviceSwitch
from ..kern.kernel import RumpKernel
from ..kern.process import Credentials
from ..kern.sysctl import Sysctl
from .buffer import BufferCache, BufferCounters
from .events import EVENT_SYSCTLS, Events
from .locks import LockLimit
from .namecache import NameCache, NameCounters
from .namei import FOLLOW, NO_FOLLOW, Walk
from .paths import VfsPaths
from .revoke import has_writers, revoke
from .types import AUTO, FileSystemType, OptionValue, TypeRegistry, check_options, check_remount
from .vnode import Mount, Vnode, let_go
from .writeback import WRITE_BACK_SYSCTLS, WriteBack

DEFAULT_MASK: Final = 0o022


@final
class VfsSettings:
    """Limits of the vfs faction."""

    def __init__(self) -> None:
        self.max_mounts: int = 1024
        self.max_directory_read: int = 4096
        self.max_locks: int = 65536
        self.max_cached_names: int = 16384
        self.buffer_bytes: int = 32 << 20
        self.buffer_dirty_percent: int = 25


VFS_SYSCTLS: Final = (
    Sysctl("max_mounts", 1, 1 << 20, "file systems that may be mounted at once"),
    Sysctl("max_cached_names", 0, 1 << 30, "names that a new mount of a disk keeps in its name cache; 0: none"),
    Sysctl("max_locks", 0, 1 << 30, "advisory locks that files may have at once"),
    Sysctl("max_directory_read", 1, 1 << 20, "directory entries that one call returns"),
    Sysctl("buffer_bytes", 1 << 20, 1 << 40, "bytes of metadata that the buffer cache of a new mount keeps"),
    Sysctl("buffer_dirty_percent", 1, 100, "share of it that may wait to be written back"),
)


@final
class VfsCounters(Counters):
    """What happened to files."""

    def __init__(self) -> None:
        self.opened: int = 0
        self.created: int = 0
        self.removed: int = 0
        self.renamed: int = 0

    def names(self) -> tuple[str, ...]:
        return ("opened", "created", "removed", "renamed")


@final
class Vfs:
    """The file systems of one kernel.  All methods are called on the schedule."""

    def __init__(self, kernel: RumpKernel, devices: DeviceSwitch) -> None:
        self.kernel: RumpKernel = kernel
        self.hyper: Hypercalls = kernel.hyper
        self.devices: DeviceSwitch = devices
        self.types: TypeRegistry = TypeRegistry()
        self.settings: VfsSettings = VfsSettings()
        self.counters: VfsCounters = VfsCounters()
        self.buffer_counters: BufferCounters = BufferCounters()
        self.name_counters: NameCounters = NameCounters()
        self._mounts: list[Mount] = []
        self._last_number: int = 0
        self.write_back: WriteBack = WriteBack(kernel.hyper)
        self.lock_limit: LockLimit = LockLimit()
        self.events: Events = Events()
        kernel.sysctl.register("vfs", self.settings, VFS_SYSCTLS)
        kernel.sysctl.register("vfs.write_back", self.write_back.settings, WRITE_BACK_SYSCTLS)
        kernel.sysctl.register("vfs.inotify", self.events.settings, EVENT_SYSCTLS)
        kernel.counters.register("vfs", self.counters)
        kernel.counters.register("vfs.buffer", self.buffer_counters)
        kernel.counters.register("vfs.names", self.name_counters)

    def mount(
        self,
        kind: str,
        path: str | bytes,
        options: Mapping[str, OptionValue] | None = None,
        source: str = "",
        paths: VfsPaths | None = None,
    ) -> Mount:
        """Mount a new file system of type `kind` on the directory `path`; the first one goes to "/" and is the root.  One whose root
        is no directory goes to what is none.

        `options` are GENERIC_OPTIONS and the type's own; type "auto" is that of what the source holds.  Raises ENODEV (no
        such type), EINVAL (options, source; nothing that is known),
        ENOENT, ENOTDIR, EBUSY (something is mounted there already), ENFILE (too many mounts).
        """
        if len(self._mounts) >= self.settings.max_mounts:
            raise error(ENFILE)
        place = encode(path)
        maker = self.type_of(kind, source)
        checked = check_options(maker, {"read_only": maker.read_only, **(options or {})})
        mount = maker.make(self, source, checked)
        mount.read_only = bool(checked["read_only"])
        mount.access_times = bool(checked["access_times"])
        mount.devices = bool(checked["devices"])
        try:
            self._attach(mount, place, paths)
        except OSError:
            mount.begin_call()
            mount.finish()
            mount.end_call()
            raise
        return mount

    def unmount(self, path: str | bytes, paths: VfsPaths | None = None, flags: int = 0) -> None:
        """Take the file system whose root is `path` out of the tree.

        MNT_DETACH: at once, with what is mounted in it; it goes when its last file is closed.  MNT_FORCE: also where files
        of it are in use, which fail with EIO from now on.  Raises EINVAL where nothing is mounted there, EBUSY while files
        of it are in use or others are mounted in it, and for the root.
        """
        vnode = self._resolve(encode(path), paths, NO_FOLLOW)
        mount = vnode.mount
        if vnode is not mount.root:
            raise error(EINVAL)
        if mount.covers is None:
            raise error(EBUSY)
        if flags & MNT_DETACH:
            self._detach_tree(mount)
        elif flags & MNT_FORCE:
            self._force(mount)
        elif mount.references - len(mount.watches or ()) > 1 or mount.calls:
            raise error(EBUSY)
        else:
            self._detach(mount)

    def remount(self, path: str | bytes, options: Mapping[str, OptionValue], paths: VfsPaths | None = None) -> None:
        """Change some of GENERIC_OPTIONS of the file system whose root is `path`; the others stay.

        Raises EINVAL, EBUSY where it is to be read-only and a file is open for writing, EROFS where it can't be writable.
        """
        vnode = self._resolve(encode(path), paths, FOLLOW)
        mount = vnode.mount
        if vnode is not mount.root:
            raise error(EINVAL)
        check_remount(options)
        read_only = bool(options.get("read_only", mount.read_only))
        mount.begin_call()
        try:
            if read_only != mount.read_only:
                if read_only and has_writers(self.kernel, mount):
                    raise error(EBUSY)
                mount.remount(read_only)
                mount.read_only = read_only
            mount.access_times = bool(options.get("access_times", mount.access_times))
            mount.devices = bool(options.get("devices", mount.devices))
        finally:
            mount.end_call()

    def device(self, source: str) -> Device:
        """The block device called `source`: "disk0", "/dev/disk0", or the path of a special file.

        Whoever uses it opens and closes it (`Device.open`).  Raises ENOENT, ENOTBLK, ENXIO, EACCES (on a nodev mount).
        """
        device = self.devices.named(source.removeprefix("/dev/"))
        if device is None and source.startswith("/"):
            vnode = self._resolve(encode(source), None, FOLLOW)
            if vnode.kind != S_IFBLK:
                raise error(ENOTBLK, source)
            if not vnode.mount.devices:
                raise error(EACCES, source)
            return self.devices.find(S_IFBLK, vnode.device)
        if device is None:
            raise error(ENOENT, source)
        if device.kind != S_IFBLK:
            raise error(ENOTBLK, source)
        return device

    def claim(self, source: str, write: bool) -> Device:
        """The block device called `source`, open for one mount: `Device.disclaim` and `close` it.  Raises as `device`, EROFS where it
        can't be written, EBUSY where it is mounted already, and one of the mounts writes."""
        device = self.device(source)
        device.claim(write)
        try:
            return device.open(O_RDWR if write else O_RDONLY)
        except BaseException:
            device.disclaim()
            raise

    def make_directories(self, path: str | bytes, mode: int = 0o755, root: Vnode | None = None) -> None:
        """Make the directory `path` and those it lies in, where they are missing, as the superuser does; with `root`, as one does
        whose root that is."""
        top = self.root() if root is None else root
        where = b"/"
        for name in encode(path).split(b"/"):
            if not name:
                continue
            where += name
            walk = Walk(top, top, Credentials())
            try:
                if walk.find(where, FOLLOW) is None:
                    walk.directory.mount.check_writable()
                    walk.directory.mkdir(walk.name, mode, 0, 0)
            finally:
                walk.done()
            where += b"/"

    def make_file(self, path: str | bytes, mode: int = S_IFREG | 0o644, device: int = 0) -> None:
        """Make an empty or special file, and the directories it lies in, where they are missing, as the superuser does.
        Raises EEXIST where another kind of file is there, or another device."""
        where = encode(path)
        self.make_directories(where[: where.rindex(b"/")])
        walk = Walk(self.root(), self.root(), Credentials())
        try:
            found = walk.find(where, FOLLOW)
            if found is None:
                walk.directory.mount.check_writable()
                walk.directory.create(walk.name, mode, 0, 0, device)
            elif found.kind != mode & S_IFMT or found.device != device:
                raise error(EEXIST)
        finally:
            walk.done()

    def mounts(self) -> list[Mount]:
        """What is mounted, in the order it came."""
        return list(self._mounts)

    def root(self) -> Vnode:
        """The root directory.  Raises ENOENT while nothing is mounted."""
        if not self._mounts:
            raise error(ENOENT)
        return self._mounts[0].root

    def sync(self) -> None:
        """Return once all mounts are durable."""
        for mount in self.mounts():
            self._locked_sync(mount)

    def close(self) -> None:
        """Unmount everything, last first: the kernel goes away, and with it all processes.  Raises OSError where a mount can't
        write what it has, once all are unmounted."""
        problem: OSError | None = None
        paths = self.kernel.paths
        if paths is not None:
            self.kernel.paths = None
            try:
                paths.close()
            except OSError as failed:
                problem = failed
        for mount in reversed(self.mounts()):
            try:
                self._end(mount)
            except OSError as failed:
                problem = problem or failed
        if problem is not None:
            raise problem

    def _end(self, mount: Mount) -> None:
        """Unmount, whoever uses it."""
        try:
            self._detach(mount)
        finally:
            if not mount.finished:
                # Somebody in this process, who is no process of the kernel's, has kept a file.
                mount.begin_call()
                try:
                    mount.finish()
                finally:
                    mount.end_call()

    def buffer_cache(self, device: Device, block_size: int) -> BufferCache:
        """A buffer cache for a file system on `device`, with the limits of the sysctls and this kernel's counters.  Raises EINVAL."""
        cache = BufferCache(device, block_size, self.settings.buffer_bytes)
        cache.counters = self.buffer_counters
        cache.dirty_limit = cache.limit * self.settings.buffer_dirty_percent // 100
        return cache

    def _attach(self, mount: Mount, path: bytes, paths: VfsPaths | None) -> None:
        if not self._mounts:
            if path.strip(b"/"):
                raise error(ENOENT, "the first mount is the root, at /")
            self._add(mount, b"/")
            self.kernel.paths = VfsPaths(mount.root, mount.root, DEFAULT_MASK)
            return
        covered = self._resolve(path, paths, FOLLOW)
        if (covered.kind == S_IFDIR) != (mount.root.kind == S_IFDIR):
            raise error(ENOTDIR)
        if covered is covered.mount.root:
            raise error(EBUSY)
        covered.hold()
        covered.mounted_here = mount
        mount.covers = covered
        self._add(mount, path)

    def _add(self, mount: Mount, path: bytes) -> None:
        self._last_number += 1
        mount.number = self._last_number
        mount.watch = self.events
        mount.path = path
        mount.writer = self.write_back
        mount.root.hold()
        self._mounts.append(mount)
        mount.dirtied()  # a journal's replay, orphans

    def _detach(self, mount: Mount) -> None:
        """Take `mount` out of the tree first, so that nobody finds it any more while it writes back.  It is unmounted now, or,
        while somebody holds a file of it, when that one goes."""
        covers = mount.covers
        self._mounts.remove(mount)
        if covers is not None:
            covers.mounted_here = None
            mount.covers = None
        self.events.unmounting(mount)
        mount.detached = True
        mount.begin_call()
        try:
            mount.root.release()
        finally:
            mount.end_call()
            if covers is not None:
                let_go(covers)

    def _detach_tree(self, mount: Mount) -> None:
        """Detach `mount` and all that is mounted in it, innermost first."""
        for inner in self.mounts():
            if inner.covers is not None and inner.covers.mount is mount:
                self._detach_tree(inner)
        if mount in self._mounts:
            self._detach(mount)

    def _force(self, mount: Mount) -> None:
        if any(inner.covers is not None and inner.covers.mount is mount for inner in self._mounts):
            raise error(EBUSY)
        mount.begin_call()
        try:
            revoke(self.kernel, mount)
        finally:
            mount.end_call()
        if mount in self._mounts:
            self._detach(mount)

    def _locked_sync(self, mount: Mount) -> None:
        mount.begin_call()
        try:
            if not mount.finished:
                mount.sync()
                mount.tell_problem()
        finally:
            mount.end_call()

    def name_cache(self) -> NameCache:
        """A name cache for a file system whose lookups are worth it, with the limit of the sysctl and this kernel's counters."""
        return NameCache(self.settings.max_cached_names, self.name_counters)

    def type_of(self, kind: str, source: str) -> FileSystemType:
        """The type called `kind`; for "auto", that of what is on the device `source`.  Raises ENODEV, EINVAL, and as `device`."""
        if kind != AUTO:
            return self.types.find(kind)
        device = self.device(source).open(O_RDONLY)
        try:
            found = self.types.recognise(device)
        finally:
            device.close(self.hyper.now)
        if found is None:
            raise OSError(EINVAL, f"{source} holds no file system of a known type")
        return found[0]

    def resolve(self, path: str | bytes) -> Vnode:
        """The file at an absolute path, for the superuser.  Raises ENOENT, ENOTDIR, ELOOP."""
        return self._resolve(encode(path), None, FOLLOW)

    def _resolve(self, path: bytes, paths: VfsPaths | None, mode: int) -> Vnode:
        """What `path` is for the superuser, from `paths` or from the root."""
        root = self.root() if paths is None else paths.root
        start = root if paths is None else paths.directory
        walk = Walk(root, start, Credentials())
        try:
            return walk.get(path, mode)
        finally:
            walk.done()


def encode(path: str | bytes) -> bytes:
    """A path as bytes: text is UTF-8, where lone surrogates stand for other bytes (as in Python's os module).

    Raises EINVAL for what can't be encoded and for NUL bytes.
    """
    if isinstance(path, str):
        try:
            path = path.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise error(EINVAL) from None
    if 0 in path:  # a tenth of the time that b"\0" takes
        raise error(EINVAL)
    return path


def decode(path: bytes) -> str:
    """A path as text; the inverse of `encode`."""
    return path.decode("utf-8", "surrogateescape")
