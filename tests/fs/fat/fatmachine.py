"""A hypothesis machine: random system calls on a FAT volume against a model of dicts whose names differ by more than case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.kern.abi import errno as abi
from rumpkit.kern.abi.fcntl import O_CREAT, O_RDWR, SEEK_SET
from tests.fs.fat.fatlab import Lab, tree

SHAPES: tuple[tuple[int, dict[str, Any]], ...] = (
    (256, {"bits": 12, "cluster_size": 512, "root_entries": 64}),
    (5000, {"bits": 16, "cluster_size": 1024}),
    (2048, {"bits": 32, "cluster_size": 512}),
    (4096, {"bits": 32, "cluster_size": 4096, "sector_size": 4096}),
)
"""KiB and format options: small, so that clusters and directories fill up."""

NAMES = st.sampled_from(
    [
        "a",
        "A",
        "b.txt",
        "B.TXT",
        "b.Txt",
        "a rather long name.text",
        "A RATHER long name.TEXT",
        "a rather long name.textual",
        "füßchen",
        "FÜßCHEN",
        "\U0001f600",
        "x" * 100,
        "y.tar.gz",
        ".hidden",
    ]
)
PATHS = st.lists(NAMES, min_size=1, max_size=2).map(tuple)
SIZES = st.sampled_from([0, 1, 511, 512, 513, 4096, 5000, 20000, 70000])
Path = tuple[str, ...]


class ModelError(Exception):
    """A call that has to fail, with this errno's name."""


class Directory:
    def __init__(self) -> None:
        self.names: dict[str, tuple[str, Any]] = {}
        """Spelling and file, by the name in lower case."""

    def get(self, name: str) -> Any:
        found = self.names.get(name.lower())
        return None if found is None else found[1]

    def put(self, name: str, node: Any) -> None:
        old = self.names.get(name.lower())
        self.names[name.lower()] = (name if old is None else old[0], node)


class Model:
    """What FAT is, in as few words as possible."""

    def __init__(self) -> None:
        self.root = Directory()

    def find(self, path: Path) -> Any:
        node: Any = self.root
        for name in path:
            if not isinstance(node, Directory):
                raise ModelError("ENOTDIR")
            node = node.get(name)
            if node is None:
                raise ModelError("ENOENT")
        return node

    def place(self, path: Path) -> tuple[Directory, str]:
        parent = self.find(path[:-1])
        if not isinstance(parent, Directory):
            raise ModelError("ENOTDIR")
        return parent, path[-1]

    def mkdir(self, path: Path) -> None:
        parent, name = self.place(path)
        if parent.get(name) is not None:
            raise ModelError("EEXIST")
        parent.put(name, Directory())

    def file(self, path: Path, create: bool) -> bytearray:
        parent, name = self.place(path)
        node = parent.get(name)
        if isinstance(node, Directory):
            raise ModelError("EISDIR")
        if node is None:
            if not create:
                raise ModelError("ENOENT")
            node = bytearray()
            parent.put(name, node)
        assert isinstance(node, bytearray)
        return node

    def write(self, path: Path, offset: int, data: bytes) -> None:
        node = self.file(path, True)
        if data:
            node.extend(bytes(max(0, offset - len(node))))
            node[offset : offset + len(data)] = data

    def truncate(self, path: Path, size: int) -> None:
        node = self.file(path, False)
        node.extend(bytes(max(0, size - len(node))))
        del node[size:]

    def unlink(self, path: Path) -> None:
        parent, name = self.place(path)
        node = parent.get(name)
        if node is None:
            raise ModelError("ENOENT")
        if isinstance(node, Directory):
            raise ModelError("EISDIR")
        del parent.names[name.lower()]

    def rmdir(self, path: Path) -> None:
        parent, name = self.place(path)
        node = parent.get(name)
        if node is None:
            raise ModelError("ENOENT")
        if not isinstance(node, Directory):
            raise ModelError("ENOTDIR")
        if node.names:
            raise ModelError("ENOTEMPTY")
        del parent.names[name.lower()]

    def rename(self, old: Path, new: Path) -> None:
        source, name = self.place(old)
        target, new_name = self.place(new)
        node = source.get(name)
        if node is None:
            raise ModelError("ENOENT")
        replaced = target.get(new_name)
        if isinstance(node, Directory) and source is not target and self.within(target, node):
            raise ModelError("EINVAL")
        if isinstance(replaced, Directory) and source is not target and self.within(source, replaced):
            raise ModelError("ENOTEMPTY")
        if node is replaced:
            source.names[name.lower()] = (new_name, node)
            return
        if replaced is not None and isinstance(node, Directory) != isinstance(replaced, Directory):
            raise ModelError("EISDIR" if isinstance(replaced, Directory) else "ENOTDIR")
        if isinstance(replaced, Directory) and replaced.names:
            raise ModelError("ENOTEMPTY")
        target.put(new_name, node)
        del source.names[name.lower()]

    def within(self, directory: Directory, above: Directory) -> bool:
        below = (node for _, node in above.names.values() if isinstance(node, Directory))
        return directory is above or any(self.within(directory, node) for node in below)

    def tree(self) -> dict[str, bytes | None]:
        found: dict[str, bytes | None] = {}

        def add(directory: Directory, prefix: str) -> None:
            for name, node in directory.names.values():
                if isinstance(node, Directory):
                    found[prefix + name] = None
                    add(node, f"{prefix}{name}/")
                else:
                    found[prefix + name] = bytes(node)

        add(self.root, "")
        return found


