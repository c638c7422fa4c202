"""The copy engine: files and trees from any node into any directory, of images and of the host.

A small file costs few calls on either side: what is there is asked once, the new file is made with its final mode and owner, written
with one call and settled with another.  Large files go piece by piece, and what is a hole stays one.

A file that is copied over another takes its name and is a new file: whoever shares the old one by a further link keeps it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, final

from ...kern.abi.errno import (
    E2BIG,
    EACCES,
    EBUSY,
    EEXIST,
    EINVAL,
    EISDIR,
    EMLINK,
    ENOTDIR,
    ENOTSUP,
    EPERM,
    EROFS,
    EUCLEAN,
)
from ...kern.abi.fcntl import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from ...vfs.stat import Stat
from .node import PIECE, Named, Node, failure
from .trees import SORT_LIMIT, Complaint, join, ordered, throw

KEPT_BITS: Final = 0o777
"""Permission bits that a copy gets that doesn't keep attributes."""


class CopyOptions:
    """What a copy keeps, and what it may do."""

    def __init__(self) -> None:
        self.recursive: bool = False
        self.keep: bool = False
        """Modes, owners, times and extended attributes, and hard links among what is copied."""
        self.replace: bool = True
        """Files may be copied over others."""
        self.uid: int = 0
        self.gid: int = 0
        """Owner of what does not keep it."""
        self.now: int = 0
        """Time of what does not keep it, in nanoseconds."""
        self.mask: int = 0o022
        """Permission bits that what does not keep them doesn't get."""
        self.newest: int = -1
        """Later times become this one (-1: none): SOURCE_DATE_EPOCH."""
        self.sort_limit: int = SORT_LIMIT
        """Names of a directory that are copied in order; those of a larger one as they come."""
        self.left_out: frozenset[tuple[int, int]] = frozenset()
        """Device and inode of the host's files that are not copied: what is being made or changed."""
        self.durable: bool = False
        """What is copied to the host is made durable, as what it came from is to be removed."""


class CopyWatcher:
    """Who is told how far a copy is; subclassed where somebody looks.  May raise to end the copy: nothing is half done then."""

    def copied(self, path: bytes, size: int) -> None:
        """`size` further bytes, or with 0 the beginning of a file."""
        return None

    def restart(self) -> None:
        """What was copied is forgotten, and copied anew."""
        return None

    def left_out(self, path: bytes) -> None:
        """A file is not copied, as it is what is being made."""
        return None


class Linked:
    """A file with several names that has been copied under one of them."""

    def __init__(self, node: Node, left: int) -> None:
        self.node: Node = node
        self.left: int = left
        """Names that may still come."""


class Level:
    """A directory that is being copied."""

    def __init__(
        self, source: Node, target: Node, status: Stat, path: bytes, fresh: bool, sort_limit: int = SORT_LIMIT
    ) -> None:
        self.source: Node = source
        self.target: Node = target
        self.status: Stat = status
        self.path: bytes = path
        self.fresh: bool = fresh
        """The target was made for it, so nothing is in it that has not come from here."""
        self.identity: tuple[int, int] = (status.st_dev, status.st_ino)
        names, self.sorted = ordered(source.entries(), sort_limit)
        self.names: Iterator[Named] = names
        self.last: bytes = b""


