"""`rump fs mkfs` and `mkdisk`: what they make is clean, the same each time, and whole or not there."""

import contextlib
import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from rumpkit.cli.main import main
from tests.compose.image.trees_for_tests import make_tree
from tests.system.fs_tools import clean, complaint, rump

EPOCH = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
FILLED = [
    pytest.param("vfat", marks=pytest.mark.needs("fsck.fat")),
    pytest.param("ext4", marks=pytest.mark.needs("e2fsck")),
]


@pytest.fixture
def tree(tmp_path):
    tree = make_tree(tmp_path / "tree")
    for path in ("dir/soft", "dangling", "fifo", "dir/naïve \n name", "dir/hard", "dir/below/harder"):
        os.unlink(tree / path)
    return tree


@pytest.mark.parametrize("kind", FILLED)
def test_filled_and_as_large_as_it_has_to_be(tmp_path, tree, kind):
    image = tmp_path / "a.img"
    rump("mkfs", "-t", kind, "-L", "FILLED", "-d", tree, image)
    clean(image, kind=kind)
    if kind == "vfat":
        rump("diff", "--content", image, tree)
    else:
        assert rump("diff", image, tree, check=1) == b"- ./lost+found\n"
    assert image.stat().st_size < 60 << 20
    assert f'"{kind}"' in rump("info", "--json", image).decode()
    assert "FILLED" in rump("info", image).decode()
    rump("tar", "-c", "-f", tmp_path / "t.tar", tree)
    other = tmp_path / "b.img"
    rump("mkfs", "-t", kind, "-d", "-", "--size", "64M", other, stdin=(tmp_path / "t.tar").read_bytes())
    rump("diff", "--content", image, other)
    clean(other, kind=kind)


@pytest.mark.parametrize("kind", FILLED)
def test_the_same_input_makes_the_same_bytes(tmp_path, tree, kind):
    images = [tmp_path / "a.img", tmp_path / "b.img"]
    for image in images:
        rump("mkfs", "-t", kind, "-d", tree, image, env=EPOCH)
        for path in [tree, *tree.rglob("*")]:  # read since, and some made anew: nothing of that shows
            mtime = path.stat().st_mtime_ns
            os.utime(path, ns=(1, mtime + 10**10 if mtime > 1_700_000_000 * 10**9 else mtime))
    assert images[0].read_bytes() == images[1].read_bytes()
    rump("mkfs", "-t", kind, "-d", tree, images[1], "--force")
    assert images[0].read_bytes() != images[1].read_bytes()


@pytest.mark.needs("e2fsck")
@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4"])
def test_empty_ext(tmp_path, kind):
    image = tmp_path / "a.img"
    rump("mkfs", "-t", kind, "--size", "32M", "-L", "LABEL", "-U", "11111111-2222-3333-4444-555555555555", image)
    clean(image, kind=kind)
    said = rump("info", image).decode()
    assert kind in said and "LABEL" in said and "11111111-2222" in said


def test_what_cannot_be_made_is_not_there(tmp_path, tree):
    image = tmp_path / "a.img"
    assert "does not fit" in complaint("mkfs", "-t", "vfat", "-d", tree, "--size", "1M", image, check=125)
    assert "known:" in complaint("mkfs", "-t", "nonsense", "--size", "1M", image, check=125)
    assert "it has" in complaint("mkfs", "-t", "vfat", "--size", "9M", "-o", "nonsense=1", image, check=125)
    assert "how large" in complaint("mkfs", "-t", "vfat", image, check=125)
    assert sorted(os.listdir(tmp_path)) == ["tree"]
    rump("mkfs", "-t", "vfat", "--size", "9M", image)
    before = image.read_bytes()
    assert "--force" in complaint("mkfs", "-t", "vfat", "--size", "9M", image, check=125)
    assert image.read_bytes() == before


