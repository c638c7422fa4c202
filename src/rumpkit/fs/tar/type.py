"""Tar archives as a type that can be mounted and recognised."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, final

from ...kern.abi.errno import EINVAL, EROFS
from ...kern.device import Device
from ...vfs.types import FileSystemType, Option, OptionValue, Recognition
from ...vfs.vnode import Mount
from .header import BLOCK, GNU, POSIX, is_header

if TYPE_CHECKING:
    from ...vfs.vfs import Vfs

MOST_LAYERS: Final = 512
OPTIONS: Final = (
    Option("vnodes", 8192, 64, 1 << 30, "files that stay in use though nobody has them open"),
    Option(
        "index_bytes", 1 << 30, 1 << 16, 1 << 40, "bytes that the tree of an archive's names may take in memory, about"
    ),
    Option(
        "whiteouts",
        False,
        0,
        1,
        "archives over each other are the layers of a container image, whose .wh. names take files away",
    ),
)


@final
class Tar(FileSystemType):
    """The type "tar"."""

    def __init__(self) -> None:
        super().__init__("tar", OPTIONS)
        self.read_only = True

    def make(self, vfs: "Vfs", source: str, options: Mapping[str, OptionValue]) -> Mount:
        """Mount the archive on the block device `source`; several, with commas between them, lie over each other, the last one on top.
        Raises EROFS unless it is mounted read-only, EINVAL, EUCLEAN, EFBIG."""
        from .member import Archive
        from .mount import TarMount
        from .tree import Tree

        if not options["read_only"]:
            raise OSError(EROFS, "a tar archive can only be read")
        names = source.split(",")
        if len(names) > MOST_LAYERS:
            raise OSError(EINVAL, f"{len(names)} archives; the limit is {MOST_LAYERS}")
        tree = Tree(int(options["index_bytes"]), bool(options["whiteouts"]))
        devices: list[Device] = []
        try:
            for layer, name in enumerate(names):
                devices.append(vfs.claim(name, False))
                if not self.recognise(devices[-1]) and not _is_empty(devices[-1]):
                    raise OSError(EINVAL, "there is no tar archive")
                tree.add(Archive(devices[-1]), layer)
            return TarMount(vfs.hyper, self.name, source, devices, tree, int(options["vnodes"]))
        except BaseException:
            for device in devices:
                device.disclaim()
                device.close(vfs.hyper.now)
            raise

    def recognise(self, device: Device) -> Recognition | None:
        """Whether there is a header with a sound checksum."""
        data = device.read(0, BLOCK)
        if not isinstance(data, bytes) or not is_header(data):
            return None
        magic = data[257:263]
        form = "gnu" if magic == GNU else "ustar" if magic == POSIX else "v7"
        if data[156:157] in (b"x", b"g"):
            form = "pax"
        return Recognition(self.name, "", "", device.size(), BLOCK, device.size(), (form,), "read-only")


def _is_empty(device: Device) -> bool:
    """Whether it is an archive without a member: two blocks of zeros, and what pads them."""
    data = device.read(0, 2 * BLOCK)
    return isinstance(data, bytes) and len(data) == 2 * BLOCK and not any(data)
