"""Crashes of any file system: workloads on a recorded disk, every moment at which the power may fail, and what must be there then.

A workload is a few operations on a handful of names, with fsync, fdatasync of files and directories or sync between and behind them.  It
runs once on a recorder.  A crash point is a number of its writes and flushes, and a seed that says which of those that were not flushed a
disk has, whole or torn (None: all of them, one after the other).  `Promises` knows what has to be there:

* what was there when the last call that makes it durable returned, and was not touched since, is there and the same;
* what did not exist then and was not made since is not there;
* where a file system orders data before what it is part of, no file shows what the disk held before (`STALE`).

Where a file system commits everything at once (`everything`, a journal), fsync of one file makes all names durable that there are, but the
contents of no other file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.dev.recorder import Durable, Event, Flush, RecorderBackend, Write, apply, crash, marks, prefix
from rumpkit.kern.abi.errno import ENODATA, ENOENT, ENOTDIR, ENOTSUP, EPERM
from rumpkit.kern.abi.fcntl import O_CREAT, O_RDONLY, O_WRONLY, S_IFDIR, S_IFLNK, S_IFMT
from rumpkit.vfs.types import Finding, check_format_options
from tests.vfs.helpers import Files

CONTENT = bytes(range(256)) * 12
STALE = b"left by somebody else; "
"""What disks are full of before they are formatted."""
ATTRIBUTE = "@user.a"
"""Behind a name: this attribute of it, in place of its contents."""


class Operation(NamedTuple):
    """One step of a workload: what it does, to which names, and which of these it may change."""

    text: str
    run: Callable[[Any, str], object]
    """Called with a client and the mount's path; what makes something durable gives False where it found nothing."""
    touched: tuple[str, ...]
    content: tuple[str, ...] = ()
    """Files whose contents it makes durable; with `names`, all names, too."""
    names: bool = False
    all: bool = False
    """It makes everything durable."""


