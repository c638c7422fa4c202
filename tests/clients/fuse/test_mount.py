"""Mounts on the host: Linux's own calls reach the kernel's files."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from rumpkit import Kernel
from rumpkit.clients import fuse
from rumpkit.clients.fuse import SOLE, FuseOptions, Owner, attach
from rumpkit.hosts.posix.host import PosixHost
from rumpkit.kern.abi.fcntl import O_CREAT, O_WRONLY
from rumpkit.vfs.types import check_format_options
from tests.clients.fuse.fuse_helpers import mounted, outcome
from tests.guests.linux.sandbox_helpers import as_nobody, in_child, without_device
from tests.vfs.helpers import COMPONENTS, Files

pytestmark = pytest.mark.needs("fuse", "root")


def test_both_sides_see_the_same_files(tmp_path: Path) -> None:
    with mounted(tmp_path) as (kernel, place):
        process = kernel.process()
        fd = process.open("/from-kernel", O_WRONLY | O_CREAT, 0o640)
        process.write(fd, b"hello")
        process.close(fd)
        assert (place / "from-kernel").read_bytes() == b"hello"
        assert stat.S_IMODE((place / "from-kernel").stat().st_mode) == 0o640
        (place / "d").mkdir()
        (place / "d" / "from-host").write_bytes(b"x" * 3_000_000)
        assert process.stat("/d/from-host").st_size == 3_000_000
        os.symlink("d/from-host", place / "s")
        assert process.readlink("/s") == "d/from-host"
        assert sorted(os.listdir(place)) == ["d", "dev", "from-kernel", "s"]
        assert os.statvfs(place).f_bsize == 4096


def test_a_part_of_the_tree(tmp_path: Path) -> None:
    with mounted(tmp_path, path="/data/sub", mounts=("/data", "/data/sub")) as (kernel, place):
        (place / "f").write_text("x")
        assert kernel.process().stat("/data/sub/f").st_size == 1
        assert os.listdir(place) == ["f"]


def test_an_open_file_without_a_name_lives(tmp_path: Path) -> None:
    with mounted(tmp_path) as (_, place), open(place / "f", "w+b") as file:
        file.write(b"before")
        file.flush()
        os.unlink(place / "f")
        file.write(b" and after")
        file.flush()
        assert os.fstat(file.fileno()).st_nlink == 0
        assert os.pread(file.fileno(), 100, 0) == b"before and after"


@pytest.mark.parametrize("kind", ["tmpfs", "ext4", "vfat"])
def test_files_without_a_name(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    """O_TMPFILE: the file goes with its last descriptor, unless it is given a name meanwhile."""
    host = PosixHost(console=-1)
    request.addfinalizer(host.close)
    files = Files(host=host, components=(*COMPONENTS, "fat"))
    if kind != "tmpfs":
        disk = files.entered(files.service("Disks").attach_ram, "disk", 16 << 20)
        maker = files.vfs.types.find(kind)
        files.entered(maker.format, files.vfs, disk, check_format_options(maker, {}))
    files.mount(kind, "/m", "disk" if kind != "tmpfs" else "")
    flags = os.O_TMPFILE | os.O_RDWR
    with fuse.mount(files.kernel, "/m", str(tmp_path), fuse.SOLE):
        if kind == "vfat":
            assert outcome(os.open, tmp_path, flags, 0o600) == errno.EOPNOTSUPP
            return
        free = os.statvfs(tmp_path)
        try:
            fd = os.open(tmp_path, flags, 0o640)
        except OSError as problem:
            if problem.errno == errno.EOPNOTSUPP and tuple(map(int, os.uname().release.split(".")[:2])) < (6, 1):
                pytest.skip("missing: Linux 6.1")
            raise
        os.write(fd, b"first" * 1000)
        assert os.pread(fd, 5, 0) == b"first" and os.fstat(fd).st_nlink == 0
        assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o640
        assert "named" not in os.listdir(tmp_path)
        os.link(f"/proc/self/fd/{fd}", tmp_path / "named", src_dir_fd=fd)
        os.write(fd, b"more")
        os.close(fd)
        assert (tmp_path / "named").read_bytes() == b"first" * 1000 + b"more"
        assert (tmp_path / "named").stat().st_nlink == 1
        os.unlink(tmp_path / "named")
        fd = os.open(tmp_path, flags | os.O_EXCL)
        os.write(fd, b"second" * 1000)
        os.fsync(fd)
        assert outcome(partial(os.link, f"/proc/self/fd/{fd}", tmp_path / "no", src_dir_fd=fd)) == errno.ENOENT
        os.close(fd)
        os.sync()
        deadline = time.monotonic() + 60
        while os.statvfs(tmp_path).f_ffree != free.f_ffree:  # Linux forgets it when it likes
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert [name for name in files.root.names("/m") if name != "lost+found"] == []
    files.entered(files.vfs.unmount, "/m")


def test_shared_mappings(tmp_path: Path) -> None:
    """In another process: a page fault keeps the interpreter's lock, which the server's thread needs."""
    code = """
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.truncate(fd, 10000)
with mmap.mmap(fd, 10000) as one, mmap.mmap(fd, 10000) as other:
    one[5000:5005] = b"hello"
    assert other[5000:5005] == b"hello"
    one.flush()
