"""Which root a program has, and what of the host it sees: from the keys of [kernel] and [[run]] to what guests take.

Above `guests.linux.root`, below `programs` and `storage`.  A directory becomes the root as it is; an image is mounted in the kernel, at a
place of its own, and comes to the programs by FUSE.
"""

import os
import stat
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ..guests.linux.places import below, real
from ..guests.linux.root import SCRATCH, Root, Scratch
from ..hyper.named import NamedTuple
from .errors import ConfigError
from .spec import MountSpec, RunSpec, Spec
from .values import parse_size

if TYPE_CHECKING:
    from .kernel import Kernel

IMAGES: Final = "/.root"
"""The kernel's directory with the images that are roots."""
OCI_LAYOUT: Final = "oci-layout"
"""The file that a directory in OCI's image layout has."""
HOST: Final = ("", "/")
_BINARIES: Final = ("bin", "sbin")
_PLACES: Final = [place for place, _ in SCRATCH]


class Image(NamedTuple):
    """An image that is a root."""

    source: str
    type: str
    writable: bool | None
    """As `root_writable` says."""
    place: str
    """Where it is mounted in the kernel."""
    key: str
    """The config's key that names it."""


class Sees(NamedTuple):
    """What a program sees of files, as its [[run]] says; what that leaves out the kernel's keys say."""

    root: str = ""
    root_writable: bool | None = None
    writable: Sequence[str] = ()
    visible: Sequence[str] = ()
    hidden: Sequence[str] = ()
    here: str = ""
    """The config's folder."""
    tmp: str = ""
    """The run's private folder, if there is one."""


ALIKE: Final = Sees()
"""As the kernel's keys say."""


def sees(run: RunSpec, here: str = "", tmp: str = "") -> Sees:
    """Of a program whose variables are expanded."""
    return Sees(run.root, run.root_writable, run.writable, run.visible, run.hidden, here, tmp)


def complete_roots(folder: str, spec: Spec) -> None:
    """Make the paths of roots absolute, and those of [kernel] that are shown; those of [[run]] may have variables still."""
    kernel = spec.kernel
    kernel.root = absolute(folder, kernel.root) if kernel.root else ""
    for run in spec.run:
        run.root = absolute(folder, run.root) if run.root else ""
    kernel.writable = [absolute(folder, path) for path in kernel.writable]
    kernel.visible = [absolute(folder, path) for path in kernel.visible]
    kernel.hidden = [absolute(folder, path) for path in kernel.hidden]


def absolute(folder: str, path: str) -> str:
    """A path of a config's, where ~ is a home."""
    return os.path.normpath(os.path.join(os.path.abspath(folder), os.path.expanduser(path)))


def images(spec: Spec) -> list[Image]:
    """The images that programs have as roots, each once.  Raises ConfigError where two would write differently, or none can."""
    _check_writable(spec)
    found: dict[str, Image] = {}
    named = [(spec.kernel.root, spec.kernel.root_type, spec.kernel.root_writable, "kernel.root")]
    for index, run in enumerate(spec.run):
        writable = spec.kernel.root_writable if run.root_writable is None else run.root_writable
        source = run.root or spec.kernel.root
        named.append((source, run.root_type or spec.kernel.root_type, writable, f"run[{index}].root"))
    if spec.run and not any(not run.root for run in spec.run):
        named = named[1:]
    for source, kind, writable, key in named:
        if source in HOST or not is_image(source, kind):
            continue
        one = found.setdefault(source, Image(source, kind or _kind(source), writable, f"{IMAGES}/{len(found)}", key))
        if one.writable != writable:
            raise ConfigError(
                "another program has this image with another root_writable", key=key, hint="say the same in both"
            )
    return list(found.values())


def _check_writable(spec: Spec) -> None:
    """Refuse a root_writable that is of the host's files.  Raises ConfigError."""
    own = spec.kernel
    for index, run in enumerate(spec.run):
        if run.root_writable and (run.root or own.root) in HOST:
            raise _without_root(f"run[{index}].root_writable")
    if own.root_writable and own.root in HOST and all(run.root in HOST for run in spec.run):
        raise _without_root("kernel.root_writable")