@final
class Copier:
    """One copy, of any number of trees: hard links between them are kept, too."""

    def __init__(self, options: CopyOptions, complain: Complaint = throw, watcher: CopyWatcher | None = None) -> None:
        self.options: CopyOptions = options
        self.files: int = 0
        self.bytes: int = 0
        self.lost_xattrs: int = 0
        """Files whose extended attributes the target can't keep."""
        self.lost_owners: int = 0
        """Files whose mode or owner it can't keep."""
        self.lost_links: int = 0
        """Names that are files of their own, as the target has no hard links."""
        self._complain: Complaint = complain
        self._watcher: CopyWatcher = watcher or CopyWatcher()
        self._linked: dict[tuple[int, int], Linked] = {}

    def close(self) -> None:
        """Forget the hard links."""
        for linked in self._linked.values():
            linked.node.close()
        self._linked.clear()

    # Trees ---------------------------------------------------------------------------------------------

    def copy(self, source: Node, directory: Node, name: bytes, path: bytes) -> None:
        """Copy `source`, called `path` in messages, as `name` into `directory`.  Raises what `complain` raises."""
        if source.kind != S_IFDIR:
            try:
                self._file(source, directory, name, path, False)
            except OSError as problem:
                self._complain(path, problem)
            return
        if not self.options.recursive:
            self._complain(path, failure(EISDIR, "it is a directory (-r copies it)"))
            return
        if source.holds(directory):
            self._complain(path, failure(EINVAL, "it is copied into itself"))
            return
        levels: list[Level] = []
        above: set[tuple[int, int]] = set()
        self._enter(levels, above, source, directory, name, path, False)
        try:
            while levels:
                level = levels[-1]
                if not self._step(level, levels, above):
                    above.discard(level.identity)
                    levels.pop()
                    self._leave(level)
        finally:
            for level in levels:
                level.target.close()
                if level.source is not source:
                    level.source.close()

    def copy_content(self, source: Node, target: Node, path: bytes) -> None:
        """Copy what is in the directory `source` into the directory `target`, which takes over its attributes."""
        status = source.stat()
        level = Level(source, target, status, path, False, self.options.sort_limit)
        levels = [level]
        above = {level.identity}
        while levels:
            level = levels[-1]
            if not self._step(level, levels, above):
                above.discard(level.identity)
                levels.pop()
                if levels:
                    self._leave(level)
        self._settle_directory(source, target, status, path)

    def _step(self, level: Level, levels: list[Level], above: set[tuple[int, int]]) -> bool:
        """Copy the next file of a directory; False if there is none."""
        path = level.path
        try:
            found = next(level.names, None)
            if found is None:
                return False
            name = found.name
            path = join(path, name)
            # In sorted order a name that comes twice comes twice in a row.
            sure = level.fresh and level.sorted and name != level.last
            level.last = name
            child = level.source.child(name)
            if child is None:
                return True
        except OSError as problem:
            self._complain(path, problem)
            return path != level.path
        if is_left_out(child, self.options.left_out):
            self._watcher.left_out(path)
            child.close()
            return True
        if child.kind == S_IFDIR:
            self._enter(levels, above, child, level.target, name, path, sure)
            return True
        try:
            self._file(child, level.target, name, path, sure)
        except OSError as problem:
            self._complain(path, problem)
        finally:
            child.close()
        return True

    def _enter(
        self,
        levels: list[Level],
        above: set[tuple[int, int]],
        source: Node,
        directory: Node,
        name: bytes,
        path: bytes,
        sure: bool,
    ) -> None:
        """Make a directory, and go on with what is in it."""
        target: Node | None = None
        try:
            status = source.stat()
            if (status.st_dev, status.st_ino) in above:
                raise failure(EUCLEAN, "the directory is in itself")
            target = None if sure else directory.child(name)
            fresh = target is None
            if target is None:
                target = self._make(directory, name, status, sure)
            elif target.kind != S_IFDIR:
                raise failure(ENOTDIR, "it is copied over what is no directory")
            level = Level(source, target, status, path, fresh, self.options.sort_limit)
        except OSError as problem:
            if target is not None:
                target.close()
            if levels:
                source.close()
            self._complain(path, problem)
            return
        above.add(level.identity)
        levels.append(level)
        self._watcher.copied(path, 0)

    def _leave(self, level: Level) -> None:
        """All of a directory has been copied."""
        self.files += 1
        try:
            if level.fresh or self.options.keep:
                self._settle_directory(level.source, level.target, level.status, level.path)
        finally:
            level.target.close()
            level.source.close()

    def _settle_directory(self, source: Node, target: Node, status: Stat, path: bytes) -> None:
        try:
            if self.options.keep:
                self._set_owner(target, status)
                self._xattrs(source, target, path)
            self._finish(target, status)
            if self.options.durable:
                target.sync()
        except OSError as problem:
            self._complain(path, problem)

    # Files ---------------------------------------------------------------------------------------------

    def _file(self, source: Node, directory: Node, name: bytes, path: bytes, sure: bool) -> None:
        """Copy what is no directory."""
        options = self.options
        self._watcher.copied(path, 0)
        if not sure:
            self._make_room(directory, name, source)
        status = source.stat()
        shared = options.keep and status.st_nlink > 1
        if shared and self._link(directory, name, status):
            return
        if source.kind == S_IFLNK:
            uid, gid = (status.st_uid, status.st_gid) if options.keep else (options.uid, options.gid)
            with made_there(directory, status.st_mode):
                target = directory.symlink(name, source.readlink(), uid, gid)
        else:
            target = self._make(directory, name, status, sure)
        try:
            # Files of the kernel, as /proc/cpuinfo, say that they are empty and are not.
            if source.kind == S_IFREG and (status.st_size or source.on_host):
                self._data(source, target, status, path)
            if options.keep:
                self._xattrs(source, target, path)
            self._finish(target, status)
            if options.durable:
                target.sync()
        except BaseException:
            target.close()
            raise
        self.files += 1
        self.lost_owners += target.lost_mode and options.keep
        if shared and (status.st_dev, status.st_ino) not in self._linked:
            target.rest()
            self._linked[status.st_dev, status.st_ino] = Linked(target, status.st_nlink - 1)
        else:
            target.close()

    def _make_room(self, directory: Node, name: bytes, source: Node) -> None:
        """Take away what has the name."""
        old = directory.child(name)
        if old is None:
            return
        try:
            if same(old, source):
                raise failure(EINVAL, "it is copied over itself")
            if old.kind == S_IFDIR:
                raise failure(EISDIR, "it is copied over a directory")
            if not self.options.replace:
                raise failure(EEXIST)
            directory.remove(name, old)
        finally:
            old.close()

    def _link(self, directory: Node, name: bytes, status: Stat) -> bool:
        """Give a file that has been copied its further name; False for one that has not."""
        key = (status.st_dev, status.st_ino)
        linked = self._linked.get(key)
        if linked is None:
            return False
        try:
            directory.link(name, linked.node)
        except OSError as problem:
            if problem.errno not in (EPERM, ENOTSUP, EMLINK):
                raise
            self.lost_links += 1  # a file system without hard links, or with no more of them: a file of its own
            return False
        self.files += 1
        linked.left -= 1
        if linked.left == 0:
            linked.node.close()
            del self._linked[key]
        return True

    def _make(self, directory: Node, name: bytes, status: Stat, sure: bool) -> Node:
        options = self.options
        with made_there(directory, status.st_mode):
            if options.keep:
                return directory.make(name, status.st_mode, status.st_uid, status.st_gid, status.st_rdev, sure)
            mode = status.st_mode & S_IFMT | status.st_mode & KEPT_BITS & ~options.mask
            return directory.make(name, mode, options.uid, options.gid, status.st_rdev, sure)

    def _data(self, source: Node, target: Node, status: Stat, path: bytes) -> None:
        size = status.st_size
        if 0 < size <= PIECE and status.st_blocks << 9 >= size:
            data = source.read(0, size)
            if len(data) == size:
                target.write(0, data)
                self.bytes += size
                self._watcher.copied(path, size)
                return
        end = 0
        for offset, data in source.pieces(size) if size else _until_end(source):
            target.write(offset, data)
            end = offset + len(data)
            self.bytes += len(data)
            self._watcher.copied(path, len(data))
        if end >= size:
            return
        if source.read(size - 1, 1):
            target.truncate(size)  # it ends with a hole
        elif source.size_now() < size:
            self._complain(path, failure(EBUSY, f"it shrank while it was copied: {end} bytes of {size}"))

    def _xattrs(self, source: Node, target: Node, path: bytes) -> None:
        for name, value in source.xattrs():
            try:
                target.set_xattr(name, value)
            except OSError as problem:
                if problem.errno == E2BIG:
                    self._complain(path, problem)
                elif problem.errno not in (ENOTSUP, EPERM):
                    raise
                self.lost_xattrs += 1
                return

    def _set_owner(self, target: Node, status: Stat) -> None:
        """Owner, mode and extended attributes of a directory that was there."""
        try:
            now = target.stat()
            if (now.st_uid, now.st_gid) != (status.st_uid, status.st_gid):
                target.set_owner(status.st_uid, status.st_gid)
            if now.st_mode != status.st_mode:
                target.set_mode(status.st_mode)
        except OSError as problem:
            if problem.errno not in (ENOTSUP, EPERM):
                raise
            self.lost_owners += 1

    def _finish(self, target: Node, status: Stat) -> None:
        """Times, and on the host the mode."""
        options = self.options
        if not options.keep:
            target.settle(status.st_mode & KEPT_BITS & ~options.mask, options.now, options.now)
            return
        atime, mtime = status.st_atime_ns, status.st_mtime_ns
        if options.newest >= 0:
            mtime = min(mtime, options.newest)
            atime = mtime
        target.settle(status.st_mode, atime, mtime)