"""
    with mounted(tmp_path) as (kernel, place):
        subprocess.run([sys.executable, "-c", code, place / "f"], check=True)
        process = kernel.process()
        assert process.pread(process.open("/f", 0), 5, 5000) == b"hello"


def test_truncation_on_open(tmp_path: Path) -> None:
    with mounted(tmp_path) as (_, place):
        (place / "f").write_bytes(b"long text")
        with open(place / "f", "wb"):
            pass
        assert (place / "f").stat().st_size == 0


def test_holes_and_copies(tmp_path: Path) -> None:
    with mounted(tmp_path) as (_, place):
        fd = os.open(place / "f", os.O_RDWR | os.O_CREAT)
        os.pwrite(fd, b"data", 1 << 24)
        assert os.lseek(fd, 0, os.SEEK_DATA) == 1 << 24
        assert os.lseek(fd, 0, os.SEEK_HOLE) == 0
        assert os.fstat(fd).st_blocks == 8
        to = os.open(place / "g", os.O_RDWR | os.O_CREAT)
        assert os.copy_file_range(fd, to, 4, 1 << 24, 2) == 4
        assert os.pread(to, 10, 0) == b"\0\0data"
        os.close(fd)
        os.close(to)


def test_linux_checks_permissions_and_owners_are_real() -> None:
    tmp_path = Path(tempfile.mkdtemp())
    tmp_path.chmod(0o755)
    with mounted(tmp_path, FuseOptions(allow_other=True)) as (kernel, place):
        (place / "closed").mkdir(0o700)
        (place / "open").mkdir()
        (place / "open").chmod(0o1777)
        (place / "open" / "roots").touch()
        code = f"""
import os
os.setgroups([33]); os.setgid(1234); os.setuid(1234)
for call, *arguments in ((os.listdir, {str(place / "closed")!r}), (os.unlink, {str(place / "open" / "roots")!r}),
                         (os.mkdir, {str(place / "x")!r}), (os.mkdir, {str(place / "open" / "own")!r})):
    try:
        call(*arguments); print("done")
    except OSError as problem:
        print(problem.errno)
"""
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        assert said == [str(errno.EACCES), str(errno.EPERM), str(errno.EACCES), "done"]
        found = kernel.process().stat("/open/own")
        assert (found.st_uid, found.st_gid) == (1234, 1234)
        os.chown(place / "open" / "own", 5, 6)
        found = kernel.process().stat("/open/own")
        assert (found.st_uid, found.st_gid) == (5, 6)
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("checks", [False, True])
def test_requests_for_a_new_file(tmp_path: Path, checks: bool) -> None:
    with mounted(tmp_path, SOLE._replace(permissions=checks)) as (kernel, place):
        (line,) = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {place} " in line]
        assert ("default_permissions" in line) is checks
        (place / "first").touch()
        before = kernel.counters()["fuse.requests"]
        for number in range(100):
            os.close(os.open(place / str(number), os.O_CREAT | os.O_WRONLY))
        assert kernel.counters()["fuse.requests"] - before == (3 if checks else 2) * 100
        os.close(os.open(place / "closed", os.O_CREAT | os.O_WRONLY, 0o600))
        os.chown(place / "closed", 1234, 1234)
        assert (place / "closed").read_bytes() == b"", "what root may do"
        assert os.access(place / "closed", os.W_OK) and not os.access(place / "closed", os.X_OK)
        assert outcome(subprocess.run, [place / "closed"]) == errno.EACCES
        (place / "d").mkdir(0o700)
        asked = f"import os; os.setgroups([]); os.setgid(1234); os.setuid(1234); os.listdir({str(place)!r})"
        said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
        assert "PermissionError" in said.stderr, "nobody else gets in"


@pytest.mark.needs("setpriv", "unshare")
@pytest.mark.once
@pytest.mark.parametrize("options", [FuseOptions(), SOLE])
def test_a_root_of_less_power_gets_in_and_no_further(tmp_path: Path, options: FuseOptions) -> None:
    """Linux lets in who has the user's number, also from a sandbox."""
    with mounted(tmp_path, options) as (_, place):
        (place / "secret").write_bytes(b"1")
        (place / "secret").chmod(0o600)
        os.chown(place / "secret", 1234, 1234)
        for words in (["setpriv", "--bounding-set=-all", "--inh-caps=-all"], ["unshare", "--user", "--map-root-user"]):
            there = subprocess.run([*words, "stat", "-c", "%s", place / "secret"], capture_output=True, text=True)
            assert there.stdout.strip() == "1", there.stderr
            assert subprocess.run([*words, "cat", place / "secret"], capture_output=True).returncode


