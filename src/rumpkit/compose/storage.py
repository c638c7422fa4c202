"""From a config's [[disk]], [[mount]] and [[etfs]] to disks and mounted file systems, on the way from a spec to a booted kernel."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar, cast

from ..hyper.calls import Hypercalls
from ..kern.abi.errno import EINVAL, ENODEV
from ..kern.abi.fcntl import S_IFBLK
from ..kern.kernel import RumpKernel
from .errors import ConfigError, suggest
from .record import replace
from .roots import complete_roots, images
from .spec import DiskSpec, EtfsSpec, MountSpec, Spec
from .values import parse_size

if TYPE_CHECKING:
    from ..dev.disks import Disks
    from ..fs.hostfs.type import Hostfs
    from ..hyper.block import BlockBackend
    from ..vfs.vfs import Vfs

Result = TypeVar("Result")

COMPONENTS: Final[dict[str, tuple[str, ...]]] = {
    "hostfs": ("hostfs",),
    "null": ("nullfs",),
    "union": ("union",),
    "procnet": ("procnet",),
    "ext2": ("ext",),
    "ext3": ("ext",),
    "ext4": ("ext",),
    "fat": ("fat",),
    "vfat": ("fat",),
    "squashfs": ("squashfs",),
    "tar": ("tar",),
    "oci": ("tar",),
    "auto": ("ext", "fat", "squashfs", "tar"),
}
"""The components that a type of mount takes, other than those that every kernel with files has."""
LAYERED: Final[dict[str, tuple[str, ...]]] = dict.fromkeys(("squashfs", "tar", "oci", "auto"), ("union",))
"""What else an image of such a type takes that may have a layer over it."""

_MAYBE_PACKED: Final = ("auto", "tar", "oci")
"""Types of mounts whose source may be compressed, or a container image."""
_NOT_OF_THE_HOST: Final = ("tmpfs", "devfs", "null", "union", "procnet")


def storage_components(spec: Spec) -> tuple[str, ...]:
    """The components that a spec's disks and mounts ask for."""
    names: list[str] = []
    roots = images(spec)
    if (
        spec.disk
        or roots
        or any(mount.source for mount in spec.mount)
        or any(entry.type == "block" for entry in spec.etfs)
    ):
        names.append("disks")
    if any(entry.type == "file" for entry in spec.etfs):
        names.append("hostfs")
    for mount in spec.mount:
        names += COMPONENTS.get(mount.kind, ())
    for image in roots:
        names += COMPONENTS.get(image.type, ())
        if image.writable is not False:
            names += LAYERED.get(image.type, ())
    return tuple(dict.fromkeys(names))


def complete(folder: str, spec: Spec) -> None:
    """Make the host paths in a spec absolute, which are relative to the config's folder, and fill in the mounts' types."""
    complete_roots(folder, spec)
    for disk in spec.disk:
        if disk.source:
            disk.source = os.path.join(os.path.abspath(folder), disk.source)
    for entry in spec.etfs:
        entry.source = os.path.join(os.path.abspath(folder), entry.source)
    for mount in spec.mount:
        mount.type = mount.kind
        if is_host_path(mount, spec):
            mount.source = os.path.join(os.path.abspath(folder), mount.source)


def is_host_path(mount: MountSpec, spec: Spec) -> bool:
    """Whether a mount's source is a path of the host's, and not a device of the kernel's."""
    source = mount.source
    if source and mount.kind == "hostfs":
        return True
    if not source or mount.kind in _NOT_OF_THE_HOST or source.startswith("/dev/"):
        return False
    return all(disk.name != source for disk in spec.disk)


