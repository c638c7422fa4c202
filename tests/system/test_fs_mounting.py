"""`rump fs mount`, `umount` and `shell`."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress

import pytest

from rumpkit.cli.fs.outcome import mounted_on
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
def test_a_commit_that_fails_is_said_by_ctrl_c(image, tmp_path):
    place = tmp_path / "mnt"
    place.mkdir()
    server = subprocess.Popen([*RUMP, "mount", "-f", "--gather", image, place], stderr=subprocess.PIPE, text=True)
    try:
        await_mount(place)
        (place / "file").write_bytes(b"x" * 100_000)
        (tmp_path / "disk.img.rump-redo").mkdir()
        server.send_signal(signal.SIGINT)
        said = server.communicate(timeout=60)[1]
    finally:
        server.kill()
        server.wait()
    assert server.returncode == 125 and "File exists" in said and "Traceback" not in said
    assert not os.path.ismount(place)


@pytest.mark.needs("fuse", "root", "umount")
def test_what_cannot_be_written_in_place_is_said(image, tmp_path):
    """The host refuses writes behind the first MiB, as it would on a full disk."""
    place = tmp_path / "mnt"
    place.mkdir()
    limit = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)); os.execv(sys.argv[1], sys.argv[1:])"
    server = subprocess.Popen(
        [sys.executable, "-c", limit, *RUMP, "mount", "-f", image, place], stderr=subprocess.PIPE, text=True
    )
    try:
        await_mount(place)
        with suppress(OSError), open(place / "file", "wb", buffering=0) as file:
            for _ in range(300):
                file.write(b"x" * 10_000)  # so little that it is gathered, and acknowledged
        server.send_signal(signal.SIGTERM)
        said = server.communicate(timeout=60)[1]
    finally:
        server.kill()
        server.wait()
    assert server.returncode == 125 and "rump: " in said and "Traceback" not in said
    assert not os.path.ismount(place)


@pytest.mark.needs("fuse", "root", "umount")
def test_after_a_plain_umount_the_terminal_says_it(image, tmp_path):
    place = tmp_path / "mnt"
    place.mkdir()
    ours, theirs = os.openpty()
    subprocess.run([*RUMP, "mount", "--gather", image, place], stdin=theirs, stdout=theirs, stderr=theirs, check=True)
    os.close(theirs)
    (place / "file").write_bytes(b"x" * 100_000)
    (tmp_path / "disk.img.rump-redo").mkdir()
    subprocess.run(["umount", place], check=True)
    said = b""
    with suppress(OSError):  # EIO: the last one has closed it
        while piece := os.read(ours, 4096):
            said += piece
    os.close(ours)
    assert b"rump: " in said and b"File exists" in said


def await_mount(place):
    deadline = time.monotonic() + 60
    while not os.path.ismount(place):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.once
@pytest.mark.needs("fuse", "root", "nobody", "fusermount3", "setpriv")
def test_mounted_by_somebody_without_privileges(image, kind):
    """As nobody, by fusermount3; from a place of its own, as pytest's is root's."""
    nobody = pwd.getpwnam("nobody")
    # The right to read whatever there is: Python may be somewhere that only root looks into.
    drop = [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    drop += ["--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search"]

    def ask(*words):
        done = subprocess.run(["setpriv", *drop, *map(str, words)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with tempfile.TemporaryDirectory() as directory:
        os.chown(directory, nobody.pw_uid, nobody.pw_gid)
        theirs, place = os.path.join(directory, "disk.img"), os.path.join(directory, "mnt")
        shutil.copy(image, theirs)
        os.mkdir(place)
        for path in (theirs, place):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        ask(*RUMP, "mount", theirs, place)
        try:
            assert mounted_on(place) is not None  # which root may not even look at
            script = f"cd {place} && mkdir d && echo hello > d/file && cat d/file && mv d/file d/moved && ls d"
            assert ask("sh", "-c", script).split() == ["hello", "moved"]
        finally:
            ask(*RUMP, "umount", place)
        assert mounted_on(place) is None
        assert ask(*RUMP, "cat", f"{theirs}:/d/moved") == "hello\n"
        clean(theirs, kind=kind)


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
