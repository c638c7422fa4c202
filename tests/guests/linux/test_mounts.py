"""Private files on machines of other makes: resolv.conf is a link into a service's folder, or is not there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rumpkit.guests.linux import abi, libc
from tests.guests.linux.sandbox_helpers import answered, in_child, run

pytestmark = [pytest.mark.needs("linux", "seccomp", "root"), pytest.mark.usefixtures("_copy_of_etc")]

RESOLV = {"/etc/resolv.conf": b"nameserver 10.0.2.3\n"}
CLONE_NEWNS = abi.CLONE_NEWNS


@pytest.fixture
def _copy_of_etc(tmp_path):
    subprocess.run(["cp", "-a", "/etc/.", tmp_path], check=True)


def another_machine(etc: Path, change):
    """A setup for a child: mounts of its own, in which /etc and /run may be changed."""

    def setup() -> None:
        assert libc.library().unshare(CLONE_NEWNS) == 0
        libc.mount("none", "/", None, abi.MS_REC | abi.MS_SLAVE)
        libc.mount(str(etc), "/etc", None, abi.MS_BIND)
        libc.mount("tmpfs", "/run", "tmpfs", 0)
        change()

    return setup


def with_systemd() -> None:
    os.makedirs("/run/systemd/resolve")
    Path("/run/systemd/resolve/stub-resolv.conf").write_text("nameserver 127.0.0.53\n")
    Path("/run/systemd/resolve/io.systemd.Resolve").touch()
    os.unlink("/etc/resolv.conf")
    os.symlink("../run/systemd/resolve/stub-resolv.conf", "/etc/resolv.conf")


def test_a_link_into_the_hosts_own_name_service(tmp_path):
    def check_it():
        assert run(["cat", "/etc/resolv.conf"], files=RESOLV) == (0, "nameserver 10.0.2.3\n")
        # Through its socket a program would ask the host's name service past the kernel.
        assert run(["ls", "/run/systemd/resolve"], files=RESOLV) == (0, "stub-resolv.conf\n")
        assert run(["ls", "/run/systemd/resolve"])[1].split() == ["io.systemd.Resolve", "stub-resolv.conf"]
        assert Path("/etc/resolv.conf").read_text() == "nameserver 127.0.0.53\n"

    in_child(check_it, another_machine(tmp_path, with_systemd))


def test_a_link_to_nowhere(tmp_path):
    def dangling() -> None:
        with_systemd()
        os.unlink("/run/systemd/resolve/stub-resolv.conf")

    def check_it():
        assert run(["cat", "/etc/resolv.conf"], files=RESOLV) == (0, "nameserver 10.0.2.3\n")

    in_child(check_it, another_machine(tmp_path, dangling))


def test_no_resolv_conf_at_all(tmp_path):
    def check_it():
        with answered(["test", "!", "-e", "/etc/resolv.conf"], files=RESOLV) as (program, _):
            assert program.uncovered == ["/etc/resolv.conf"]
            assert program.wait(10) == 0

    in_child(check_it, another_machine(tmp_path, lambda: os.unlink("/etc/resolv.conf")))


def test_without_a_proc_of_its_own(tmp_path):
    """Where /proc is partly covered, as in containers, a user namespace may not mount another: the host's stays."""

    def covered() -> None:
        libc.mount("tmpfs", "/proc/sys/kernel", "tmpfs", 0)
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    def check_it():
        import sys

        if not os.access(sys.executable, os.X_OK):
            sys.executable = "/usr/bin/python3"
        with answered(["sh", "-c", "test -e /proc/self/status"]) as (program, _):
            assert not program.own_proc
            assert program.wait(10) == 0

    in_child(check_it, another_machine(tmp_path, covered))