def test_read_only(tmp_path: Path) -> None:
    with mounted(tmp_path, FuseOptions(read_only=True)) as (_, place):
        assert outcome(os.mkdir, place / "d") == errno.EROFS


def test_one_owner(tmp_path: Path) -> None:
    with mounted(tmp_path, FuseOptions(owner=Owner(1234, 55))) as (_, place):
        found = (place / "dev").stat()
        assert (found.st_uid, found.st_gid) == (1234, 55)


def test_linux_remembers_where_it_may(tmp_path: Path) -> None:
    with mounted(tmp_path, SOLE) as (kernel, place):
        (place / "f").write_bytes(b"x" * 100_000)

        def look() -> None:
            fd = os.open(place / "f", os.O_RDONLY)
            assert os.read(fd, 1000) == b"x" * 1000
            os.close(fd)
            assert not (place / "missing").exists()

        for _ in range(3):
            look()
        before = kernel.counters()["fuse.requests"]
        for _ in range(100):
            look()
        assert kernel.counters()["fuse.requests"] - before < 20


def test_what_others_change_is_seen_at_once(tmp_path: Path) -> None:
    """Though Linux was told that it may believe what it knows for an hour."""
    with mounted(tmp_path, SOLE) as (kernel, place):
        process = kernel.process()

        def seen(look: Callable[[], object], expected: object) -> None:
            end = time.monotonic() + 60
            while outcome(look) != expected:
                assert time.monotonic() < end
                time.sleep(0.005)

        (place / "f").write_bytes(b"old")
        assert (place / "f").read_bytes() == b"old"
        fd = process.open("/f", os.O_WRONLY)
        process.pwrite(fd, b"newer", 0)
        seen((place / "f").read_bytes, b"newer")
        process.ftruncate(fd, 2)
        seen((place / "f").read_bytes, b"ne")
        process.fchmod(fd, 0o600)
        seen(lambda: stat.S_IMODE((place / "f").stat().st_mode), 0o600)
        assert not (place / "g").exists() and len(os.listdir(place)) == 2
        process.rename("/f", "/g")
        seen((place / "g").read_bytes, b"ne")
        seen((place / "f").read_bytes, errno.ENOENT)
        process.mkdir("/d")
        seen(lambda: sorted(os.listdir(place)), ["d", "dev", "g"])
        process.unlink("/g")
        seen((place / "g").exists, False)
        process.rmdir("/d")
        seen(lambda: os.listdir(place), ["dev"])


