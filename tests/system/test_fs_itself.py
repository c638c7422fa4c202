"""Where what `rump fs` writes lies in what it reads, or is something else than a file."""

import os
import threading

from tests.system.fs_tools import rump, run


def test_an_image_does_not_go_into_itself(tmp_path):
    (tmp_path / "file").write_bytes(b"data")
    image = tmp_path / "disk.img"
    for said in (False, True):  # it has no name before it is whole
        code, _, err = run("mkfs", "-t", "vfat", "--size", "4M", "--force", "-d", tmp_path, image)
        assert code == 0 and (b"the image itself, and left out" in err) is said
        assert rump("ls", f"{image}:/") == b"file\n"
    code, _, err = run("cp", "-r", tmp_path, f"{image}:/tree")
    assert code == 0 and b"the image itself, and left out" in err
    assert rump("ls", f"{image}:/tree") == b"file\n"


def test_an_archive_replaces_no_fifo_and_no_neighbour(tmp_path):
    image = tmp_path / "disk.img"
    rump("mkfs", "-t", "vfat", "--size", "1M", image)
    rump("cp", "-", f"{image}:/file", stdin=b"data")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "a.tar.part").write_bytes(b"mine")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "fifo").read_bytes()), daemon=True)
    reader.start()
    rump("tar", "-c", "-f", tmp_path / "fifo", image)
    rump("tar", "-c", "-f", tmp_path / "a.tar", image)
    assert (tmp_path / "fifo").is_fifo()
    reader.join(60)
    assert got == [(tmp_path / "a.tar").read_bytes()]
    assert (tmp_path / "a.tar.part").read_bytes() == b"mine"