@contextmanager
def made_there(directory: Node, mode: int) -> Iterator[None]:
    """Errors of making a file of this kind in a directory say that they are no errors of the file that is copied."""
    try:
        yield
    except OSError as problem:
        if problem.errno not in NOT_MADE:
            raise
        text = f"it can't be made there: {problem.strerror}"
        if problem.errno == EPERM and not directory.on_host and mode & S_IFMT not in (S_IFREG, S_IFDIR):
            text = f"the file system has no {'symbolic links' if mode & S_IFMT == S_IFLNK else 'special files'}"
        raise failure(problem.errno, text) from None


NOT_MADE: Final = (EPERM, EACCES, EROFS, EINVAL)


def is_left_out(node: Node, left_out: frozenset[tuple[int, int]]) -> bool:
    """Whether a node is one of these files of the host."""
    if not left_out or not node.on_host:
        return False
    status = node.stat()
    return (status.st_dev, status.st_ino) in left_out


def _until_end(source: Node) -> Iterator[tuple[int, bytes]]:
    """As `pieces`, of a file that doesn't say how large it is."""
    offset = 0
    for data in source.content():
        yield offset, data
        offset += len(data)


def same(one: Node, other: Node) -> bool:
    """Whether two nodes are one file."""
    if type(one) is not type(other):
        return False
    a, b = one.stat(), other.stat()
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
