"""Files that are made on the host: what they may become when their owner can't be set."""

import io
import os
import stat
import tarfile

import pytest

from rumpkit.compose.image.copying import Copier, CopyOptions
from rumpkit.compose.image.outside import outside
from rumpkit.compose.image.unpacking import Reader
from tests.compose.image.trees_for_tests import memory


def refuse(*arguments, **more):
    raise PermissionError(1, "not permitted")


def test_no_set_user_id_files_of_ours_come_out(tmp_path, monkeypatch):
    with memory() as (root, _):
        made = {b"tool": 0o106755, b"fifo": 0o014711, b"plain": 0o100640, b"dir": 0o042775}
        for name, mode in made.items():
            root.make(name, mode, 1234, 5678).close()
        monkeypatch.setattr(os, "chown", refuse)
        options = CopyOptions()
        options.recursive = options.keep = True
        copier = Copier(options)
        for name in made:
            copier.copy(root.get(name), outside(os.fsencode(tmp_path)), name, name)
        copier.close()
    found = {name: stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in os.listdir(tmp_path)}
    assert found == {"tool": 0o755, "fifo": 0o711, "plain": 0o640, "dir": 0o2775}
    assert copier.lost_owners == 3  # the directory's owner, and what the tool and the FIFO were


def test_a_mode_is_not_set_through_a_link(tmp_path):
    place = outside(os.fsencode(tmp_path))
    made = place.make(b"fifo", stat.S_IFIFO | 0o644, os.geteuid(), os.getegid())
    (tmp_path / "victim").write_bytes(b"")
    os.chmod(tmp_path / "victim", 0o600)
    os.unlink(tmp_path / "fifo")
    os.symlink("victim", tmp_path / "fifo")
    with pytest.raises(OSError, match="symbolic links"):
        made.set_mode(0o666)
    assert stat.S_IMODE(os.stat(tmp_path / "victim").st_mode) == 0o600


@pytest.mark.parametrize(("owners", "mode"), [(True, 0o4755), (False, 0o755)])
def test_an_archive_makes_no_set_user_id_files_without_their_owners(owners, mode):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("tool")
        info.mode, info.uid, info.gid = 0o4755, 1234, 5678
        tar.addfile(info)
    stream.seek(0)
    with memory() as (root, _):
        Reader(stream, root, owners=owners).unpack()
        assert root.get(b"tool").stat().st_mode & 0o7777 == mode
