"""The registry of file system types, and the options that each takes, typed and checked."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from mypy_extensions import mypyc_attr

from ..kern.abi.errno import EINVAL, ENODEV, ENOTSUP, error
from ..kern.device import Device
from .vnode import Mount

if TYPE_CHECKING:
    from .vfs import Vfs

OptionValue: TypeAlias = int | bool | str


class Option(NamedTuple):
    """One option of a mount or a format: an int from `low` to `high`, a bool, or a text (whose bounds mean nothing)."""

    name: str
    default: OptionValue
    low: int
    high: int
    help: str


GENERIC_OPTIONS: Final = (
    Option("read_only", False, 0, 1, "refuse every change (EROFS)"),
    Option("access_times", True, 0, 1, "keep access times as relatime does"),
    Option("devices", True, 0, 1, "let special files open devices"),
)
"""What every mount takes."""


AUTO: Final = "auto"
"""The type that stands for whatever the source holds (`TypeRegistry.recognise`)."""


class Recognition(NamedTuple):
    """What a file system type sees on a device."""

    kind: str
    """The type's name: "ext4"."""
    label: str = ""
    uuid: str = ""
    """As such file systems' tools show it: "c3f3c5a8-...", "1A2B-3C4D"."""
    size: int = 0
    """Bytes that the file system takes of the device."""
    block_size: int = 0
    used: int = -1
    """Bytes in use; -1 where that takes more than a look."""
    features: tuple[str, ...] = ()
    state: str = ""
    """Such as "clean", or "needs recovery"."""


class Finding(NamedTuple):
    """One thing that a check found wrong."""

    text: str
    """What is wrong: "inode 12 is in use and free"."""
    where: str = ""
    """In which part or file: "group 3", "/etc/passwd"."""
    fixed: bool = False
    fatal: bool = False
    """Nothing behind it can be checked or repaired."""


class Estimate(NamedTuple):
    """What an image is to hold."""

    files: int
    """Regular and special files and symbolic links."""
    directories: int
    sizes: list[int]
    """Of each regular file, in bytes; holes don't count."""
    name_bytes: int
    """Of all names together."""
    xattr_bytes: int = 0
    hole_bytes: int = 0
    """Of all holes together, for who has none."""
    root_names: int = 0
    """How many of the names are in the root directory."""
    root_name_bytes: int = 0
    """Of these together."""


@mypyc_attr(allow_interpreted_subclasses=True)
class FileSystemType:
    """A kind of file system that can be mounted.  Subclass it, and register it with `Vfs.types.register`.

    One implementation registers an object for each of its names (ext2, ext3, ext4).  Devices are handed in open
    (`Device.open`), or are opened by `make`; reading one sleeps off the schedule.
    """

    def __init__(self, name: str, options: tuple[Option, ...] = (), format_options: tuple[Option, ...] = ()) -> None:
        self.name: str = name
        self.options: tuple[Option, ...] = options
        """Of its mounts, besides GENERIC_OPTIONS."""
        self.format_options: tuple[Option, ...] = format_options
        """Of `format`."""
        self.read_only: bool = False
        """What it mounts can only be read: a mount whose options say nothing of it is read-only."""

    def make(self, vfs: "Vfs", source: str, options: Mapping[str, OptionValue]) -> Mount:
        """A new instance, not yet in the tree.  `options` has a value for each of the type's options.

        Raises ENOENT, ENXIO, ENOTBLK for the source, EINVAL for what is on it.
        """
        raise NotImplementedError

    def recognise(self, device: Device) -> Recognition | None:
        """What is on the device, if it is a file system of this type, at whatever price a few reads have.  Never raises
        for what is there, only EIO where the device can't be read."""
        return None

    def format(self, vfs: "Vfs", device: Device, options: Mapping[str, OptionValue]) -> None:
        """Make a new, empty file system on the whole device.  `options` has a value for each of `format_options`.

        Raises ENOSPC where the device is too small, EFBIG where it is too large, EINVAL for options that don't go
        together, EROFS, EIO, ENOTSUP.
        """
        raise error(ENOTSUP)

    def check(self, vfs: "Vfs", device: Device, repair: bool, report: Callable[[Finding], None]) -> bool:
        """Check the file system on the device, which nobody has mounted, and with `repair` mend what can be; whether it
        is consistent now.  Raises EUCLEAN where there is no file system of this type, EROFS, EIO, ENOTSUP."""
        raise error(ENOTSUP)

    def estimate(self, files: Estimate) -> int:
        """Bytes of an image that holds that much, with the options of `fitting`, else the default ones; rather too many than too few.
        Raises ENOTSUP."""
        raise error(ENOTSUP)

    def fitting(self, files: Estimate, given: "Mapping[str, OptionValue]") -> "dict[str, OptionValue]":
        """Options of a format that suit these files better than the default ones do, none of those that were `given` or go against
        them."""
        return {}


def check_format_options(kind: FileSystemType, given: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """All options of a format: those given, and the defaults.  Raises EINVAL, with a text that says why."""
    return _complete(f"{kind.name} has no format option", kind.format_options, given)


def check_options(kind: FileSystemType, given: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """All options of a mount of `kind`: those given, and the defaults.  Raises EINVAL, with a text that says why."""
    return _complete(f"{kind.name} has no mount option", (*GENERIC_OPTIONS, *kind.options), given)


def check_remount(given: Mapping[str, OptionValue]) -> None:
    """Raise EINVAL unless all options are of those that a mount can change, with a text that says why."""
    _complete("a mount cannot change its option", GENERIC_OPTIONS, given)


def _complete(lacks: str, options: tuple[Option, ...], given: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    known = {option.name: option for option in options}
    for name, value in given.items():
        option = known.get(name)
        if option is None:
            raise OSError(EINVAL, f"{lacks} {name!r}; it has {', '.join(known)}")
        _check_value(option, value)
    return {name: given.get(name, option.default) for name, option in known.items()}


def _check_value(option: Option, value: OptionValue) -> None:
    wanted = type(option.default)
    if type(value) is not wanted:
        raise OSError(EINVAL, f"option {option.name} must be of type {wanted.__name__}, not {value!r}")
    if isinstance(value, int) and not option.low <= value <= option.high:
        raise OSError(EINVAL, f"option {option.name} must be from {option.low} to {option.high}, not {value}")


class TypeRegistry:
    """File system types by name."""

    def __init__(self) -> None:
        self._types: dict[str, FileSystemType] = {}

    def register(self, kind: FileSystemType) -> None:
        """Make `kind` known.  Its name must be new."""
        if kind.name in self._types:
            raise ValueError(f"file system type {kind.name!r} is registered already")
        self._types[kind.name] = kind

    def find(self, name: str) -> FileSystemType:
        """The type called `name`.  Raises ENODEV."""
        kind = self._types.get(name)
        if kind is None:
            raise error(ENODEV, name)
        return kind

    def recognise(self, device: Device) -> tuple[FileSystemType, Recognition] | None:
        """Which type the file system on a device is of: the first that says so.  Raises EIO."""
        for kind in self._types.values():
            found = kind.recognise(device)
            if found is not None:
                return self._types.get(found.kind, kind), found
        return None

    def names(self) -> list[str]:
        """What there is."""
        return list(self._types)
