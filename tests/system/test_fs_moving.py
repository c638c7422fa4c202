"""`rump fs mv` between images and the host: whatever goes wrong, a file is in one place or the other."""

import os
import resource

import pytest

from rumpkit.compose.image.session import Session
from tests.system.fs_tools import complaint, rump, run


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "disk.img"
    rump("mkfs", "-t", "vfat", "--size", "1M", path)
    return path


def test_what_was_not_committed_stays_on_the_host(image, tmp_path):
    (tmp_path / "one").write_bytes(b"first")
    (tmp_path / "two").write_bytes(bytes(2 << 20))
    complaint("mv", tmp_path / "one", tmp_path / "two", f"{image}:/", check=125)
    assert rump("ls", f"{image}:/") == b""
    assert (tmp_path / "one").read_bytes() == b"first" and (tmp_path / "two").exists()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "three").write_bytes(b"third")
    rump("mv", tmp_path / "one", tmp_path / "tree", f"{image}:/")
    assert rump("cat", f"{image}:/one", f"{image}:/tree/three") == b"firstthird"
    assert sorted(os.listdir(tmp_path)) == ["disk.img", "two"]


def test_what_comes_out_is_durable_before_it_is_removed(image, tmp_path, monkeypatch):
    rump("mkdir", f"{image}:/tree")
    rump("cp", "-", f"{image}:/tree/file", stdin=b"data")
    synced = []
    real = os.fsync

    def note(fd):
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(os, "fsync", note)
    rump("mv", f"{image}:/tree", tmp_path)
    at = [synced.index(str(tmp_path / name)) for name in ("tree/file", "tree")]
    assert at == sorted(at) and synced.index(str(tmp_path)) > at[1]
    assert (tmp_path / "tree" / "file").read_bytes() == b"data" and rump("ls", f"{image}:/") == b""


@pytest.mark.needs("root")
def test_what_is_lost_is_said(image, tmp_path):
    (tmp_path / "one").write_bytes(b"first")
    os.chown(tmp_path / "one", 1234, 5678)
    code, _, err = run("mv", tmp_path / "one", f"{image}:/")
    assert code == 0 and b"can't keep mode and owner of a file" in err


def test_more_sources_than_descriptors(image, tmp_path):
    names = [tmp_path / f"file{number}" for number in range(30)]
    for name in names:
        name.write_bytes(b"data")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, limits[1]))
    try:
        rump("mv", *names, f"{image}:/")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert os.listdir(tmp_path) == ["disk.img"] and len(rump("ls", f"{image}:/").split()) == 30


def test_what_has_taken_the_name_meanwhile_stays(image, tmp_path, monkeypatch):
    (tmp_path / "one").write_bytes(b"first")
    (tmp_path / "other").write_bytes(b"another")
    commit = Session.commit

    def late(session):
        commit(session)
        os.replace(tmp_path / "other", tmp_path / "one")

    monkeypatch.setattr(Session, "commit", late)
    assert "another file by now" in complaint("mv", tmp_path / "one", f"{image}:/")
    assert (tmp_path / "one").read_bytes() == b"another" and rump("cat", f"{image}:/one") == b"first"
