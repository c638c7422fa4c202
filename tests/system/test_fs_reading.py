"""`rump fs` reads what other tools have made, and says what they say."""

import json
import os
import subprocess

import pytest

from tests.system.fs_tools import complaint, rump

pytestmark = pytest.mark.needs("mkfs.fat", "mcopy")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fat")
    (folder / "Hello World.txt").write_bytes(b"hello\nworld\n" * 1000)
    (folder / "second").write_bytes(os.urandom(70000))
    path = str(folder / "f.img")
    subprocess.run(["mkfs.fat", "-C", path, "8192", "-n", "BOOT"], check=True, capture_output=True)
    subprocess.run(["mmd", "-i", path, "::dir", "::dir/below"], check=True)
    subprocess.run(["mcopy", "-i", path, folder / "Hello World.txt", "::dir/below"], check=True)
    subprocess.run(["mcopy", "-i", path, folder / "second", "::"], check=True)
    return path


def test_names_are_those_that_mdir_shows(image):
    theirs = subprocess.run(["mdir", "-/", "-b", "-i", image, "::"], capture_output=True, check=True).stdout.decode()
    ours = rump("find", f"{image}:/", "-mindepth", "1").decode().splitlines()
    assert sorted(line[len(image) + 1 :] for line in ours) == sorted(
        line[2:].rstrip("/") for line in theirs.split("\n") if line
    )


def test_files_are_equal(image):
    folder = os.path.dirname(image)
    with open(f"{folder}/second", "rb") as stream:
        assert rump("cat", f"{image}:/second") == stream.read()
    with open(f"{folder}/Hello World.txt", "rb") as stream:
        assert rump("cat", f"{image}@BOOT:/dir/below/Hello World.txt") == stream.read()


def test_what_it_is(image):
    [info] = json.loads(rump("info", "--json", image))
    [volume] = info["volumes"]
    assert info["table"] is None and volume["filesystem"]["type"] == "vfat" and volume["filesystem"]["label"] == "BOOT"
    [row] = json.loads(rump("df", "--json", image))
    assert 0 < row["used"] < row["size"] <= 8 << 20
    assert b"vfat" in rump("info", image)


def test_listings(image):
    assert rump("ls", image) == b"dir\nsecond\n"
    assert rump("ls", "-S", image) == b"second\ndir\n"
    assert b" 70000 " in rump("ls", "-l", f"{image}:/second")
    assert [row["path"] for row in json.loads(rump("ls", "-R", "--json", image))] == [
        "/dir",
        "/dir/below",
        "/dir/below/Hello World.txt",
        "/second",
    ]
    assert "└── Hello World.txt" in rump("tree", image).decode()
    assert rump("du", "-sb", f"{image}:/second").split()[0] == b"70000"


def test_searching(image):
    assert rump("grep", "-c", "^wor", f"{image}:/dir/below/Hello World.txt") == b"1000\n"
    assert rump("grep", "-rlF", "hello", f"{image}:/").decode() == f"{image}:/dir/below/Hello World.txt\n"
    rump("grep", "nothing of that kind", f"{image}:/second", check=1)
    rump("grep", "(", f"{image}:/second", check=2)
    assert rump("find", image, "-size", "+60k", "-print0").decode() == f"{image}:/second\0"


def test_hashes_are_those_of_the_tree(image, tmp_path):
    subprocess.run(["mcopy", "-s", "-i", image, "::", str(tmp_path / "out")], check=True)
    ours, theirs = rump("hash", "-s", "--content", f"{image}:/", str(tmp_path / "out")).decode().splitlines()
    assert ours.split()[0] == theirs.split()[0]


def test_what_is_not_there_is_named(image, tmp_path):
    assert complaint("cat", f"{image}:/none") == f"rump: {image}:/none: No such file or directory\n"
    empty = tmp_path / "empty.img"
    empty.write_bytes(bytes(1 << 20))
    said = complaint("ls", empty)
    assert "holds no file system of a known type" in said and "vfat" in said


def test_an_image_that_is_only_read_stays_as_it_is(image):
    with open(image, "rb") as stream:
        before = stream.read()
    rump("ls", "-lR", image)
    rump("hash", f"{image}:/")
    with open(image, "rb") as stream:
        assert stream.read() == before
