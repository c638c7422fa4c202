"""Names and files on FAT through the system calls: what Linux's vfat answers, and what Windows' users expect of names."""

from __future__ import annotations

from typing import Any

import pytest

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.kern.abi import errno as abi
from rumpkit.kern.abi.fcntl import O_CREAT, O_EXCL, O_RDWR, O_WRONLY, S_IFIFO, S_IFSOCK
from tests.fs.fat.fatlab import Lab
from tests.vfs.helpers import Client, fails


def make(kib: int = 2048, mount: dict[str, Any] | None = None, **options: Any) -> tuple[Lab, Client]:
    lab = Lab(RamDisk(kib * 1024))
    lab.format(volume_id=1, **options)
    return lab, lab.up(**(mount or {}))


def test_names_are_found_in_any_case_and_keep_their_own():
    _, client = make()
    client.put("Some File.Text", b"1")
    assert client.get("SOME FILE.TEXT") == b"1"
    assert client.names(".") == ["Some File.Text"]
    fails(abi.EEXIST, client.open, "some file.text", O_CREAT | O_EXCL | O_WRONLY)
    client.put("some FILE.text", b"2")
    assert client.names(".") == ["Some File.Text"] and client.get("Some File.Text") == b"2"


def test_files_are_found_by_their_short_names():
    _, client = make()
    client.put("A long name.text", b"1")
    client.put("A long name.text2", b"2")
    assert client.get("ALONGN~1.TEX") == b"1" and client.get("alongn~2.tex") == b"2"
    fails(abi.EEXIST, client.mkdir, "ALONGN~1.TEX")
    client.unlink("ALONGN~1.TEX")
    assert client.names(".") == ["A long name.text2"]


def test_another_spelling_is_a_rename():
    lab, client = make()
    client.mkdir("directory")
    client.put("directory/name.txt", b"1")
    number = client.stat("directory/name.txt").st_ino
    for spelling in ("Name.txt", "NAME.TXT", "name.TXT"):
        client.rename("directory/NAME.txt", f"directory/{spelling}")
        assert client.names("directory") == [spelling]
    client.rename("DIRECTORY", "Directory")
    assert client.names(".") == ["Directory"]
    assert client.stat("Directory/name.txt").st_ino == number
    lab.down(client)
    assert lab.check() == (True, [])


def test_trailing_dots_do_not_count():
    _, client = make()
    client.put("name...", b"1")
    assert client.names(".") == ["name"] and client.get("name.") == b"1"


@pytest.mark.parametrize(
    "name", ["a:b", "a*b", "a?", 'say "x"', "a<b", "a|b", "back\\slash", "end ", "bell\x07", "...."]
)
def test_names_that_fat_does_not_have(name: str):
    _, client = make()
    fails(abi.EINVAL, client.open, name, O_CREAT | O_WRONLY)
    fails(abi.EINVAL, client.mkdir, name)
    client.put("other")
    fails(abi.EINVAL, client.rename, "other", name)
    fails(abi.ENOENT, client.stat, name)


def test_there_are_no_links_and_no_special_files():
    _, client = make()
    client.put("file")
    fails(abi.EPERM, client.link, "file", "other")
    fails(abi.EPERM, client.symlink, "file", "other")
    fails(abi.EPERM, client.mknod, "pipe", S_IFIFO | 0o600)
    fails(abi.EPERM, client.mknod, "socket", S_IFSOCK | 0o600)
    assert client.names(".") == ["file"]


def test_modes_and_owners_are_the_mounts():
    lab, client = make(mount={"uid": 7, "gid": 8, "fmask": 0o133, "dmask": 0o027})
    client.put("file", b"1", 0o600)
    client.mkdir("directory", 0o700)
    state = client.stat("file")
    assert (state.st_mode & 0o7777, state.st_uid, state.st_gid) == (0o644, 7, 8)
    assert client.stat("directory").st_mode & 0o7777 == 0o750
    fails(abi.EPERM, client.chown, "file", 1, -1)
    client.chown("file", 7, 8)
    fails(abi.EPERM, client.chmod, "file", 0o4644)
    client.chmod("file", 0o600)
    assert client.stat("file").st_mode & 0o7777 == 0o644
    client.chmod("file", 0o444)
    assert client.stat("file").st_mode & 0o7777 == 0o444
    client.chmod("directory", 0o500)
    assert client.stat("directory").st_mode & 0o7777 == 0o750
    lab.down(client)
    client = lab.up(fmask=0, dmask=0, quiet=True)
    assert client.stat("file").st_mode & 0o7777 == 0o555
    client.chown("file", 1, 1)
    client.chmod("file", 0o4777)
    assert client.stat("file").st_uid == 0


def test_times_have_two_seconds_and_a_day():
    lab, client = make()
    client.put("file")
    moment = 1_700_000_001_500_000_000
    client.utimens("file", moment, moment)
    lab.down(client)
    client = lab.up()
    state = client.stat("file")
    assert state.st_mtime_ns == state.st_ctime_ns == 1_700_000_000_000_000_000
    assert state.st_atime_ns == moment // (86400 * 10**9) * 86400 * 10**9
    lab.down(client)
    client = lab.up(time_offset=60)
    assert client.stat("file").st_mtime_ns == 1_700_000_000_000_000_000 - 3600 * 10**9


def test_files_end_at_4_gib():
    _, client = make(kib=4096)
    fd = client.open("file", O_RDWR | O_CREAT)
    fails(abi.EFBIG, client.pwrite, fd, b"x", 0xFFFFFFFF)
    fails(abi.EFBIG, client.ftruncate, fd, 1 << 32)
    fails(abi.ENOSPC, client.ftruncate, fd, 0xFFFFFFFF)
    assert client.fstat(fd).st_size == 0 and client.fstat(fd).st_blocks == 0


