"""A file system of texts that are made when they are read, and the one of /proc/net."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import pytest

from rumpkit.clients.local import LocalProcess
from rumpkit.fs import components as _fs
from rumpkit.fs.textfs import TextFs
from rumpkit.hosts.sim.host import SimHost
from rumpkit.kern.abi.errno import EINVAL, ENOENT, EROFS
from rumpkit.kern.abi.fcntl import O_CREAT, O_WRONLY
from rumpkit.kern.kernel import RumpKernel
from rumpkit.kern.texts import Texts
from rumpkit.net import components as _net
from rumpkit.vfs import components as _vfs
from rumpkit.vfs.vfs import Vfs

FACTIONS = (_fs, _net, _vfs)


class Counted(Texts):
    """Each text says how often one was made."""

    def __init__(self) -> None:
        self.made = 0

    def names(self) -> Sequence[str]:
        return ["two", "one"]

    def text(self, name: str) -> Iterator[str]:
        self.made += 1
        yield f"{name} "
        yield "x" * 100
        yield f" {self.made}\n"


def mounted(texts: Texts) -> LocalProcess:
    host = SimHost()
    kernel = RumpKernel(host, ("vfs", "vfs_calls", "tmpfs"))
    vfs = cast(Vfs, kernel.service("Vfs"))
    host.enter()
    vfs.types.register(TextFs("texts", texts))
    vfs.mount("tmpfs", "/")
    vfs.make_directories("/t")
    vfs.mount("texts", "/t", {"read_only": True})
    process = LocalProcess(kernel, kernel.process())
    host.leave()
    return process


def test_names_in_order_and_sizes_as_they_are() -> None:
    process = mounted(Counted())
    assert [entry.d_name for entry in process.readdir(process.open("/t", 0))][2:] == ["one", "two"]
    found = process.stat("/t/one")
    assert found.st_size == 4 + 100 + 3 and found.st_mode & 0o777 == 0o444
    with pytest.raises(OSError) as problem:
        process.stat("/t/three")
    assert problem.value.errno == ENOENT


def test_a_text_stays_as_it_was_at_its_beginning() -> None:
    texts = Counted()
    process = mounted(texts)
    fd = process.open("/t/one", 0)
    first = process.read(fd, 50)
    made = texts.made
    rest = process.read(fd, 500)
    assert (first + rest).decode() == f"one {'x' * 100} {made}\n" and process.read(fd, 10) == b""
    assert texts.made == made
    again = process.pread(fd, 500, 0)
    assert again != first + rest and again.endswith(f"{texts.made}\n".encode())


def test_a_file_whose_beginning_nobody_has_read() -> None:
    process = mounted(Counted())
    fd = process.open("/t/one", 0)
    assert process.pread(fd, 3, 50) == b"xxx"
    fd = process.open("/t/one", 0)
    assert process.pread(fd, 3, 5000) == b""


def test_each_open_file_has_its_own_text() -> None:
    texts = Counted()
    process = mounted(texts)
    one, other = process.open("/t/one", 0), process.open("/t/one", 0)
    assert process.fstat(one).st_ino == process.fstat(other).st_ino
    first = process.read(one, 50)
    made = texts.made
    second = process.read(other, 50)
    assert process.read(one, 500).endswith(f" {made}\n".encode())
    assert process.read(other, 500).endswith(f" {made + 1}\n".encode())
    assert (first, process.read(one, 9), process.read(other, 9)) == (second, b"", b"")
    assert process.pread(one, 3, 50) == b"xxx" and texts.made == made + 2  # it was kept no longer than to its end
    assert process.pread(one, 9, 500) == b"" and texts.made == made + 2


def test_nothing_can_be_changed() -> None:
    process = mounted(Counted())
    for call in (
        lambda: process.open("/t/one", O_WRONLY),
        lambda: process.open("/t/new", O_WRONLY | O_CREAT),
        lambda: process.unlink("/t/one"),
        lambda: process.mkdir("/t/new"),
        lambda: process.chmod("/t/one", 0o600),
    ):
        with pytest.raises(OSError) as problem:
            call()
        assert problem.value.errno == EROFS


def test_it_takes_no_source() -> None:
    with pytest.raises(OSError) as problem:
        TextFs("texts", Counted()).make(None, "somewhere", {})  # type: ignore[arg-type]
    assert problem.value.errno == EINVAL
