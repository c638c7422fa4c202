"""Files that take the place of others."""

import os
import stat
import threading

import pytest

from rumpkit.compose.image.replace import alone, inherit, replacing


def test_the_new_file_is_there_when_it_is_whole(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o604)
    os.symlink("file", tmp_path / "link")
    with replacing(str(tmp_path / "link")) as stream:
        stream.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new" and stat.S_IMODE(path.stat().st_mode) == 0o604
    with pytest.raises(ValueError, match="nonsense"), replacing(str(path)) as stream:
        raise ValueError("nonsense")
    assert sorted(os.listdir(tmp_path)) == ["file", "link"] and path.read_bytes() == b"new"


def test_another_group_gets_no_more_than_everybody_had(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    path = tmp_path / "file"
    path.write_bytes(b"")
    path.chmod(0o674)
    fields = list(path.stat())
    fields[5] += 1
    with open(path, "rb") as file:
        inherit(file.fileno(), os.stat_result(fields))
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_nobody_waits_for_ever_for_a_directory(tmp_path):
    """Whoever may read it may lock it; two who make files wait for each other."""
    path = str(tmp_path / "file")
    entered = threading.Event()
    with alone(path):
        waiting = threading.Thread(target=lambda: _enter(path, entered))
        waiting.start()
        assert not entered.wait(0.05)
        with alone(path, 0.05):
            assert not entered.is_set()
    waiting.join()
    assert entered.is_set()


def _enter(path, entered):
    with alone(path, 600.0):
        entered.set()
