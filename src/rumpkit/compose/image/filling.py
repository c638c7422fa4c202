"""Making file systems: how large one has to be for a tree, and one on a device, filled from a tree or an archive."""

from collections.abc import Callable, Mapping
from typing import IO, TYPE_CHECKING, Final

from ...kern.abi.errno import EINVAL, ENODEV
from ...kern.abi.fcntl import S_IFDIR, S_IFREG
from .copying import Copier, CopyOptions, CopyWatcher
from .inside import Inside
from .node import Node, failure
from .trees import Complaint, Walk

if TYPE_CHECKING:
    from ...kern.device import Device
    from ...vfs.types import Estimate, FileSystemType, Option, OptionValue
    from .session import Session

GRANULE: Final = 1 << 20
"""Images are multiples of this many bytes, unless a size is given."""
SMALLEST: Final = 1 << 20


def kind_of(session: "Session", name: str) -> "FileSystemType":
    """The type called `name` that can be made.  Raises ENODEV, with a text that says which there are."""
    types = session.vfs().types
    if name not in types.names() or name == "tmpfs":
        known = ", ".join(one for one in types.names() if one != "tmpfs")
        raise failure(ENODEV, f"there is no file system type {name!r} (known: {known})")
    return types.find(name)


def measure(top: Node) -> "Estimate":
    """What a tree takes: the input of `FileSystemType.estimate`."""
    from ...vfs.types import Estimate

    files = directories = names = attributes = 0
    sizes: list[int] = []
    seen: set[tuple[int, int]] = set()
    for visit in Walk(top, b".", in_order=False):
        if visit.leaving:
            continue
        names += len(visit.name)
        status = visit.node.stat()
        if visit.node.kind == S_IFDIR:
            directories += 1
        elif status.st_nlink > 1 and (status.st_dev, status.st_ino) in seen:
            continue
        else:
            files += 1
            if status.st_nlink > 1:
                seen.add((status.st_dev, status.st_ino))
            if visit.node.kind == S_IFREG:
                sizes.append(min(status.st_size, status.st_blocks * 512) if status.st_blocks else status.st_size)
        attributes += sum(len(name) + len(value) for name, value in visit.node.xattrs())
    return Estimate(files, directories, sizes, names, attributes)


def rounded(size: int) -> int:
    """A size of whole granules."""
    return max(-(-size // GRANULE) * GRANULE, SMALLEST)


def format_options(
    kind: "FileSystemType", given: Mapping[str, str], label: str = "", uuid: str = ""
) -> dict[str, "OptionValue"]:
    """Options of a format, from texts.  Raises EINVAL, with a text that says what there is."""
    known = {option.name: option for option in kind.format_options}
    texts = dict(given)
    for name, value in (("label", label), ("uuid", uuid)):
        if value:
            texts[name] = value
    values: dict[str, OptionValue] = {}
    for name, text in texts.items():
        option = known.get(name)
        if option is None:
            raise failure(EINVAL, f"{kind.name} has no option {name!r}; it has {', '.join(known)}")
        values[name] = _value(option, text)
    return values


def _value(option: "Option", text: str) -> "OptionValue":
    if isinstance(option.default, str):
        return text
    if isinstance(option.default, bool):
        words = {
            "1": True,
            "yes": True,
            "true": True,
            "on": True,
            "0": False,
            "no": False,
            "false": False,
            "off": False,
        }
        if text.lower() not in words:
            raise failure(EINVAL, f"option {option.name} is yes or no, not {text!r}")
        return words[text.lower()]
    try:
        return size_of(text)
    except ValueError:
        raise failure(EINVAL, f"option {option.name} is a number from {option.low} to {option.high}") from None


UNITS: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def size_of(text: str) -> int:
    """A number of bytes, with K, M, G or T (powers of 1024).  Raises ValueError."""
    unit = UNITS.get(text[-1:].upper(), 0)
    digits = text[:-1] if unit else text
    if not digits.isascii() or not digits.isdigit():
        raise ValueError(f"{text!r} is no size such as 512M or 2G")
    return int(digits) * (unit or 1)


def make_file_system(
    session: "Session", kind: "FileSystemType", device: "Device", options: Mapping[str, "OptionValue"]
) -> None:
    """Format a device, which is open.  Raises OSError: ENOSPC where it is too small, EINVAL for options."""
    from ...vfs.types import check_format_options

    kind.format(session.vfs(), device, check_format_options(kind, options))


Fill = Callable[[Inside, Complaint, CopyWatcher], None]
"""Puts something into the root directory of a new file system."""


def from_tree(source: Node, newest: int) -> Fill:
    """Fills with what is in a directory, all attributes kept; times later than `newest` become that (-1: none)."""

    def fill(root: Inside, complain: Complaint, watcher: CopyWatcher) -> None:
        options = CopyOptions()
        options.recursive = options.keep = True
        options.newest = newest
        copier = Copier(options, complain, watcher)
        copier.copy_content(source, root, b".")
        copier.close()

    return fill


def from_archive(stream: IO[bytes], newest: int) -> Fill:
    """Fills with a tar archive."""

    def fill(root: Inside, complain: Complaint, watcher: CopyWatcher) -> None:
        from .unpacking import Reader

        stream.seek(0)
        Reader(stream, root, complain, watcher, newest).unpack()

    return fill
