"""Hand-made squashfs: what is sound is read, what is not is refused with what is wrong."""

from __future__ import annotations

import struct
import zlib

import pytest

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.fs.squashfs import format as fmt
from rumpkit.fs.squashfs.inode import Inode
from rumpkit.fs.squashfs.volume import Volume
from rumpkit.kern.abi import errno as abi
from tests.fs.squashfs.squashmake import (
    attach,
    directory_inode,
    file_inode,
    head,
    image,
    mounted,
    one_file,
    run,
)
from tests.vfs.helpers import COMPONENTS, Files


def wrong(call, *arguments) -> str:
    """What is said of the image."""
    with pytest.raises(OSError) as caught:
        call(*arguments)
    assert caught.value.errno == abi.EUCLEAN, caught.value
    return str(caught.value.strerror)


def unmountable(data: bytes, code: int = abi.EUCLEAN) -> str:
    files = Files(components=(*COMPONENTS, "squashfs"))
    attach(files, data)
    with pytest.raises(OSError) as caught:
        files.mount("squashfs", "/mnt", "disk0")
    assert caught.value.errno == code, caught.value
    device = files.vfs.devices.named("disk0")
    assert device is not None and device.claims == 0
    return str(caught.value.strerror)


def test_the_smallest_image_is_read() -> None:
    for data in (b"hello", b"", b"x" * 10_000):
        with mounted(one_file(data)) as client:
            assert client.names("/mnt") == ["file"]
            assert client.get("/mnt/file") == data
            status = client.stat("/mnt/file")
            assert (status.st_ino, status.st_size, status.st_mode) == (1, len(data), 0o100644)
            assert client.stat("/mnt/..").st_ino == client.stat("/").st_ino


@pytest.mark.parametrize(
    "given",
    [
        {"block_log": 13},
        {"block_log": 21, "block_size": 1 << 21},
        {"block_log": 11, "block_size": 1 << 11},
        {"bytes_used": 1 << 40},
        {"bytes_used": 10},
        {"inode_table": 1 << 40},
        {"inode_table": 0},
        {"directory_table": 100},
        {"ids": 65535},
        {"ids": 0},
        {"id_table": fmt.NO_TABLE},
        {"fragments": 1 << 31, "fragment_table": 96},
        {"xattr_table": 1 << 50},
        {"inodes": 0},
        {"inodes": 1},
        {"root": 1 << 47},
        {"root": 8191},
        {"root": 0},
    ],
    ids=str,
)
def test_superblocks_that_make_no_sense(given: dict[str, int]) -> None:
    assert unmountable(one_file(given=given)).startswith("squashfs: ")


def test_what_is_not_known() -> None:
    assert "3.1" in unmountable(one_file(given={"major": 3, "minor": 1}), abi.EINVAL)
    assert "compressor 9" in unmountable(one_file(given={"compressor": 9}), abi.EINVAL)
    unmountable(one_file(given={"magic": 1}), abi.EINVAL)
    unmountable(b"hsqs", abi.EINVAL)


@pytest.mark.parametrize(
    "lengths",
    [[5 | 1 << 25], [0xFFFFFF | fmt.PLAIN], [4097 | fmt.PLAIN], [5], [4 | fmt.PLAIN]],
    ids=str,
)
def test_data_blocks_that_make_no_sense(lengths: list[int]) -> None:
    listing = run([("file", 0, 1, 2)])
    inode = file_inode(1, 96, 5, lengths)
    with mounted(image([inode, directory_inode(2, len(listing))], 1, listing, b"hello")) as client:
        wrong(client.get, "/mnt/file")


def test_a_file_that_is_larger_than_its_list() -> None:
    listing = run([("file", 0, 1, 2)])
    inode = file_inode(1, 96, 0xFFFFFFFF, [5 | fmt.PLAIN])
    with mounted(image([inode, directory_inode(2, len(listing))], 1, listing, b"hello")) as client:
        wrong(client.get, "/mnt/file")
    inode = head(2, 1) + fmt.FILE.pack(96, 7, 0, 5)  # a fragment that there is not
    with mounted(image([inode, directory_inode(2, len(listing))], 1, listing, b"hello")) as client:
        assert "fragment 7 of 0" in wrong(client.get, "/mnt/file")


