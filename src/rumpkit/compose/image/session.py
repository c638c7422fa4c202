"""Images opened for one command: a kernel with the file systems and a disk for each image, and nothing else.

A session holds the schedule and the locks of its mounts from the first image until its end: one command is one caller.  What it
writes is gathered (`storage`), and becomes the images' when `commit` is called; `close` without it leaves them as they were.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, cast, final

from ...kern.abi.errno import EINVAL, EIO, ELOOP, ENOENT, ENOTDIR, EROFS
from ...kern.abi.fcntl import O_RDONLY, O_RDWR, S_IFDIR, S_IFLNK, SYMLOOP_MAX
from ...vfs.types import AUTO
from .address import Address
from .inside import Inside
from .node import Node, failure
from .outside import outside
from .packed import OCI, is_container, open_layers, open_packed
from .storage import Storage, open_storage

if TYPE_CHECKING:
    from ...dev.disks import Disks
    from ...dev.partition import Partition
    from ...hyper.calls import Hypercalls
    from ...hyper.mutex import Mutex
    from ...kern.device import Device
    from ...kern.kernel import RumpKernel
    from ...vfs.types import OptionValue, Recognition
    from ...vfs.vfs import Vfs
    from ...vfs.vnode import Mount, Vnode

NOT_ON_DISKS: Final = ("devfs", "hostfs", "nullfs", "procnet")
"""File systems that no image can hold."""


class Interrupted(KeyboardInterrupt):
    """A signal that was heeded between two steps, and not within one."""


@final
class Image:
    """One open image."""

    def __init__(self, path: str, name: str, storage: Storage, write: bool) -> None:
        self.path: str = path
        """As it was first given."""
        self.name: str = name
        """Its disk's name."""
        self.storage: Storage = storage
        self.write: bool = write


