"""`rump fs` changes images; other people's tools find them clean and see what was done.  Types that can be made are tried alike."""

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import time

import pytest

from tests.compose.image.trees_for_tests import make_tree
from tests.system.fs_tools import RUMP, clean, complaint, rump

TYPES = [
    pytest.param("vfat", marks=pytest.mark.needs("fsck.fat", "mdir")),
    pytest.param("ext4", marks=pytest.mark.needs("e2fsck", "debugfs")),
]


@pytest.fixture(params=TYPES)
def kind(request):
    return request.param


@pytest.fixture
def image(tmp_path, kind):
    path = tmp_path / "disk.img"
    rump("mkfs", "-t", kind, "--size", "40M", "-L", "DATA", path)
    return path


def listing(image, kind, path="/"):
    """The names in a directory, as mtools or debugfs see them."""
    if kind == "vfat":
        done = subprocess.run(["mdir", "-b", "-i", image, f"::{path}"], capture_output=True, text=True, check=True)
        return sorted(line.rstrip("/").rpartition("/")[2] for line in done.stdout.splitlines() if line)
    done = subprocess.run(["debugfs", "-R", f"ls -p {path}", image], capture_output=True, text=True, check=True)
    names = [line.split("/")[5] for line in done.stdout.splitlines() if line.count("/") > 5]
    return sorted(name for name in names if name not in ("", ".", "..", "lost+found"))


def test_the_verbs(image, kind, tmp_path):
    (tmp_path / "one").write_bytes(b"first\n")
    rump("cp", tmp_path / "one", f"{image}:/")
    rump("mkdir", "-p", f"{image}:/a/b/c", f"{image}:/d")
    rump("cp", "-", f"{image}:/a/stream", stdin=b"x" * 3_000_000)
    rump("cp", f"{image}:/one", f"{image}:/a/stream", f"{image}:/a/b")
    rump("mv", f"{image}:/one", f"{image}:/two")
    rump("mv", f"{image}:/a/b", f"{image}:/d")
    clean(image, kind=kind)
    assert listing(image, kind) == ["a", "d", "two"]
    assert listing(image, kind, "/d/b") == ["c", "one", "stream"]
    assert rump("cat", f"{image}@DATA:/two") == b"first\n"
    assert hashlib.sha256(rump("cp", f"{image}:/d/b/stream", "-")).digest() == hashlib.sha256(b"x" * 3_000_000).digest()
    rump("rm", "-r", f"{image}:/d/b", f"{image}:/two")
    rump("rm", "-f", f"{image}:/none")
    rump("mkdir", f"{image}:/empty")
    rump("rm", "-d", f"{image}:/empty")
    clean(image, kind=kind)
    assert rump("find", f"{image}:/", "-mindepth", "1", "-not", "-name", "lost+found").decode().split() == [
        f"{image}:/a",
        f"{image}:/a/stream",
        f"{image}:/d",
    ]


def test_what_is_refused_changes_nothing(image, kind, tmp_path):
    rump("mkdir", f"{image}:/a")
    before = image.read_bytes()
    assert "it is a directory (-r" in complaint("rm", f"{image}:/a")
    assert "-r copies it" in complaint("cp", tmp_path, f"{image}:/b")
    assert "into itself" in complaint("mv", f"{image}:/a", f"{image}:/a/b")
    assert "No such file" in complaint("cp", f"{image}:/none", tmp_path)
    assert "File exists" in complaint("mkdir", f"{image}:/a")
    assert "a root directory stays" in complaint("rm", "-r", f"{image}:/")
    complaint("cp", tmp_path / "disk.img", f"{image}:/none/x", check=125)
    for words in (["rm", "-r"], ["chmod", "777"], ["chown", "1"], ["mkdir", "-p"]):
        assert "it is a path of the host" in complaint(*words, tmp_path)
    assert image.exists()
    assert image.read_bytes()[:512] == before[:512]
    clean(image, kind=kind)
    assert listing(image, kind) == ["a"]


def test_a_tree_that_does_not_fit_leaves_the_image_as_it_was(image, tmp_path):
    (tmp_path / "large").write_bytes(os.urandom(50 << 20))
    before = image.read_bytes()
    done = subprocess.run([*RUMP, "cp", tmp_path / "large", f"{image}:/"], capture_output=True, text=True)
    assert done.returncode != 0 and "No space left" in done.stderr
    assert image.read_bytes() == before


