"""File systems as components: each registers its type with the vfs.  Interpreted; see kern/component.py."""

from typing import TYPE_CHECKING

from ..kern.component import component

if TYPE_CHECKING:
    from ..kern.device import DeviceSwitch
    from ..kern.texts import Texts as NetTexts
    from ..vfs.vfs import Vfs
    from .devfs import Devfs
    from .ext.type import Ext
    from .fat.type import Fat
    from .hostfs.type import Hostfs
    from .nullfs import Nullfs
    from .squashfs.type import Squashfs
    from .tar.type import Tar
    from .textfs import TextFs
    from .tmpfs.type import Tmpfs
    from .union.type import Union


@component("tmpfs", faction="fs")
def tmpfs(vfs: "Vfs") -> "Tmpfs":
    """A file system in memory, with limits."""
    from .tmpfs.type import Tmpfs

    kind = Tmpfs()
    vfs.types.register(kind)
    return kind


@component("devfs", faction="fs")
def devfs(vfs: "Vfs", devices: "DeviceSwitch") -> "Devfs":
    """The file system for /dev, with a file for each device."""
    from .devfs import Devfs

    kind = Devfs(devices)
    vfs.types.register(kind)
    return kind


@component("fat", faction="fs")
def fat(vfs: "Vfs") -> "Fat":
    """FAT12, FAT16 and FAT32 with long names: the types "fat" and "vfat"."""
    from .fat.type import Fat

    kind = Fat("vfat")
    vfs.types.register(kind)
    vfs.types.register(Fat("fat"))
    return kind


@component("procnet", faction="fs")
def procnet(vfs: "Vfs", net_texts: "NetTexts") -> "TextFs":
    """What Linux has in /proc/net, of this kernel: the type "procnet"."""
    from .textfs import TextFs

    kind = TextFs("procnet", net_texts)
    vfs.types.register(kind)
    return kind


@component("nullfs", faction="fs")
def nullfs(vfs: "Vfs") -> "Nullfs":
    """A directory of the tree at a second place."""
    from .nullfs import Nullfs

    kind = Nullfs()
    vfs.types.register(kind)
    return kind


@component("union", faction="fs")
def union(vfs: "Vfs") -> "Union":
    """A directory of the tree at a second place, where changes stay in memory."""
    from .union.type import Union

    kind = Union()
    vfs.types.register(kind)
    return kind


@component("ext", faction="fs")
def ext(vfs: "Vfs") -> "Ext":
    """The second, third and fourth extended file systems: types ext2, ext3 and ext4."""
    from .ext.journal.counters import JournalCounters
    from .ext.type import Ext

    vfs.kernel.counters.register("ext.journal", JournalCounters())
    kinds = [Ext(name) for name in ("ext4", "ext3", "ext2")]
    for kind in kinds:
        vfs.types.register(kind)
    return kinds[0]


@component("hostfs", faction="fs")
def hostfs(vfs: "Vfs") -> "Hostfs":
    """Directories of the host, which no path leads out of."""
    from .hostfs.type import Hostfs

    kind = Hostfs()
    vfs.types.register(kind)
    return kind


@component("squashfs", faction="fs")
def squashfs(vfs: "Vfs") -> "Squashfs":
    """Compressed images that are only read (squashfs 4.0)."""
    from .squashfs.type import Squashfs

    kind = Squashfs()
    vfs.types.register(kind)
    return kind


@component("tar", faction="fs")
def tar(vfs: "Vfs") -> "Tar":
    """Tar archives that are only read, also several over each other, as the layers of container images are."""
    from .tar.type import Tar

    kind = Tar()
    vfs.types.register(kind)
    return kind
