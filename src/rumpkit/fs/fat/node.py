"""Files of a FAT volume as vnodes.  Between vfs and the volume."""

from typing import TYPE_CHECKING, Final, final

from mypy_extensions import mypyc_attr

from ...kern.abi.errno import EFBIG, ENOSPC, ENOTSUP, EPERM, EUCLEAN, error
from ...kern.abi.fcntl import S_IFDIR, S_IFREG
from ...vfs.vnode import Vnode
from . import times
from .chain import Chain
from .layout import ARCHIVE, DIRECTORY, ENTRY_SIZE, MAX_FILE, READ_ONLY
from .record import Record, pack

if TYPE_CHECKING:
    from .directory import DirectoryNode
    from .mount import FatMount
    from .volume import Volume

DAY_NS: Final = 86400 * times.SECOND
PADDING: Final = 8192
"""Bytes that are written to fill a cluster, at most."""
_PADDING: Final = bytes(PADDING)
ZEROS: Final = 1 << 20
"""Bytes of zeros that are written at once."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Node(Vnode):
    """What files and directories share: an entry in a directory, from which all attributes come."""

    def __init__(
        self, mount: "FatMount", number: int, directory: "DirectoryNode | None", slot: int, found: Record | None
    ) -> None:
        kind = S_IFREG if found is not None and not found.attributes & DIRECTORY else S_IFDIR
        attributes = found.attributes if found is not None else DIRECTORY
        super().__init__(mount, number, mount.mode_for(kind, attributes), mount.uid, mount.gid, 0)
        self.fat: FatMount = mount
        self.volume: Volume = mount.volume
        self.directory: DirectoryNode | None = directory
        """The directory that it is in; None for the root."""
        self.slot: int = slot
        """Where its 8.3 entry is there."""
        self.attributes: int = attributes
        self.children: int = 0
        """Files of a directory that are in memory."""
        self.created: tuple[int, int, int] = (0, 0, 0)
        """Date, time and hundredths, as on disk."""
        self.stale: bool = False
        """Its entry has to be brought up to date with what is in here."""
        if found is not None:
            offset = mount.volume.time_offset
            self.created = found.created
            self.mtime = times.decode(found.written[0], found.written[1], 0, offset)
            self.atime = times.decode(found.accessed, 0, 0, offset) if found.accessed else self.mtime
            self.ctime = self.mtime
        if directory is not None:
            directory.children += 1

    # Changes -------------------------------------------------------------------------------------------

    def changed(self) -> None:
        """Something in here is newer than in the entry."""
        if not self.stale and self.links and self.directory is not None:
            self.stale = True
            self.volume.writer.stale[self] = None

    def touch(self, now: int) -> None:
        """The contents have changed."""
        self.mtime = self.ctime = times.round_down(now)
        self.changed()

    def first_cluster(self) -> int:
        """Where its chain begins; 0 for none."""
        raise NotImplementedError

    def discard(self) -> None:
        """It has no name and no user: give its storage up."""
        raise NotImplementedError

    def record(self) -> Record:
        """Its entry as it has to be, but for the name."""
        offset = self.volume.time_offset
        date, time, _ = times.encode(self.mtime, offset)
        accessed = times.encode(self.atime, offset)[0]
        size = self.size if self.kind == S_IFREG else 0
        return Record(b"", self.attributes, 0, self.created, accessed, (date, time), self.first_cluster(), size)

    def update_entry(self) -> None:
        """Bring the entry up to date; the volume writes it."""
        self.stale = False
        directory = self.directory
        if directory is None or self.links == 0:
            return
        directory.names()
        slots = directory.slots
        at = self.slot * ENTRY_SIZE
        data = slots.data
        entry = pack(self.record())
        new = bytes(data[at : at + 11]) + entry[11:12] + data[at + 12 : at + 13] + entry[13:]
        if data[at : at + ENTRY_SIZE] != new:
            slots.put(self.slot, new)

    def set_mode(self, mode: int, now: int) -> None:
        """Permission bits come from the masks and from whether the file is read-only, which is all that can be set.

        As Linux has it: bits beyond 0o777 are EPERM, others that can't be kept change nothing, in silence.
        """
        if mode & ~0o777:
            if self.fat.quiet:
                return
            raise error(EPERM)
        directory = self.kind == S_IFDIR
        mask = self.fat.dmask if directory else self.fat.fmask
        mode &= ~mask
        if mode & 0o555 != self.mode & 0o555:
            return
        writable = mode & 0o222
        everybody = 0o222 & ~mask
        if writable not in ((everybody,) if directory else (0, everybody)):
            return
        if not directory:
            self.attributes = self.attributes & ~READ_ONLY if writable or not everybody else self.attributes | READ_ONLY
            self.mode = self.kind | mode
            self.volume.begin()
            self.changed()

    def set_owner(self, uid: int, gid: int, mode: int, now: int) -> None:
        """All files have the owner that the mount's options say.  Raises EPERM for another one, unless `quiet`."""
        if (uid != self.uid or gid != self.gid) and not self.fat.quiet:
            raise error(EPERM)

    def set_times(self, atime: int, mtime: int, now: int) -> None:
        """To 2 seconds, and the time of access to the day."""
        self.volume.begin()
        self.atime = self._day(atime)
        self.touch(mtime)

    def accessed(self, now: int) -> None:
        """The entry keeps the day."""
        if 0 <= now - self.atime < DAY_NS:
            return
        day = self._day(now)
        if day != self.atime and self.directory is not None:
            self.volume.begin()
            self.atime = day
            self.changed()

    def _day(self, when: int) -> int:
        offset = self.volume.time_offset
        return times.decode(times.encode(when, offset)[0], 0, 0, offset)

    def sync(self, data_only: bool) -> None:
        """Make it durable, and everything else of the volume with it."""
        writer = self.volume.writer
        lock = self.mount.lock
        if writer.is_pending():
            writer.commit(lock)
        else:
            writer.flush(lock)


