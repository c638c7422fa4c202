"""The images that programs have as their roots, mounted; those that can only be read, with a layer in memory over them.

Above `storage`, which attaches and mounts, and `oci`.  The layer is as a container's: it is all the kernel's programs', and goes with the
kernel.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from ..kern.abi.fcntl import MNT_DETACH
from .errors import ConfigError
from .record import replace
from .roots import image_mounts
from .spec import KernelSpec, MountSpec, Spec
from .storage import attach_source, look, mount_one, require_type, scheduled, without_disk

if TYPE_CHECKING:
    from ..hyper.calls import Hypercalls
    from ..kern.kernel import RumpKernel
    from ..vfs.vfs import Vfs
    from .roots import Image

ROOTS: Final = "a root is a directory, an image with a file system, a tar archive or a container image"
WRITABLE: Final = "_writable"
"""What is behind the key of a root in that of what may be done to it."""


def open_images(host: "Hypercalls", kernel: "RumpKernel", spec: Spec) -> None:
    """Mount the images that programs have as their roots.  Off the schedule.  Raises ConfigError."""
    for image, mount in image_mounts(spec):
        try:
            _open(host, kernel, image, mount, spec.kernel)
        except ConfigError as problem:
            text = problem.message
            if image.source not in text:
                text = f"{image.source!r} can't be a root: {text}"
            key = image.key + WRITABLE if problem.key == WRITABLE else image.key
            raise ConfigError(text, key=key, hint=problem.hint or ROOTS) from None


def _open(host: "Hypercalls", kernel: "RumpKernel", image: "Image", mount: MountSpec, own: KernelSpec) -> None:
    vfs = cast("Vfs", kernel.service("Vfs"))
    if image.writable and os.path.isfile(image.source) and look(image.source) == (True, False):
        if not os.access(image.source, os.W_OK):
            raise _unwritable("you may not write to it")
    attached = attach_source(host, kernel, mount, not image.writable, own.root_platform)
    container = bool(attached.options.get("whiteouts"))
    if own.root_platform and not container and image.key == "kernel.root":
        text = "root_platform chooses among a container image's, and this is none"
        raise ConfigError(text, hint="leave root_platform out")
    try:
        only_read = scheduled(host, partial(vfs.type_of, attached.kind, attached.source)).read_only
    except OSError:
        only_read = False  # mounting it says why
    if not only_read or not (container if image.writable is None else image.writable):
        if image.writable and not only_read and not look(image.source)[0]:
            raise _unwritable("it is compressed, and is not compressed again")
        _mount(host, vfs, attached, partial(mount_one, vfs, attached))
        return
    _mount(host, vfs, attached, partial(_mount_layered, vfs, attached, own.scratch))
    if container:
        from .oci.prepare import defaults_of

        with suppress(OSError):  # who starts a program there is told
            said = defaults_of(image.source, own.root_platform)
            if said is not None and said.cwd:
                root = scheduled(host, partial(vfs.resolve, image.place))
                scheduled(host, partial(vfs.make_directories, said.cwd, 0o755, root))


def _mount(host: "Hypercalls", vfs: "Vfs", mount: MountSpec, call: Callable[[], None]) -> None:
    try:
        scheduled(host, call)
    except OSError as problem:
        require_type(vfs, mount, problem, "")
        raise ConfigError(without_disk(mount, problem)) from None


def _unwritable(why: str) -> ConfigError:
    hint = "leave root_writable out: then what programs write is kept in memory"
    return ConfigError(f"root_writable writes to it, and {why}", key=WRITABLE, hint=hint)


def _mount_layered(vfs: "Vfs", mount: MountSpec, size: str) -> None:
    """A union, of which alone the file system below can be reached."""
    place = f"{mount.path}.below"
    mount_one(vfs, replace(mount, path=place))
    mount_one(vfs, MountSpec(mount.path, "union", place, size=size))
    vfs.unmount(place, flags=MNT_DETACH)
