"""File system types: options, devices by name and path, and mounting what a device holds."""

from __future__ import annotations

from collections.abc import Mapping

from rumpkit.fs.tmpfs.mount import TmpfsMount
from rumpkit.fs.tmpfs.pool import Pool
from rumpkit.kern.abi.errno import EACCES, EINVAL, ENOENT, ENOTBLK, ENOTSUP
from rumpkit.kern.abi.fcntl import O_RDONLY, O_RDWR, S_IFBLK
from rumpkit.kern.device import Device
from rumpkit.vfs.types import FileSystemType, Option, OptionValue, Recognition, check_format_options
from rumpkit.vfs.vfs import Vfs
from rumpkit.vfs.vnode import Mount, Vnode
from tests.vfs.helpers import Files, fails

MAGIC = b"toy!"


class Toy(FileSystemType):
    """A type that writes its magic to a device and mounts a tmpfs of that label."""

    def __init__(self) -> None:
        super().__init__("toy", format_options=(Option("label", "none", 0, 0, "its name"), Option("size", 8, 1, 9, "")))

    def make(self, vfs: Vfs, source: str, options: Mapping[str, OptionValue]) -> Mount:
        vfs.device(source)
        return TmpfsMount(vfs.hyper, Pool(1 << 20, 100, 1 << 20, 100), 0o755, 0, 0, "toy")

    def recognise(self, device: Device) -> Recognition | None:
        head = device.read(0, 8)
        assert isinstance(head, bytes)
        return Recognition("toy", head[4:].decode()) if head[:4] == MAGIC else None

    def format(self, vfs: Vfs, device: Device, options: Mapping[str, OptionValue]) -> None:
        device.write(0, MAGIC + str(options["label"]).encode())


def with_disk() -> Files:
    files = Files()
    files.vfs.types.register(Toy())
    files.entered(files.service("Disks").attach_ram, "disk0", 4096)
    files.mount("devfs", "/dev")
    return files


def test_what_a_device_holds_is_mounted():
    files = with_disk()
    fails(EINVAL, files.mount, "auto", "/m", "disk0")
    device = files.entered(files.vfs.device, "disk0")
    kind = files.vfs.types.find("toy")
    options = check_format_options(kind, {"label": "mine"})
    assert options == {"label": "mine", "size": 8}
    fails(EINVAL, check_format_options, kind, {"labl": "mine"})
    fails(EINVAL, check_format_options, kind, {"size": 10})
    opened = device.open(O_RDWR)
    files.entered(kind.format, files.vfs, opened, options)
    opened.close(0)
    files.mount("auto", "/m", "/dev/disk0")
    assert files.vfs.mounts()[-1].kind == "toy"
    found = files.entered(files.vfs.types.recognise, device)
    assert found is not None and found[1].label == "mine"
    files.root.unmount("/m")
    files.entered(files.service("Disks").detach, "disk0")  # nobody has it open any more


def test_devices_by_name_and_path():
    files = with_disk()
    disk = files.entered(files.vfs.device, "disk0")
    assert files.entered(files.vfs.device, "/dev/disk0") is disk
    files.root.mknod("/block", S_IFBLK | 0o600, disk.number)
    files.root.symlink("block", "/link")
    assert files.entered(files.vfs.device, "/link") is disk
    files.root.put("/file")
    fails(ENOTBLK, files.entered, files.vfs.device, "/file")
    fails(ENOTBLK, files.entered, files.vfs.device, "/dev/null")
    fails(ENOENT, files.entered, files.vfs.device, "disk1")
    fails(ENOENT, files.entered, files.vfs.device, "/dev/disk1")
    files.mount("tmpfs", "/nodev", devices=False)
    files.root.mknod("/nodev/block", S_IFBLK | 0o600, disk.number)
    fails(EACCES, files.entered, files.vfs.device, "/nodev/block")


def test_a_type_that_only_mounts():
    files = with_disk()
    tmpfs = files.vfs.types.find("tmpfs")
    device = files.vfs.device("disk0").open(O_RDONLY)
    assert tmpfs.recognise(device) is None
    fails(ENOTSUP, tmpfs.format, files.vfs, device, {})
    fails(ENOTSUP, tmpfs.check, files.vfs, device, False, print)


def test_what_a_vnode_does_not_have():
    files = Files()
    root = files.vfs.root()
    vnode = Vnode(root.mount, 1, 0o644, 0, 0, 0)
    fails(ENOTSUP, vnode.getxattr, b"user.a")
    fails(ENOTSUP, vnode.setxattr, b"user.a", b"", 0)
    fails(ENOTSUP, vnode.listxattr)
    fails(ENOTSUP, vnode.removexattr, b"user.a")
    fails(ENOTSUP, vnode.fallocate, 0, 0, 1)
    fails(ENOTSUP, vnode.set_flags, 0, 0)
    assert (vnode.generation, vnode.flags) == (0, 0)
