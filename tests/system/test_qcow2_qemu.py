"""qcow2 images of every kind that qemu-img makes, read by us as qemu-img reads them."""

from __future__ import annotations

import errno
import random
import subprocess
from pathlib import Path

import pytest

from rumpkit import O_RDONLY, ConfigError, Kernel
from rumpkit.compose.image.storage import Storage, open_storage
from rumpkit.dev.qcow2 import Qcow2Backend
from rumpkit.hosts.posix.block import FileBackend
from rumpkit.hosts.posix.host import PosixHost

pytestmark = [pytest.mark.needs("qemu-img"), pytest.mark.once]
SIZE = 5_000_192


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A disk with noise, text that packs well, and holes."""
    chance = random.Random(1)
    data = bytearray(SIZE)
    for _ in range(30):
        start = chance.randrange(SIZE)
        piece = chance.choice((chance.randbytes(90_000), b"text " * 30_000))
        data[start : start + len(piece)] = piece
    path = tmp_path / "raw.img"
    path.write_bytes(data[:SIZE])
    return path


def qemu(*arguments: str | Path) -> None:
    ran = subprocess.run(["qemu-img", *map(str, arguments)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def same(path: Path, raw: bytes) -> None:
    with Storage(PosixHost(console=-1), path) as storage:
        backend = storage.backend
        assert backend.size == len(raw)
        chance = random.Random(2)
        for _ in range(50):
            start = chance.randrange(len(raw))
            size = chance.choice((1, 512, 4096, 70_000, 300_000))
            assert backend.read(start, min(size, len(raw) - start)) == raw[start : start + size]
        assert backend.read(0, len(raw)) == raw


@pytest.mark.parametrize(
    "options",
    [
        ("-o", "compat=0.10"),
        ("-o", "compat=1.1"),
        ("-o", "cluster_size=512"),
        ("-o", "cluster_size=2M"),
        ("-o", "compat=0.10,cluster_size=4096"),
        ("-o", "lazy_refcounts=on"),
        ("-c",),
        ("-c", "-o", "cluster_size=4096"),
        ("-c", "-o", "compat=0.10"),
        ("-S", "0", "-o", "preallocation=metadata"),
    ],
)
def test_converted(raw: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    image = tmp_path / "disk.qcow2"
    qemu("convert", "-O", "qcow2", *options, raw, image)
    qemu("check", image)
    same(image, raw.read_bytes())


@pytest.mark.needs("qemu-io")
def test_written_by_a_guest(raw: Path, tmp_path: Path) -> None:
    """Overwritten, zeroed and discarded clusters over a backing file, which is only followed where somebody says how."""
    image = tmp_path / "disk.qcow2"
    qemu("create", "-f", "qcow2", "-b", raw, "-F", "raw", image, "6M")
    commands = (
        "write -P 7 100k 300k",
        "write -z 1M 1M",
        "discard 3M 64k",
        "write -P 9 5900000 1000",
        "write -c -P 5 4M 64k",
    )
    steps = [step for command in commands for step in ("-c", command)]
    ran = subprocess.run(["qemu-io", "-f", "qcow2", *steps, str(image)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    whole = tmp_path / "whole.img"
    qemu("convert", "-O", "raw", image, whole)
    host = PosixHost(console=-1)
    below: list[str] = []

    def resolve(name: str) -> FileBackend:
        below.append(name)
        return FileBackend(host, name, read_only=True)

    qcow = Qcow2Backend(FileBackend(host, str(image), read_only=True), resolve)
    assert qcow.read(0, qcow.size) == whole.read_bytes() and below == [str(raw)]
    qcow.close()
    with pytest.raises(OSError, match=r"rests on another image.*disk\.qcow2"):
        Storage(host, image)


@pytest.mark.parametrize("options", ["extended_l2=on", "compression_type=zstd", "data_file=data.raw"])
def test_what_is_not_supported(tmp_path: Path, options: str) -> None:
    image = tmp_path / "disk.qcow2"
    options = options.replace("data.raw", str(tmp_path / "data.raw"))
    ran = subprocess.run(["qemu-img", "create", "-f", "qcow2", "-o", options, str(image), "1M"], capture_output=True)
    if ran.returncode:
        pytest.skip("this qemu-img cannot make it")
    with pytest.raises(OSError, match="qcow2: ") as caught:
        Storage(PosixHost(console=-1), image)
    assert caught.value.errno == errno.ENOTSUP


def test_as_a_disk_of_a_kernel(raw: Path, tmp_path: Path) -> None:
    image = tmp_path / "disk.qcow2"
    qemu("convert", "-c", "-O", "qcow2", raw, image)
    for more in ({"read_only": True}, {"snapshot": True}):
        with Kernel(disks={"d": {"source": image, **more}}, mounts={"/": "tmpfs"}) as kernel:
            process = kernel.process()
            fd = process.open("/dev/d", O_RDONLY)
            assert process.pread(fd, SIZE + 1, 0) == raw.read_bytes()
    with pytest.raises(ConfigError, match="can only be read"):
        Kernel(disks={"d": {"source": image}}, mounts={"/": "tmpfs"})


def test_it_is_not_written(raw: Path, tmp_path: Path) -> None:
    image = tmp_path / "disk.qcow2"
    qemu("convert", "-O", "qcow2", raw, image)
    before = image.read_bytes()
    for in_place in (False, True):
        with pytest.raises(OSError, match="can only be read") as caught:
            open_storage(PosixHost(console=-1), str(image), True, in_place)
        assert caught.value.errno == errno.EROFS
    assert image.read_bytes() == before
