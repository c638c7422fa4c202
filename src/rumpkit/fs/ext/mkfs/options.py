"""What a new file system is asked to be: options, presets of types and sizes, and lists of features as mke2fs -O takes them.

The presets are those of Debian's /etc/mke2fs.conf.  What doesn't go together is refused here, before anything is written.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple, final

from ....hyper.calls import Hypercalls
from ....kern.abi.errno import EINVAL, ENOTSUP
from ....vfs.types import Option, OptionValue
from .. import features as f
from ..inode import BASE, EXTRA

FORMAT_OPTIONS: Final = (
    Option("block_size", 0, 0, 65536, "bytes of a block: 1024 to 65536; 0: by the size of the device"),
    Option("inode_size", 0, 0, 65536, "bytes of an inode: 128, 256, ... up to a block; 0: 256"),
    Option("inode_ratio", 0, 0, 1 << 30, "bytes of the device for each inode; 0: by its size"),
    Option("inodes", 0, 0, 0xFFFFFFFF, "how many inodes at least; 0: by inode_ratio"),
    Option("label", "", 0, 0, "the volume's name, up to 16 bytes"),
    Option("uuid", "", 0, 0, "the volume's UUID; empty: a random one"),
    Option("hash_seed", "", 0, 0, "the UUID that directories' hashes start from; empty: a random one"),
    Option(
        "features", "", 0, 0, 'features to add and, with ^, to leave out: "^64bit,metadata_csum"; "none" leaves all out'
    ),
    Option("usage", "", 0, 0, "floppy, small, default, big, huge, news, largefile or largefile4; empty: by the size"),
    Option("reserved_percent", 5, 0, 50, "percent of the blocks that only the superuser may take"),
    Option("journal_size", 0, 0, 40960, "MiB of the journal; 0: by the size of the device"),
    Option(
        "flex_groups", 16, 1, 1 << 15, "groups whose bitmaps and inode tables lie together (flex_bg): a power of two"
    ),
    Option("root_owner", "0:0", 0, 0, "user and group of the root directory"),
    Option("size", 0, 0, 1 << 60, "bytes of the device to take; 0: all of them"),
)

BASE_FEATURES: Final = ("sparse_super", "large_file", "filetype", "resize_inode", "dir_index", "ext_attr")
TYPE_FEATURES: Final[Mapping[str, tuple[str, ...]]] = {
    "ext2": (),
    "ext3": ("has_journal",),
    "ext4": (
        "has_journal", "extent", "huge_file", "flex_bg", "metadata_csum", "64bit", "dir_nlink", "extra_isize",
    ),
}  # fmt: skip


class Usage(NamedTuple):
    """A preset for a kind of use."""

    block_size: int
    inode_ratio: int


USAGES: Final[Mapping[str, Usage]] = {
    "floppy": Usage(1024, 8192),
    "small": Usage(1024, 4096),
    "default": Usage(4096, 16384),
    "big": Usage(4096, 32768),
    "huge": Usage(4096, 65536),
    "news": Usage(4096, 4096),
    "largefile": Usage(4096, 1 << 20),
    "largefile4": Usage(4096, 4 << 20),
}
BY_SIZE: Final = ((3 << 20, "floppy"), (512 << 20, "small"), (4 << 40, "default"), (16 << 40, "big"))
"""The usage of devices below a size in bytes; above, they are huge."""

ALIASES: Final = {"extents": "extent", "large_inodes": "extra_isize", "resize": "resize_inode", "gdt_csum": "uninit_bg"}
MADE_COMPAT: Final = f.HAS_JOURNAL | f.EXT_ATTR | f.RESIZE_INODE | f.DIR_INDEX | f.SPARSE_SUPER2
MADE_RO_COMPAT: Final = (
    f.SPARSE_SUPER | f.LARGE_FILE | f.HUGE_FILE | f.GDT_CSUM | f.DIR_NLINK | f.EXTRA_ISIZE | f.METADATA_CSUM
)
MADE_INCOMPAT: Final = (
    f.FILETYPE | f.META_BG | f.EXTENTS | f.BIT64 | f.FLEX_BG | f.EA_INODE | f.CSUM_SEED | f.LARGEDIR | f.INLINE_DATA
)
"""Features that can be had."""


@final
class Features:
    """The three words of features."""

    def __init__(self) -> None:
        self.compat: int = 0
        self.incompat: int = 0
        self.ro_compat: int = 0

    def change(self, name: str, wanted: bool) -> None:
        """Set or clear one.  Raises EINVAL for a name that there isn't, ENOTSUP for a feature that can't be made."""
        name = ALIASES.get(name, name)
        for word, names, made in (
            ("compat", f.COMPAT_NAMES, MADE_COMPAT),
            ("incompat", f.INCOMPAT_NAMES, MADE_INCOMPAT),
            ("ro_compat", f.RO_COMPAT_NAMES, MADE_RO_COMPAT),
        ):
            for bit, known in names.items():
                if known == name:
                    if wanted and not bit & made:
                        raise OSError(ENOTSUP, f"a file system with the feature {name} can't be made")
                    value: int = getattr(self, word)
                    setattr(self, word, value | bit if wanted else value & ~bit)
                    return
        raise OSError(EINVAL, f"there is no feature {name!r}")


def features_of(kind: str, text: str) -> Features:
    """The features of a new file system of type `kind`, changed as `text` says.  Raises EINVAL, ENOTSUP."""
    made = Features()
    for name in (*BASE_FEATURES, *TYPE_FEATURES[kind]):
        made.change(name, True)
    for name in text.replace(" ", ",").split(","):
        if name == "none":
            made = Features()
        elif name:
            made.change(name.lstrip("^+"), not name.startswith("^"))
    if made.ro_compat & f.METADATA_CSUM:
        made.ro_compat &= ~f.GDT_CSUM
    return made


@final
class Request:
    """What is asked for, complete and possible."""

    def __init__(
        self, kind: str, device_size: int, options: Mapping[str, OptionValue], hyper: Hypercalls | None
    ) -> None:
        """`options` has a value for each of FORMAT_OPTIONS; without `hyper` nothing is random, and no time.  Raises EINVAL, ENOTSUP."""
        self.kind: str = kind
        self.size: int = _number(options, "size") or device_size
        if self.size > device_size:
            raise OSError(EINVAL, f"a file system of {self.size} bytes on a device of {device_size}")
        usage = USAGES.get(_text(options, "usage") or _usage(self.size))
        if usage is None:
            raise OSError(EINVAL, f"there is no usage {options['usage']!r}; there are {', '.join(USAGES)}")
        self.features: Features = features_of(kind, _text(options, "features"))
        self.block_size: int = _power(_number(options, "block_size") or usage.block_size, 1024, 65536, "block_size")
        self.inode_size: int = _power(_number(options, "inode_size") or 256, BASE, self.block_size, "inode_size")
        self.inode_ratio: int = _number(options, "inode_ratio") or max(usage.inode_ratio, self.block_size)
        if self.inode_ratio < 1024:
            raise OSError(EINVAL, f"inode_ratio must be at least 1024, not {self.inode_ratio}")
        self.inodes: int = _number(options, "inodes")
        self.label: bytes = _text(options, "label").encode("utf-8", "surrogateescape")
        if len(self.label) > 16:
            raise OSError(EINVAL, f"the label has {len(self.label)} bytes; there is room for 16")
        self.uuid: bytes = _uuid(_text(options, "uuid"), hyper)
        self.hash_seed: bytes = _uuid(_text(options, "hash_seed"), hyper)
        self.reserved_percent: int = _number(options, "reserved_percent")
        self.journal_size: int = _number(options, "journal_size") << 20
        self.flex_groups: int = _power(_number(options, "flex_groups"), 1, 1 << 15, "flex_groups")
        self.uid, self.gid = _owner(_text(options, "root_owner"))
        self.wall: int = 0 if hyper is None else hyper.wall()
        self._check_features()

    def _check_features(self) -> None:
        found = self.features
        if self.inode_size < BASE + EXTRA:
            found.ro_compat &= ~f.EXTRA_ISIZE
        needs = (
            (found.incompat & f.BIT64 and not found.incompat & f.EXTENTS, "64bit needs extent"),
            (found.incompat & f.INLINE_DATA and self.inode_size == BASE, "inline_data needs inodes of 256 bytes or more"),
            (found.compat & f.RESIZE_INODE and found.incompat & f.META_BG, "resize_inode and meta_bg exclude each other"),
            (
                found.compat & f.RESIZE_INODE and not found.ro_compat & f.SPARSE_SUPER and not found.compat & f.SPARSE_SUPER2,
                "resize_inode needs sparse_super",
            ),
            (found.incompat & f.CSUM_SEED and not found.ro_compat & f.METADATA_CSUM, "metadata_csum_seed needs metadata_csum"),
            (self.journal_size and not found.compat & f.HAS_JOURNAL, "journal_size needs has_journal"),
        )  # fmt: skip
        for wrong, text in needs:
            if wrong:
                raise OSError(EINVAL, text)


def _usage(size: int) -> str:
    for limit, name in BY_SIZE:
        if size < limit:
            return name
    return "huge"


def _number(options: Mapping[str, OptionValue], name: str) -> int:
    value = options[name]
    assert isinstance(value, int)
    return value


def _text(options: Mapping[str, OptionValue], name: str) -> str:
    value = options[name]
    assert isinstance(value, str)
    return value


def _power(value: int, low: int, high: int, name: str) -> int:
    if not low <= value <= high or value & (value - 1):
        raise OSError(EINVAL, f"{name} must be a power of two from {low} to {high}, not {value}")
    return value


def _uuid(text: str, hyper: Hypercalls | None) -> bytes:
    """The bytes of a UUID, or of a new random one (RFC 9562, version 4)."""
    if text:
        try:
            made = bytes.fromhex(text.replace("-", ""))
        except ValueError:
            made = b""
        if len(made) != 16:
            raise OSError(EINVAL, f"{text!r} is not a UUID")
        return made
    data = bytearray(16 if hyper is None else hyper.random(16))
    data[6] = data[6] & 0x0F | 0x40
    data[8] = data[8] & 0x3F | 0x80
    return bytes(data)


def _owner(text: str) -> tuple[int, int]:
    user, colon, group = text.partition(":")
    if not colon or not user.isdecimal() or not group.isdecimal() or max(int(user), int(group)) > 0xFFFFFFFE:
        raise OSError(EINVAL, f"root_owner must be two numbers, as 1000:1000, not {text!r}")
    return int(user), int(group)
