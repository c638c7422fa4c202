"""New images: whose they are while they are made, and what they replace."""

import os
import stat

import pytest

from rumpkit.compose.image.fresh import FreshImage
from rumpkit.compose.image.session import Session
from rumpkit.hosts.posix.block import FileBackend
from rumpkit.hosts.posix.filelock import NEW_SUFFIX as SUFFIX
from rumpkit.hosts.posix.host import PosixHost
from rumpkit.hosts.posix.redo import LOG_SUFFIX, RedoLog
from rumpkit.kern.abi.errno import EBUSY


@pytest.fixture
def umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_it_is_private_until_it_is_whole_and_has_the_mode_of_what_it_replaces(tmp_path, umask):
    path = tmp_path / "disk.img"
    for expected in (0o644, 0o640):
        with FreshImage(str(path), True) as fresh:
            made = fresh.create(4096)
            assert mode(made.image) == 0o600
            fresh.finish()
        assert mode(path) == expected
        path.chmod(0o640)


def test_one_that_is_written_is_not_replaced(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(4096))
    with Session() as session:
        session.image(str(path), write=True)
        with pytest.raises(OSError, match="uses it"):
            FreshImage(str(path), True)
    with FreshImage(str(path), True), Session() as session, pytest.raises(OSError, match="uses it"):
        session.image(str(path), write=True)


def test_the_transaction_of_what_was_there_goes_with_it(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(4096))
    log = tmp_path / f"disk.img{LOG_SUFFIX}"
    log.write_bytes(b"whatever")
    with FreshImage(str(path), True) as fresh:
        fresh.create(8192)
        assert log.exists()
        fresh.finish()
    assert os.listdir(tmp_path) == ["disk.img"] and path.stat().st_size == 8192


def test_one_that_is_replaced_by_somebody_else_before_it_is_locked(tmp_path, monkeypatch):
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(4096))

    def late(descriptor, exclusive):
        (tmp_path / "other").write_bytes(bytes(4096))
        os.replace(tmp_path / "other", path)
        return ""

    monkeypatch.setattr("rumpkit.compose.image.fresh.lock", late)
    with pytest.raises(OSError, match="replaced by another"):
        FreshImage(str(path), True)


def test_it_has_no_name_before_it_is_whole(tmp_path):
    """So that nothing is left where it is killed, and what a run has left that could not do so goes with the next one."""
    path = tmp_path / "disk.img"
    with FreshImage(str(path), False) as fresh:
        fresh.create(4096)
        assert os.listdir(tmp_path) == []
        fresh.finish()
    assert path.stat().st_size == 4096
    (tmp_path / f"disk.img{SUFFIX}").write_bytes(b"left")
    with FreshImage(str(path), True) as fresh:
        fresh.create(8192)
        fresh.finish()
    assert os.listdir(tmp_path) == ["disk.img"] and path.stat().st_size == 8192


def test_hosts_without_files_without_names(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_TMPFILE")
    path = tmp_path / "disk.img"
    (tmp_path / f"disk.img{SUFFIX}").write_bytes(b"left")
    with FreshImage(str(path), False) as fresh:
        assert os.stat(fresh.create(4096).image).st_size == 4096 and mode(path.with_name(f"disk.img{SUFFIX}")) == 0o600
    assert os.listdir(tmp_path) == []
    with FreshImage(str(path), False) as fresh:
        fresh.create(4096)
        fresh.finish()
    assert os.listdir(tmp_path) == ["disk.img"]


def test_errors_name_what_is_made(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        FreshImage(str(tmp_path / "none" / "disk.img"), False).create(1)
    assert caught.value.filename == str(tmp_path / "none" / "disk.img")


def interrupted(path):
    """An image of zeros whose transaction, which makes it start with "new", was interrupted right after it was decided."""
    path.write_bytes(bytes(8192))
    host = PosixHost(console=-1)
    try:
        file = FileBackend(host, str(path))
        log = RedoLog(host, file)
        log.write(0, b"new")
        log._seal([(0, 3)])
        log._publish()
        os.close(log._fd)
        file.close()
    finally:
        host.close()
    return path.with_name(path.name + LOG_SUFFIX)


@pytest.mark.parametrize("at", ["fsync", "unlink", "replace", "link"])
def test_killed_at_any_place_it_leaves_an_image_that_opens(tmp_path, monkeypatch, at):
    """The old one with its transaction, or the new one."""

    class Killed(BaseException):
        pass

    seen = []
    for dies in range(12):
        path = tmp_path / str(dies) / "disk.img"
        path.parent.mkdir()
        log = interrupted(path)
        assert log.exists()
        calls = 0
        real = getattr(os, at)

        def counted(*arguments, real=real, dies=dies, **more):
            nonlocal calls
            calls += 1
            if calls > dies:
                raise Killed
            return real(*arguments, **more)

        with FreshImage(str(path), True) as fresh:
            fresh.create(4096)
            with monkeypatch.context() as patch:
                patch.setattr(os, at, counted)
                try:
                    fresh.finish()
                except Killed:
                    pass
        with Session() as session:
            session.image(str(path), write=True)
        seen.append(path.read_bytes())
        assert seen[-1] in (bytes(4096), b"new".ljust(8192, b"\0"))
        assert not log.exists()
        if calls <= dies:
            assert seen[-1] == bytes(4096)
            return
    pytest.fail("it never ends")


def test_a_transaction_that_nobody_can_finish_goes_with_what_was_there(tmp_path):
    path = tmp_path / "disk.img"
    log = interrupted(path)
    os.replace(path, tmp_path / "elsewhere")
    path.write_bytes(bytes(8192))
    with FreshImage(str(path), True) as fresh:
        fresh.create(4096)
        fresh.finish()
    assert path.read_bytes() == bytes(4096) and not log.exists()


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("nameless", [False, True])
def test_of_two_makers_one_wins_and_the_other_is_told(tmp_path, monkeypatch, there, nameless):
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE")
    path = tmp_path / "disk.img"
    if there:
        path.write_bytes(bytes(512))
    told = 0
    made = []
    with FreshImage(str(path), True) as first, FreshImage(str(path), True) as second:
        for maker, size in ((first, 4096), (second, 8192)):
            maker.create(size)
        for maker, size in ((second, 8192), (first, 4096)):
            try:
                maker.finish()
                made.append(size)
            except OSError as problem:
                assert problem.errno == EBUSY and "somebody else" in str(problem)
                told += 1
    assert told == 1 and made == [8192]
    assert os.listdir(tmp_path) == ["disk.img"] and path.stat().st_size == 8192


def test_one_that_is_being_made_is_not_taken_for_what_a_killed_one_left(tmp_path, monkeypatch):
    """Where it has a name meanwhile: as long as somebody has it open as an image."""
    monkeypatch.delattr(os, "O_TMPFILE")
    path = tmp_path / "disk.img"
    with FreshImage(str(path), True) as first, FreshImage(str(path), True) as second:
        place = first.create(4096)
        with Session(in_place=True) as session:
            session.image(place.image, write=True)
            with pytest.raises(OSError, match="somebody else is making it"):
                second.create(8192)
        first.finish()
    assert os.listdir(tmp_path) == ["disk.img"] and path.stat().st_size == 4096


def test_what_a_killed_maker_left_goes_when_the_image_is_written(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(4096))
    (tmp_path / f"disk.img{SUFFIX}").write_bytes(b"left")
    with Session() as session:
        session.image(str(path), write=True)
    assert os.listdir(tmp_path) == ["disk.img"]
