"""A mounted ext2, ext3 or ext4: its vnodes in memory, and how full it is."""

from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr

from ...hyper.calls import Hypercalls
from ...hyper.time import FOREVER, Duration, Instant
from ...kern.abi.errno import EIO, EROFS
from ...kern.abi.fcntl import NAME_MAX, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from ...kern.device import Device
from ...vfs.stat import StatVfs
from ...vfs.vnode import Mount
from .dirchange import DirectoryNode, start_kind
from .dirent import TYPES
from .extentmap import RESERVE
from .features import RECOVER
from .filenode import FileNode
from .geometry import corrupt
from .inode import BASE, EA_INODE, EXTRA, NOATIME, NODUMP, ROOT, SYNC, Inode
from .node import ExtNode, SpecialNode, SymlinkNode
from .orphans import OrphanList, filed, listed
from .removal import CREDITS, erase, has_map, is_small, shrink
from .state import InodeState
from .storage import empty_map
from .superblock import STATE_VALID

if TYPE_CHECKING:
    from .volume import Volume

MARGIN: Final = 64
"""Blocks that stay free beyond what is promised, for the file system's own use."""
MOST_WAITING: Final = 4096
"""Files that wait for storage."""
SECOND: Final = 1_000_000_000
MOST_AGE: Final = 30 * SECOND
"""For so long written data waits for storage, unless the kernel has a setting for that."""
DIRSYNC: Final = 0x10000
INHERITED: Final = SYNC | NODUMP | NOATIME | DIRSYNC
"""Flags that a new file gets from its directory; the last one only a directory does."""