def test_between_images(image, kind, tmp_path):
    other = tmp_path / "other.img"
    rump("mkfs", "-t", "vfat", "--size", "24M", other)
    rump("mkdir", f"{image}:/dir")
    rump("cp", "-", f"{image}:/dir/file", stdin=b"data")
    rump("cp", "-r", f"{image}:/dir", f"{other}:/copy")
    rump("mv", f"{other}:/copy/file", f"{image}:/moved")
    assert rump("cat", f"{image}:/moved") == b"data"
    assert rump("find", other, "-name", "file") == b""
    assert rump("find", other, "-name", "copy").decode() == f"{other}:/copy\n"
    clean(image, kind=kind)
    clean(other, kind="vfat")


def test_trees_in_and_out(image, kind, tmp_path):
    tree = make_tree(tmp_path / "tree")
    if kind == "vfat":  # which has no links, and no such names
        for path in ("dir/soft", "dangling", "fifo", "dir/naïve \n name"):
            os.unlink(tree / path)
    rump("cp", "-a", tree, f"{image}:/")
    clean(image, kind=kind)
    how = ["--content"] if kind == "vfat" else []
    rump("diff", *how, f"{image}:/tree", tree)
    rump("cp", "-a", f"{image}:/tree", tmp_path / "out")
    rump("diff", *how, tree, tmp_path / "out")
    rump("tar", "-c", "-f", tmp_path / "t.tar", f"{image}:/tree")
    rump("mkdir", f"{image}:/again")
    rump("tar", "-x", "-f", tmp_path / "t.tar", f"{image}:/again")
    rump("diff", *how, f"{image}:/again", tree)
    rump("rm", f"{image}:/again/large")
    rump("diff", *how, f"{image}:/again", tree, check=1)
    clean(image, kind=kind)


def test_an_image_that_somebody_has_is_left_alone(image, kind):
    with open(image, "rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        assert rump("ls", image) in (b"", b"lost+found\n")
        said = complaint("mkdir", f"{image}:/probe")
        assert "this process uses it" in said
    rump("mkdir", f"{image}:/probe")
    assert listing(image, kind) == ["probe"]


def test_killed_at_any_moment_it_is_as_before_or_as_after(image, kind, tmp_path):
    """SIGKILL while it copies: the image opens, is clean, and has all of the tree or nothing of it."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(60):
        (tree / f"file{number}").write_bytes(os.urandom(20_000))
    want = rump("hash", "-s", "--content", tree).split()[0]
    seen = set()
    started = time.monotonic()
    rump("cp", "-r", tree, f"{image}:/first")
    whole = time.monotonic() - started
    for step in range(8):
        running = subprocess.Popen([*RUMP, "cp", "-r", tree, f"{image}:/tree"])
        try:
            running.wait(whole * (step + 2) / 9)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
            running.wait()
        there = bool(rump("find", image, "-maxdepth", "1", "-name", "tree"))
        seen.add(there)
        if there:
            assert rump("hash", "-s", "--content", f"{image}:/tree").split()[0] == want
            rump("rm", "-r", f"{image}:/tree")
        clean(image, kind=kind)
    assert False in seen or True in seen
    assert sorted(os.listdir(tmp_path)) == ["disk.img", "tree"]


@pytest.mark.once
@pytest.mark.needs("e2fsck", "debugfs")
def test_killed_at_any_moment_where_most_is_changed(tmp_path):
    """SIGKILL while what is copied in makes up most of the image, which is replaced: it is as before or as after, and clean."""
    image, empty, large = tmp_path / "disk.img", tmp_path / "empty.img", tmp_path / "large"
    rump("mkfs", "-t", "ext4", "--size", "40M", empty)
    large.write_bytes(os.urandom(24 << 20))
    want = rump("hash", "--content", large).split()[0]
    shutil.copyfile(empty, image)
    inode = image.stat().st_ino
    started = time.monotonic()
    rump("cp", large, f"{image}:/large")
    whole = time.monotonic() - started
    assert image.stat().st_ino != inode
    for step in range(7):
        shutil.copyfile(empty, image)
        running = subprocess.Popen([*RUMP, "cp", large, f"{image}:/large"])
        try:
            running.wait(whole * (step + 4) / 10)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
            running.wait()
        if rump("find", image, "-name", "large"):
            assert rump("hash", "--content", f"{image}:/large").split()[0] == want
        else:
            assert image.read_bytes() == empty.read_bytes()
        rump("mkdir", f"{image}:/after")
        clean(image, kind="ext4")
        assert sorted(os.listdir(tmp_path)) == ["disk.img", "empty.img", "large"]


def test_ctrl_c_leaves_everything_as_it_was(image, tmp_path):
    before = image.read_bytes()
    running = subprocess.Popen([*RUMP, "cp", "-", f"{image}:/x"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdin is not None
    running.stdin.write(bytes(2 << 20))  # more than a pipe holds: it copies now
    running.stdin.flush()
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(bytes(2 << 20))
    assert running.returncode == 130 and not said
    assert image.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["disk.img"]
