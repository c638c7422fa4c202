"""Checking the directories of a FAT volume: entries, names, chains, "." and "..".  Driven by fsck.py.

A crash leaves only little of what is looked for here: chains longer than their files, parts of long names, and of a file that was moved
both names.  The rest is what other systems, and failing disks, do.
"""

from typing import Final, NamedTuple, final

from . import longname, record, shortname
from .fsck import Checker
from .layout import (
    ARCHIVE,
    DIRECTORY,
    DOT_DOT_NAME,
    DOT_NAME,
    ENTRY_SIZE,
    FREE,
    LONG,
    LONG_MASK,
    MAX_SLOTS,
    VOLUME,
)
from .record import Record, first_slot, pack, unpack

EPOCH: Final = 0x21
"""1980-01-01, as a FAT date."""
MOST_PATH: Final = 250
"""Characters of a path that are kept for messages: directories may lie as deep as there are clusters."""
MOST_NAMES: Final = 10000
"""Names that are tried for a file whose own can't stay."""


class Todo(NamedTuple):
    """A directory that is still to be checked."""

    path: str
    clusters: list[int]
    """Empty: the fixed root directory."""
    parent: int
    """First cluster of the directory above; 0 for the root."""
    root: bool


def check_tree(checker: Checker) -> None:
    """Check all directories, from the root on."""
    geometry = checker.geometry
    clusters: list[int] = []
    if geometry.bits == 32:
        walked = checker.follow(geometry.root_cluster, MAX_SLOTS * ENTRY_SIZE // geometry.cluster_size)
        clusters = walked.clusters
        if walked.problem:
            checker.found(f"the chain of the root directory {walked.problem}", "/")
            if not clusters:
                clusters = [geometry.root_cluster]
                checker.used[geometry.root_cluster] = 1
            checker.end_at(clusters)
        elif not checker.table.is_last(checker.table.get(clusters[-1])):
            checker.found("the root directory has more entries than there can be", "/")
            checker.end_at(clusters)
    todo = [Todo("", clusters, 0, True)]
    while todo:
        todo += Directory(checker, todo.pop()).check()


@final
class Directory:
    """One directory under check."""

    def __init__(self, checker: Checker, what: Todo) -> None:
        self.checker: Checker = checker
        self.what: Todo = what
        self.data: bytearray = bytearray()
        self.old: bytes = b""
        self.below: list[Todo] = []
        self.labelled: bool = False
        self.shorts: set[bytes] = set()
        self.names: set[str] = set()

    def check(self) -> list[Todo]:
        """Check it; returns the directories in it."""
        checker, geometry = self.checker, self.checker.geometry
        if self.what.clusters:
            size = geometry.cluster_size
            parts = [checker.read(geometry.address(cluster), size) for cluster in self.what.clusters]
            self.old = b"".join(parts)
        else:
            self.old = checker.read(geometry.root_offset, geometry.root_bytes)
        self.data = bytearray(self.old)
        if not self.what.root:
            self._check_dots()
        self._check_entries()
        if self.data != self.old:
            self._write()
        return self.below

    def _write(self) -> None:
        geometry = self.checker.geometry
        if not self.what.clusters:
            self.checker.write(geometry.root_offset, bytes(self.data))
            return
        size = geometry.cluster_size
        for index, cluster in enumerate(self.what.clusters):
            part = bytes(self.data[index * size : (index + 1) * size])
            if part != self.old[index * size : (index + 1) * size]:
                self.checker.write(geometry.address(cluster), part)

    def _path(self, slot: int) -> str:
        path = f"{self.what.path}/{record.shown(self.data, slot)}"
        return path if len(path) <= MOST_PATH else f"...{path[-MOST_PATH:]}"

    def _check_dots(self) -> None:
        for slot, name, cluster in ((0, DOT_NAME, self.what.clusters[0]), (1, DOT_DOT_NAME, self.what.parent)):
            found = unpack(self.data, slot)
            text = name.decode().strip()
            if found.name != name or found.attributes & (DIRECTORY | VOLUME) != DIRECTORY:
                self.checker.found(f'"{text}" is missing', self.what.path)
                if found.name[0] == 0:
                    # The end was here; what lies behind it means nothing.
                    self.data[(slot + 1) * ENTRY_SIZE] = 0
                self._put(slot, Record(name, DIRECTORY, 0, (EPOCH, 0, 0), 0, (EPOCH, 0), cluster, 0))
            elif self._cluster(found) != cluster:
                self.checker.found(f'"{text}" leads to cluster {self._cluster(found)}, not {cluster}', self.what.path)
                self._put(slot, found._replace(cluster=cluster))

    def _check_entries(self) -> None:
        data = self.data
        slot = 0
        parts = 0
        for slot in range(len(data) // ENTRY_SIZE):
            at = slot * ENTRY_SIZE
            head = data[at]
            if head == 0:
                self._check_end(at)
                break
            if head == FREE:
                parts = self._orphans(slot, parts)
                continue
            if data[at + 11] & ~LONG_MASK:
                self.checker.found(f"an entry has attributes {data[at + 11]:#04x}", self.what.path or "/")
                data[at + 11] &= LONG_MASK
            if data[at + 11] & LONG_MASK == LONG:
                parts += 1
                if data[at + 12] or data[at + 26] or data[at + 27]:
                    self.checker.found(
                        "a part of a long name has something where zeros should be", self.what.path or "/"
                    )
                    data[at + 12] = data[at + 26] = data[at + 27] = 0
                continue
            own = slot - first_slot(data, slot)
            self._orphans(slot - own, parts - own)
            parts = 0
            if data[at + 11] & VOLUME:
                self._check_label(slot)
                continue
            if bytes(data[at : at + 11]) in (DOT_NAME, DOT_DOT_NAME) and slot < 2 and not self.what.root:
                continue
            self._check_entry(slot)
        else:
            slot += 1
        self._orphans(slot, parts)

    def _check_end(self, at: int) -> None:
        """See that nothing lies behind the end mark at byte `at`, where readers differ in what they make of it."""
        data = self.data
        behind = len(data) - at - ENTRY_SIZE
        if data[at + ENTRY_SIZE :].count(0) != behind:
            self.checker.found("something lies behind the end", self.what.path or "/")
        data[at:] = bytes(len(data) - at)

    def _orphans(self, slot: int, count: int) -> int:
        """Remove `count` parts of long names that lie before `slot` and belong to nothing."""
        if count > 0:
            self.checker.found(f"{count} parts of long names belong to no file", self.what.path or "/")
            self._drop(slot - count, count)
        return 0

    def _check_label(self, slot: int) -> None:
        """The volume's label is one entry of the root directory, and no file's."""
        found = unpack(self.data, slot)
        good = found.attributes & ~ARCHIVE == VOLUME and self._cluster(found) == 0 and found.size == 0
        if self.what.root and good and not self.labelled and shortname.is_label(found.name):
            self.labelled = True
            self.checker.label = found.name
            return
        self.checker.found("a volume label that can't be one", self._path(slot))
        self._remove(slot)

    def _check_entry(self, slot: int) -> None:
        found = unpack(self.data, slot)
        path = self._path(slot)
        if not self._check_chain(slot, found, path):
            self._remove(slot)
            return
        self._check_name(slot, path)

    # Names ---------------------------------------------------------------------------------------------

    def _check_name(self, slot: int, path: str) -> None:
        found = unpack(self.data, slot)
        first = first_slot(self.data, slot)
        if not shortname.is_valid(found.name):
            self._rename(slot, first, f"{found.name!r} is no 8.3 name", path)
        elif found.name in self.shorts:
            self._rename(slot, first, f"another file has the 8.3 name {found.name!r}, too", path)
        elif first < slot:
            text = record.long_name(self.data, slot)
            if not text or longname.fold(text) in self.names:
                self.checker.found("another file has that name, too" if text else "the long name can't be one", path)
                self._drop(first, slot - first)
        text = record.shown(self.data, slot)
        if longname.fold(text) in self.names:
            self._rename(slot, first_slot(self.data, slot), "another file has that name, too", path)
        name = bytes(self.data[slot * ENTRY_SIZE : slot * ENTRY_SIZE + 11])
        self.shorts.add(name)
        self.names.add(longname.fold(record.shown(self.data, slot)))
        self.names.add(longname.fold(shortname.decode(name, 0)))

    def _rename(self, slot: int, first: int, text: str, path: str) -> None:
        """Call the file FSCKnnnn.nnn, and forget its long name, which would belong to another 8.3 name."""
        for number in range(MOST_NAMES):
            name = b"FSCK%04d" % number + b"%03d" % (number % 1000)
            if name not in self.shorts and longname.fold(shortname.decode(name, 0)) not in self.names:
                break
        self.checker.found(f"{text}; it becomes {shortname.decode(name, 0)}", path)
        self._drop(first, slot - first)
        at = slot * ENTRY_SIZE
        self.data[at : at + 11] = name
        self.data[at + 12] = 0

    # Chains --------------------------------------------------------------------------------------------

    def _cluster(self, found: Record) -> int:
        return found.cluster if self.checker.geometry.bits == 32 else found.cluster & 0xFFFF

    def _check_chain(self, slot: int, found: Record, path: str) -> bool:
        """Check what a file consists of; False if its entry has to go."""
        checker = self.checker
        cluster = self._cluster(found)
        twin = checker.first.get(cluster) if cluster else None
        if twin is not None:
            checker.found(f"it is the same file as {twin}, and goes", path)
            return False
        if found.attributes & DIRECTORY:
            return self._check_directory(slot, found, cluster, path)
        size = checker.geometry.cluster_size
        wanted = (found.size + size - 1) // size
        if cluster == 0:
            if found.size:
                checker.found(f"{found.size} bytes, but no clusters", path)
                self._put(slot, found._replace(cluster=0, size=0))
            return True
        if wanted == 0:
            checker.found("no bytes, but clusters", path)
            self._put(slot, found._replace(cluster=0))
            return True
        walked = checker.follow(cluster, wanted, path)
        clusters = walked.clusters
        if len(clusters) < wanted:
            text = walked.problem or "ends"
            checker.found(f"{found.size} bytes, but the chain {text} after {len(clusters)} clusters", path)
            checker.end_at(clusters)
            first = clusters[0] if clusters else 0
            self._put(slot, found._replace(cluster=first, size=len(clusters) * size))
        elif not checker.table.is_last(checker.table.get(clusters[-1])):
            checker.found(f"the chain goes on behind {found.size} bytes", path)
            checker.end_at(clusters)
        if clusters:
            checker.first[clusters[0]] = path
        return True

    def _check_directory(self, slot: int, found: Record, cluster: int, path: str) -> bool:
        checker = self.checker
        most = MAX_SLOTS * ENTRY_SIZE // checker.geometry.cluster_size
        walked = checker.follow(cluster, most, path)
        clusters = walked.clusters
        if not clusters:
            checker.found(f"the directory {walked.problem}, and goes", path)
            return False
        checker.first[clusters[0]] = path
        if walked.problem or not checker.table.is_last(checker.table.get(clusters[-1])):
            checker.found(f"the chain of the directory {walked.problem or 'is too long'}", path)
            checker.end_at(clusters)
        if found.size:
            checker.found(f"a directory with a size of {found.size} bytes", path)
            self._put(slot, found._replace(size=0))
        above = 0 if self.what.root else self.what.clusters[0]
        self.below.append(Todo(path, clusters, above, False))
        return True

    # Changes -------------------------------------------------------------------------------------------

    def _put(self, slot: int, found: Record) -> None:
        self.data[slot * ENTRY_SIZE : (slot + 1) * ENTRY_SIZE] = pack(found)

    def _drop(self, first: int, count: int) -> None:
        for slot in range(first, first + count):
            self.data[slot * ENTRY_SIZE] = FREE

    def _remove(self, slot: int) -> None:
        first = first_slot(self.data, slot)
        self._drop(first, slot - first + 1)