@final
class Session:
    """All images of one command."""

    def __init__(
        self, in_place: bool = False, host: "Hypercalls | None" = None, components: tuple[str, ...] = ()
    ) -> None:
        """`in_place` writes to images as it goes; without `host` there is one of its own, whose clock stands still where
        SOURCE_DATE_EPOCH says so.  `components` are those that the kernel has besides file systems."""
        self._components: tuple[str, ...] = components
        self.in_place: bool = in_place
        self.host: Hypercalls = plain_host() if host is None else host
        self._kernel: RumpKernel | None = None
        self._images: dict[str, Image] = {}
        self._devices: dict[str, Device] = {}
        self._mounts: dict[tuple[str, str], Mount] = {}
        """By image and partition as they were named, and by device."""
        self._locks: list[Mutex] = []

    # Images --------------------------------------------------------------------------------------------

    def image(self, path: str, write: bool = False) -> Image:
        """Open an image, once.  Raises OSError: what the host says, EROFS where it is open for reading only."""
        key = os.path.realpath(path)
        known = self._images.get(key)
        if known is not None:
            if write and not known.write:
                raise failure(EROFS, "it is open for reading already", path)
            return known
        kernel = self.kernel()
        self.host.unschedule()
        try:
            storage = None if write else open_packed(self.host, path)
            storage = storage or open_storage(self.host, path, write, self.in_place)
        finally:
            self.host.schedule()
        image = Image(path, f"disk{len(self._images)}", storage, write)
        cast("Disks", kernel.service("Disks")).attach(image.name, storage.backend)
        self._images[key] = image
        return image

    def changed(self) -> list[str]:
        """The images that are open for writing, as they were named."""
        return [image.path for image in self._images.values() if image.write]

    def device(self, address: Address, write: bool = False) -> "Device":
        """The block device that an address means: a partition, or the whole image.  Closed with the session.  Raises
        OSError."""
        from .contents import choose

        with named(address.whole()):
            return choose(self, self.image(address.image, write), address).device

    def part(self, image: Image, partition: "Partition | None") -> "Device":
        """The block device of a partition (None: of the whole image), open; made when it is first asked for."""
        name = image.name if partition is None else f"{image.name}p{partition.number}"
        known = self._devices.get(name)
        if known is None:
            if partition is not None:
                from ...dev.partition import PartitionBackend

                window = PartitionBackend(image.storage.backend, partition.start, partition.size)
                cast("Disks", self.kernel().service("Disks")).attach(name, window)
            known = self.vfs().device(name).open(O_RDWR if image.write else O_RDONLY)
            self._devices[name] = known
        return known

    def recognise(self, device: "Device") -> "Recognition | None":
        """What file system a device holds."""
        found = self.vfs().types.recognise(device)
        return None if found is None else found[1]

    def mount(
        self,
        address: Address,
        write: bool = False,
        options: "Mapping[str, OptionValue] | None" = None,
        kind: str = AUTO,
    ) -> "Mount":
        """Mount the file system that an address means, once; of type `kind`, or whatever it is.  Raises OSError, with a text that names
        image and reason."""
        from .contents import choose

        with named(address.whole()):
            if not os.path.exists(address.image) or os.path.isdir(address.image):
                layers = self._layers(address, write)
                if layers is not None:
                    return layers
            image = self.image(address.image, write)
            key = (image.name, address.partition)
            known = self._mounts.get(key)
            if known is not None:
                return known
            volume = choose(self, image, address)
            device = volume.device
            if volume.found is None and kind == AUTO:
                names = ", ".join(name for name in self.vfs().types.names() if name not in (*NOT_ON_DISKS, "tmpfs"))
                raise failure(EINVAL, volume.problem or f"it holds no file system of a known type (known: {names})")
            known = self._mounts.get((device.name, ""))
            if known is not None:
                self._mounts[key] = known
                return known
            mount = self._mounts[key] = self.mount_device(device, image.write, options, kind)
            return mount

    def mount_device(
        self,
        device: "Device",
        write: bool = True,
        options: "Mapping[str, OptionValue] | None" = None,
        kind: str = "auto",
    ) -> "Mount":
        """Mount the file system on one of the session's devices.  Raises OSError."""
        mount = self._mount(f"/{device.name}", device.name, {**(options or {}), "read_only": not write}, kind)
        self._mounts[device.name, ""] = mount
        return mount

    def _mount(self, place: str, source: str, options: "Mapping[str, OptionValue]", kind: str) -> "Mount":
        self.vfs().make_directories(place)
        mount = self.vfs().mount(kind, place, options, source)
        if mount.lock is not None:
            mount.lock.acquire()
            self._locks.append(mount.lock)
        return mount

    def _layers(self, address: Address, write: bool) -> "Mount | None":
        """A container image, mounted; None where the address means none."""
        source = address.whole()
        known = self._mounts.get((source, OCI))
        if known is not None or not is_container(source):
            return known
        if write:
            raise failure(EROFS, "a container image can only be read")
        disks = cast("Disks", self.kernel().service("Disks"))
        self.host.unschedule()
        try:
            layers = open_layers(self.host, source)
        finally:
            self.host.schedule()
        names = []
        for storage in layers:
            names.append(f"disk{len(self._images)}")
            self._images[f"{source}\0{len(names)}"] = Image(source, names[-1], storage, False)
            disks.attach(names[-1], storage.backend)
        mount = self._mount(f"/{names[0]}", ",".join(names), {"whiteouts": True, "read_only": True}, "tar")
        self._mounts[source, OCI] = mount
        return mount

    def root(self, address: Address, write: bool = False) -> Inside:
        """The root directory of a file system."""
        return Inside(self.mount(address, write).root)

    # Files ---------------------------------------------------------------------------------------------

    def node(self, address: Address, write: bool = False, follow: bool = True) -> Node:
        """The file that an address means, of an image or of the host.  Raises OSError, which names it."""
        found = self.find(address, write, follow)
        if found is None:
            raise failure(ENOENT, place=address.text)
        return found

    def find(self, address: Address, write: bool = False, follow: bool = True) -> Node | None:
        """As `node`; None where nothing has this name in a directory that is there."""
        with named(address.text):
            if not address.inside:
                try:
                    return outside(os.fsencode(address.path), follow)
                except FileNotFoundError:
                    if not os.path.isdir(os.path.dirname(address.path) or "."):
                        raise
                    return None
            root = self.root(address, write).vnode
            names = _names(address.path)
            directory = walk(root, names[:-1])
            if not names or names[-1] == b"..":
                return Inside(walk(root, names))
            vnode = directory.lookup(names[-1]) if directory.kind == S_IFDIR else walk(directory, names[-1:])
            if vnode is not None and vnode.kind == S_IFLNK and (follow or address.path.endswith("/")):
                try:
                    vnode = walk(root, names)
                except OSError as problem:
                    if problem.errno != ENOENT:
                        raise
                    return None  # it leads nowhere
            return None if vnode is None else Inside(vnode)

    def place(self, address: Address, write: bool = False) -> tuple[Node, bytes]:
        """The directory in which an address is, and its last name; the root has the name b"".  Raises OSError."""
        with named(address.text):
            if not address.inside:
                path = os.fsencode(address.path.rstrip("/") or "/")
                head, tail = os.path.split(path)
                if tail in (b"", b".", b".."):
                    return outside(path), b""
                return outside(head or b"."), tail
            root = self.root(address, write).vnode
            names = _names(address.path)
            if not names or names[-1] == b"..":
                return Inside(walk(root, names)), b""
            return Inside(walk(root, names[:-1])), names[-1]

    # The kernel ----------------------------------------------------------------------------------------

    def kernel(self) -> "RumpKernel":
        """The kernel, made when it is first needed; the schedule is held from then on."""
        if self._kernel is None:
            self.host.enter()
            try:
                self._kernel = make_kernel(self.host, self._components)
            except BaseException:
                self.host.leave()
                raise
        return self._kernel

    def vfs(self) -> "Vfs":
        """Its vfs."""
        return cast("Vfs", self.kernel().service("Vfs"))

    # Lending -------------------------------------------------------------------------------------------

    def lend(self) -> None:
        """Give up the schedule and the mounts' locks, so that processes of the kernel use what is mounted, until `take_back`."""
        for lock in self._locks:
            lock.release()
        self.host.leave()

    def take_back(self) -> None:
        """The inverse of `lend`: once its processes are done, before anything else."""
        self.host.enter()
        for lock in self._locks:
            lock.acquire()

    # The end -------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Make all changes the images': unmount what is mounted, then let each image's storage commit.  Ends the session.

        Raises OSError; what unmounting raises, as EIO where a file system gave up writing, is before anything is committed.
        """
        with named(", ".join(self.changed())):
            self._shut()
        for image in self._images.values():
            with named(image.path):
                if image.write:
                    _commit(image)
                else:
                    image.storage.discard()
        self._images.clear()

    def close(self, orderly: bool = True) -> None:
        """End the session; what has not been committed is forgotten.  File systems that are written in place are unmounted, unless
        the end is not `orderly`: then they are left to their journals.  A second call does nothing."""
        images = list(self._images.values())
        self._images.clear()
        try:
            if orderly and (self.in_place or not any(image.write for image in images)):
                self._shut()
            else:
                self._abandon()
        finally:
            for image in images:
                image.storage.discard()

    def _abandon(self) -> None:
        """Let go of the kernel as it is: what it has not written will never be."""
        if self._kernel is not None:
            self._kernel = None
            for mount in self._mounts.values():
                mount.finished = True  # the background, which may wait for its lock, leaves it alone
            for lock in self._locks:
                with suppress(RuntimeError):  # the end came while it was lent
                    lock.release()
            self._locks.clear()
            try:
                self.host.leave()
            except RuntimeError:
                pass  # the end came in a block device, off the schedule

    def _shut(self) -> None:
        """Unmount everything and let the disks go.  Raises OSError where what was written does not reach the disk."""
        kernel = self._kernel
        if kernel is None:
            return
        self._kernel = None
        for lock in self._locks:
            lock.release()
        self._locks.clear()
        self._mounts.clear()
        try:
            cast("Vfs", kernel.service("Vfs")).close()
        finally:
            for device in self._devices.values():
                device.close(self.host.now)
            self._devices.clear()
            cast("Disks", kernel.service("Disks")).close()
            kernel.close()
            self.host.leave()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.close(kind is None or issubclass(kind, (OSError, Interrupted)))


def _commit(image: Image) -> None:
    """Commit one image.  Raises OSError, which names it, whatever file beside it has made trouble."""
    try:
        image.storage.commit()
    except OSError as problem:
        if problem.filename == image.path:
            raise
        text = f"its changes can't be committed: {problem.strerror or problem}"
        raise failure(problem.errno or EIO, text, image.path) from None


def _names(path: str) -> list[bytes]:
    return [name for name in os.fsencode(path).split(b"/") if name not in (b"", b".")]


def walk(root: "Vnode", names: list[bytes]) -> "Vnode":
    """What `names` lead to from the root of a file system, links followed within it.  Raises ENOENT, ENOTDIR, ELOOP."""
    at = root
    links = 0
    pending = names[::-1]
    while pending:
        name = pending.pop()
        if at.kind != S_IFDIR:
            raise failure(ENOTDIR)
        if name == b"..":
            at = at if at is root else at.parent()
            continue
        found = at.lookup(name)
        if found is None:
            raise failure(ENOENT)
        if found.kind == S_IFLNK:
            links += 1
            if links > SYMLOOP_MAX:
                raise failure(ELOOP)
            target = found.readlink()
            if target.startswith(b"/"):
                at = root
            pending += [part for part in target.split(b"/") if part not in (b"", b".")][::-1]
        else:
            at = found
    return at


def make_kernel(host: "Hypercalls", components: tuple[str, ...] = ()) -> "RumpKernel":
    """A kernel with all file systems and no network, and with `components`.  On the schedule."""
    from ...dev import components as _dev
    from ...fs import components as _fs
    from ...kern.component import registered
    from ...kern.kernel import RumpKernel
    from ...vfs import components as _vfs

    assert _dev and _fs and _vfs  # importing them registers what they have
    types = [one.name for one in registered() if one.faction == "fs" and one.name not in NOT_ON_DISKS]
    kernel = RumpKernel(host, ("disks", "vfs", *types, *components))
    cast("Vfs", kernel.service("Vfs")).mount("tmpfs", "/")
    return kernel


def plain_host() -> "Hypercalls":
    """The host of a command: the present time and real randomness, or SOURCE_DATE_EPOCH and what follows from it."""
    from ...hosts.plain import PlainHost

    epoch = source_date_epoch()
    return PlainHost() if epoch is None else PlainHost(epoch * 10**9, b"SOURCE_DATE_EPOCH=%d" % epoch)


def source_date_epoch() -> int | None:
    """SOURCE_DATE_EPOCH (reproducible-builds.org), in seconds since 1970; None where it isn't set.  Raises EINVAL."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise failure(EINVAL, f"{text!r} is no number of seconds since 1970", "SOURCE_DATE_EPOCH")
    return int(text)


@contextmanager
def named(place: str) -> Iterator[None]:
    """Errors from within name `place`, unless they name something already."""
    try:
        yield
    except OSError as problem:
        if not isinstance(problem.filename, str):
            problem.filename = place
        raise