def _without_root(key: str) -> ConfigError:
    hint = "name a root, or what of the host's they may change, as --writable . or writable = ['data']"
    return ConfigError("is about a root of its own, and programs have the host's files here", key=key, hint=hint)


def common_root(spec: Spec) -> tuple[str, bool]:
    """The root that all programs of a config have, or else that of its kernel's keys; and whether it is the host's."""
    named = {run.root or spec.kernel.root for run in spec.run}
    root = named.pop() if len(named) == 1 else spec.kernel.root
    return root, root in HOST


def is_image(source: str, kind: str = "") -> bool:
    """Whether a root is something that the kernel mounts; else it is a directory that is one as it stands."""
    return bool(kind) or not os.path.isdir(source) or os.path.exists(os.path.join(source, OCI_LAYOUT))


def _kind(source: str) -> str:
    return "oci" if os.path.isdir(source) else "auto"


def image_mounts(spec: Spec) -> list[tuple[Image, MountSpec]]:
    """The images as mounts of the kernel."""
    return [(one, MountSpec(one.place, one.type, one.source, programs="hide")) for one in images(spec)]


def scratch_of(kernel: "Kernel") -> Scratch:
    """What the programs of a kernel have in memory."""
    if kernel.scratch is None:
        kernel.scratch = Scratch(parse_size(kernel.spec.kernel.scratch))
        kernel.on_close(kernel.scratch.close)
    return kernel.scratch


def root_of(kernel: "Kernel", program: Sees, command: Sequence[str], cwd: str, path: str) -> Root | None:
    """What a program has as its root; None: the host's files as they are, as `writable` has "/".  `path` is its PATH.

    Raises ConfigError."""
    own = kernel.spec.kernel
    source = program.root or own.root
    writable = [*own.writable, *program.writable, *([program.tmp] if program.tmp else [])]
    visible, hidden = [*own.visible, *program.visible], [*own.hidden, *program.hidden]
    for key, paths in (("writable", writable), ("visible", visible)):
        for one in paths:
            if not os.path.lexists(one):
                named = f"kernel.{key}" if one in getattr(own, key) else key
                raise ConfigError(f"{one!r} is not there on the host", key=named, hint=f"mkdir -p {one}")
    scratch = scratch_of(kernel)
    if source in HOST:
        if program.root_writable:
            raise _without_root("root_writable")
        if "/" in map(os.path.normpath, writable):
            return None
        visible += _named(command, cwd, program.here, path)
        return Root(scratch, writable=writable, visible=visible, hidden=hidden)
    may_write = own.root_writable if program.root_writable is None else program.root_writable
    if program.here and any(below(word, program.here) for word in command) and program.here not in HOST:
        visible.append(program.here)
    root = Root(scratch, "", "", not may_write, writable, visible, hidden, source)
    for image in images(kernel.spec):
        if image.source == source:
            if program.root_writable and not image.writable:
                text = "is not what it was when the image was mounted, at the kernel's boot"
                raise ConfigError(text, key="root_writable", hint="say it in [kernel], of all programs with this image")
            # What isn't written to the image is written to memory.
            return root._replace(kernel_path=image.place, read_only=kernel.is_read_only(image.place))
    if not os.path.isdir(source):
        hint = "an image is mounted at the kernel's boot, so its config has to name it: [kernel] root"
        raise ConfigError(f"{source!r} is no directory", key="root", hint=hint)
    return root._replace(source=source)


def _named(command: Sequence[str], cwd: str, here: str, path: str) -> list[str]:
    """What a program needs to see in the directories of which it has others: what its command names, with what lies beside it, its search
    path, where it is, and the config's folder."""
    found = [here, cwd]
    for word in command:
        if word.startswith("/"):
            found += [os.path.dirname(word), word]
    for directory in path.split(":"):
        above, _, name = directory.rstrip("/").rpartition("/")
        found.append(above if name in _BINARIES else directory)
    once = dict.fromkeys(os.path.normpath(one) for one in found if one.startswith("/"))
    return [one for one in once if not _covered(one) and _is_data(one)]


def _covered(path: str) -> bool:
    """Whether it is one of `SCRATCH`, or above one."""
    there = real(path)
    return any(below(place, there) for place in _PLACES)


def _is_data(path: str) -> bool:
    """Whether it is a file or a directory, and no socket."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)
