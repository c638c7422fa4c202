"""Values of extended attributes that are files of their own (ea_inode): after each step e2fsck finds nothing, and debugfs reads them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from rumpkit.kern.abi.errno import ENODATA, ENOSPC, EUCLEAN
from rumpkit.kern.abi.fcntl import O_RDWR
from tests.fs.ext.fsck.ckhelp import check_bytes
from tests.system.helpers import extimages
from tests.system.helpers.extimages import MEBIBYTE, debugfs, make, mounted
from tests.vfs.helpers import Files, fails

pytestmark = [pytest.mark.needs("mke2fs", "e2fsck", "debugfs"), pytest.mark.once]

FORMS = {
    "1k": "-t ext4 -b 1024 -O ea_inode",
    "small-inodes": "-t ext4 -I 128 -b 1024 -O ea_inode,^metadata_csum,^extra_isize",
    "4k-inline": "-t ext4 -b 4096 -O ea_inode,inline_data",
    "no-journal": "-t ext2 -b 2048 -O ea_inode",
}


def check(image: Path) -> None:
    """Neither e2fsck nor rumpkit's own check finds anything."""
    extimages.check(image)
    sound, found, _ = check_bytes(image.read_bytes())
    assert sound and not found, found


def node(files: Files, name: str):
    return files.entered(files.vfs.mounts()[-1].root.lookup, name.encode())


def set_value(files: Files, name: str, attribute: str, value: bytes) -> None:
    files.entered(node(files, name).setxattr, b"user." + attribute.encode(), value, 0)


def value(files: Files, name: str, attribute: str) -> bytes:
    return files.entered(node(files, name).getxattr, b"user." + attribute.encode())


@pytest.mark.parametrize("form", FORMS)
def test_values_are_set_changed_and_removed(form, tmp_path: Path):
    image = make(tmp_path / "image", 16 * MEBIBYTE, FORMS[form])
    noise = random.Random(form)
    with mounted(image) as files:
        files.root.put("/mnt/f", b"file")
        files.root.sync()
        free = files.root.statvfs("/mnt")
        large = noise.randbytes(60_000)
        set_value(files, "f", "large", large)
        set_value(files, "f", "small", b"s")
        assert value(files, "f", "large") == large  # of the running transaction
        files.root.sync()
        blocks = files.root.stat("/mnt/f").st_blocks
    check(image)
    assert blocks >= 60_000 // 512
    out = tmp_path / "out"
    debugfs(image, f"ea_get -f {out} f user.large")
    assert out.read_bytes() == large
    with mounted(image) as files:
        large = noise.randbytes(33_333)
        set_value(files, "f", "large", large)
        set_value(files, "f", "other", large)  # shared with itself
        assert value(files, "f", "large") == value(files, "f", "other") == large
    check(image)
    with mounted(image) as files:
        files.entered(node(files, "f").removexattr, b"user.large")
        assert value(files, "f", "other") == large and value(files, "f", "small") == b"s"
        fails(ENODATA, lambda: value(files, "f", "large"))
    check(image)
    with mounted(image) as files:
        set_value(files, "f", "other", b"short again")
        files.entered(node(files, "f").removexattr, b"user.other")
        files.entered(node(files, "f").removexattr, b"user.small")
        files.root.sync()
        after = files.root.statvfs("/mnt")
        assert (after.f_bfree, after.f_ffree) == (free.f_bfree, free.f_ffree)
    check(image)


@pytest.mark.parametrize("form", FORMS)
def test_files_share_a_value(form, tmp_path: Path):
    image = make(tmp_path / "image", 16 * MEBIBYTE, FORMS[form])
    with mounted(image) as files:
        files.root.put("/mnt/first", b"")
        before = files.root.statvfs("/mnt").f_ffree
        for number in range(20):
            files.root.put(f"/mnt/{number}", b"x")
            set_value(files, str(number), "shared", b"v" * 20_000)
            set_value(files, str(number), "own", b"o" * (300 + number % 2))
        files.root.sync()
        assert before - files.root.statvfs("/mnt").f_ffree == 21
    check(image)
    with mounted(image) as files:
        for number in range(0, 20, 3):
            files.root.unlink(f"/mnt/{number}")
        for number in range(1, 20, 3):
            files.entered(node(files, str(number)).removexattr, b"user.shared")
        files.root.truncate("/mnt/2", 100_000)
    check(image)
    with mounted(image) as files:
        assert value(files, "2", "shared") == b"v" * 20_000
        for number in range(20):
            if number % 3:
                files.root.unlink(f"/mnt/{number}")
        files.root.sync()
        assert files.root.statvfs("/mnt").f_ffree == before
    check(image)