def open_storage(host: Hypercalls, kernel: RumpKernel, spec: Spec) -> None:
    """Attach the disks and mount everything.  Off the schedule.  Raises ConfigError."""
    if kernel.service("Vfs") is None:
        return
    for index, disk in enumerate(spec.disk):
        try:
            _attach(host, kernel, disk)
        except ConfigError as problem:
            raise problem.under(f"disk[{index}].source" if disk.source else f"disk[{index}]") from None
    mounts = list(spec.mount)
    for index, mount in enumerate(mounts):
        if is_host_path(mount, spec):
            attach = _attach_directory if mount.kind == "hostfs" else attach_source
            try:
                mounts[index] = attach(host, kernel, mount)
            except ConfigError as problem:
                raise problem.under(f"mount[{index}].source") from None
    scheduled(host, partial(_mount_all, kernel, mounts, [mount.source for mount in spec.mount]))
    for index, entry in enumerate(spec.etfs):
        try:
            _open_entry(host, kernel, entry)
        except ConfigError as problem:
            raise problem.under(f"etfs[{index}]") from None

    if images(spec):
        from .layers import open_images

        open_images(host, kernel, spec)


def _open_entry(host: Hypercalls, kernel: RumpKernel, entry: EtfsSpec) -> None:
    """Show a host file at a path.  Raises ConfigError."""
    vfs = cast("Vfs", kernel.service("Vfs"))
    as_mount = MountSpec(entry.path, "hostfs", entry.source, read_only=entry.read_only)
    try:
        if entry.type == "block":
            name = attach_source(host, kernel, as_mount).source
            number = scheduled(host, partial(vfs.device, name)).number
            scheduled(host, partial(vfs.make_file, entry.path, S_IFBLK | 0o660, number))
            return
        name = _attach_directory(host, kernel, as_mount, single=True).source
        scheduled(host, partial(vfs.make_file, entry.path))
        scheduled(host, partial(vfs.mount, "hostfs", entry.path, {"read_only": entry.read_only}, name))
    except OSError as problem:
        raise ConfigError(f"{entry.source!r} cannot be {entry.path} of the kernel: {problem.strerror}") from None


def attach_source(
    host: Hypercalls, kernel: RumpKernel, mount: MountSpec, snapshot: bool = False, platform: str = ""
) -> MountSpec:
    """The mount with the name of a disk that is its host file, or with `snapshot` a snapshot of it.  What is packed is unpacked before."""
    try:
        disk, only_read = look(mount.source)
        if mount.kind in _MAYBE_PACKED and not disk:
            return _attach_packed(host, kernel, mount, snapshot, platform)
    except OSError as problem:
        raise ConfigError(f"{mount.source!r} cannot be opened: {problem.strerror or problem}") from None
    name, read_only = _free_name(kernel), mount.read_only or only_read
    _attach(host, kernel, DiskSpec(name, mount.source, read_only=read_only, snapshot=snapshot and not read_only))
    return replace(mount, source=name)


def _attach_packed(host: Hypercalls, kernel: RumpKernel, mount: MountSpec, snapshot: bool, platform: str) -> MountSpec:
    """The mount of an archive or a container image, whose layers are disks each.  Raises OSError, ConfigError."""
    from .oci.prepare import prepare

    names = []
    with ExitStack() as held:
        found = prepare(mount.source, mount.kind, held, platform)
        for path in [place.path for place in found.places] or [mount.source]:
            names.append(_free_name(kernel))
            changing = snapshot and found.type == "auto" and not look(path)[1]
            _attach(host, kernel, DiskSpec(names[-1], path, read_only=not changing, snapshot=changing))
    options = {**found.options, **mount.options}
    return replace(mount, type=found.type, source=",".join(names), options=options)


def look(path: str) -> tuple[bool, bool]:
    """Whether a host path is a disk as it is, so that nothing has to be unpacked; and whether what is on it can only be read."""
    from ..fs.tar.header import BLOCK, is_header
    from .image.foreign import packed

    if not os.path.exists(path) or os.path.isdir(path):
        return False, False
    with open(path, "rb") as file:
        head = file.read(BLOCK)
    archive = is_header(head)
    return not archive and not packed(head), archive or head.startswith(b"hsqs")


def _free_name(kernel: RumpKernel) -> str:
    """A name for a disk that has none in the config."""
    disks = cast("Disks", kernel.service("Disks"))
    taken = {disk.name for disk in disks.disks()}
    return next(name for name in (f"disk{number}" for number in range(len(taken) + 1)) if name not in taken)