@pytest.mark.once
@pytest.mark.needs("e2fsck")
@pytest.mark.parametrize("kind", ["ext2", "ext4", "vfat"])
def test_no_larger_than_it_has_to_be(tmp_path, kind):
    """Of sparse, large, crowded and deep trees; a tenth and a MiB less is too little."""
    for number, shape in enumerate(((3, 900_000), (900, 20), (200, 3000))):
        tree = tmp_path / f"tree{number}"
        place = tree
        for index in range(shape[0]):
            if index % 50 == 0:
                place = (place if number else tree) / f"below {index}"
                place.mkdir(parents=True)
            (place / f"file with a long name {index}").write_bytes(b"x" * shape[1])
        image = tmp_path / "a.img"
        rump("mkfs", "-t", kind, "--force", "-d", tree, image)
        size = image.stat().st_size
        if (less := size * 10 // 11 - (1 << 20)) > 1 << 18:
            complaint("mkfs", "-t", kind, "-s", str(less), "-d", tree, tmp_path / "b.img", check=125)
        clean(image, kind=kind) if kind != "vfat" else rump("fsck", image)


@pytest.mark.once
@pytest.mark.needs("e2fsck")
def test_the_same_bytes_wherever_it_is_made(tmp_path):
    """Neither the order in which a directory is stored, nor masks, zones, and the order of hashes are input."""
    made = []
    for number, (mask, zone) in enumerate(((0o22, "UTC"), (0o77, "Asia/Tokyo"))):
        folder = tmp_path / str(number)
        names = [f"file{index}" for index in range(200)][:: -1 if number else 1]
        (folder / "tree" / "below").mkdir(parents=True)
        for name in names:
            path = folder / "tree" / "below" / name
            path.write_bytes(name.encode())
            path.chmod(0o644)
            os.utime(path, (number, 1_600_000_000))
        for path in (folder / "tree" / "below", folder / "tree"):
            os.utime(path, (number, 1_600_000_000))
            path.chmod(0o755)
        (folder / "disk.toml").write_text(
            "[[partition]]\ntype = 'efi'\nfilesystem = 'vfat'\ncontent = 'tree'\nsize = '9M'\n"
            "[[partition]]\nfilesystem = 'ext4'\ncontent = 'tree'\n"
        )
        before = os.umask(mask)
        try:
            rump("mkdisk", folder / "disk.toml", folder / "disk.img", env={**EPOCH, "TZ": zone})
        finally:
            os.umask(before)
        made.append((folder / "disk.img").read_bytes())
    assert made[0] == made[1]


def test_attributes_that_do_not_fit_are_no_full_disk(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"data")
    try:
        for number in range(3):
            os.setxattr(tmp_path / "tree" / "file", f"user.{number}", b"x" * 900)
    except OSError:
        pytest.skip("the host's files have no such attributes")
    said = complaint("mkfs", "-t", "ext4", "-d", tmp_path / "tree", tmp_path / "a.img")
    assert "./file" in said and "attributes" in said
    assert rump("cat", f"{tmp_path}/a.img:/file") == b"data"


DISK = """
table = "{table}"
[[partition]]
size = "34M"
filesystem = "vfat"
label = "FIRST"
content = "tree"
[[partition]]
size = "auto"
filesystem = "vfat"
content = "tree"
[[partition]]
size = "auto"
raw = "boot.bin"
[[partition]]
size = "20M"
filesystem = "ext4"
label = "LAST"
{more}
"""
MORE = "[[partition]]\nsize = '2M'\n[[partition]]\nsize = '2M'"


@pytest.mark.needs("sfdisk", "fsck.fat", "e2fsck")
@pytest.mark.parametrize(
    ("table", "more", "numbers"), [("gpt", "", "1234"), ("dos", "", "1234"), ("dos", MORE, "12356")]
)
def test_disks(tmp_path, tree, table, more, numbers):
    (tmp_path / "boot.bin").write_bytes(b"boot" * 1000)
    (tmp_path / "disk.toml").write_text(DISK.format(table=table, more=more))
    for image in ("a.img", "b.img"):
        rump("mkdisk", tmp_path / "disk.toml", tmp_path / image, env=EPOCH)
    image = tmp_path / "a.img"
    assert image.read_bytes() == (tmp_path / "b.img").read_bytes()
    checked = subprocess.run(["sfdisk", "-V", image], capture_output=True, text=True)
    assert "No errors detected" in checked.stdout, checked.stdout + checked.stderr
    dump = subprocess.run(["sfdisk", "-d", image], capture_output=True, text=True, check=True).stdout
    places = {}
    for line in dump.splitlines():
        if line.startswith(str(image)):
            fields = dict(
                part.split("=", 1) for part in line.split(":", 1)[1].replace(" ", "").split(",") if "=" in part
            )
            places[line.split(":")[0].removeprefix(str(image)).strip()] = (int(fields["start"]), int(fields["size"]))
    assert set(numbers) <= set(places)
    for number, kind in zip(numbers, ("vfat", "vfat", "", "ext4"), strict=False):
        start, size = places[number]
        part = tmp_path / f"part{number}"
        with open(image, "rb") as stream:
            stream.seek(start * 512)
            part.write_bytes(stream.read(size * 512))
        if kind:
            clean(part, kind=kind)
        else:
            assert part.read_bytes().startswith(b"boot" * 1000)
    rump("diff", "--content", f"{image}@FIRST", tree)
    rump("diff", "--content", f"{image}@2", tree)
    assert rump("ls", f"{image}@LAST") == b"lost+found\n"
    assert "say which partition" in complaint("ls", image)
    assert "it has no such partition" in complaint("ls", f"{image}@NONE")
    rump("cp", "-", f"{image}@FIRST:/new", stdin=b"new")
    assert rump("cat", f"{image}@1:/new") == b"new"


def as_nobody(folder, *words, check=0):
    """Run it there without privileges, in a child: whoever we are, Python itself may be out of nobody's reach."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            os.chdir(folder)
            code = main(["fs", *words])
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == check, words


@pytest.mark.needs("nobody", "e2fsck")
def test_nobody_makes_images_with_everybodys_files():
    """Owners come from the tree as they are; copied out by nobody the files are nobody's own."""
    words = (
        ["mkfs", "-t", "ext4", "-d", "tree", "a.img"],
        ["chown", "77:88", "a.img:/empty"],
        ["cp", "-a", "a.img:/large", "a.img:/empty", "."],
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tree = make_tree(folder / "tree")
        os.chown(tree / "large", 1234, 5678)
        os.chmod(tree / "dir" / "below", 0o755)
        os.chmod(tree, 0o755)
        with contextlib.chdir(name):  # also loads all that it takes
            for one in words:
                rump(*one)
        for path in ("a.img", "large", "empty"):
            (folder / path).unlink()
        folder.chmod(0o777)
        as_nobody(name, *words[0], check=1)  # as nobody may not read `small`, which is said
        for one in words[1:]:
            as_nobody(name, *one)
        rows = {row["path"]: row for row in json.loads(rump("ls", "--json", folder / "a.img"))}
        assert (rows["/large"]["uid"], rows["/large"]["gid"]) == (1234, 5678)
        assert (rows["/empty"]["uid"], rows["/empty"]["gid"]) == (77, 88)
        assert os.stat(folder / "large").st_uid == os.stat(folder / "a.img").st_uid == 65534
        clean(folder / "a.img", kind="ext4")
