"""Archives that GNU tar made of a tree, in its formats, mounted: every file, name and attribute is equal."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rumpkit.dev.ramdisk import RamDisk
from tests.compose.oci.ocimake import Layout
from tests.fs.tar.tarmake import archive
from tests.system.fs_tools import complaint, rump
from tests.system.helpers.treecompare import compare, make_tree
from tests.vfs.helpers import COMPONENTS, Files

pytestmark = [pytest.mark.needs("tar"), pytest.mark.once]

CASES = {
    "pax": "--format=pax --xattrs --sparse",
    "pax-sparse-0.0": "--format=pax --xattrs --sparse --sparse-version=0.0",
    "pax-sparse-0.1": "--format=pax --xattrs --sparse --sparse-version=0.1",
    "plain-pax": "--format=pax --xattrs",
    "gnu": "--format=gnu --sparse",
    "oldgnu": "--format=oldgnu --sparse",
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_tree(tmp_path_factory.mktemp("tar") / "tree")
    with open(root / "holes", "wb") as file:
        for at in range(0, 4_000_000, 40_000):
            file.seek(at)
            file.write(b"piece" * 900)
    return root


@pytest.mark.parametrize("case", CASES)
def test_what_gnu_tar_made_is_read(case: str, tree: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    subprocess.run(["tar", "-C", tree, "-cf", path, *CASES[case].split(), "."], check=True)
    disk = RamDisk(path.stat().st_size)
    disk.write(0, path.read_bytes())
    files = Files(components=(*COMPONENTS, "tar"))
    files.entered(files.service("Disks").attach, "disk0", disk)
    files.mount("auto", "/mnt", "disk0")
    without = {
        str(tree / "numbers"),
        str(tree / "large"),
        str(tree / "/".join(f"level-{level}" for level in range(8)) / "hard"),
    }
    skipped = without if "gnu" in case else set()  # which has no extended attributes
    assert compare(files.root, "/mnt", tree, lambda path: path in skipped) > 1200
    if case != "plain-pax":
        assert files.root.stat("/mnt/holes").st_blocks < 3000
    files.entered(files.vfs.unmount, "/mnt")


def test_the_tools_read_archives(tree: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    subprocess.run(["tar", "-C", tree, "-cf", path, "level-0", "sparse"], check=True)
    assert b" tar " in rump("info", path)
    assert rump("cat", f"{path}:/level-0/level-1/file") == b"1"
    assert rump("ls", f"{path}:/") == b"level-0\nsparse\n"
    assert "can only be read" in complaint("rm", f"{path}:/sparse", check=125)


@pytest.mark.parametrize("option", ["-z", "-j", "-J"])
def test_the_tools_read_compressed_archives(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "a.tar.packed"
    subprocess.run(["tar", "-C", tree, option, "-cf", path, "level-0"], check=True)
    assert b" tar " in rump("info", path)
    assert rump("cat", f"{path}:/level-0/level-1/file") == b"1"
    rump("cp", f"{path}:/level-0/level-1/file", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"1"
    rump("tar", "-cf", tmp_path / "b.tar", f"{path}:/")
    assert b"level-0/level-1/file" in subprocess.run(["tar", "tf", tmp_path / "b.tar"], capture_output=True).stdout
    assert "unpack it first" in complaint("rm", f"{path}:/level-0")
    path.write_bytes(path.read_bytes()[:-30])
    assert str(path) in complaint("ls", f"{path}:/")


def test_the_tools_read_container_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    layout = Layout(tmp_path / "image")
    layout.image(
        archive(("etc/old", b"1"), ("etc/both", b"1")), archive(("etc/.wh.old", b""), ("etc/both", b"2")), name="web"
    )
    made = layout.image(archive(("other", b"")), name="other")
    packed = layout.packed(tmp_path / "image.tar")
    for source in (f"{layout.path}:web", f"{packed}:web"):
        assert rump("ls", f"{source}:/etc") == b"both\n"
        assert rump("cat", f"{source}:/etc/both") == b"2"
    assert rump("ls", f"{layout.path}@{made}:/") == b"other\n"
    assert "other, web" in complaint("ls", f"{layout.path}:/")
    assert "other, web" in complaint("ls", f"{layout.path}:none:/")
    assert "can only be read" in complaint("rm", f"{layout.path}:web:/etc/both", check=125)
    assert rump("diff", f"{layout.path}:web:/etc", f"{packed}:web:/etc") == b""