@pytest.mark.parametrize("name", [b".", b"..", b"a/b", b"a\0b"], ids=str)
def test_names_that_no_file_has(name: bytes) -> None:
    with mounted(one_file(name=name)) as client:
        wrong(client.names, "/mnt")
        wrong(client.stat, "/mnt/file")


def test_directories_that_make_no_sense() -> None:
    listing = run([("file", 0, 1, 2)], count=300)
    inode = file_inode(1, 96, 0, [])
    with mounted(image([inode, directory_inode(2, len(listing))], 1, listing)) as client:
        assert "301 entries" in wrong(client.names, "/mnt")
    listing = run([("file", 0, 1, 9)])
    with mounted(image([inode, directory_inode(2, len(listing))], 1, listing)) as client:
        assert "type 9" in wrong(client.names, "/mnt")
    listing = run([("file", 0, 1, 2)])
    with mounted(image([inode, directory_inode(2, len(listing) + 5000)], 1, listing)) as client:
        wrong(client.names, "/mnt")
    with mounted(image([inode, directory_inode(2, len(listing), offset=9000)], 1, listing)) as client:
        wrong(client.names, "/mnt")
    huge = head(8, 2, 0o755) + fmt.DIRECTORY_EXTENDED.pack(2, 0xFFFFFFFF, 0, 99, 65535, 0, fmt.NONE)
    with mounted(image([inode, huge], 1, listing)) as client:
        assert "limit" in wrong(client.names, "/mnt")
        wrong(client.stat, "/mnt/file")


def test_inodes_that_make_no_sense() -> None:
    listing = run([("file", 0, 1, 2)])
    for inode in (
        head(15, 1) + bytes(60),
        head(0, 1) + bytes(60),
        head(3, 1) + fmt.SYMLINK.pack(1, 5000) + bytes(5000),
        head(3, 1) + fmt.SYMLINK.pack(1, 4) + b"a\0bc",
        head(4, 1) + fmt.DEVICE.pack(0, 5),
        head(2, 1, uid=3) + fmt.FILE.pack(96, fmt.NONE, 0, 0),
        head(9, 1) + fmt.FILE_EXTENDED.pack(96, 1 << 63, 0, 1, fmt.NONE, 0, fmt.NONE),
        head(2, 77) + fmt.FILE.pack(96, fmt.NONE, 0, 0),
        head(2, 3) + fmt.FILE.pack(96, fmt.NONE, 0, 0),
    ):
        with mounted(image([inode, directory_inode(2, len(listing))], 1, listing)) as client:
            wrong(client.stat, "/mnt/file")


def test_a_directory_in_itself() -> None:
    listing = run([("again", 0, 2, 1), ("sub", 32, 3, 1)])
    root = directory_inode(2, len(listing))
    with mounted(image([root, directory_inode(3, len(listing))], 0, listing)) as client:
        wrong(client.stat, "/mnt/again")
        assert client.stat("/mnt/sub").st_ino == 3
        wrong(client.stat, "/mnt/sub/again")
        wrong(client.stat, "/mnt/sub/sub")
        assert client.stat("/mnt/sub/../sub").st_ino == 3


def test_much_that_comes_out_of_little() -> None:
    """A block that unpacks to more than it may is an error before it has taken the memory."""
    bomb = zlib.compress(bytes(3 << 20), 9)[:4000]
    listing = run([("file", 0, 1, 2)])
    inode = file_inode(1, 96, 4096, [len(bomb)])
    with mounted(image([inode, directory_inode(2, len(listing))], 1, listing, bomb)) as client:
        assert "more than 4096" in wrong(client.get, "/mnt/file")