@final
class FileNode(Node):
    """A regular file."""

    def __init__(self, mount: "FatMount", number: int, directory: "DirectoryNode", slot: int, found: Record) -> None:
        super().__init__(mount, number, directory, slot, found)
        first = found.cluster if mount.volume.geometry.bits == 32 else found.cluster & 0xFFFF
        self.size = found.size
        self.chain: Chain = Chain(mount.volume.table, first if first or found.size == 0 else 0)

    def first_cluster(self) -> int:
        """Where its chain begins; 0 for none."""
        return self.chain.first

    def blocks(self) -> int:
        """The clusters that its size takes, in units of 512 bytes."""
        cluster = self.volume.geometry.cluster_size
        return (self.size + cluster - 1) // cluster * (cluster >> 9)

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from byte `offset`.  Raises EUCLEAN where the chain is shorter than the file, EIO."""
        end = min(offset + size, self.size)
        if end <= offset:
            return b""
        volume = self.volume
        geometry = volume.geometry
        cluster_size = geometry.cluster_size
        index = offset // cluster_size
        wanted = (end - 1) // cluster_size + 1
        chain = self.chain
        if chain.known < wanted and chain.find(wanted) < wanted:
            raise OSError(
                EUCLEAN,
                f"inode {self.number}: {self.size} bytes, but a chain of {chain.known} clusters of {cluster_size}",
            )
        start, count = chain.locate(index)
        within = offset - index * cluster_size
        there = count * cluster_size - within
        address = geometry.address(start) + within
        if there >= end - offset:
            return volume.read(address, end - offset)
        parts = [volume.read(address, there)]
        offset += there
        while offset < end:
            index += count
            start, count = chain.locate(index)
            there = min(count * cluster_size, end - offset)
            parts.append(volume.read(geometry.address(start), there))
            offset += there
        return b"".join(parts)

    # Changes -------------------------------------------------------------------------------------------

    def write(self, offset: int, data: bytes) -> int:
        """Write as much of `data` as there is room for; zeros between the end of the file and `offset` come first.

        Raises EFBIG beyond 4 GiB - 1, ENOSPC, EUCLEAN, EIO.
        """
        room = MAX_FILE - offset
        if room < len(data):
            if room <= 0:
                raise error(EFBIG)
            data = data[:room]
        self.fat.balance()
        self.volume.begin()
        before = self.size
        if offset > before:
            self._fill(offset)
        size = len(data)
        end = offset + size
        clusters = self.chain.known
        if end > self.size:
            there = self._reserve(end)
            if there < end:
                size = there - offset
                if size <= 0:
                    self._cut_back(before)
                    raise error(ENOSPC)
                data = data[:size]
        rest = self._slack(offset + size) if self.chain.known > clusters else 0
        self._put(offset, data + _PADDING[:rest] if rest else data)
        self.size = max(self.size, offset + size)
        self.attributes |= ARCHIVE
        self.touch(self.fat.hyper.wall())
        return size

    def truncate(self, size: int) -> None:
        """Cut the file, or put zeros behind it: FAT has no holes.  Raises EFBIG, ENOSPC, EUCLEAN, EIO."""
        if size > MAX_FILE:
            raise error(EFBIG)
        self.fat.balance()
        self.volume.begin()
        if size > self.size:
            self._fill(size)
        else:
            cluster = self.volume.geometry.cluster_size
            self.volume.cut(self.chain, (size + cluster - 1) // cluster)
            self.size = size
        self.attributes |= ARCHIVE
        self.touch(self.fat.hyper.wall())

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """Clusters with zeros, up to the new end of the file; storage behind the end is no thing of FAT's.  Raises ENOTSUP
        for other modes, EFBIG, ENOSPC."""
        if mode:
            raise error(ENOTSUP)
        if offset + length > self.size:
            self.truncate(offset + length)

    def discard(self) -> None:
        """The file has no name and no user: give its storage up."""
        try:
            self.volume.cut(self.chain, 0)
        except OSError as problem:
            # A chain that leads astray is left to fsck; clusters that may be another file's must not be freed.
            if problem.errno != EUCLEAN:
                raise

    def inactive(self) -> None:
        """Nobody holds the file: without a name it goes."""
        if self.links == 0:
            self.fat.bury(self)

    def _reserve(self, end: int) -> int:
        """Have clusters for the file's first `end` bytes; returns up to where there are, which may be less."""
        cluster = self.volume.geometry.cluster_size
        wanted = (end + cluster - 1) // cluster
        chain = self.chain
        if chain.find(wanted) < wanted:
            chain.all()
            self.volume.extend(chain, wanted - chain.known)
        return min(chain.known * cluster, end)

    def _fill(self, end: int) -> None:
        """Put zeros between the file's end and `end`."""
        if self._reserve(end) < end:
            self._cut_back(self.size)
            raise error(ENOSPC)
        at = self.size
        while at < end:
            count = min(end - at, ZEROS)
            self._put(at, bytes(count))
            at += count
        self.size = end
        self.changed()

    def _cut_back(self, size: int) -> None:
        """There was no room for a write: leave the file as it was."""
        cluster = self.volume.geometry.cluster_size
        self.volume.cut(self.chain, (size + cluster - 1) // cluster)
        self.size = size

    def _slack(self, end: int) -> int:
        """How many zeros to write from the file's new end to that of its last cluster, which is new: so that the data of small files
        that follow one another on the device is gathered for one write."""
        cluster = self.volume.geometry.cluster_size
        rest = -end % cluster
        return rest if rest <= PADDING and self.chain.known * cluster == end + rest else 0

    def _put(self, offset: int, data: bytes) -> None:
        """Write bytes that there are clusters for."""
        volume = self.volume
        geometry = volume.geometry
        size = geometry.cluster_size
        index = offset // size
        self.chain.find((offset + len(data) - 1) // size + 1)
        start, count = self.chain.locate(index)
        within = offset - index * size
        there = count * size - within
        if there >= len(data):
            volume.writer.write_data(geometry.address(start) + within, data)
            return
        volume.writer.write_data(geometry.address(start) + within, data[:there])
        done = there
        while done < len(data):
            index += count
            start, count = self.chain.locate(index)
            there = min(count * size, len(data) - done)
            volume.writer.write_data(geometry.address(start), data[done : done + there])
            done += there


def permissions(attributes: int, kind: int, fmask: int, dmask: int) -> int:
    """The permission bits that attributes mean: all that the mask leaves, and none to write a read-only file."""
    if kind == S_IFDIR:
        return 0o777 & ~dmask
    return (0o555 if attributes & READ_ONLY else 0o777) & ~fmask
