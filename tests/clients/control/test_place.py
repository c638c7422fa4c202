"""Where sockets are: directories that are ours alone, names, leftovers."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rumpkit.clients.control import place


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    monkeypatch.delenv("RUMPKIT_RUNTIME_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


def listen():
    listener, path = place.listen("rump-1", 1)
    return listener, Path(path)


def modes(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_the_socket_and_its_directory_are_ours_alone(runtime):
    before = os.umask(0)
    try:
        listener, path = listen()
    finally:
        os.umask(before)
    with listener:
        assert path == runtime / "rumpkit" / "rump-1.sock"
        assert modes(path) == 0o600
        assert modes(path.parent) == 0o700
        assert os.listdir(path.parent) == ["rump-1.sock"]
        assert place.names()["rump-1"] == str(path)
        place.connect(str(path), 1).close()


def test_kernels_of_one_name_are_numbered(runtime):
    first, one = listen()
    second, two = listen()
    with first, second:
        assert (one.name, two.name) == ("rump-1.sock", "rump-1-2.sock")


def test_a_leftover_is_removed_by_a_listing_and_by_the_next_of_its_name(runtime):
    listener, path = listen()
    listener.close()
    assert path.exists()
    assert "rump-1" not in place.names()
    assert not path.exists()
    listener, path = listen()
    listener.close()
    again, same = listen()
    with again:
        assert same == path


def test_only_the_socket_s_own_name_is_withdrawn(runtime):
    listener, path = listen()
    inode = os.lstat(path).st_ino
    with listener:
        place.withdraw(str(path), inode + 1)
        assert path.exists()
        place.withdraw(str(path), inode)
        assert not path.exists()
        place.withdraw(str(path), inode)


def test_a_path_that_is_too_long_for_a_unix_socket(runtime, monkeypatch):
    deep = runtime / ("d" * 100)
    deep.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    listener, path = listen()
    with listener:
        assert len(str(path)) > place.MAX_PATH
        place.connect(str(path), 1).close()
        assert place.names()["rump-1"] == str(path)


def test_a_runtime_directory_that_others_can_enter_is_not_used(runtime, monkeypatch):
    runtime.chmod(0o755)
    assert place.candidates() == [f"/tmp/rumpkit-{os.geteuid()}"]
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    assert len(place.candidates()) == 1


def test_a_directory_for_rumpkit_alone_is_the_only_one(runtime, tmp_path, monkeypatch):
    alone = tmp_path / "alone"
    alone.mkdir(mode=0o700)
    monkeypatch.setenv("RUMPKIT_RUNTIME_DIR", str(alone))
    assert place.candidates() == [str(alone)]
    alone.chmod(0o750)
    assert place.candidates()[0] == str(runtime / "rumpkit")


def test_a_directory_that_is_not_ours_alone_is_refused(runtime, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (runtime / "rumpkit").symlink_to(elsewhere)
    monkeypatch.setattr(place, "candidates", lambda: [str(runtime / "rumpkit")])
    with pytest.raises(place.UnsafePlace, match="ours alone"):
        place.listen("rump-1", 1)
    assert place.names() == {}
    (runtime / "rumpkit").unlink()
    (runtime / "rumpkit").mkdir(mode=0o700)
    (runtime / "rumpkit").chmod(0o770)
    with pytest.raises(place.UnsafePlace):
        place.require(str(runtime / "rumpkit"))


@pytest.mark.needs("root")
def test_a_directory_of_another_user_is_refused(runtime, monkeypatch):
    (runtime / "rumpkit").mkdir(mode=0o700)
    os.chown(runtime / "rumpkit", 65534, 65534)
    monkeypatch.setattr(place, "candidates", lambda: [str(runtime / "rumpkit")])
    with pytest.raises(place.UnsafePlace):
        place.require(str(runtime / "rumpkit"))


def test_where_a_directory_takes_nothing_the_next_one_does(runtime, monkeypatch):
    full = Path("/proc/self/fd")  # is ours alone, and nothing can be made in it, as on a full disk, by root neither
    monkeypatch.setattr(place, "candidates", lambda: [str(full), str(runtime / "rumpkit")])
    listener, path = listen()
    with listener:
        assert path == runtime / "rumpkit" / "rump-1.sock"
        assert place.names()["rump-1"] == str(path)
    monkeypatch.setattr(place, "candidates", lambda: [str(full)])
    with pytest.raises(OSError) as caught:
        listen()
    assert caught.value.filename == "/proc/self/fd"


def test_a_socket_that_never_got_its_name(runtime):
    place.require(str(runtime / "rumpkit"))
    hidden = runtime / "rumpkit" / ".1-abc"
    with socket.socket(socket.AF_UNIX) as unborn:
        unborn.bind(str(hidden))
    place.names()
    assert hidden.exists()
    os.utime(hidden, (1, 1))
    place.names()
    assert not hidden.exists()


def test_a_killed_process_leaves_one_that_goes(runtime):
    code = "import os; from rumpkit import Kernel; k = Kernel(control=True); print(k.listen(), flush=True); os.kill(os.getpid(), 9)"
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    name = killed.stdout.strip()
    path = runtime / "rumpkit" / f"{name}.sock"
    assert name and path.exists(), killed.stderr
    assert name not in place.names()
    assert not path.exists()
