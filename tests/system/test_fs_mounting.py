"""`rump fs mount`, `umount` and `shell`."""

import os
import subprocess

import pytest

from tests.system.fs_tools import RUMP, apart, clean, complaint, rump


@pytest.fixture(
    params=[
        pytest.param("vfat", marks=pytest.mark.needs("fsck.fat")),
        pytest.param("ext4", marks=pytest.mark.needs("e2fsck")),
    ]
)
def kind(request):
    return request.param


@pytest.fixture
def image(tmp_path, kind):
    path = tmp_path / "disk.img"
    rump("mkfs", "-t", kind, "--size", "24M", path)
    return path


@pytest.mark.needs("fuse", "root", "umount")
@pytest.mark.parametrize("how", [[], ["--gather"]])
def test_mounted(image, kind, tmp_path, how):
    place = tmp_path / "mnt"
    place.mkdir()
    apart("mount", *how, image, place)
    try:
        (place / "dir").mkdir()
        (place / "dir" / "file").write_bytes(b"x" * 100_000)
        assert "uses it" in complaint("mkdir", f"{image}:/other")
        with open(place / "dir" / "file", "rb"):
            assert "busy" in complaint("umount", place)
    finally:
        rump("umount", place)
    assert not list(place.iterdir())
    clean(image, kind=kind)
    assert rump("cat", f"{image}:/dir/file") == b"x" * 100_000
    assert "no image is mounted" in complaint("umount", place)


@pytest.mark.needs("fuse", "root", "umount")
def test_a_commit_that_fails_is_said(image, tmp_path):
    place = tmp_path / "mnt"
    place.mkdir()
    before = image.read_bytes()
    apart("mount", "--gather", image, place)
    try:
        (place / "file").write_bytes(b"x" * 100_000)
        (tmp_path / "disk.img.rump-redo").mkdir()  # where the log would get its name
    finally:
        said = complaint("umount", place)
    assert "its server has failed" in said and "File exists" in said
    assert image.read_bytes() == before and not os.path.ismount(place)


@pytest.mark.needs("fuse", "root", "umount")
def test_mounted_to_be_read(image, tmp_path):
    place = tmp_path / "mnt"
    place.mkdir()
    before = image.read_bytes()
    apart("mount", "-r", image, place)
    try:
        with pytest.raises(OSError, match="Read-only"):
            (place / "file").write_bytes(b"x")
    finally:
        rump("umount", place)
    assert image.read_bytes() == before


def test_what_cannot_be_mounted_is_said(image, tmp_path):
    for words in ((image, tmp_path / "none"), (tmp_path / "none.img", tmp_path)):
        done = subprocess.run([*RUMP, "mount", *words], capture_output=True, text=True)
        assert done.returncode == 125 and "No such file" in done.stderr and "none" in done.stderr


def test_shell(image, kind, tmp_path):
    (tmp_path / "note").write_bytes(b"hello\n")
    script = f"""
# a comment
mkdir -p /a/b
cd a
cp file:{tmp_path}/note b/
cd b
pwd
ls
cat note
cat ../b/./note
cp note file:{tmp_path}/back
mv note "with space"
cd /none
!echo host
ls -1 '/a/b'
exit
ls /never
"""
    done = subprocess.run([*RUMP, "shell", image], input=script, capture_output=True, text=True)
    assert done.stdout.split("\n") == ["/a/b", "note", "hello", "hello", "host", "with space", ""]
    assert done.stderr == "rump: /none: No such file or directory\n"
    assert (tmp_path / "back").read_bytes() == b"hello\n"
    clean(image, kind=kind)
    done = subprocess.run([*RUMP, "shell", image, "-c", "cat nothing"], capture_output=True, text=True)
    assert done.returncode == 1
    done = subprocess.run([*RUMP, "shell", image, "-c", "rm -r /a", "-c", "find"], capture_output=True, text=True)
    assert done.returncode == 0 and "with space" not in done.stdout
    assert os.path.exists(image)