def test_a_file_of_holes_takes_no_memory() -> None:
    """A list of a million lengths of 0 is read piece by piece, wherever one begins."""
    blocks = 300_000
    lengths = struct.pack("<2I", 0, 0) * (blocks // 2)
    size = blocks * 4096
    inode = head(9, 1) + fmt.FILE_EXTENDED.pack(96, size, size, 1, fmt.NONE, 0, fmt.NONE) + lengths
    listing = run([("file", 32, 1, 2)])
    root = directory_inode(2, len(listing))
    data = image([root, inode], 0, listing, compress=True)
    assert len(data) < 20_000
    with mounted(data, metadata_bytes=1 << 16) as client:
        fd = client.open("/mnt/file", 0)
        for at in (size - 10, 5, size // 2, size - 5000):
            assert client.pread(fd, 4096, at) == bytes(min(4096, size - at))
        assert client.pread(fd, 10, size) == b""
        client.close(fd)


def test_data_behind_many_holes_is_found() -> None:
    """Pieces of the list without data are passed over whole, wherever they begin and end."""
    for blocks in (1, 2047, 2048, 2049, 6000, 8192):
        for at in {0, 1, 2047, 2048, 5000, blocks - 1}:
            if at >= blocks:
                continue
            lengths = [0] * blocks
            lengths[at] = 4096 | fmt.PLAIN
            inode = file_inode(1, 96, blocks * 4096, lengths)
            listing = run([("file", 32, 1, 2)])
            root = directory_inode(2, len(listing))
            with mounted(image([root, inode], 0, listing, b"d" * 4096, compress=True)) as client:
                fd = client.open("/mnt/file", 0)
                assert client.lseek(fd, 0, 3) == at * 4096
                assert client.lseek(fd, at * 4096, 4) == (at + 1) * 4096
                assert client.pread(fd, 2, at * 4096) == b"dd"
                if at + 1 < blocks:
                    with pytest.raises(OSError) as caught:
                        client.lseek(fd, (at + 1) * 4096, 3)
                    assert caught.value.errno == abi.ENXIO
                client.close(fd)


def test_names_ascend() -> None:
    for names in ("aa", "ba"):
        for listing in (
            run([(name, 32, 1, 2) for name in names]),
            b"".join(run([(name, 32, 1, 2)]) for name in names),
        ):
            root = directory_inode(2, len(listing))
            with mounted(image([root, file_inode(1, 96, 0, [])], 0, listing, compress=True)) as client:
                assert "is no less" in wrong(client.stat, "/mnt/z")


def test_indexes_in_memory_are_few_in_all() -> None:
    """A small image may have many directories with large indexes."""
    count = 40_000
    index = (fmt.INDEX.pack(0, 0, 0) + b"a") * count
    listing = run([("b", 0, 1, 2)])
    fields = fmt.DIRECTORY_EXTENDED.pack(2, len(listing) + 3, 0, 99, count, 0, fmt.NONE)
    tops = [head(8, number, 0o755) + fields + index for number in (1, 2, 3)]
    disk = RamDisk(len(data := image(tops, 0, listing)))
    disk.write(0, data)
    files = Files(components=COMPONENTS)
    files.entered(files.service("Disks").attach, "disk0", disk)
    device = files.vfs.devices.named("disk0")
    assert device is not None
    volume = files.entered(Volume, device, 1 << 20, 1 << 20)
    listings = []
    for number in (0, 1, 2, 0):
        block, offset = divmod(number * len(tops[0]), fmt.METADATA)
        inode = files.entered(Inode, volume, block * (fmt.METADATA + 2) << 16 | offset)
        listings.append(files.entered(volume.listing_of, inode))
        assert files.entered(listings[-1].find, b"b") == (0, 1)
    assert [each.indexes() for each in listings] == [count, 0, count, count]
    assert listings[3] is listings[0]


def test_an_image_is_recognised() -> None:
    files = Files(components=(*COMPONENTS, "squashfs"))
    attach(files, one_file())
    device = files.vfs.devices.named("disk0")
    assert device is not None
    found = files.entered(files.vfs.types.recognise, device)[1]
    assert (found.kind, found.block_size, found.features[0], found.state) == ("squashfs", 4096, "gzip", "read-only")
    files.mount("auto", "/mnt", "disk0")
    with pytest.raises(OSError) as caught:
        files.root.put("/mnt/file", b"new")
    assert caught.value.errno == abi.EROFS