def test_two_mounts_of_the_same_files(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with mounted(tmp_path, SOLE) as (kernel, place), kernel.fuse_mount(tmp_path / "other", options=SOLE):
        for number in range(20):
            (place / "f").write_bytes(b"%d" % number)
            end = time.monotonic() + 60
            while outcome((tmp_path / "other" / "f").read_bytes) != b"%d" % number:
                assert time.monotonic() < end
                time.sleep(0.005)


def test_extended_attributes_and_access_control_lists(tmp_path: Path) -> None:
    with mounted(tmp_path) as (kernel, place):
        (place / "f").touch()
        os.setxattr(place / "f", "user.comment", b"hello")
        assert os.getxattr(place / "f", "user.comment") == b"hello"
        assert os.listxattr(place / "f") == ["user.comment"]
        assert kernel.process().getxattr("/f", "user.comment") == b"hello"
        os.removexattr(place / "f", "user.comment")
        assert outcome(os.getxattr, place / "f", "user.comment") == errno.ENODATA
        entries = ((0x01, 6, -1), (0x02, 4, 1234), (0x04, 0, -1), (0x10, 4, -1), (0x20, 0, -1))
        acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
        os.setxattr(place / "f", "system.posix_acl_access", acl)
        assert stat.S_IMODE((place / "f").stat().st_mode) == 0o640
        assert kernel.process().getxattr("/f", "system.posix_acl_access") == acl
        os.chmod(place / "f", 0o600)
        assert os.getxattr(place / "f", "system.posix_acl_access") == acl[:30] + b"\0" + acl[31:], "the mask"


def test_special_files_are_names_only(tmp_path: Path) -> None:
    with mounted(tmp_path) as (_, place):
        os.mkfifo(place / "p")
        reader = os.open(place / "p", os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open(place / "p", os.O_WRONLY)
        os.write(writer, b"x")
        assert os.read(reader, 10) == b"x"
        os.close(reader)
        os.close(writer)
        assert outcome(os.open, place / "dev" / "null", os.O_RDWR) == errno.EACCES, "no devices"


def test_locks_hold_between_processes(tmp_path: Path) -> None:
    with mounted(tmp_path) as (_, place):
        code = """
import fcntl, sys
file = open(sys.argv[1], "r+")
for lock in (fcntl.lockf, fcntl.flock):
    try:
        lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB); print("got it")
    except BlockingIOError:
        print("taken")
"""
        import fcntl

        with open(place / "f", "w+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            words = [sys.executable, "-c", code, str(place / "f")]
            assert subprocess.run(words, capture_output=True, text=True).stdout.split("\n")[:2] == ["taken", "got it"]


def test_many_files_are_forgotten_in_time(tmp_path: Path) -> None:
    with mounted(tmp_path, FuseOptions(max_nodes=256)) as (kernel, place):
        process = kernel.process()
        for number in range(1000):
            process.mkdir(f"/{number}")
        refused = 0
        for number in range(1000):
            end = time.monotonic() + 60
            while outcome(os.stat, place / str(number)) == errno.ENFILE and time.monotonic() < end:
                refused += 1
                time.sleep(0.01)
            assert (place / str(number)).is_dir()
        assert kernel.counters()["fuse.notifications"] > 0


@pytest.mark.parametrize("kind", ["linked", "renamed", "nameless"])
def test_files_with_names_that_were_not_looked_up_are_forgotten_in_time(tmp_path: Path, kind: str) -> None:
    """Linux keeps a file while it keeps one of its names, and hears of all of them."""

    def make(place: Path, number: int) -> None:
        name, other = place / f"{number}", place / f"{number}-other"
        nameless = kind == "nameless"
        fd = os.open(place if nameless else name, os.O_RDWR | (os.O_TMPFILE if nameless else os.O_CREAT))
        try:
            if nameless:
                os.link(f"/proc/self/fd/{fd}", name, src_dir_fd=fd)
            if kind == "renamed":
                os.rename(name, other)
            else:
                os.link(name, other)
        finally:
            os.close(fd)

    with mounted(tmp_path, FuseOptions(max_nodes=256)) as (_, place):
        if kind == "nameless" and outcome(os.open, place, os.O_TMPFILE | os.O_RDWR) == errno.EOPNOTSUPP:
            pytest.skip("missing: Linux 6.1")
        end = time.monotonic() + 60
        for number in range(600):
            while outcome(make, place, number) == errno.ENFILE:
                assert time.monotonic() < end
                time.sleep(0.01)
        assert len(os.listdir(place)) == (600 if kind == "renamed" else 1200) + len(["dev"])


def test_what_is_mounted_on_a_file_stays_when_others_are_forgotten(tmp_path: Path) -> None:
    """Linux gives up with a name what is mounted there, in every namespace."""
    code = (
        'mount -t tmpfs none "$0/a/b" && touch "$0/a/b/inside" && echo mounted && read go && test -e "$0/a/b/inside" && '
        'echo "still there" && umount "$0/a/b"'
    )
    with Kernel(mounts={"/": "tmpfs"}) as kernel, kernel.fuse_mount(tmp_path, "/", FuseOptions(max_nodes=256)) as mount:
        (tmp_path / "a" / "b").mkdir(parents=True)
        words = ["unshare", "-m", "sh", "-c", code, str(tmp_path)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None and other.stdout.readline() == "mounted\n"
            mount.server.keep()
            for number in range(600):
                end = time.monotonic() + 60
                while outcome((tmp_path / str(number)).touch) == errno.ENFILE:
                    assert time.monotonic() < end
                    time.sleep(0.01)
            assert kernel.counters()["fuse.notifications"] > 0
            assert other.communicate("go\n", 60)[0] == "still there\n"


# Its end ---------------------------------------------------------------------------------------------------------


def test_closing_the_kernel_unmounts(tmp_path: Path) -> None:
    with Kernel(mounts={"/": "tmpfs"}) as kernel:
        kernel.fuse_mount(tmp_path)
        assert os.path.ismount(tmp_path)
        held = os.open(tmp_path / "held", os.O_RDWR | os.O_CREAT)
    assert not os.path.ismount(tmp_path)
    assert outcome(os.pwrite, held, b"x", 0) == errno.ENOTCONN
    outcome(os.close, held)


def test_unmounting_a_busy_mount_is_refused(tmp_path: Path) -> None:
    with Kernel(mounts={"/": "tmpfs"}) as kernel:
        mount = kernel.fuse_mount(tmp_path)
        with open(tmp_path / "f", "w"):
            assert outcome(mount.unmount) == errno.EBUSY
            (tmp_path / "still").touch()
        mount.unmount()
        mount.close()
        assert not os.path.ismount(tmp_path)


def test_others_may_unmount(tmp_path: Path) -> None:
    with Kernel(mounts={"/": "tmpfs"}) as kernel:
        mount = kernel.fuse_mount(tmp_path)
        assert not mount.wait(0.01)
        subprocess.run(["umount", tmp_path], check=True)
        assert mount.wait(60)
        mount.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_mount_is_left_when_the_process_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    code = f"""
from rumpkit import Kernel
kernel = Kernel(mounts={{"/": "tmpfs"}})
kernel.fuse_mount({str(tmp_path)!r})
print("ready", flush=True)
input()
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdin is not None
    assert child.stdout.readline() == b"ready\n"
    assert os.path.ismount(tmp_path)
    child.send_signal(number)
    child.wait()
    end = time.monotonic() + 60
    while any(line.split()[4] == str(tmp_path) for line in Path("/proc/self/mountinfo").read_text().splitlines()):
        assert time.monotonic() < end
        time.sleep(0.02)
    child.stdin.close()
    child.stdout.close()


def test_a_bad_place_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Kernel(mounts={"/": "tmpfs"}) as kernel:
        assert outcome(kernel.fuse_mount, tmp_path / "missing") == errno.ENOENT
        assert outcome(kernel.fuse_mount, tmp_path / "file") == errno.EINVAL
        assert outcome(kernel.fuse_mount, tmp_path, "/missing") == errno.ENOENT
        assert outcome(kernel.fuse_mount, tmp_path, "/dev/null") == errno.EINVAL
    assert not os.path.ismount(tmp_path)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rumpkit fuse")]


@pytest.mark.needs("nobody", "fusermount3")
def test_without_privileges_fusermount3_mounts() -> None:
    def test() -> None:
        place = Path(tempfile.mkdtemp())
        with Kernel(mounts={"/": "tmpfs"}) as kernel:
            kernel.process().chmod("/", 0o1777)
            mount = kernel.fuse_mount(place)
            (place / "f").write_text("x")
            found = kernel.process().stat("/f")
            assert (found.st_uid, found.st_size) == (os.getuid(), 1)
            with open(place / "f"):
                assert outcome(mount.unmount) == errno.EBUSY
            mount.unmount()
            assert os.listdir(place) == []
        place.rmdir()

    in_child(test, as_nobody)


@pytest.mark.needs("nobody")
def test_without_the_device_the_error_says_what_to_do() -> None:
    def test() -> None:
        place = tempfile.mkdtemp()
        with (
            Kernel(mounts={"/": "tmpfs"}) as kernel,
            pytest.raises(attach.FuseUnavailable, match=r"fusermount3|chmod 0666"),
        ):
            kernel.fuse_mount(place)
        os.rmdir(place)

    in_child(test, without_device)


def test_a_file_on_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Kernel(mounts={"/": "tmpfs"}) as kernel:
        process = kernel.process()
        process.write(process.open("/f", O_WRONLY | O_CREAT), b"inside")
        with kernel.fuse_mount(tmp_path / "file", "/f"):
            assert (tmp_path / "file").read_bytes() == b"inside"


@pytest.mark.parametrize("name", ["with blank", "back\\slash", "größer", os.fsdecode(b"\xff\xfe")])
def test_a_directory_may_be_called_anything(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with Kernel(mounts={"/": "tmpfs"}) as kernel:
        mount = kernel.fuse_mount(tmp_path / name)
        (tmp_path / name / "f").touch()
        assert kernel.process().stat("/f").st_size == 0
        mount.unmount()
        assert os.listdir(tmp_path / name) == []


def test_the_error_says_how_to_allow_it() -> None:
    for code in (errno.EACCES, errno.ENOENT, errno.ENODEV, errno.EPERM):
        text = str(attach.explain(code))
        assert "/dev/fuse" in text and ("chmod 0666" in text or "modprobe" in text or "--device" in text)
