"""Paths in an image behave as pathlib's do: most tests run on both and compare."""

from __future__ import annotations

import csv
import io
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

import rumpkit
from rumpkit.compose.image.path import ImagePath
from tests.compose.image.blank_image import blank


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with nothing in it."""
    path = blank(tmp_path_factory.mktemp("empty") / "disk.img", "ext4")
    with rumpkit.open_image(path, writable=True) as root:
        (root / "lost+found").rmdir()
    return path


@pytest.fixture
def root(empty: Path, tmp_path: Path) -> Iterator[ImagePath]:
    root = rumpkit.open_image(shutil.copyfile(empty, tmp_path / "disk.img"), writable=True)
    yield root
    root.close()


@pytest.fixture
def host(tmp_path: Path) -> Path:
    top = tmp_path / "host"
    top.mkdir()
    return top


def both(root: ImagePath, host: Path, act: Callable[[Any], Any]) -> None:
    """Do the same on both, and compare results and errors."""
    results = []
    for top in (root, host):
        try:
            results.append(act(top))
        except (OSError, ValueError) as problem:
            results.append((type(problem), getattr(problem, "errno", None)))
    assert results[0] == results[1]


def fill(top: Any) -> None:
    for name in ("a", "a/b", "a/b/c", "d", ".hidden"):
        (top / name).mkdir()
    for name in ("x.txt", "a/x.txt", "a/y.py", "a/b/x.txt", "a/b/c/[z].txt", "d/long name.tar.gz", ".hidden/x.txt"):
        (top / name).write_text(name)


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "*",
            "*.txt",
            "*/*.txt",
            "**/*.txt",
            "**/x.txt",
            "a/**/x.txt",
            "a/*",
            "a/b/c/[[]z].txt",
            "?.txt",
            "nothing/*",
        ),
        *("x.txt/*", "**/b", "a/../x.txt", "/a", "", "a//b", "**/c/*", "[ad]", "[!a]"),
    ],
)
def test_glob(root: ImagePath, host: Path, pattern: str) -> None:
    if ".." in pattern:
        with pytest.raises(ValueError):
            list(root.glob(pattern))
        return
    for top in (root, host):
        fill(top)
    if pattern in ("", "/a"):
        with pytest.raises(ValueError):
            list(root.glob(pattern))
        return
    both(root, host, lambda top: sorted(str(one.relative_to(top)) for one in top.glob(pattern)))
    both(root, host, lambda top: sorted(str(one.relative_to(top)) for one in top.rglob(pattern)))


def test_walk(root: ImagePath, host: Path) -> None:
    fill(root)
    rows = [(str(top), sorted(directories), sorted(files)) for top, directories, files in root.walk()]
    assert rows[0] == ("/", [".hidden", "a", "d"], ["x.txt"])
    assert sorted(rows) == [
        ("/", [".hidden", "a", "d"], ["x.txt"]),
        ("/.hidden", [], ["x.txt"]),
        ("/a", ["b"], ["x.txt", "y.py"]),
        ("/a/b", ["c"], ["x.txt"]),
        ("/a/b/c", [], ["[z].txt"]),
        ("/d", [], ["long name.tar.gz"]),
    ]
    up = [str(top) for top, _, _ in root.walk(top_down=False)]
    assert sorted(up) == sorted(row[0] for row in rows) and up[-1] == "/"
    assert up.index("/a/b/c") < up.index("/a/b") < up.index("/a")
    pruned = []
    for top, directories, _ in root.walk():
        pruned.append(str(top))
        if "b" in directories:
            directories.remove("b")
    assert "/a" in pruned


def test_the_parts_of_a_path(root: ImagePath) -> None:
    path = root / "a" / "b.tar.gz"
    pure = PurePosixPath("/a/b.tar.gz")
    for name in ("name", "stem", "suffix", "suffixes", "parts"):
        assert getattr(path, name) == getattr(pure, name)
    assert str(path) == path.as_posix() == "/a/b.tar.gz"
    assert [str(one) for one in path.parents] == ["/a", "/"] and path.parent.parent == root == root.parent
    assert (
        path.with_name("c") == root / "a/c" == root.joinpath("a", "c") and path.with_suffix(".zip").name == "b.tar.zip"
    )
    assert path.with_stem("q").name == "q.gz" and path.match("*.gz") and not path.match("*.zip")
    assert path.relative_to(root) == PurePosixPath("a/b.tar.gz") and path.is_relative_to(root / "a")
    assert root / "/x" == root / "x" != path and len({path, root / "a/b.tar.gz"}) == 1
    assert sorted([root / "b", root / "a"]) == [root / "a", root / "b"]
    assert repr(path).startswith("ImagePath(") and repr(path).endswith("'/a/b.tar.gz')")
    with pytest.raises(ValueError):
        path.relative_to("/x")
    assert not hasattr(path, "__fspath__")


@pytest.mark.parametrize(
    "act",
    [
        lambda top: (top / "missing").read_bytes(),
        lambda top: (top / "a").read_bytes(),
        lambda top: (top / "a").open("rb"),
        lambda top: (top / "x.txt/y").read_bytes(),
        lambda top: (top / "a").mkdir(),
        lambda top: (top / "a").mkdir(exist_ok=True),
        lambda top: (top / "x.txt").mkdir(exist_ok=True),
        lambda top: (top / "p/q/r").mkdir(),
        lambda top: ((top / "p/q/r").mkdir(parents=True), (top / "p/q/r").is_dir()),
        lambda top: (top / "missing").unlink(),
        lambda top: (top / "missing").unlink(missing_ok=True),
        lambda top: (top / "a").rmdir(),
        lambda top: ((top / "a/b/c/[z].txt").unlink(), (top / "a/b/c").rmdir(), (top / "a/b/c").exists()),
        lambda top: (top / "x.txt").rmdir(),
        lambda top: (top / "x.txt").open("x"),
        lambda top: (top / "x.txt").touch(exist_ok=False),
        lambda top: ((top / "t").touch(), (top / "t").read_bytes()),
        lambda top: list((top / "x.txt").iterdir()),
        lambda top: list((top / "missing").iterdir()),
        lambda top: sorted(one.name for one in top.iterdir()),
        lambda top: ((top / "x.txt").rename(top / "z.txt").name, (top / "z.txt").read_text(), (top / "x.txt").exists()),
        lambda top: ((top / "x.txt").replace(top / "a/x.txt").name, (top / "a/x.txt").read_text()),
        lambda top: (top / "missing").rename(top / "q"),
        lambda top: [(top / n).exists() for n in ("x.txt", "a", "missing", "x.txt/y", "a/missing")],
        lambda top: [(top / n).is_file() for n in ("x.txt", "a", "missing", "x.txt/y")],
        lambda top: [(top / n).is_dir() for n in ("x.txt", "a", "missing")] + [(top / "x.txt").is_symlink()],
        lambda top: ((top / "x.txt").samefile(top / "a/../x.txt"), (top / "x.txt").samefile(top / "a/x.txt")),
        lambda top: (top / "x.txt").stat().st_size,
        lambda top: (top / "x.txt").write_bytes(bytearray(b"12345")) + (top / "x.txt").stat().st_size,
        lambda top: (top / "u.txt").write_text("ä\nö\r\n", encoding="latin-1") + len((top / "u.txt").read_bytes()),
        lambda top: (top / "x.txt").open("q"),
        lambda top: (top / "x.txt").open("rb", encoding="utf-8"),
        lambda top: (top / "x.txt").open("r", buffering=0),
    ],
)
def test_as_pathlib(root: ImagePath, host: Path, act: Callable[[Any], Any]) -> None:
    for top in (root, host):
        fill(top)
    both(root, host, act)


LINKS = [
    lambda top: ((top / "l").symlink_to("a/x.txt"), (top / "l").read_text(), str((top / "l").readlink())),
    lambda top: ((top / "l").symlink_to("a"), sorted(one.name for one in (top / "l").iterdir())),
    lambda top: (
        (top / "l").symlink_to("nowhere"),
        (top / "l").exists(),
        (top / "l").is_symlink(),
        (top / "l").is_file(),
    ),
    lambda top: ((top / "l").symlink_to("l"), (top / "l").exists(), (top / "l").is_symlink()),
    lambda top: ((top / "l").symlink_to("l"), (top / "l").read_bytes()),
    lambda top: ((top / "l").symlink_to("x.txt"), (top / "l").unlink(), (top / "x.txt").exists()),
    lambda top: ((top / "l").symlink_to("x.txt"), (top / "l").lstat().st_size, (top / "l").stat().st_size),
    lambda top: ((top / "l").symlink_to("."), sorted(one.name for one in top.glob("l/*"))),
    lambda top: ((top / "l").symlink_to("."), sorted(str(one.relative_to(top)) for one in top.rglob("x.txt"))),
    lambda top: (top / "x.txt").symlink_to("a"),
    lambda top: (top / "x.txt").readlink(),
    lambda top: (
        (top / "h").hardlink_to(top / "x.txt"),
        (top / "h").samefile(top / "x.txt"),
        (top / "h").stat().st_nlink,
    ),
    lambda top: ((top / "x.txt").chmod(0o640), (top / "x.txt").stat().st_mode),
    lambda top: ((top / "m").mkdir(0o700), (top / "m").stat().st_mode),
]


@pytest.mark.parametrize("act", LINKS)
def test_links_and_modes(root: ImagePath, host: Path, act: Callable[[Any], Any]) -> None:
    for top in (root, host):
        fill(top)
    both(root, host, act)


def test_absolute_links_stay_in_the_image(root: ImagePath) -> None:
    fill(root)
    (root / "l").symlink_to(root / "a")
    (root / "out").symlink_to("/../../../etc/passwd")
    assert (root / "l" / "x.txt").read_text() == "a/x.txt" and not (root / "out").exists()
    assert not (root / "a/../../../etc/passwd").exists()
    assert [str(top) for top, _, _ in root.walk(follow_symlinks=False)].count("/l") == 0
    assert "/l/b" in [str(top) for top, _, _ in root.walk(follow_symlinks=True)]


def test_large_files(root: ImagePath) -> None:
    data = bytes(range(251)) * 25_000
    assert (root / "large").write_bytes(data) == len(data)
    assert (root / "large").read_bytes() == data
    (root / "empty").write_bytes(b"")
    assert (root / "empty").read_bytes() == b""


@pytest.mark.parametrize(
    "mode", ["r", "w", "a", "x", "r+", "w+", "a+", "rb", "wb", "ab", "xb", "r+b", "w+b", "a+b", "rb+"]
)
def test_file_objects(root: ImagePath, host: Path, mode: str) -> None:
    def act(top: Any) -> list[Any]:
        path = top / "file"
        if "x" not in mode:
            path.write_bytes(b"one\ntwo\r\nthree\n")
        said: list[Any] = []
        with path.open(mode) as file:
            said += [file.tell(), file.readable(), file.writable(), file.seekable()]
            for step in (
                lambda: file.read(2),
                lambda: file.readline(),
                lambda: file.write("new" if "b" not in mode else b"new"),
            ):
                try:
                    said.append(step())
                except OSError as problem:
                    said.append(type(problem))
            file.seek(0)
            if file.readable():
                said.append(list(file))
            if file.writable():
                said += [file.seek(1), file.truncate()]
        said.append(file.closed)
        return [*said, path.read_bytes()]

    both(root, host, act)


def test_with_modules_that_take_files(root: ImagePath) -> None:
    with (root / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["a", "b"], ["1", "x, y"]])
    with (root / "table.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [{"a": "1", "b": "x, y"}]
    with (root / "archive.zip").open("wb") as raw, zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("name", "content" * 1000)
    with (root / "archive.zip").open("rb") as raw, zipfile.ZipFile(raw) as archive:
        assert archive.testzip() is None and archive.read("name") == b"content" * 1000
    with (root / "table.csv").open("rb", buffering=0) as unbuffered:
        assert isinstance(unbuffered, io.RawIOBase) and unbuffered.read(3) == b"a,b"


def test_links_and_dots_are_resolved(root: ImagePath, host: Path) -> None:
    def act(top: Any) -> list[str]:
        fill(top)
        for name, target in (("to", "a/b"), ("a/up", "../d"), ("a/b/loop", "loop"), ("away", "nowhere/x")):
            (top / name).symlink_to(target)
        found = []
        for name in ("to/c", "to/../y.py", "a/up/long name.tar.gz", "away", "none/../x.txt", "to/../../x.txt"):
            found.append(str((top / name).resolve()).removeprefix(str(host)))
        for name in ("away", "none", "a/b/loop"):
            with pytest.raises((OSError, RuntimeError)):
                (top / name).resolve(strict=True)
        return found[:5]

    both(root, host, act)
    (root / "absolute").symlink_to("/a/up")
    assert (root / "absolute").resolve() == root / "d"


def test_errors_name_the_path(root: ImagePath) -> None:
    (root / "file").write_bytes(b"data")
    for act, name in (
        (lambda: (root / "none").stat(), "/none"),
        (lambda: (root / "none").open(), "/none"),
        (lambda: (root / "file").mkdir(), "/file"),
        (lambda: (root / "file" / "below").read_bytes(), "/file/below"),
        (lambda: list((root / "none").iterdir()), "/none"),
        (lambda: (root / "none" / "link").symlink_to("target"), "/none/link"),
    ):
        with pytest.raises(OSError) as caught:
            act()
        assert caught.value.filename == name and name in str(caught.value)
    with pytest.raises(FileNotFoundError) as renaming:
        (root / "none").rename(root / "other")
    assert (renaming.value.filename, renaming.value.filename2) == ("/none", "/other")


def test_a_file_keeps_its_image_open(empty: Path, tmp_path: Path) -> None:
    image = shutil.copyfile(empty, tmp_path / "kept.img")
    with rumpkit.open_image(image, writable=True) as root:
        (root / "file").write_text("kept\n")
    file = (rumpkit.open_image(image) / "file").open()
    assert file.read() == "kept\n"
    file.close()
    del file
    with rumpkit.open_image(image, writable=True) as root:  # nobody else has it
        assert (root / "file").exists()


def test_kinds_and_order(root: ImagePath, host: Path) -> None:
    def act(top: Any) -> list[object]:
        fill(top)
        names = ("a", "x.txt", "none")
        tests = ("is_fifo", "is_socket", "is_char_device", "is_block_device", "is_absolute")
        return [getattr(top / name, test)() for name in names for test in tests]

    both(root, host, act)
    assert (root.root, root.anchor, root.drive) == ("/", "/", "") and root.absolute() is root
    assert root.is_mount() and not (root / "a").is_mount()
    assert root / "a" < root / "b" and root / "b" >= root / "b" and root / "c" > root / "b"
    (root / "x.txt").chown(1234, 5678)
    assert ((root / "x.txt").stat().st_uid, (root / "x.txt").stat().st_gid) == (1234, 5678)
