"""/dev: a file for each device, as they come and go."""

import pytest

from rumpkit.kern.abi.errno import EINVAL, ENXIO
from rumpkit.kern.abi.fcntl import O_RDONLY, S_IFBLK, S_IFCHR, S_IFMT
from tests.vfs.helpers import Files, fails

NAMES = ["null", "zero", "full", "random", "urandom", "console"]


@pytest.fixture
def files() -> Files:
    files = Files()
    files.mount("devfs", "/dev")
    return files


def test_all_devices_are_there(files: Files):
    assert files.root.names("/dev") == NAMES
    stat = files.root.stat("/dev/null")
    assert stat.st_mode == S_IFCHR | 0o666 and stat.st_rdev == 0x103


def test_disks_come_and_go(files: Files):
    disks = files.service("Disks")
    files.entered(disks.attach_ram, "ram0", 1000)
    assert files.root.stat("/dev/ram0").st_mode & S_IFMT == S_IFBLK
    files.entered(disks.detach, "ram0")
    assert files.root.names("/dev") == NAMES


def test_a_file_that_took_the_name_stays(files: Files):
    disks = files.service("Disks")
    root = files.root
    root.put("/dev/ram0", b"mine")
    files.entered(disks.attach_ram, "ram0", 1000)
    files.entered(disks.detach, "ram0")
    assert root.get("/dev/ram0") == b"mine"


def test_names_can_be_changed(files: Files):
    root = files.root
    root.link("/dev/null", "/dev/nothing")
    root.rename("/dev/zero", "/dev/zeros")
    root.unlink("/dev/full")
    assert root.get("/dev/nothing") == b""
    fd = root.open("/dev/zeros", O_RDONLY)
    assert root.read(fd, 3) == b"\0\0\0"


def test_two_of_them_and_then_none(files: Files):
    disks = files.service("Disks")
    files.mount("devfs", "/other")
    files.entered(disks.attach_ram, "ram0", 1000)
    root = files.root
    root.unmount("/dev")
    files.entered(disks.attach_ram, "ram1", 1000)
    assert root.names("/other") == [*NAMES, "ram0", "ram1"]
    assert root.names("/dev") == []


def test_a_name_outlives_its_device(files: Files):
    disks = files.service("Disks")
    files.entered(disks.attach_ram, "ram0", 1000)
    files.root.link("/dev/ram0", "/dev/copy")
    files.entered(disks.detach, "ram0")
    fails(ENXIO, files.root.open, "/dev/copy", O_RDONLY)


def test_it_has_no_source_and_no_options(files: Files):
    files.root.mkdir("/m")
    fails(EINVAL, files.root.mount, "devfs", "/m", {}, "/dev/sda")
    fails(EINVAL, files.root.mount, "devfs", "/m", {"size": 5})