class FatMachine(RuleBasedStateMachine):
    """Each rule is one system call, or a few that belong together."""

    @initialize(shape=st.sampled_from(SHAPES))
    def begin(self, shape: tuple[int, dict[str, Any]]) -> None:
        self.lab = Lab(RamDisk(shape[0] * 1024))
        self.lab.format(volume_id=1, **shape[1])
        self.model = Model()
        self.client = self.lab.up(fmask=0, dmask=0)

    def both(self, real: Callable[[], Any], model: Callable[[], Any]) -> None:
        """Do the same to both; where the volume is full, the model forgets it."""
        try:
            model()
            expected = None
        except ModelError as problem:
            expected = str(problem)
        try:
            real()
            happened = None
        except OSError as problem:
            happened = abi.NAMES[problem.errno or 0]
        assert happened == expected

    @rule(path=PATHS)
    def mkdir(self, path: Path) -> None:
        self.both(lambda: self.client.mkdir("/".join(path)), lambda: self.model.mkdir(path))

    @rule(path=PATHS, offset=SIZES, size=SIZES, byte=st.integers(1, 255))
    def write(self, path: Path, offset: int, size: int, byte: int) -> None:
        data = bytes([byte]) * size

        def real() -> None:
            fd = self.client.open("/".join(path), O_RDWR | O_CREAT)
            self.client.lseek(fd, offset, SEEK_SET)
            done = self.client.write(fd, data) if data else 0
            self.client.close(fd)
            assert done == len(data)

        if self.room(offset + size):
            self.both(real, lambda: self.model.write(path, offset, data))

    def room(self, size: int) -> bool:
        """Whether a file of that size can't fill the volume."""
        state = self.client.statvfs(".")
        return bool(state.f_bavail * state.f_frsize > size + 8 * state.f_frsize)

    @rule(path=PATHS, size=SIZES)
    def truncate(self, path: Path, size: int) -> None:
        if self.room(size):
            self.both(lambda: self.client.truncate("/".join(path), size), lambda: self.model.truncate(path, size))

    @rule(path=PATHS)
    def unlink(self, path: Path) -> None:
        self.both(lambda: self.client.unlink("/".join(path)), lambda: self.model.unlink(path))

    @rule(path=PATHS)
    def rmdir(self, path: Path) -> None:
        self.both(lambda: self.client.rmdir("/".join(path)), lambda: self.model.rmdir(path))

    @rule(old=PATHS, new=PATHS)
    def rename(self, old: Path, new: Path) -> None:
        self.both(lambda: self.client.rename("/".join(old), "/".join(new)), lambda: self.model.rename(old, new))

    @rule(path=PATHS)
    def sync(self, path: Path) -> None:
        def real() -> None:
            fd = self.client.open("/".join(path), 0)
            self.client.fsync(fd)
            self.client.close(fd)

        self.both(real, lambda: self.model.find(path))

    @rule()
    def remount(self) -> None:
        self.lab.down(self.client)
        self.client = self.lab.up(fmask=0, dmask=0)

    @rule()
    def look(self) -> None:
        assert tree(self.client) == self.model.tree()

    def teardown(self) -> None:
        if hasattr(self, "lab"):
            self.look()
            self.lab.down(self.client)
            self.judge(self.lab)
            self.client = self.lab.up()
            self.look()

    def judge(self, lab: Lab) -> None:
        """Say whether what is on the disk is a sound volume."""
        clean, found = lab.check()
        assert clean and not found
