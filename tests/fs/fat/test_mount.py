"""A FAT volume as a mount: its marks on the disk, its limits, remounts, and how few writes it makes."""

from __future__ import annotations

from typing import Any

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.kern.abi import errno as abi
from rumpkit.kern.abi.fcntl import O_CREAT, O_RDWR, O_WRONLY
from tests.fs.fat.fatlab import Lab, tree
from tests.vfs.helpers import fails


def make(kib: int = 4096, **options: Any) -> Lab:
    lab = Lab(RamDisk(kib * 1024))
    lab.format(volume_id=1, **options)
    return lab


def test_the_dirty_bit_is_set_by_the_first_change_and_cleared_by_sync():
    for bits, state in ((12, 37), (16, 37), (32, 65)):
        lab = make(kib=12000, bits=bits)
        clean = lab.image()
        client = lab.up()
        client.names(".")
        assert lab.image() == clean
        client.put("file", b"x")
        assert lab.image()[state] & 1
        lab.entered(lab.vfs.sync)
        assert not lab.image()[state] & 1
        client.unlink("file")
        assert lab.image()[state] & 1
        lab.down(client)
        assert not lab.image()[state] & 1
        fat = lab.entered(lab.vfs.types.find("vfat").recognise, lab.disk)
        assert fat.state == "clean"


def test_a_volume_that_was_dirty_stays_so():
    lab = make(bits=12)
    lab.backend.write(37, b"\1")
    client = lab.up()
    client.put("file", b"x")
    lab.down(client)
    assert lab.image()[37] == 1
    assert lab.check(repair=True)[0] and lab.image()[37] == 0


def test_a_large_write_is_one_write_of_the_disk():
    lab = make(kib=16384, bits=32, cluster_size=512)
    client = lab.up()
    fd = client.open("file", O_WRONLY | O_CREAT)
    client.write(fd, b"first")
    writes = lab.disk.counters.writes
    client.write(fd, bytes(1 << 20))
    assert lab.disk.counters.writes - writes <= 2
    client.close(fd)
    lab.entered(lab.vfs.sync)
    reads = lab.disk.counters.reads
    assert client.get("file")[:5] == b"first"
    assert lab.disk.counters.reads - reads <= 2


def test_many_small_files_are_few_writes():
    lab = make(kib=16384)
    client = lab.up()
    client.mkdir("d")
    lab.entered(lab.vfs.sync)
    writes = lab.disk.counters.writes
    for number in range(200):
        client.put(f"d/{number}", b"x" * 3000)
    lab.entered(lab.vfs.sync)
    assert lab.disk.counters.writes - writes < 40


def test_what_is_synced_is_on_the_disk():
    lab = make()
    client = lab.up()
    fd = client.open("a new file", O_RDWR | O_CREAT)
    client.write(fd, b"durable")
    client.fsync(fd)
    assert tree(Lab.of(lab.image()).up(read_only=True)) == {"a new file": b"durable"}


def test_a_read_only_mount_writes_nothing():
    lab = make()
    client = lab.up()
    client.put("file", b"1")
    lab.down(client)
    lab.backend.read_only = True
    image = lab.image()
    fails(abi.EROFS, lab.up)
    client = lab.up(read_only=True)
    assert client.get("file") == b"1"
    fails(abi.EROFS, client.open, "file", O_WRONLY)
    fails(abi.EROFS, client.unlink, "file")
    lab.down(client)
    assert lab.image() == image


def test_all_sizes_are_said():
    lab = make(kib=4096, bits=16, cluster_size=512, align=False)
    client = lab.up()
    before = client.statvfs(".")
    client.put("file", b"x" * 1000)
    client.mkdir("directory")
    after = client.statvfs(".")
    assert before.f_bsize == 512 and before.f_blocks == before.f_bfree
    assert before.f_bfree - after.f_bfree == 3


def test_with_little_memory_everything_is_still_there():
    lab = make(kib=20000, bits=32, cluster_size=512)
    client = lab.up(cached_files=4096, directory_bytes=65536, table_bytes=65536)
    for directory in range(50):
        client.mkdir(f"directory {directory}")
        for number in range(100):
            client.put(f"directory {directory}/file with a name {number}", b"%d" % number)
    mount: Any = lab.vfs.mounts()[-1]
    assert len(mount.nodes) < 4500
    held = client.open("directory 0/file with a name 0", O_RDWR)
    found = tree(client)
    assert len(found) == 50 * 101
    assert all(data is None or data == name.rpartition(" ")[2].encode() for name, data in found.items())
    client.write(held, b"changed")
    assert len(tree(client)) == 50 * 101
    assert sum(len(directory.slots.data) for directory in mount.loaded) < 65536 + 20 * 10000
    client.close(held)
    assert client.get("directory 0/file with a name 0") == b"changed"
    lab.down(client)
    assert lab.check() == (True, [])


def test_the_label_is_the_root_directorys():
    lab = make(label="my label")
    found = lab.entered(lab.vfs.types.find("vfat").recognise, lab.disk)
    assert (found.kind, found.label, found.uuid, found.features) == ("vfat", "MY LABEL", "0000-0001", ("fat12",))
    client = lab.up()
    assert client.names(".") == []
    mount: Any = lab.vfs.mounts()[-1]
    assert lab.entered(mount.label) == b"MY LABEL"


def test_a_write_that_finds_no_space_leaves_the_file():
    lab = make(kib=512, bits=12)
    client = lab.up()
    client.put("file", b"text")
    free = client.statvfs(".").f_bfree
    cluster = client.statvfs(".").f_bsize
    fd = client.open("file", O_RDWR)
    fails(abi.ENOSPC, client.pwrite, fd, b"x", (free + 1) * cluster)
    assert client.fstat(fd).st_size == 4
    assert client.statvfs(".").f_bfree == free
    client.close(fd)
    lab.down(client)
    assert lab.check() == (True, [])
