"""Making file systems: how large one has to be for a tree, and one on a device, filled from a tree or an archive."""

import os
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Final, final

from ...kern.abi.errno import EINVAL, ENODEV, ENOSPC, ENOTDIR
from ...kern.abi.fcntl import S_IFDIR, S_IFREG
from .address import STREAM, parse
from .compare import NAMES_LIMIT
from .copying import Copier, CopyOptions, CopyWatcher, is_left_out
from .counting import Amount, count
from .inside import Inside
from .node import Node, failure
from .session import Session
from .trees import Complaint, Walk

if TYPE_CHECKING:
    from ...kern.device import Device
    from ...vfs.types import Estimate, FileSystemType, Option, OptionValue

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


def measure(top: Node, left_out: frozenset[tuple[int, int]] = frozenset()) -> "Estimate":
    """What a tree takes, without what is `left_out`: the input of `FileSystemType.estimate`.  What can't be read counts as nothing:
    whoever copies it will hear of it."""
    from ...vfs.types import Estimate

    files = directories = names = attributes = holes = roots = root_bytes = 0
    sizes: list[int] = []
    seen: set[tuple[int, int]] = set()
    for visit in Walk(top, b".", _forgive, in_order=False):
        if visit.leaving or is_left_out(visit.node, left_out):
            continue
        names += len(visit.name)
        roots += visit.depth == 1
        root_bytes += len(visit.name) if visit.depth == 1 else 0
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
                stored = min(status.st_size, status.st_blocks * 512) if status.st_blocks else status.st_size
                sizes.append(stored)
                holes += status.st_size - stored
        try:
            attributes += sum(len(name) + len(value) for name, value in visit.node.xattrs())
        except OSError:
            pass
    return Estimate(files, directories, sizes, names, attributes, holes, roots, root_bytes)


def _forgive(path: bytes, problem: OSError) -> None:
    return None


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
        if name == "uuid" and name not in known and "volume_id" in known:
            name, text = "volume_id", _serial(text)
        option = known.get(name)
        if option is None:
            raise failure(EINVAL, f"{kind.name} has no option {name!r}; it has {', '.join(known)}")
        values[name] = _value(option, text)
    return values


def _serial(text: str) -> str:
    """FAT's serial number 1A2B-3C4D, as a decimal number.  Raises EINVAL."""
    digits = text.replace("-", "")
    try:
        if len(digits) != 8:
            raise ValueError(text)
        return str(int(digits, 16))
    except ValueError:
        raise failure(EINVAL, f"{text!r} is no serial number such as 1A2B-3C4D") from None


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


@final
class Source:
    """What a new file system is filled with: a directory, of the host or of an image, or a tar archive."""

    def __init__(self, text: str, newest: int) -> None:
        """Times later than `newest` become that (-1: none).  Raises OSError for what is not there."""
        self.text: str = text
        self.left_out: frozenset[tuple[int, int]] = frozenset()
        """Device and inode of the host's files that don't go in: the image itself."""
        self._newest: int = newest
        self._session: Session | None = None
        self._node: Node | None = None
        self._stream: IO[bytes] | None = None
        self._measured: Estimate | None = None
        address = parse(text)
        if text == STREAM:
            self._stream = _spooled()
        elif address.inside or os.path.isdir(address.path):
            self._session = Session()
            self._node = self._session.node(address)
            if self._node.kind != S_IFDIR:
                raise failure(ENOTDIR, "it is neither a directory nor a tar archive", text)
        else:
            self._stream = open(address.path, "rb")  # noqa: SIM115

    def measure(self) -> "Estimate":
        """How much it is."""
        if self._measured is None:
            if self._node is not None:
                self._measured = measure(self._node, self.left_out)
            else:
                assert self._stream is not None
                self._measured = _measure_archive(self._stream)
        return self._measured

    def amount(self) -> Amount | None:
        """About how much it is, where that can be known soon."""
        if self._measured is not None:
            return Amount(self._measured.files + self._measured.directories, sum(self._measured.sizes))
        return count([self._node]) if self._node is not None else None

    def fill(self, root: Inside, complain: Complaint, watcher: CopyWatcher) -> None:
        """Put it into the root directory of a new file system, with all attributes."""
        if self._node is None:
            assert self._stream is not None
            from .unpacking import Reader

            self._stream.seek(0)
            Reader(self._stream, root, complain, watcher, self._newest).unpack()
            return
        options = CopyOptions()
        options.recursive = options.keep = True
        options.newest = self._newest
        if self._newest >= 0:
            options.sort_limit = NAMES_LIMIT  # what a host's directories are stored like is no input
        options.left_out = self.left_out
        copier = Copier(options, complain, watcher)
        copier.copy_content(self._node, root, b".")
        copier.close()

    def close(self) -> None:
        """Let go of it."""
        if self._session is not None:
            self._session.close()
        if self._stream is not None:
            self._stream.close()


def _spooled() -> IO[bytes]:
    """The standard input, in a file: an archive is read twice, to see how large it is."""
    import shutil
    import sys
    from tempfile import TemporaryFile

    stream = TemporaryFile()  # noqa: SIM115
    shutil.copyfileobj(sys.stdin.buffer, stream, 1 << 20)
    stream.seek(0)
    return stream


def _measure_archive(stream: IO[bytes]) -> "Estimate":
    from ...vfs.types import Estimate
    from .archive import XATTR
    from .outside import outside
    from .unpacking import Reader

    files = directories = names = attributes = holes = 0
    sizes: list[int] = []
    roots: set[bytes] = set()
    for info in Reader(stream, outside(b"/")).names():
        path = info.name.encode("utf-8", "surrogateescape")
        parts = [part for part in path.split(b"/") if part not in (b"", b".")]
        names += len(parts[-1]) if parts else 0
        roots.update(parts[:1])
        if info.isdir():
            directories += 1
        elif not info.islnk():
            files += 1
            if info.isreg():
                sparse: list[tuple[int, int]] | None = info.sparse  # type: ignore[assignment]
                sizes.append(info.size if sparse is None else sum(size for _, size in sparse))
                holes += info.size - sizes[-1]
        attributes += sum(len(key) + len(value) for key, value in info.pax_headers.items() if key.startswith(XATTR))
    return Estimate(files, directories + 1, sizes, names, attributes, holes, len(roots), sum(map(len, roots)))


def fitted(
    kind: "FileSystemType", options: Mapping[str, "OptionValue"], source: Source | None, growing: bool
) -> Mapping[str, "OptionValue"]:
    """The options of a format, with those that suit what goes in; an image that has a size already has inodes for that, but may lack
    room in a root directory that can't grow."""
    if source is None or not (growing or any(option.name == "root_entries" for option in kind.format_options)):
        return options
    return {**kind.fitting(source.measure(), options), **options}


def make_file_system(
    session: "Session",
    kind: "FileSystemType",
    device: "Device",
    options: Mapping[str, "OptionValue"],
    source: Source | None,
    complain: Complaint,
    watcher: CopyWatcher,
) -> None:
    """Make a file system on a device of the session, and fill it.  Raises OSError: ENOSPC where the device is too small, EINVAL for
    options; what else goes wrong with single files is complained of."""
    from ...vfs.types import check_format_options

    kind.format(session.vfs(), device, check_format_options(kind, options))
    if source is None:
        return

    def note(path: bytes, problem: OSError) -> None:
        if problem.errno == ENOSPC:
            raise problem
        complain(path, problem)

    root = Inside(session.mount_device(device).root)
    source.fill(root, note, watcher)
    root.close()