@pytest.mark.parametrize("form", ["1k", "no-journal"])
def test_a_random_walk(form, tmp_path: Path):
    """Attributes set and removed by chance: what is there is always what was set."""
    image = make(tmp_path / "image", 16 * MEBIBYTE, FORMS[form])
    noise = random.Random(7)
    values = [noise.randbytes(size) for size in (1, 40, 200, 900, 3000, 5000, 65_536)]
    model: dict[str, dict[str, bytes]] = {}
    for _ in range(3):
        with mounted(image) as files:
            for _ in range(120):
                name = str(noise.randrange(6))
                if name not in model:
                    files.root.put(f"/mnt/{name}", b"")
                    model[name] = {}
                attribute = noise.choice("abcdef")
                what = noise.random()
                if what < 0.03:
                    files.root.unlink(f"/mnt/{name}")
                    del model[name]
                elif what < 0.3 and attribute in model[name]:
                    files.entered(node(files, name).removexattr, b"user." + attribute.encode())
                    del model[name][attribute]
                else:
                    chosen = noise.choice(values)
                    set_value(files, name, attribute, chosen)
                    model[name][attribute] = chosen
            for name, attributes in model.items():
                assert sorted(files.entered(node(files, name).listxattr)) == sorted(
                    b"user." + attribute.encode() for attribute in attributes
                )
                for attribute, expected in attributes.items():
                    assert value(files, name, attribute) == expected
        check(image)


def test_a_wrong_count_is_found(tmp_path: Path):
    image = make(tmp_path / "image", 16 * MEBIBYTE, FORMS["1k"])
    with mounted(image) as files:
        files.root.put("/mnt/f", b"")
        set_value(files, "f", "large", b"v" * 20_000)
    debugfs(image, "sif <13> version 3", write=True)
    _, found, _ = check_bytes(image.read_bytes())
    assert any("1 extended attributes have it as their value, and it says 3" in each.text for each in found)


def test_a_value_is_no_file(tmp_path: Path):
    """Or what an evil disk has as both would be in memory twice."""
    image = make(tmp_path / "image", 16 * MEBIBYTE, FORMS["1k"])
    with mounted(image) as files:
        files.root.put("/mnt/f", b"")
        set_value(files, "f", "large", b"v" * 20_000)
    debugfs(image, "link <13> named", write=True)
    with mounted(image) as files:
        with pytest.raises(OSError, match="is the value of an extended attribute") as caught:
            files.root.stat("/mnt/named")
        assert caught.value.errno == EUCLEAN
        assert value(files, "f", "large") == b"v" * 20_000


def test_links_keep_what_they_point_to_beside_a_large_value(tmp_path: Path):
    image = make(tmp_path / "image", 16 * MEBIBYTE, FORMS["1k"])
    with mounted(image) as files:
        files.root.symlink("target", "/mnt/link")
        files.entered(node(files, "link").setxattr, b"trusted.large", b"v" * 5000, 0)
        assert files.root.readlink("/mnt/link") == "target"
    check(image)
    with mounted(image) as files:
        assert files.root.readlink("/mnt/link") == "target"
        files.root.unlink("/mnt/link")
    check(image)


def test_a_full_disk_leaves_the_old_value(tmp_path: Path):
    image = make(tmp_path / "image", 4 * MEBIBYTE, "-t ext4 -b 1024 -O ea_inode,^has_journal")
    with mounted(image) as files:
        files.root.put("/mnt/f", b"")
        set_value(files, "f", "large", b"1" * 30_000)
        fd = files.root.open("/mnt/fill", O_RDWR | 0o100)
        try:
            while True:
                files.root.write(fd, b"z" * 65536)
                files.root.fsync(fd)
        except OSError as problem:
            assert problem.errno == ENOSPC
        files.root.close(fd)
        fails(ENOSPC, lambda: set_value(files, "f", "large", b"2" * 60_000))
        assert value(files, "f", "large") == b"1" * 30_000
    check(image)
