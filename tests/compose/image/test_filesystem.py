"""The protocol rump of fsspec."""

from __future__ import annotations

import csv
import io
import json
import pickle
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import rumpkit
from tests.compose.image.blank_image import blank

fsspec = pytest.importorskip("fsspec", reason="missing: fsspec")


@pytest.fixture(autouse=True)
def registered() -> None:
    from rumpkit.compose.image.filesystem import RumpFileSystem

    fsspec.register_implementation("rump", RumpFileSystem, clobber=True)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = blank(tmp_path / "disk.img", "vfat")
    with rumpkit.open_image(path, writable=True) as root:
        (root / "data" / "deep").mkdir(parents=True)
        (root / "data" / "table.csv").write_text("a,b\n1,2\n")
        (root / "data" / "deep" / "bytes").write_bytes(bytes(range(256)) * 40)
    return path


@pytest.fixture
def files(image: Path) -> Iterator[object]:
    with fsspec.filesystem("rump", image=image, writable=True) as files:
        yield files


def test_urls(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in (
        f"rump://{image}:/data/table.csv",
        f"rump://data/table.csv::{image}",
        f"rump://data/table.csv::file://{image}",
    ):
        with fsspec.open(url, "r") as file:
            assert list(csv.reader(file)) == [["a", "b"], ["1", "2"]]
    monkeypatch.chdir(image.parent)
    with fsspec.open("rump://disk.img:/data/table.csv") as file:
        assert file.read(3) == b"a,b"
    with fsspec.open_files("rump://disk.img:/data/*.csv")[0] as file:
        assert file.read(3) == b"a,b"
    for url in ("rump://data/table.csv", "rump://data/table.csv::memory://x"):
        with pytest.raises(ValueError, match="image"):
            fsspec.open(url).open()
    with pytest.raises(FileNotFoundError):
        fsspec.open("rump://disk.img:/missing").open()
    with rumpkit.open_image(image, writable=True):
        pass  # nobody has it open any more


def test_looking(files) -> None:
    assert files.ls("/", detail=False) == ["/data"]
    assert [row["name"] for row in files.ls("data")] == ["/data/deep", "/data/table.csv"]
    assert files.ls("/data/table.csv", detail=False) == ["/data/table.csv"]
    info = files.info("/data/table.csv")
    assert (info["size"], info["type"], info["islink"], info["nlink"]) == (8, "file", False, 1)
    assert files.isdir("/data") and files.isfile("/data/table.csv") and not files.exists("/missing")
    assert files.find("/") == ["/data/deep/bytes", "/data/table.csv"]
    assert files.glob("/data/**/*t*") == ["/data/deep/bytes", "/data/table.csv"] or files.glob("/data/*") == [
        "/data/deep",
        "/data/table.csv",
    ]
    assert files.du("/data") == 8 + 10240
    assert [top for top, _, _ in files.walk("/")] == ["/", "/data", "/data/deep"]
    assert files.modified("/data/table.csv").year >= 2024 and files.created("/data").tzinfo is not None
    for call in (files.info, files.ls, files.cat_file):
        with pytest.raises(FileNotFoundError):
            call("/missing")


def test_reading(files) -> None:
    whole = bytes(range(256)) * 40
    assert files.cat_file("/data/deep/bytes") == files.cat("data/deep/bytes") == whole
    for start, end in ((0, 10), (100, None), (None, 50), (-10, None), (5, -5), (20_000, None), (7, 3)):
        assert files.cat_file("/data/deep/bytes", start, end) == whole[start:end]
    assert files.head("/data/deep/bytes", 5) == whole[:5] and files.tail("/data/deep/bytes", 5) == whole[-5:]
    assert files.cat_ranges(["/data/deep/bytes"] * 2, [0, 10], [5, 20]) == [whole[:5], whole[10:20]]
    assert files.read_text("/data/table.csv") == "a,b\n1,2\n"
    mapper = files.get_mapper("/data")
    assert sorted(mapper) == ["deep/bytes", "table.csv"] and mapper["table.csv"] == b"a,b\n1,2\n"


def test_writing_and_committing(image: Path, tmp_path: Path) -> None:
    files = fsspec.filesystem("rump", image=image, writable=True)
    files.makedirs("/new/a/b")
    files.pipe("/new/x", b"12345")
    files.cp("/new/x", "/new/y")
    files.mv("/new/y", "/new/z")
    files.rm("/data", recursive=True)
    files.touch("/new/t")
    files.rmdir("/new/a/b")
    (tmp_path / "up").write_bytes(b"uploaded")
    files.put(str(tmp_path / "up"), "/new/up")
    with files.open("/new/zip", "wb") as raw, zipfile.ZipFile(raw, "w") as archive:
        archive.writestr("inner", "content")
    before = image.read_bytes()
    files.commit()
    assert image.read_bytes() != before
    with fsspec.filesystem("rump", image=image) as again:
        assert again.find("/") == ["/new/t", "/new/up", "/new/x", "/new/z", "/new/zip"]
        assert again.cat("/new/z") == b"12345" and again.cat("/new/up") == b"uploaded"
        with zipfile.ZipFile(io.BytesIO(again.cat("/new/zip"))) as archive:
            assert archive.read("inner") == b"content"
        again.get("/new/z", str(tmp_path / "down"))
        with pytest.raises(OSError):
            again.pipe("/new/x", b"no")
    assert (tmp_path / "down").read_bytes() == b"12345"


def test_in_place_by_url(image: Path) -> None:
    with fsspec.open(f"rump://{image}:/new.json", "w", in_place=True) as file:
        json.dump({"a": 1}, file)
    with fsspec.open(f"rump://{image}:/new.json") as file:
        assert json.load(file) == {"a": 1}


def test_transactions_are_the_images(files) -> None:
    with pytest.raises(NotImplementedError), files.transaction, files.open("/x", "wb") as file:
        file.write(b"x")


@pytest.mark.once
def test_the_entry_point() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["fsspec.specs"]["rump"].partition(":")
    assert getattr(import_module(module), name).protocol == "rump"
    assert "fsspec" in project["optional-dependencies"]


def test_what_is_written_gets_its_directories(image: Path) -> None:
    with fsspec.open(f"rump://{image}:/new/deep/file", "wb", in_place=True) as file:
        file.write(b"data")
    files = fsspec.filesystem("rump", image=image, in_place=True)
    files.pipe_file("/other/file", b"data")
    assert files.cat_file("/new/deep/file") == files.cat_file("/other/file") == b"data"
    assert repr(files) == f"<RumpFileSystem {str(image)!r}>"
    files.close()
    strict = fsspec.filesystem("rump", image=image, in_place=True, auto_mkdir=False)
    with pytest.raises(FileNotFoundError, match="/none/file"):
        strict.open("/none/file", "wb")
    strict.close()


def test_changes_that_nobody_commits_are_spoken_of(image: Path) -> None:
    with (
        pytest.warns(RuntimeWarning, match="forgotten"),
        fsspec.open(f"rump://{image}:/new", "wb", writable=True) as file,
    ):
        file.write(b"data")
    with pytest.raises(OSError, match="for reading only"):
        fsspec.open(f"rump://{image}:/new", "wb").open()


def test_an_image_that_another_file_system_keeps_here(image: Path, tmp_path: Path) -> None:
    url = f"rump://data/table.csv::filecache::file://{image}"
    with fsspec.open(url, "r", filecache={"cache_storage": str(tmp_path / "cache")}) as file:
        assert file.read() == "a,b\n1,2\n"


def test_pickled(image: Path) -> None:
    opened = pickle.loads(pickle.dumps(fsspec.open(f"rump://{image}:/data/table.csv")))
    with opened as file:
        assert file.read() == b"a,b\n1,2\n"
    files = fsspec.filesystem("rump", image=str(image))
    again = pickle.loads(pickle.dumps(files))
    assert again.ls("/data", detail=False) == files.ls("/data", detail=False)
    again.close()
    files.close()