@mypyc_attr(allow_interpreted_subclasses=True)
class ExtMount(Mount):
    """One mounted file system."""

    def __init__(
        self, hyper: Hypercalls, kind: str, source: str, device: Device, volume: "Volume", vnodes: int
    ) -> None:
        super().__init__(hyper, kind, source, hyper.mutex())
        self.device: Device = device
        self.volume: Volume = volume
        volume.mount = self
        self.block_size = volume.block_size
        self.vnodes: int = vnodes
        """Vnodes that nobody holds and that stay in memory nevertheless."""
        self.orphans: OrphanList = OrphanList(volume)
        self.delayed_bytes: int = 32 << 20
        """Bytes of all files that wait for storage together, at most about."""
        self.delayed_file_bytes: int = 2 << 20
        """The same of one file."""
        self._waiting: dict[int, FileNode] = {}
        self._waiting_since: int = 0
        """When the first of them began to wait."""
        self._changed_since: Instant = 0
        """When the running transaction's first change was made."""
        self.commit_interval: Duration = 0
        """Nanoseconds until a change is committed; 0: as the kernel's setting says."""
        self._generation: int = int.from_bytes(hyper.random(4), "little")
        self._nodes: dict[int, ExtNode] = {}
        self._evict_at: int = vnodes
        self.overhead: int = _overhead(volume)
        """Blocks that the format itself takes, where the superblock says."""
        self.valid: bool = False
        """Whether it was cleanly unmounted before."""
        self.writable: bool = False
        self.journalled: bool = False
        self.root = self.get(ROOT)
        if self.root.kind != S_IFDIR:
            raise corrupt("inode 2: the root is no directory")

    # Vnodes --------------------------------------------------------------------------------------------

    def get(self, number: int) -> ExtNode:
        """The file of an inode number.  Raises EUCLEAN where it is in no use, EIO."""
        node = self._nodes.get(number)
        if node is not None:
            node.recent = True
            return node
        if len(self._nodes) >= self._evict_at:
            self._evict()
        if number < self.volume.geometry.first_inode and number != ROOT:
            raise corrupt(f"inode {number} is no ordinary file's")
        state = self.volume.read_inode(number)
        inode = state.inode
        if not inode.mode or not inode.links:
            raise corrupt(f"inode {number} has a name but is not in use")
        if inode.flags & EA_INODE:
            raise corrupt(f"inode {number} has a name but is the value of an extended attribute")
        node = self.make(state)
        self._nodes[number] = node
        return node

    def make(self, state: InodeState) -> ExtNode:
        """A vnode for an inode.  Raises EUCLEAN."""
        kind = state.inode.mode & S_IFMT
        if kind == S_IFREG:
            return FileNode(self, state)
        if kind == S_IFDIR:
            return DirectoryNode(self, state)
        if kind == S_IFLNK:
            return SymlinkNode(self, state)
        if kind not in TYPES:
            raise corrupt(f"{state.where}: it is of no known kind (mode {state.inode.mode:o})")
        return SpecialNode(self, state)

    def kind_of(self, number: int) -> int:
        """S_IFMT bits of an inode, without a vnode for it."""
        node = self._nodes.get(number)
        return self.volume.current_inode(number).inode.mode & S_IFMT if node is None else node.kind

    def _evict(self) -> None:
        """Drop vnodes that nobody holds and nobody asked for lately."""
        nodes = self._nodes
        wanted = len(nodes) - self.vnodes + self.vnodes // 8 + 1
        for number in list(nodes):
            node = nodes[number]
            needed = node.references or node.recent or not node.links or node is self.root
            if needed or node.state.dirty or number in self._waiting:
                node.recent = False
            else:
                del nodes[number]
                # The two know each other: so they go at once, and not when Python looks for cycles.
                node.state.node = None
                wanted -= 1
                if not wanted:
                    break
        self._evict_at = max(self.vnodes, len(nodes) + self.vnodes // 8 + 1)

    # Changes -------------------------------------------------------------------------------------------

    def started(self) -> None:
        """The first change of a transaction was made."""
        self._changed_since = self.hyper.now
        self.dirtied()

    def begin(self, credits: int) -> None:
        """An operation starts (`Volume.begin`)."""
        if self._waiting and self.volume.is_idle() and self.hyper.now - self._waiting_since >= self._expire():
            self.flush()
        self.volume.begin(credits)

    def end(self) -> None:
        """The operation is over."""
        self.volume.end()

    def failed(self, problem: OSError) -> OSError:
        """The operation failed (`Volume.failed`)."""
        return self.volume.failed(problem)

    def change_inode(self, state: InodeState) -> None:
        """An attribute of a file has changed."""
        if not state.dirty:
            self.volume.begin(1)
            try:
                self.volume.mark_inode(state)
            except OSError as problem:
                raise self.volume.failed(problem) from None
            finally:
                self.volume.end()

    def new_node(self, parent: ExtNode, mode: int, uid: int, gid: int, now: int, device: int) -> ExtNode:
        """A new file without a name.  Raises ENOSPC."""
        volume = self.volume
        if len(self._nodes) >= self._evict_at:
            self._evict()
        directory = mode & S_IFMT == S_IFDIR
        number = volume.inodes.allocate(parent.number, directory, parent is self.root)
        size = volume.geometry.inode_size
        inode = Inode(bytes(BASE))
        if size > BASE:
            inode.extra_isize = EXTRA
            inode.rest = bytes(size - BASE - EXTRA)
            inode.crtime = now
        inode.mode = mode
        inode.uid = uid
        inode.gid = gid
        inode.links = 1
        inode.atime = inode.mtime = inode.ctime = now
        self._generation = (self._generation * 69069 + 1) & 0xFFFFFFFF
        inode.generation = self._generation
        inode.flags = (
            parent.state.inode.flags & INHERITED if directory else parent.state.inode.flags & INHERITED & ~DIRSYNC
        )
        state = InodeState(volume, number, inode)
        kind = mode & S_IFMT
        if kind == S_IFREG or directory or kind == S_IFLNK:
            empty_map(state)
        elif device:
            old = device < 1 << 16
            inode.block = ((device if old else 0).to_bytes(4, "little") + device.to_bytes(4, "little")).ljust(60, b"\0")
        node = self.make(state)
        self._nodes[number] = node
        start_kind(node)
        volume.mark_inode(state)
        return node

    def discard(self, node: ExtNode) -> None:
        """A new file could not be given a name."""
        node.links = node.state.inode.links = 0
        self._erase(node)

    def drop_link(self, node: ExtNode, now: int) -> None:
        """A file has a name less.  Without any it goes, now if that is quickly done and nobody holds it."""
        node.links -= 1
        node.ctime = now
        node.touched()
        if node.links == 0:
            if node.references == 0 and is_small(node.state):
                self._erase(node)
            else:
                self.orphans.add(node.state)

    def finish_removal(self, node: ExtNode) -> None:
        """After the operation in which a file lost a name: remove it if it was the last, and nobody holds it."""
        if node.links == 0 and node.references == 0 and node.number in self._nodes:
            self._erase(node)

    def remove(self, node: ExtNode) -> None:
        """A file without a name is held by nobody any more."""
        if node.number in self._nodes and not self.volume.problem and not self.read_only:
            self._erase(node)

    def _erase(self, node: ExtNode) -> None:
        if isinstance(node, FileNode):
            node.forget()
        node.copy_attributes()
        state = node.state
        state.node = None
        del self._nodes[node.number]
        erase(self.volume, self.orphans, state, self.hyper.wall())

    def drop_values(self, gone: list[InodeState]) -> None:
        """Values of extended attributes that are files have lost their last reference, within this operation."""
        for holder in gone:
            erase(self.volume, self.orphans, holder, self.hyper.wall())

    def shrink(self, state: InodeState, size: int) -> None:
        """Cut a file."""
        shrink(self.volume, self.orphans, state, size)

    # Delayed allocation --------------------------------------------------------------------------------

    def promise(self, node: FileNode, count: int) -> bool:
        """Keep `count` blocks free for what a file was written; whether there are so many."""
        self.volume.check_sound()
        blocks = self.volume.blocks
        if not self._waiting:
            self._waiting_since = self.hyper.now
        elif self.hyper.now - self._waiting_since >= self._expire():
            self.flush(node)
            self._waiting_since = self.hyper.now
        crowded = node.number not in self._waiting and len(self._waiting) >= MOST_WAITING
        if crowded or blocks.delayed << self.volume.block_bits > self.delayed_bytes:
            self.flush(node)  # which is being written: what of it waits goes on to wait
        more = count - node.promised
        if more > 0:
            if blocks.available(self.privileged(node)) < more + MARGIN:
                return False
            blocks.delayed += more
            node.promised = count
        self._waiting[node.number] = node
        if len(self._waiting) == 1:
            self.dirtied()
        return True

    def make_room(self, node: FileNode, count: int) -> int:
        """Have `count` blocks free, beyond those promised to other files, if there are so many; how many have to stay free,
        because the file's owner may not have them, or so that files can be cut into pieces on a full disk."""
        volume = self.volume
        volume.check_sound()
        privileged = self.privileged(node)
        if volume.blocks.available(privileged) < count + MARGIN:
            self.flush()
            if volume.blocks.freed:
                volume.transaction.sync(False)
        return RESERVE if privileged else max(volume.fields.r_blocks_count, RESERVE)

    def keep_promise(self, node: FileNode) -> None:
        """What waited is about to be written, or no longer wanted."""
        self.volume.blocks.delayed -= node.promised
        node.promised = 0
        self._waiting.pop(node.number, None)

    def flush(self, but: FileNode | None = None) -> None:
        """Give storage to all that waits, except in the file `but`."""
        problem: OSError | None = None
        for node in list(self._waiting.values()):
            if node is but:
                continue
            try:
                node.flush()
            except OSError as failed:
                problem = problem or failed
        self.volume.write_data()
        if problem is not None:
            raise problem

    def commit(self) -> None:
        """Make everything durable that was given storage.  The mount's lock is given up while the device does."""
        if not self.read_only:
            self.volume.check_sound()
            self.volume.write_data()
            self.volume.transaction.sync(True, self.lock)
            if len(self._nodes) > self.vnodes:
                self._evict()

    def sync(self) -> None:
        """Make everything durable."""
        if not self.read_only:
            try:
                self.flush()
            finally:
                self.commit()  # what others have written is not to wait for a file that has no room

    def due(self) -> Instant:
        """When data or the running transaction has waited for long enough."""
        if self.read_only or self.volume.problem:
            return FOREVER
        due = FOREVER
        if self.volume.transaction.pending():
            interval = self.commit_interval
            if not interval and self.writer is not None:
                interval = self.writer.commit_interval()
            due = self._changed_since + interval
        return min(due, self._waiting_since + self._expire()) if self._waiting else due

    def write_back(self) -> None:
        """Give storage to data that has waited for long, and commit what has."""
        now = self.hyper.now
        if self._waiting and now - self._waiting_since >= self._expire():
            self.sync()
        elif self.due() <= now:
            self.commit()

    def _expire(self) -> Duration:
        """For so long written data waits for storage."""
        return MOST_AGE if self.writer is None else self.writer.dirty_expire()

    def privileged(self, node: ExtNode) -> bool:
        """Whether a file's owner may take blocks that are reserved."""
        fields = self.volume.fields
        return node.uid in (0, fields.def_resuid) or (node.gid == fields.def_resgid != 0)

    # The whole -----------------------------------------------------------------------------------------

    def statvfs(self) -> StatVfs:
        """Size and use.  What the format itself takes does not count."""
        fields = self.volume.fields
        free = max(fields.free_blocks_count + self.volume.blocks.freed - self.volume.blocks.delayed, 0)
        available = max(free - fields.r_blocks_count, 0)
        size = self.block_size
        blocks = fields.blocks_count - self.overhead
        left = fields.free_inodes_count
        flags = int(self.read_only)
        return StatVfs(
            size, size, blocks, free, available, fields.inodes_count, left, left, self.number, flags, NAME_MAX
        )

    def unmount(self) -> None:
        """Write everything, and let go of the device.  Raises EIO where writing was given up: what was acknowledged is not there."""
        problem = self.volume.problem
        try:
            if problem and self.writable:
                raise OSError(EIO, problem)
            if not self.read_only:
                self.close_clean()
        finally:
            self.volume.cache.drop()
            self.device.disclaim()
            self.device.close(self.hyper.now)

    def remount(self, read_only: bool) -> None:
        """Become read-only, with everything on disk, or writable."""
        if read_only:
            if not self.volume.problem:  # else nothing is written any more
                self.close_clean()
            self.device.reclaim(False)
            return
        volume = self.volume
        if volume.problem:
            raise OSError(EROFS, volume.problem)
        if not self.writable:
            raise OSError(EROFS, f"{self.source} was mounted read-only; mount it anew to write it")
        self.device.reclaim(True)
        self.start_writing(self.journalled)
        for state in self.orphans.states():
            node = state.node
            if node is not None and node.references == 0 and node.links == 0:
                self._erase(node)  # nobody holds it any more since it was read-only

    def close_clean(self) -> None:
        """Write everything, and say on disk that it was."""
        volume = self.volume
        fields = volume.fields
        self.flush()
        volume.write_data()
        volume.transaction.close()
        fields.feature_incompat &= ~RECOVER
        if self.valid:
            fields.state |= STATE_VALID
        volume.write_super(self.hyper.wall() // SECOND)

    def start_writing(self, journalled: bool) -> None:
        """The mount may write: say so on disk, and work off what a crash left.  Raises EUCLEAN, EIO."""
        volume = self.volume
        fields = volume.fields
        now = self.hyper.wall() // SECOND
        again = self.writable
        self.writable = True
        self.journalled = journalled
        self.valid = fields.state & STATE_VALID != 0
        if journalled:
            fields.feature_incompat |= RECOVER
        else:
            fields.state &= ~STATE_VALID
        fields.mnt_count = min(fields.mnt_count + 1, 0xFFFF)
        fields.mtime = now & 0xFFFFFFFF
        fields.mtime_hi = now >> 32 & 0xFF
        volume.count_free()
        volume.write_super(now)
        if again:
            return  # the orphans are known, and may be in use
        left = self.orphans.adopt(listed(volume))
        volume.begin(CREDITS)
        known = {state.number for state in left}
        for number in filed(volume):
            if number not in known:
                left.append(volume.read_inode(number))
                self.orphans.add(left[-1])
        volume.end()
        for state in left:
            if state.inode.links == 0:
                erase(volume, self.orphans, state, self.hyper.wall())
            elif has_map(state):
                shrink(volume, self.orphans, state, state.inode.size)
            else:
                volume.begin(4)
                self.orphans.drop(state)
                volume.end()


def _overhead(volume: "Volume") -> int:
    fields = volume.fields
    blocks = fields.overhead_clusters << volume.geometry.cluster_bits
    return blocks if blocks < fields.blocks_count - fields.free_blocks_count else 0