def _attach_directory(host: Hypercalls, kernel: RumpKernel, mount: MountSpec, single: bool = False) -> MountSpec:
    """The mount, whose directory of the host's (with `single`: file) is attached now."""
    from ..hosts.posix.hostdir import PosixDirectory

    hostfs = cast("Hostfs", kernel.service("Hostfs"))
    name = mount.source if not mount.read_only else f"{mount.source} (read only)"
    try:
        directory = PosixDirectory(host, mount.source, mount.read_only, single=single)
    except OSError as problem:
        raise ConfigError(f"{mount.source!r} cannot be opened: {problem.strerror}") from None
    if not scheduled(host, partial(hostfs.attach, name, directory)):
        directory.close()
    return replace(mount, source=name)


def _attach(host: Hypercalls, kernel: RumpKernel, disk: DiskSpec) -> None:
    disks = cast("Disks", kernel.service("Disks"))
    backend = _open(host, disk)
    try:
        scheduled(host, partial(disks.attach, disk.name, backend))
    except OSError as problem:
        backend.close()
        raise ConfigError(f"disk {disk.name!r} cannot be attached: {problem.strerror}") from None


def _open(host: Hypercalls, disk: DiskSpec) -> "BlockBackend":
    """A disk's storage.  Raises ConfigError where the host refuses."""
    if not disk.source:
        from ..dev.ramdisk import RamDisk

        return RamDisk(parse_size(disk.size))
    from .image.storage import open_disk

    try:
        return open_disk(host, disk.source, disk.read_only, disk.snapshot)
    except OSError as problem:
        raise ConfigError(f"{disk.source!r} cannot be opened: {problem.strerror}") from None


def _mount_all(kernel: RumpKernel, mounts: list[MountSpec], sources: list[str]) -> None:
    """`sources` are those that the config names."""
    vfs = cast("Vfs", kernel.service("Vfs"))
    ordered = sorted(
        enumerate(mounts), key=lambda pair: pair[1].path.rstrip("/").count("/") if pair[1].path != "/" else -1
    )
    if not any(mount.path == "/" for mount in mounts):
        vfs.mount("tmpfs", "/")
    for index, mount in ordered:
        try:
            mount_one(vfs, mount)
        except OSError as problem:
            key, of_host = f"mount[{index}]", sources[index] != mount.source
            require_type(vfs, mount, problem, f"{key}.type")
            text = f"{sources[index]!r} as {mount.kind}" if sources[index] else mount.kind
            text += f" cannot be mounted on {mount.path}: {without_disk(mount, problem)}"
            given = mount.size or (mount.source and not of_host)
            hint = f"does {mount.kind} take a source, this size?" if problem.errno == EINVAL and given else ""
            raise ConfigError(text, key=f"{key}.source" if of_host else key, hint=hint) from None
    if not any(mount.path.rstrip("/") == "/dev" for mount in mounts):
        vfs.make_directories("/dev")
        vfs.mount("devfs", "/dev")


def mount_one(vfs: "Vfs", spec: MountSpec) -> None:
    """Mount a file system.  Raises OSError."""
    options: dict[str, int | bool | str] = dict(spec.options)
    if spec.size:
        options["size"] = parse_size(spec.size)
    if spec.read_only:
        options["read_only"] = True
    if spec.path != "/":
        vfs.make_directories(spec.path)
    vfs.mount(spec.kind, spec.path, options, spec.source)


def require_type(vfs: "Vfs", spec: MountSpec, problem: OSError, key: str) -> None:
    """Raise ConfigError where a mount has failed because there is no such type."""
    known = {*vfs.types.names(), "auto"}
    if problem.errno == ENODEV and spec.kind not in known:
        hint = suggest(spec.kind, {*known, *COMPONENTS})
        raise ConfigError(f"there is no file system type {spec.kind!r}", key=key, hint=hint) from None


def without_disk(spec: MountSpec, problem: OSError) -> str:
    """What is wrong, without the name of a disk that the config has not given."""
    return (problem.strerror or "").removeprefix(f"{spec.source} ")


def scheduled(host: Hypercalls, call: Callable[[], Result]) -> Result:
    host.enter()
    try:
        return call()
    finally:
        host.leave()