def test_a_full_volume_takes_what_fits_and_gives_it_back():
    lab, client = make(kib=300, bits=12, cluster_size=512)
    free = client.statvfs(".").f_bfree
    fd = client.open("file", O_RDWR | O_CREAT)
    assert client.write(fd, b"x" * (1 << 20)) == free * 512
    assert client.statvfs(".").f_bfree == 0
    fails(abi.ENOSPC, client.write, fd, b"x")
    fails(abi.ENOSPC, client.mkdir, "directory")
    client.put("empty")
    client.unlink("file")
    assert client.statvfs(".").f_bfree == 0
    client.close(fd)
    assert client.statvfs(".").f_bfree == free
    client.put("again", b"y" * free * 512)
    lab.down(client)
    assert lab.check() == (True, [])


def test_a_root_directory_of_fat12_fills_up():
    lab, client = make(kib=300, bits=12, root_entries=16)
    for number in range(16):
        client.put(str(number))
    fails(abi.ENOSPC, client.put, "one more")
    client.unlink("3")
    client.put("X")
    fails(abi.ENOSPC, client.rename, "X", "a long name that takes more")
    assert "X" in client.names(".")
    lab.down(client)
    assert lab.check() == (True, [])


@pytest.mark.parametrize("options", [{"bits": 12, "root_entries": 64}, {"bits": 32, "cluster_size": 512}])
def test_a_full_directory_has_room_for_what_takes_no_more(options: dict[str, Any]):
    lab, client = make(kib=4096, **options)
    for number in range(20):
        client.put(f"a name in three {number}, 0")
    for step in range(5):
        for number in range(20):
            client.rename(f"a name in three {number}, {step}", f"a name in three {number}, {step + 1}")
    assert sorted(client.names(".")) == sorted(f"a name in three {number}, 5" for number in range(20))
    assert client.stat(".").st_size <= 8192
    lab.down(client)
    assert lab.check() == (True, [])


def test_a_removed_file_lives_on_while_it_is_open():
    lab, client = make()
    client.put("file", b"data")
    fd = client.open("file", O_RDWR)
    number = client.fstat(fd).st_ino
    client.unlink("file")
    client.put("file", b"another")
    assert client.stat("file").st_ino != number
    client.pwrite(fd, b"more", 4)
    assert client.pread(fd, 100, 0) == b"datamore" and client.fstat(fd).st_nlink == 0
    client.close(fd)
    lab.down(client)
    assert lab.check() == (True, [])


def test_inode_numbers_stay_through_renames_and_are_nobody_elses():
    _, client = make()
    client.mkdir("a")
    client.mkdir("b")
    for number in range(20):
        client.put(f"a/{number}")
    numbers = {str(number): client.stat(f"a/{number}").st_ino for number in range(20)}
    for number in range(0, 20, 2):
        client.rename(f"a/{number}", f"b/{number}")
    for number in range(20, 40):
        client.put(f"a/{number}")
        numbers[str(number)] = client.stat(f"a/{number}").st_ino
    found = {
        name: client.stat(f"{directory}/{name}").st_ino for directory in ("a", "b") for name in client.names(directory)
    }
    assert found == numbers and len(set(numbers.values())) == 40
    fd = client.open("b", 0)
    listed = {entry.d_name: entry.d_ino for entry in client.readdir(fd) if entry.d_name not in (".", "..")}
    assert listed == {name: numbers[name] for name in client.names("b")}


def test_links_of_a_directory_are_counted():
    lab, client = make()
    client.mkdir("a")
    for number in range(3):
        client.mkdir(f"a/{number}")
    client.rename("a/0", "moved")
    client.rmdir("a/1")
    assert client.stat("a").st_nlink == 3 and client.stat(".").st_nlink == 4
    lab.down(client)
    client = lab.up()
    assert client.stat("a").st_nlink == 3 and client.stat(".").st_nlink == 4
    assert client.stat("moved/..").st_ino == client.stat(".").st_ino


def test_a_directory_is_read_on_where_it_was_while_names_come_and_go():
    _, client = make()
    client.mkdir("d")
    for number in range(50):
        client.put(f"d/a name of some length {number}")
    fd = client.open("d", 0)
    seen = [entry.d_name for entry in client.readdir(fd, 20)]
    for number in range(0, 50, 2):
        client.unlink(f"d/a name of some length {number}")
    for number in range(50, 60):
        client.put(f"d/a name of some length {number}")
    while entries := client.readdir(fd, 7):
        seen += [entry.d_name for entry in entries]
    assert len(seen) == len(set(seen))
    assert {f"a name of some length {number}" for number in range(1, 50, 2)} <= set(seen)


def test_thousands_of_names_need_no_reading_and_room_is_used_again():
    lab, client = make(kib=20000, bits=32, cluster_size=512)
    client.mkdir("d")
    client.names("d")
    reads = lab.disk.counters.reads
    for number in range(3000):
        client.put(f"d/one of very many files {number}")
    assert lab.disk.counters.reads - reads < 10
    size = client.stat("d").st_size
    for number in range(3000):
        client.unlink(f"d/one of very many files {number}")
    for number in range(3000):
        client.put(f"d/the second of many files {number}")
    assert client.stat("d").st_size <= size + 65536
    assert len(client.names("d")) == 3000
    lab.down(client)
    assert lab.check() == (True, [])
