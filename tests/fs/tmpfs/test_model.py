"""tmpfs through the system calls, against a model of dicts: results, errors, the tree, and what is left of the limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rumpkit.fs.tmpfs.pool import UNIT
from rumpkit.kern.abi import errno as abi
from rumpkit.kern.abi.fcntl import O_CREAT, O_EXCL, O_RDWR, O_TRUNC, S_IFDIR, S_IFMT, SEEK_SET
from tests.vfs.helpers import Files

SIZE = 64 * UNIT
PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(tuple)
Path = tuple[str, ...]


class ModelError(Exception):
    """A call that has to fail, with this errno's name."""


class File:
    def __init__(self) -> None:
        self.data = bytearray()
        self.links = 1


Directory = dict[str, Any]


class Model:
    """What a file system is, in as few words as possible."""

    def __init__(self) -> None:
        self.root: Directory = {}

    def find(self, path: Path) -> Any:
        node: Any = self.root
        for name in path:
            if not isinstance(node, dict):
                raise ModelError("ENOTDIR")
            if name not in node:
                raise ModelError("ENOENT")
            node = node[name]
        return node

    def place(self, path: Path) -> tuple[Directory, str]:
        parent = self.find(path[:-1])
        if not isinstance(parent, dict):
            raise ModelError("ENOTDIR")
        return parent, path[-1]

    def mkdir(self, path: Path) -> None:
        parent, name = self.place(path)
        if name in parent:
            raise ModelError("EEXIST")
        parent[name] = {}

    def open(self, path: Path, flags: int) -> File:
        parent, name = self.place(path)
        node = parent.get(name)
        if node is None and not flags & O_CREAT:
            raise ModelError("ENOENT")
        if node is not None and flags & O_EXCL:
            raise ModelError("EEXIST")
        if isinstance(node, dict):
            raise ModelError("EISDIR")
        if node is None:
            node = parent[name] = File()
        if flags & O_TRUNC:
            node.data.clear()
        assert isinstance(node, File)
        return node

    def unlink(self, path: Path) -> None:
        parent, name = self.place(path)
        if name not in parent:
            raise ModelError("ENOENT")
        if isinstance(parent[name], dict):
            raise ModelError("EISDIR")
        parent.pop(name).links -= 1

    def rmdir(self, path: Path) -> None:
        parent, name = self.place(path)
        if name not in parent:
            raise ModelError("ENOENT")
        if not isinstance(parent[name], dict):
            raise ModelError("ENOTDIR")
        if parent[name]:
            raise ModelError("ENOTEMPTY")
        del parent[name]

    def link(self, path: Path, new: Path) -> None:
        node = self.find(path)
        parent, name = self.place(new)
        if name in parent:
            raise ModelError("EEXIST")
        if isinstance(node, dict):
            raise ModelError("EPERM")
        node.links += 1
        parent[name] = node

    def rename(self, path: Path, new: Path) -> None:
        old_parent, old_name = self.place(path)
        parent, name = self.place(new)
        if old_name not in old_parent:
            raise ModelError("ENOENT")
        node, replaced = old_parent[old_name], parent.get(name)
        if isinstance(node, dict) and len(new) > len(path) and new[: len(path)] == path:
            raise ModelError("EINVAL")
        if len(path) > len(new) and path[: len(new)] == new:
            raise ModelError("ENOTEMPTY")
        if node is replaced:
            return
        if replaced is not None:
            if isinstance(node, dict) != isinstance(replaced, dict):
                raise ModelError("ENOTDIR" if isinstance(node, dict) else "EISDIR")
            if isinstance(replaced, dict):
                if replaced:
                    raise ModelError("ENOTEMPTY")
            else:
                replaced.links -= 1
        del old_parent[old_name]
        parent[name] = node


class TmpfsMachine(RuleBasedStateMachine):
    """Each rule makes a call on both; the invariant compares everything."""

    def __init__(self) -> None:
        super().__init__()
        self.files = Files({"size": SIZE})
        self.client = self.files.root
        self.model = Model()
        self.open: list[tuple[int, File]] = []

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

    @rule(path=PATHS, flags=st.sampled_from([0, O_CREAT, O_CREAT | O_EXCL, O_TRUNC, O_CREAT | O_TRUNC]))
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
        which=st.integers(0, 9), offset=st.integers(0, 3 * UNIT), data=st.binary(max_size=30), many=st.integers(1, 300)
    )
    def write(self, which: int, offset: int, data: bytes, many: int) -> None:
        if not self.open:
            return
        fd, file = self.open[which % len(self.open)]
        data *= many
        self.client.lseek(fd, offset, SEEK_SET)
        try:
            done = self.client.write(fd, data)
        except OSError as problem:
            assert problem.errno == abi.ENOSPC
            done = 0
        # A short count is right only where the file system is full, and then the count is the model's, too.
        assert done == len(data) or self.client.statvfs("/").f_bfree == 0 or self.used() + 4 * UNIT > SIZE
        if done:
            file.data += bytes(max(0, offset - len(file.data)))
            file.data[offset : offset + done] = data[:done]

    @rule(which=st.integers(0, 9), size=st.integers(0, 4 * UNIT))
    def truncate(self, which: int, size: int) -> None:
        if self.open:
            fd, file = self.open[which % len(self.open)]
            self.client.ftruncate(fd, size)
            del file.data[size:]
            file.data += bytes(size - len(file.data))

    @rule(which=st.integers(0, 9))
    def close(self, which: int) -> None:
        if self.open:
            fd, _ = self.open.pop(which % len(self.open))
            self.client.close(fd)

    def used(self) -> int:
        stat = self.client.statvfs("/")
        return int(stat.f_blocks - stat.f_bfree) * UNIT

    @invariant()
    def same_tree(self) -> None:
        files: dict[int, File] = {id(file): file for _, file in self.open}
        count = self.compare("", self.model.root, files)
        stat = self.client.statvfs("/")
        assert stat.f_files - stat.f_ffree == count + sum(max(file.links, 1) for file in files.values())
        assert self.used() <= sum((len(file.data) + UNIT - 1) // UNIT * UNIT for file in files.values())

    def compare(self, path: str, directory: Directory, files: dict[int, File]) -> int:
        """Compare a directory with all below it; returns the number of directories, and notes the files."""
        names = self.client.names(path or "/")
        assert sorted(names) == sorted(directory)
        subdirectories = sum(isinstance(node, dict) for node in directory.values())
        assert self.client.stat(path or "/").st_nlink == 2 + subdirectories
        count = 1
        for name, node in directory.items():
            where = f"{path}/{name}"
            stat = self.client.stat(where)
            if isinstance(node, dict):
                assert stat.st_mode & S_IFMT == S_IFDIR
                count += self.compare(where, node, files)
            else:
                files[id(node)] = node
                assert (stat.st_nlink, stat.st_size) == (node.links, len(node.data))
                assert self.client.get(where) == node.data
        return count

    def teardown(self) -> None:
        for fd, file in self.open:
            assert self.client.pread(fd, SIZE * 2, 0) == file.data
            assert self.client.fstat(fd).st_nlink == file.links
            self.client.close(fd)


def text(path: Path) -> str:
    return "/" + "/".join(path)


TmpfsMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=40)
TestTmpfs = TmpfsMachine.TestCase
