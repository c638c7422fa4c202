"""The registry of file system types, and the options that each takes, typed and checked."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from mypy_extensions import mypyc_attr

from ..kern.abi.errno import EINVAL, ENODEV, error
from .vnode import Mount

if TYPE_CHECKING:
    from .vfs import Vfs

OptionValue: TypeAlias = int | bool | str


class Option(NamedTuple):
    """One option of a mount: an int from `low` to `high`, or a bool."""

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


@mypyc_attr(allow_interpreted_subclasses=True)
class FileSystemType:
    """A kind of file system that can be mounted.  Subclass it, and register it with `Vfs.register`."""

    def __init__(self, name: str, options: tuple[Option, ...] = ()) -> None:
        self.name: str = name
        self.options: tuple[Option, ...] = options

    def make(self, vfs: "Vfs", source: str, options: Mapping[str, OptionValue]) -> Mount:
        """A new instance, not yet in the tree.  `options` has a value for each of the type's options.

        Raises ENOENT, ENXIO, ENOTBLK for the source, EINVAL for what is on it.
        """
        raise NotImplementedError


def check_options(kind: FileSystemType, given: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """All options of a mount of `kind`: those given, and the defaults.  Raises EINVAL, with a text that says why."""
    known = {option.name: option for option in (*GENERIC_OPTIONS, *kind.options)}
    for name, value in given.items():
        option = known.get(name)
        if option is None:
            raise OSError(EINVAL, f"{kind.name} has no mount option {name!r}; it has {', '.join(known)}")
        _check_value(option, value)
    return {name: given.get(name, option.default) for name, option in known.items()}


def _check_value(option: Option, value: OptionValue) -> None:
    wanted = type(option.default)
    if type(value) is not wanted:
        raise OSError(EINVAL, f"mount option {option.name} must be of type {wanted.__name__}, not {value!r}")
    if isinstance(value, int) and not option.low <= value <= option.high:
        raise OSError(EINVAL, f"mount option {option.name} must be from {option.low} to {option.high}, not {value}")


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

    def names(self) -> list[str]:
        """What there is."""
        return list(self._types)