def _write(name: str, offset: int, size: int, value: int) -> Operation:
    def run(client: Any, at: str) -> None:
        fd = client.open(f"{at}/{name}", O_CREAT | O_WRONLY, 0o644)
        data = bytes([value]) + CONTENT * (size // len(CONTENT) + 1)
        client.pwrite(fd, data[:size], offset)
        client.close(fd)

    return Operation(f"write {name} {offset}+{size}", run, (name,))


def _sync(name: str, data_only: bool = False) -> Operation:
    def run(client: Any, at: str) -> bool:
        try:
            fd = client.open(f"{at}/{name}" if name else at, O_RDONLY)
        except OSError:
            return False
        (client.fdatasync if data_only else client.fsync)(fd)
        client.close(fd)
        return True

    return Operation(f"{'fdatasync' if data_only else 'fsync'} {name or '.'}", run, (), (name,), True)


def _call(text: str, touched: tuple[str, ...], call: Callable[[Any, str], None]) -> Operation:
    def run(client: Any, at: str) -> None:
        try:
            call(client, at)
        except OSError:
            pass  # it finds nothing to work on: an operation that does nothing

    return Operation(text, run, touched)


CHANGES = (
    _write("a", 0, 700, 1),
    _write("a", 500, 9000, 2),
    _write("b", 5000, 40000, 3),
    _call("truncate a", ("a",), lambda client, at: client.truncate(f"{at}/a", 300)),
    _call("truncate old", ("old",), lambda client, at: client.truncate(f"{at}/old", 2500)),
    _call("unlink old", ("old",), lambda client, at: client.unlink(f"{at}/old")),
    _call("unlink a", ("a",), lambda client, at: client.unlink(f"{at}/a")),
    _call("rename a b", ("a", "b"), lambda client, at: client.rename(f"{at}/a", f"{at}/b")),
    _call("rename old a", ("old", "a"), lambda client, at: client.rename(f"{at}/old", f"{at}/a")),
    _call("rename a d/a", ("a", "d/a"), lambda client, at: client.rename(f"{at}/a", f"{at}/d/a")),
    _call("link old b", ("b",), lambda client, at: client.link(f"{at}/old", f"{at}/b")),
    _call("mkdir e", ("e",), lambda client, at: client.mkdir(f"{at}/e", 0o755)),
    _call("rmdir d", ("d",), lambda client, at: client.rmdir(f"{at}/d")),
    _call("symlink b", ("b",), lambda client, at: client.symlink("old", f"{at}/b")),
)
SYNCS = (
    _sync("a"),
    _sync("b", True),
    _sync(""),
    Operation("sync", lambda client, at: client.sync(), (), (), True, True),
)


def _hold(name: str, more: int) -> Operation:
    """Remove a file that stays open, and write to it."""

    def run(client: Any, at: str) -> None:
        try:
            fd = client.open(f"{at}/{name}", O_WRONLY)
        except OSError:
            return
        client.unlink(f"{at}/{name}")
        client.pwrite(fd, CONTENT[:more], 20000)

    return Operation(f"unlink {name}, and keep it open", run, (name,))


def _allocate(name: str, mode: int, offset: int, length: int) -> Operation:
    def run(client: Any, at: str) -> None:
        try:
            fd = client.open(f"{at}/{name}", O_WRONLY)
        except OSError:
            return
        try:
            client.fallocate(fd, mode, offset, length)
        except OSError:
            pass
        client.close(fd)

    return Operation(f"fallocate {name} {mode} {offset}+{length}", run, (name,))


_SUBTREES = ("p/s", "p/s/f", "d/s", "d/s/f")
FURTHER = (
    _hold("old", 3000),
    _hold("a", 0),
    _allocate("old", 3, 1000, 20000),
    _allocate("a", 0, 2000, 30000),
    _allocate("a", 1, 0, 90000),
    _allocate("old", 16, 500, 9000),
    _call("setxattr old", ("old",), lambda client, at: client.setxattr(f"{at}/old", "user.a", b"value" * 9)),
    _call("setxattr a", ("a",), lambda client, at: client.setxattr(f"{at}/a", "user.a", b"long" * 150)),
    _call("removexattr kept", ("kept@user.a",), lambda client, at: client.removexattr(f"{at}/kept", "user.a")),
    _call("rename old kept", ("old", "kept"), lambda client, at: client.rename(f"{at}/old", f"{at}/kept")),
    _call("rename a old", ("a", "old"), lambda client, at: client.rename(f"{at}/a", f"{at}/old")),
    _call("exchange old kept", ("old", "kept"), lambda client, at: client.rename(f"{at}/old", f"{at}/kept", 2)),
    _call("rename p/s d/s", _SUBTREES, lambda client, at: client.rename(f"{at}/p/s", f"{at}/d/s")),
    _call("rename d/s p/s", _SUBTREES, lambda client, at: client.rename(f"{at}/d/s", f"{at}/p/s")),
    _call("unlink p/s/f", ("p/s/f",), lambda client, at: client.unlink(f"{at}/p/s/f")),
    _call("link old a", ("a",), lambda client, at: client.link(f"{at}/old", f"{at}/a")),
)
"""Operations that not every file system has."""
NAMES = ("a", "b", "d", "d/a", "e", "old", "kept", "p", *_SUBTREES)


def prepare_further(files: Files) -> None:
    """What FURTHER works on, beside what is there anyhow."""
    client = files.root
    client.mkdir("/m/p", 0o755)
    client.mkdir("/m/p/s", 0o755)
    client.put("/m/p/s/f", CONTENT)
    try:
        client.setxattr("/m/kept", "user.a", b"kept")
    except OSError:
        pass  # it has none
    client.sync()


def further_workloads() -> list[tuple[Operation, ...]]:
    """As `workloads`, with at least one of FURTHER in each, on what `prepare_further` makes."""
    made: list[tuple[Operation, ...]] = [(one, sync) for one, sync in product(FURTHER, SYNCS)]
    every = CHANGES + FURTHER
    pairs = [*product(FURTHER, every), *product(CHANGES, FURTHER)]
    for index, (one, two) in enumerate(pairs):
        made.append((one, SYNCS[index % 4], two, SYNCS[(index // 4) % 4]))
        made.append((one, two, SYNCS[(index + 1) % 4]))
    for index, (one, two, three) in enumerate(product(FURTHER, every, FURTHER)):
        made.append((one, SYNCS[index % 4], two, three, SYNCS[(index // 4) % 4]))
    return made


def workloads() -> list[tuple[Operation, ...]]:
    """Up to three changes, each with or without something durable behind it, at the end always."""
    made: list[tuple[Operation, ...]] = []
    for one, sync in product(CHANGES, SYNCS):
        made.append((one, sync))
    for one, two in product(CHANGES, CHANGES):
        for index, sync in enumerate(SYNCS):
            made.append((one, SYNCS[(index + 1) % len(SYNCS)], two, sync))
    for index, (one, two, three) in enumerate(product(CHANGES, CHANGES, CHANGES)):
        made.append((one, two, SYNCS[index % 4], three, SYNCS[(index // 4) % 4]))
    return made


Tree = dict[str, bytes | None]
"""Names, and what they are: contents of files, "-> target" of links, None for directories."""


def tree(client: Any, at: str) -> Tree:
    """What of NAMES is there.  Whatever can't be read fails."""
    found: Tree = {}
    for name in NAMES:
        path = f"{at}/{name}"
        try:
            kind = client.lstat(path).st_mode & S_IFMT
        except OSError as problem:
            if problem.errno not in (ENOENT, ENOTDIR):
                raise
            continue
        if kind == S_IFDIR:
            found[name] = None
        elif kind == S_IFLNK:
            found[name] = b"-> " + client.readlink(path).encode()
        else:
            fd = client.open(path, O_RDONLY)
            data = b""
            while piece := client.read(fd, 1 << 20):
                data += piece
            client.close(fd)
            found[name] = data
        try:
            found[name + ATTRIBUTE] = client.getxattr(path, "user.a", 256)
        except OSError as problem:
            if problem.errno not in (ENODATA, ENOTSUP, EPERM):
                raise
    return found


def aliases(client: Any, at: str, names: tuple[str, ...]) -> set[str]:
    """These names, and the others of NAMES for the same files."""
    numbers: dict[str, int] = {}
    for name in NAMES:
        try:
            numbers[name] = client.stat(f"{at}/{name}").st_ino
        except OSError:
            pass
    wanted = {numbers[name] for name in names if name in numbers}
    found = {*names, *(name for name, number in numbers.items() if number in wanted)}
    return found | {name + ATTRIBUTE for name in found if ATTRIBUTE not in name}


class Promises:
    """What has to be there after a crash that comes behind the mark `number`."""

    def __init__(self) -> None:
        self.names: Tree = {}
        """As they were when names were made durable last."""
        self.contents: dict[str, bytes | None] = {}
        self.touched: set[str] = set()
        """Names changed since then."""

    def copy(self) -> Promises:
        made = Promises()
        made.names, made.contents, made.touched = dict(self.names), dict(self.contents), set(self.touched)
        return made

    def check(self, found: Tree) -> list[str]:
        """What is not as promised."""
        wrong = []
        for name in (*NAMES, *(name + ATTRIBUTE for name in NAMES)):
            if name in self.touched:
                continue
            if (name in found) != (name in self.names):
                wrong.append(f"{name} is {'there' if name in found else 'gone'}")
            elif name in found and name in self.contents and found[name] != self.contents[name]:
                size = len(found[name] or b"")
                wrong.append(f"{name} has other contents ({size} bytes and not {len(self.contents[name] or b'')})")
        return wrong


class Recorded:
    """A workload that ran on a recorder: what the disk was before, what was done to it, and what was promised when."""

    def __init__(
        self,
        kind: str,
        size: int,
        steps: tuple[Operation, ...],
        everything: bool,
        prepare: Callable[[Files], None] | None = None,
        **options: Any,
    ) -> None:
        """`everything`: one fsync makes all names durable; `prepare` is called on the mount /m before the recording."""
        self.kind = kind
        self.options = options
        self.files = Files()
        self.client = self.files.root
        self.disks = self.files.service("Disks")
        disk = RamDisk(size)
        disk.write(0, (STALE * (size // len(STALE) + 1))[:size])
        recorder = RecorderBackend(disk)
        device = self.files.entered(self.disks.attach, "disk", recorder)
        self.type = self.files.vfs.types.find(kind)
        self.files.entered(self.type.format, self.files.vfs, device, check_format_options(self.type, options))
        self.files.mount(kind, "/m", "disk")
        self._prepare()
        if prepare is not None:
            prepare(self.files)
        self.before = disk.read(0, size)
        recorder.clear()
        self.promises: list[Promises] = []
        self.client = self.files.process()
        self._run(recorder, steps, everything)
        self.events = list(recorder.events)
        self.client.exit()
        self.files.entered(self.files.vfs.unmount, "/m")
        self.repaired = 0
        """Disks that had to be repaired before they could be mounted."""
        self._count = 0

    def _prepare(self) -> None:
        client = self.client
        client.mkdir("/m/d", 0o755)
        for name, size in (("old", 30000), ("kept", 5000)):
            fd = client.open(f"/m/{name}", O_CREAT | O_WRONLY, 0o644)
            client.write(fd, (name.encode() + CONTENT * 10)[:size])
            client.close(fd)
        client.sync()

    def _run(self, recorder: RecorderBackend, steps: tuple[Operation, ...], everything: bool) -> None:
        now = Promises()
        now.names = now.contents = tree(self.client, "/m")
        now.contents = dict(now.contents)
        self.promises.append(now.copy())
        recorder.mark("0")
        for step in steps:
            # A crash may come within the step: what it touches is no longer promised from its start.
            now.touched |= aliases(self.client, "/m", step.touched)
            self.promises[-1].touched |= now.touched
            self.promises.append(now.copy())
            recorder.mark(str(len(self.promises) - 1))
            if step.run(self.client, "/m") is not False and (step.content or step.names):
                found = tree(self.client, "/m")
                self._promise(now, step, found, everything)
                self.promises.append(now.copy())
                recorder.mark(str(len(self.promises) - 1))

    def _promise(self, now: Promises, step: Operation, found: Tree, everything: bool) -> None:
        durable = set(found) if step.all else {*step.content, *(name + ATTRIBUTE for name in step.content)} & set(found)
        if everything or step.all:
            for name in now.touched:
                now.contents.pop(name, None)
            now.names = found
            now.touched = set()
            durable |= {name for name in found if ATTRIBUTE in name}
        else:
            now.touched -= durable
            now.names = {name: value for name, value in now.names.items() if name not in durable}
            now.names.update({name: found[name] for name in durable})
        for name in durable:
            now.contents[name] = found[name]

    def points(self, seeds: int) -> Iterator[tuple[int, int | None]]:
        """Every prefix, and so many random subsets of what was not flushed at each."""
        for count in range(1, len(self.events) + 1):
            if isinstance(self.events[count - 1], (Write, Durable, Flush)):
                yield count, None
                for seed in range(seeds):
                    yield count, seed * 1000 + count

    def image(self, count: int, seed: int | None) -> RamDisk:
        """The disk after a crash."""
        disk = RamDisk(len(self.before))
        disk.write(0, self.before)
        apply(prefix(self.events, count) if seed is None else crash(self.events, count, seed), disk)
        return disk

    def mounted(self, disk: RamDisk) -> list[Event]:
        """What a mount of a disk writes, which works off what a crash left, and its unmount."""
        recorder = RecorderBackend(disk)
        self._count += 1
        name = f"again{self._count}"
        self.files.entered(self.disks.attach, name, recorder)
        self.files.mount(self.kind, "/c", name)
        self.files.entered(self.files.vfs.unmount, "/c")
        self.files.entered(self.disks.detach, name)
        return list(recorder.events)

    def promised(self, count: int) -> Promises:
        """What has to be there after a crash behind so many events."""
        notes = marks(self.events, count)
        return self.promises[int(notes[-1])] if notes else self.promises[0]

    def after(self, disk: RamDisk, check: bool = True) -> tuple[Tree, list[Finding]]:
        """Check the disk, mount it for writing, and unmount it; what was in it, and what the check found."""
        self._count += 1
        name = f"crash{self._count}"
        device = self.files.entered(self.disks.attach, name, disk)
        found: list[Finding] = []
        if check:
            self.files.entered(self.type.check, self.files.vfs, device, False, found.append)
        try:
            self.files.mount(self.kind, "/c", name)
        except OSError:
            # What can't be mounted (a superblock that was torn) a repair has to bring back.
            assert self.files.entered(self.type.check, self.files.vfs, device, True, found.append), found
            self.repaired += 1
            self.files.mount(self.kind, "/c", name)
        seen = tree(self.client, "/c")
        self.files.entered(self.files.vfs.unmount, "/c")
        self.files.entered(self.disks.detach, name)
        return seen, found
