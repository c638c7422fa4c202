"""A directory of the host's: no path, no link and no race leads out of it."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rumpkit.hosts.posix.hostdir import PosixDirectory
from rumpkit.hosts.sim.host import SimHost
from tests.house.descriptors import descriptors_before, open_descriptors


@pytest.fixture(params=[True, False], ids=["openat2", "walk"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PosixDirectory]:
    """The directory "in" beside a secret, by both ways of walking."""
    (tmp_path / "in" / "d").mkdir(parents=True)
    (tmp_path / "in" / "d" / "f").write_bytes(b"inside")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "f").write_bytes(b"secret")
    made = PosixDirectory(SimHost(), str(tmp_path / "in"), openat2=request.param)
    yield made
    made.close()


def refused(call: Callable[..., object], *arguments: object) -> int:
    with pytest.raises(OSError) as problem:
        call(*arguments)
    return problem.value.errno or 0


EVERYTHING = ("stat", "names", "readlink", "open", "create", "mkdir", "remove", "chmod", "chown", "utimens", "getxattr")
MORE = {
    "open": (False,),
    "names": (9,),
    "create": (stat.S_IFREG | 0o600,),
    "mkdir": (0o700,),
    "remove": (False,),
    "chmod": (0o777,),
    "chown": (0, 0),
    "utimens": (0, 0),
    "getxattr": (b"user.a",),
}


@pytest.mark.parametrize("call", EVERYTHING)
def test_paths_that_would_lead_out(directory: PosixDirectory, tmp_path: Path, call: str) -> None:
    inside = tmp_path / "in"
    (inside / "up").symlink_to("..")
    (inside / "away").symlink_to(tmp_path / "secret")
    (inside / "d" / "direct").symlink_to(tmp_path / "secret" / "f")
    for path in (b"../secret/f", b"d/../../secret/f", b"/etc/passwd", b"d//f", b"./d", b"d/.", b"d/\0"):
        assert refused(getattr(directory, call), path, *MORE.get(call, ())) == errno.EINVAL
    for path in (b"up/secret/f", b"away/f", b"d/direct/x", b"up/in/d/f"):
        number = refused(getattr(directory, call), path, *MORE.get(call, ()))
        assert number in (errno.ELOOP, errno.ENOTDIR, errno.EXDEV), number
    if call not in ("stat", "readlink", "create", "mkdir", "remove", "chown", "utimens"):
        assert refused(getattr(directory, call), b"d/direct", *MORE.get(call, ())) == errno.ELOOP
    assert sorted(os.listdir(tmp_path / "secret")) == ["f"]
    assert (tmp_path / "secret" / "f").read_bytes() == b"secret"


def test_what_is_done_to_a_link_is_done_to_itself(directory: PosixDirectory, tmp_path: Path) -> None:
    link = tmp_path / "in" / "l"
    link.symlink_to("../secret/f")
    assert directory.readlink(b"l") == b"../secret/f"
    assert stat.S_ISLNK(directory.stat(b"l").mode)
    directory.utimens(b"l", 5, 7)
    assert os.lstat(link).st_mtime_ns == 7 != os.stat(link).st_mtime_ns
    directory.link(b"l", b"m")
    assert os.readlink(tmp_path / "in" / "m") == "../secret/f"
    directory.rename(b"l", b"d/l", 0)
    directory.remove(b"d/l", False)
    assert (tmp_path / "secret" / "f").exists()
    assert refused(directory.create, b"m", stat.S_IFREG | 0o600) == errno.EEXIST


@pytest.mark.parametrize("swapped", ["d", "d/f"])
def test_races_with_somebody_who_swaps_links_in(directory: PosixDirectory, tmp_path: Path, swapped: str) -> None:
    """While names become links to the outside and directories again, all that is ever read is what is inside, and nothing outside
    changes."""
    place = tmp_path / "in" / swapped
    aside = tmp_path / "aside"
    target = tmp_path / "secret" / ("f" if swapped.endswith("f") else "")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(place, aside)
            os.symlink(target, place)
            os.unlink(place)
            os.rename(aside, place)

    thread = threading.Thread(target=swap)
    thread.start()
    seen: set[int] = set()
    before = os.stat(tmp_path / "secret" / "f")
    try:
        for _ in range(400):
            for call in (_read, _chmod, _write, _list, _create):
                try:
                    call(directory)
                except OSError as problem:
                    seen.add(problem.errno or 0)
    finally:
        stop.set()
        thread.join()
    assert seen <= {errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EXDEV, errno.EAGAIN, errno.EEXIST, errno.EINVAL}
    after = os.stat(tmp_path / "secret" / "f")
    assert (after.st_mode, after.st_mtime_ns, after.st_size) == (before.st_mode, before.st_mtime_ns, before.st_size)
    assert os.listdir(tmp_path / "secret") == ["f"]


def _read(directory: PosixDirectory) -> None:
    file = directory.open(b"d/f", False)
    try:
        assert file.read(0, 9) == b"inside"
    finally:
        file.close()


def _write(directory: PosixDirectory) -> None:
    file = directory.open(b"d/f", True)
    try:
        file.write(0, b"inside")
    finally:
        file.close()


def _chmod(directory: PosixDirectory) -> None:
    directory.chmod(b"d/f", 0o606)


def _list(directory: PosixDirectory) -> None:
    names = {name for name, _, _, _ in directory.names(b"d", 9)}
    assert names <= {b"f", b"new"} and b"secret" not in names


def _create(directory: PosixDirectory) -> None:
    directory.create(b"d/new", stat.S_IFREG | 0o600)
    directory.remove(b"d/new", False)


def test_read_only(directory: PosixDirectory, tmp_path: Path) -> None:
    closed = PosixDirectory(SimHost(), str(tmp_path / "in"), read_only=True)
    for call, arguments in (
        ("open", (b"d/f", True)),
        ("create", (b"n", stat.S_IFREG)),
        ("mkdir", (b"n", 0)),
        ("symlink", (b"n", b"t")),
        ("link", (b"d/f", b"n")),
        ("remove", (b"d/f", False)),
        ("rename", (b"d/f", b"n", 0)),
        ("chmod", (b"d/f", 0)),
        ("chown", (b"d/f", 0, 0)),
        ("utimens", (b"d/f", 0, 0)),
        ("setxattr", (b"d/f", b"user.a", b"", 0)),
        ("removexattr", (b"d/f", b"user.a")),
    ):
        assert refused(getattr(closed, call), *arguments) == errno.EROFS
    file = closed.open(b"d/f", False)
    assert file.read(2, 9) == b"side"
    file.close()
    closed.close()


def test_what_would_have_rights(directory: PosixDirectory, tmp_path: Path) -> None:
    inside = tmp_path / "in"
    directory.create(b"s", stat.S_IFREG | 0o6755)
    directory.chmod(b"d/f", 0o6755)
    directory.mkdir(b"e", 0o2755)
    for name in ("s", "d/f", "e"):
        assert os.stat(inside / name).st_mode & 0o7777 == 0o755
    assert refused(directory.create, b"dev", stat.S_IFCHR | 0o600) == errno.EPERM
    os.mkfifo(inside / "p")
    assert refused(directory.open, b"p", False) == errno.EINVAL  # and does not wait for a writer
    assert refused(directory.names, b"", 2) == errno.EOVERFLOW


def test_no_descriptor_is_left(directory: PosixDirectory) -> None:
    before = descriptors_before()
    for path in (b"", b"d", b"d/f", b"d/none", b"none/f", b"d/f/x"):
        for call in EVERYTHING:
            if call not in ("remove", "chown"):
                try:
                    made = getattr(directory, call)(path, *MORE.get(call, ()))
                    if call == "open":
                        made.close()
                except OSError:
                    pass
    assert len(open_descriptors()) == len(before)
