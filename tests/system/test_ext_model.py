"""ext2 and ext4 against a model of dicts: random calls, remounts and syncs, everything compared, and e2fsck at the end of each run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path as HostPath
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.kern.abi import errno as abi
from rumpkit.kern.abi.fcntl import (
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    O_CREAT,
    O_EXCL,
    O_RDWR,
    O_TRUNC,
    S_IFDIR,
    S_IFMT,
)
from tests.fs.tmpfs.test_model import File, Model, ModelError, Path
from tests.system.helpers.extimages import MEBIBYTE, check, make
from tests.vfs.helpers import Files

pytestmark = [pytest.mark.needs("mke2fs", "e2fsck"), pytest.mark.once]

SIZE = 8 * MEBIBYTE
FEATURES = (
    "-t ext2 -b 1024",
    "-t ext4 -b 1024",
    "-t ext4 -b 4096 -O ^has_journal",
    "-t ext4 -b 1024 -O inline_data,^has_journal",
    "-t ext4 -b 1024 -O ^metadata_csum,^64bit,^extent,uninit_bg",
)
NAMES = st.sampled_from(["a", "b", "c", *(f"a-long-name-to-fill-the-blocks-of-directories-{n}" * 3 for n in range(12))])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(tuple)


@cache
def fresh(features: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return make(HostPath(folder) / "image", SIZE, features).read_bytes()


class ExtMachine(RuleBasedStateMachine):
    """Each rule makes a call on both."""

    def __init__(self) -> None:
        super().__init__()
        self.files = Files()
        self.client = self.files.root
        self.disk = RamDisk(SIZE)
        self.files.entered(self.files.service("Disks").attach, "disk0", self.disk)
        self.model = Model()
        self.open: list[tuple[int, File]] = []

    @initialize(features=st.sampled_from(FEATURES))
    def begin(self, features: str) -> None:
        self.disk.write(0, fresh(features))
        self.files.mount("ext4", "/mnt", "disk0")
        self.client.rmdir("/mnt/lost+found")

    def both(self, ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[Any, Any]:
        try:
            expected = theirs()
        except ModelError as refusal:
            expected = refusal
        try:
            found = ours()
        except OSError as problem:
            assert isinstance(expected, ModelError), (problem, expected)
            assert problem.errno == getattr(abi, str(expected)), (problem, expected)
            found = problem
        else:
            assert not isinstance(expected, ModelError), (found, expected)
        return found, expected

    @rule(path=PATHS)
    def mkdir(self, path: Path) -> None:
        self.both(lambda: self.client.mkdir(text(path)), lambda: self.model.mkdir(path))

    @rule(path=PATHS, flags=st.sampled_from([0, O_CREAT, O_CREAT, O_CREAT | O_EXCL, O_CREAT | O_TRUNC]))
    def open_file(self, path: Path, flags: int) -> None:
        fd, file = self.both(lambda: self.client.open(text(path), O_RDWR | flags), lambda: self.model.open(path, flags))
        if isinstance(file, File):
            self.open.append((fd, file))

    @rule(path=PATHS)
    def unlink(self, path: Path) -> None:
        self.both(lambda: self.client.unlink(text(path)), lambda: self.model.unlink(path))

    @rule(path=PATHS)
    def rmdir(self, path: Path) -> None:
        self.both(lambda: self.client.rmdir(text(path)), lambda: self.model.rmdir(path))

    @rule(path=PATHS, new=PATHS)
    def link(self, path: Path, new: Path) -> None:
        self.both(lambda: self.client.link(text(path), text(new)), lambda: self.model.link(path, new))

    @rule(path=PATHS, new=PATHS)
    def rename(self, path: Path, new: Path) -> None:
        self.both(lambda: self.client.rename(text(path), text(new)), lambda: self.model.rename(path, new))

    @rule(
        which=st.integers(0, 9),
        offset=st.one_of(st.integers(0, 9000), st.integers(0, 400_000)),
        data=st.binary(min_size=1, max_size=30),
        many=st.one_of(st.integers(1, 300), st.just(4000)),
    )
    def write(self, which: int, offset: int, data: bytes, many: int) -> None:
        if self.open:
            fd, file = self.open[which % len(self.open)]
            data *= many
            assert self.client.pwrite(fd, data, offset) == len(data)
            file.data += bytes(max(0, offset - len(file.data)))
            file.data[offset : offset + len(data)] = data

    @rule(which=st.integers(0, 9), size=st.one_of(st.integers(0, 9000), st.integers(0, 400_000)))
    def truncate(self, which: int, size: int) -> None:
        if self.open:
            fd, file = self.open[which % len(self.open)]
            self.client.ftruncate(fd, size)
            del file.data[size:]
            file.data += bytes(size - len(file.data))

    @rule(which=st.integers(0, 9), offset=st.integers(0, 100_000), size=st.integers(1, 100_000))
    def punch(self, which: int, offset: int, size: int) -> None:
        if self.open:
            fd, file = self.open[which % len(self.open)]
            opened: Any = self.client.process.files.get(fd)
            vnode = opened.vnode
            self.files.entered(vnode.fallocate, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size)
            end = min(offset + size, len(file.data))
            if end > offset:
                file.data[offset:end] = bytes(end - offset)

    @rule(which=st.integers(0, 9))
    def close(self, which: int) -> None:
        if self.open:
            fd, _ = self.open.pop(which % len(self.open))
            self.client.close(fd)

    @rule(which=st.integers(0, 9))
    def fsync(self, which: int) -> None:
        if self.open:
            self.client.fsync(self.open[which % len(self.open)][0])

    @rule()
    def sync(self) -> None:
        self.client.sync()

    @rule()
    @precondition(lambda self: not self.open)
    def remount(self) -> None:
        self.files.entered(self.files.vfs.unmount, "/mnt")
        self.files.mount("ext4", "/mnt", "disk0")

    @rule()
    def same_tree(self) -> None:
        self.compare("/mnt", self.model.root)

    def compare(self, path: str, directory: dict[str, Any]) -> None:
        names = self.client.names(path)
        assert sorted(names) == sorted(directory)
        subdirectories = sum(isinstance(node, dict) for node in directory.values())
        assert self.client.stat(path).st_nlink == 2 + subdirectories
        for name, node in directory.items():
            where = f"{path}/{name}"
            stat = self.client.stat(where)
            if isinstance(node, dict):
                assert stat.st_mode & S_IFMT == S_IFDIR
                self.compare(where, node)
            else:
                assert (stat.st_nlink, stat.st_size) == (node.links, len(node.data))
                assert self.client.get(where) == node.data

    def teardown(self) -> None:
        if len(self.files.vfs.mounts()) < 2:
            return
        for fd, file in self.open:
            assert self.client.pread(fd, SIZE, 0) == file.data
            assert self.client.fstat(fd).st_nlink == file.links
            self.client.close(fd)
        self.compare("/mnt", self.model.root)
        self.files.entered(self.files.vfs.unmount, "/mnt")
        with tempfile.TemporaryDirectory() as folder:
            image = HostPath(folder) / "image"
            image.write_bytes(self.disk.read(0, SIZE))
            check(image)


def text(path: Path) -> str:
    return "/mnt/" + "/".join(path)


ExtMachine.TestCase.settings = settings(max_examples=12, stateful_step_count=50)
TestExt = ExtMachine.TestCase


class LongMachine(ExtMachine):
    """As many runs again, and longer ones."""


LongMachine.TestCase.settings = settings(max_examples=400, stateful_step_count=100)
TestExtLong = pytest.mark.long(LongMachine.TestCase)
