"""A kernel's mounts in a program's own mount namespace: as root, and as a user without privileges."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rumpkit import Kernel
from rumpkit.compose.errors import ConfigError
from rumpkit.compose.spec import MountSpec, Spec
from rumpkit.kern.abi.fcntl import O_CREAT, O_WRONLY
from tests.guests.linux.guest_helpers import Output
from tests.guests.linux.sandbox_helpers import as_nobody, as_root, in_child, without_device

pytestmark = pytest.mark.needs("linux", "seccomp", "root", "fuse", "nobody")


USERS = pytest.mark.parametrize("user", [as_root, as_nobody])


def shell(kernel: Kernel, script: str) -> tuple[int, str]:
    """Run a script on the kernel: its exit code, and what it writes."""
    output = Output()
    guest = kernel.run(["/bin/sh", "-ec", script], stdout=output.fd, stderr=output.fd, cwd="/")
    try:
        return guest.wait(60), output.text()
    finally:
        guest.close()


def put(kernel: Kernel, path: str, data: bytes) -> None:
    process = kernel.process()
    fd = process.open(path, O_WRONLY | O_CREAT)
    process.write(fd, data)
    process.close(fd)


def get(kernel: Kernel, path: str) -> bytes:
    process = kernel.process()
    return process.read(process.open(path, 0), 1 << 20)


def tried(user: Callable[[], None], test: Callable[[], object]) -> None:
    in_child(test, user)


@USERS
def test_a_program_reads_and_writes_the_kernels_files(user: Callable[[], None]) -> None:
    def test() -> None:
        with Kernel(mounts={"/": "tmpfs", "/data": "tmpfs"}) as kernel:
            put(kernel, "/data/hello", b"from the kernel\n")
            assert shell(kernel, "cat /data/hello; echo from outside > /data/new; mv /data/new /data/moved") == (
                0,
                "from the kernel\n",
            )
            assert get(kernel, "/data/moved") == b"from outside\n"
            assert not os.path.exists("/data"), "nothing of it on the host"

    tried(user, test)


@USERS
def test_mounts_within_mounts_and_in_directories_of_the_host(user: Callable[[], None]) -> None:
    def test() -> None:
        mounts = {
            "/": "tmpfs",
            "/data": "tmpfs",
            "/data/inner": "tmpfs",
            "/mnt": "tmpfs",
            "/usr/lib/none/here": "tmpfs",
        }
        with Kernel(mounts=mounts) as kernel:
            put(kernel, "/data/inner/f", b"inner")
            code, text = shell(
                kernel,
                "cat /data/inner/f; echo; touch /mnt/m /usr/lib/none/here/h; df /data /data/inner | wc -l; ls -d /usr/lib/python3*",
            )
            assert code == 0 and text.startswith("inner\n3\n/usr/lib/python3")
            assert get(kernel, "/mnt/m") == get(kernel, "/usr/lib/none/here/h") == b""
            assert not os.path.exists("/usr/lib/none")

    tried(user, test)


@USERS
def test_a_mirrored_directory_refuses_what_would_be_lost(user: Callable[[], None]) -> None:
    def test() -> None:
        with Kernel(mounts={"/": "tmpfs", "/data": "tmpfs"}) as kernel:
            assert shell(kernel, "touch /lost 2>&1 || true")[1].count("Read-only file system") == 1
            assert shell(kernel, "cat /proc/self/comm; ls /dev/null /etc/hosts; echo x > /dev/null")[0] == 0

    tried(user, test)


def test_the_only_user_of_a_namespace_owns_everything() -> None:
    def test() -> None:
        with Kernel(mounts={"/": "tmpfs", "/data": "tmpfs"}) as kernel:
            put(kernel, "/data/roots", b"")
            code, text = shell(
                kernel, "stat -c %u /data /data/roots; echo x >> /data/roots; chmod 600 /data/roots; touch /data/new"
            )
            assert (code, text.split()) == (0, ["65534", "65534"])
            found = kernel.process().stat("/data/new")
            assert (found.st_uid, found.st_gid) == (0, 0), "to the kernel it is the superuser"

    tried(as_nobody, test)


def test_root_keeps_owners_and_gives_files_away() -> None:
    def test() -> None:
        with Kernel(mounts={"/": "tmpfs", "/data": "tmpfs"}) as kernel:
            assert shell(kernel, "touch /data/f; chown 33:44 /data/f; stat -c %u:%g /data/f") == (0, "33:44\n")
            found = kernel.process().stat("/data/f")
            assert (found.st_uid, found.st_gid) == (33, 44)

    tried(as_root, test)


def test_read_only_and_hidden_mounts() -> None:
    def test() -> None:
        spec = Spec(mount=[MountSpec("/data", read_only=True), MountSpec("/mnt", programs="hide")])
        with Kernel(spec) as kernel:
            put(kernel, "/mnt/hidden", b"")
            code, text = shell(kernel, "ls /mnt; touch /data/f 2>&1 || true")
            assert code == 0 and "hidden" not in text and "Read-only file system" in text

    tried(as_root, test)


def test_what_a_program_mapped_is_kept(tmp_path: Path) -> None:
    def test() -> None:
        with Kernel(mounts={"/": "tmpfs", "/data": "tmpfs"}) as kernel:
            put(kernel, "/data/f", bytes(100_000))
            code = (
                "import mmap, os\nfd = os.open('/data/f', os.O_RDWR)\n"
                "m = mmap.mmap(fd, 100000)\nm[70000:70005] = b'kept!'\nos._exit(0)"
            )
            guest = kernel.run(["/usr/bin/python3", "-S", "-c", code], cwd="/")
            assert guest.wait(60) == 0
            guest.close()
            assert get(kernel, "/data/f")[70000:70005] == b"kept!"

    tried(as_root, test)


def test_two_programs_share_files() -> None:
    def test() -> None:
        with Kernel(mounts={"/": "tmpfs", "/data": "tmpfs"}) as kernel:
            one = kernel.run(
                [
                    "/bin/sh",
                    "-c",
                    "echo one > /data/a; until [ -e /data/b ]; do sleep 0.05; done; cat /data/b > /data/c",
                ]
            )
            two = kernel.run(
                ["/bin/sh", "-c", "until [ -s /data/a ]; do sleep 0.05; done; echo two > /data/b2; mv /data/b2 /data/b"]
            )
            assert (one.wait(60), two.wait(60)) == (0, 0)
            assert get(kernel, "/data/c") == b"two\n"

    tried(as_root, test)


def test_a_program_is_executed_from_a_mount() -> None:
    def test() -> None:
        with Kernel(mounts={"/": "tmpfs", "/data": "tmpfs"}) as kernel:
            assert shell(kernel, "cp /bin/cat /data/cat; echo hi | /data/cat")[1] == "hi\n"
            guest = kernel.run(["/data/cat", "/data/cat"], stdout=os.open(os.devnull, os.O_WRONLY), cwd="/data")
            assert guest.wait(60) == 0

    tried(as_root, test)


def test_without_the_device_the_run_says_so_and_goes_on() -> None:
    def test() -> None:
        with Kernel(mounts={"/": "tmpfs", "/data": "tmpfs"}) as kernel:
            guest = kernel.run(["/bin/sh", "-c", "! test -e /data"], cwd="/")
            assert guest.wait(60) == 0
            assert "chmod 0666 /dev/fuse" in guest.unseen["/data"]
        required = Spec(mount=[MountSpec("/data", programs="require")])
        with Kernel(required) as kernel, pytest.raises(ConfigError, match=r"/data.*chmod 0666 /dev/fuse"):
            kernel.run(["/bin/true"])

    tried(without_device, test)


def test_a_place_that_cannot_be_is_refused(tmp_path: Path) -> None:
    def test() -> None:
        with Kernel(mounts={"/": "tmpfs", f"{tmp_path}/none": "tmpfs", "/data": "tmpfs"}) as kernel:
            guest = kernel.run(["/bin/sh", "-c", "touch /data/f"], cwd="/", writable=["/"])
            assert guest.wait(60) == 0
            assert list(guest.unseen) == [f"{tmp_path}/none"]

    tried(as_root, test)


def test_where_the_root_is_read_only_every_place_can_be(tmp_path: Path) -> None:
    def test() -> None:
        folder = tmp_path / "home"
        folder.mkdir()
        (folder / "file").touch()
        mounts = {"/": "tmpfs", f"{folder}/none": "tmpfs", "/tmp/none/here": "tmpfs"}
        with Kernel(mounts=mounts) as kernel:
            guest = kernel.run(
                ["/bin/sh", "-ec", f"touch {folder}/none/f /tmp/none/here/f; test -e {folder}/file"], visible=[folder]
            )
            assert guest.wait(60) == 0 and not guest.unseen
            assert get(kernel, f"{folder}/none/f") == get(kernel, "/tmp/none/here/f") == b""
            assert os.listdir(folder) == ["file"]

    tried(as_root, test)


def test_nothing_is_left_behind() -> None:
    def test() -> None:
        before = Path("/proc/self/mountinfo").read_text()
        with Kernel(mounts={"/": "tmpfs", "/data": "tmpfs"}) as kernel:
            guest = kernel.run(["/bin/sleep", "600"], cwd="/")
            guest.close()
            kernel.process().unmount("/data")
        assert Path("/proc/self/mountinfo").read_text() == before
        assert "/data" not in subprocess.run(["ls", "-d", "/data"], capture_output=True, text=True).stdout

    tried(as_root, test)
