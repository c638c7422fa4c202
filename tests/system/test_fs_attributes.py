"""`rump fs chmod`, `chown`, `ln`, `stat` and `ls -l` on ext4, as debugfs sees it; and salvage from a broken image."""

import json
import re
import subprocess

import pytest

from tests.compose.image.trees_for_tests import make_tree
from tests.system.fs_tools import clean, complaint, rump, run

pytestmark = pytest.mark.needs("debugfs", "e2fsck")


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "disk.img"
    rump("mkfs", "-t", "ext4", "--size", "32M", "-d", make_tree(tmp_path / "tree"), path)
    return path


def debugfs(image, request):
    done = subprocess.run(["debugfs", "-R", request, image], capture_output=True, text=True, check=True)
    return done.stdout


def test_attributes(image):
    rump("chmod", "-R", "u=rwX,go=", f"{image}:/dir")
    rump("chmod", "6711", f"{image}:/empty")
    rump("chmod", "-x", f"{image}:/large")
    rump("chown", "-R", "1000:100", f"{image}:/dir")
    rump("chown", ":7", f"{image}:/empty")
    rump("ln", f"{image}:/empty", f"{image}:/dir/further")
    rump("ln", "-s", "any thing", f"{image}:/link")
    rump("ln", "-sf", "/large", f"{image}:/dangling")
    clean(image, kind="ext4")
    assert re.search(r"Mode:\s+0700.*User:\s+1000\s+Group:\s+100\b", debugfs(image, "stat /dir/below"), re.S)
    said = debugfs(image, "stat /empty")
    assert re.search(r"Mode:\s+06711.*Group:\s+7\b.*Links: 2", said, re.S)
    assert 'Fast link dest: "any thing"' in debugfs(image, "stat /link")
    assert 'Fast link dest: "/large"' in debugfs(image, "stat /dangling")
    [row] = json.loads(rump("stat", "--json", f"{image}:/large"))
    assert row["xattrs"] in ({"user.comment": "a value"}, {}) and row["mtime"] == "2017-07-14T02:40:00.987654321Z"
    assert rump("stat", "-L", f"{image}:/dangling").decode().count(str(12345 * 256)) == 1
    assert "File exists" in complaint("ln", f"{image}:/empty", f"{image}:/dir/further", check=125)


def test_a_long_listing_is_what_debugfs_lists(image):
    ours = {}
    for line in rump("ls", "-liA", f"{image}:/").decode().splitlines():
        inode, mode, _, uid, gid, size, _, _, name = line.split(maxsplit=8)
        ours[name.partition(" -> ")[0]] = (int(inode), mode[0], int(uid), int(gid), int(size))
    theirs = {}
    kinds = {"04": "d", "10": "-", "12": "l", "01": "p"}
    for line in debugfs(image, "ls -l /").splitlines():
        found = re.match(r"\s*(\d+)\s+(\d+)\s+\(\d+\)\s+(\d+)\s+(\d+)\s+(\d+)\s+\S+ \S+ (.*?)\s*$", line)
        if found and found[6] not in (".", ".."):
            kind = kinds[found[2].rjust(6, "0")[:2]]
            theirs[found[6]] = (int(found[1]), kind, int(found[3]), int(found[4]), int(found[5]))
    assert ours == theirs and len(ours) > 7


def test_out_of_a_broken_image_comes_what_can(image, tmp_path):
    inode = int(re.search(r"Inode: (\d+)", debugfs(image, "stat /large"))[1])  # type: ignore[index]
    subprocess.run(["debugfs", "-w", "-R", f"set_inode_field <{inode}> block[0] 7", image], check=True)
    (tmp_path / "out").mkdir()
    code, _, said = run("cp", "-a", f"{image}:/.", tmp_path / "out")
    assert code == 1 and b"large" in said
    assert (tmp_path / "out" / "small").read_bytes() == b"small\n"
    assert (tmp_path / "out" / "sparse").stat().st_size == 9 << 20
