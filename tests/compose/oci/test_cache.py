"""The cache of what is unpacked: several who want the same, what is in use, what was left half done, no room, whose it is."""

from __future__ import annotations

import fcntl
import gzip
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rumpkit import Kernel
from rumpkit.cli import unpacking
from rumpkit.compose.oci.cache import PROOF
from rumpkit.compose.oci.prepare import _name_of, prepare
from rumpkit.compose.oci.progress import SHOWS, Unpacking
from rumpkit.kern.abi import errno as abi
from tests.compose.oci.ocimake import Layout
from tests.fs.tar.tarmake import archive

pytestmark = pytest.mark.once

PATIENCE = 100.0
"""Seconds that are enough on every machine."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RUMPKIT_CACHE_BYTES", raising=False)
    return tmp_path / "cache" / "rumpkit" / "unpacked"


def packed(folder: Path, name: str = "root", size: int = 5 << 20) -> Path:
    """A compressed archive."""
    path = folder / f"{name}.tar.gz"
    path.write_bytes(gzip.compress(archive((name, os.urandom(64) + bytes(size)))))
    return path


def plain(path: Path) -> str:
    """Where it is unpacked."""
    return prepare(str(path)).places[0].path


def files(cache: Path) -> list[str]:
    """What is in the cache, without the notes on it."""
    return [name for name in os.listdir(cache) if PROOF not in name]


def begun(path: Path, cache: Path) -> int:
    """The file of somebody who unpacks it, and has it locked."""
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(cache / f".new-{_name_of(str(path))}", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.write(fd, b"half of it")
    return fd


def test_layers_of_one_image_do_not_push_each_other_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setenv("RUMPKIT_CACHE_BYTES", "100K")
    layout = Layout(tmp_path / "image")
    layout.image(*(archive((f"file-{number}", bytes([number]) * 70_000)) for number in range(3)))
    with Kernel(mounts={"/image": {"type": "oci", "source": str(layout.path)}}) as kernel:
        for number in range(3):
            assert kernel.process().stat(f"/image/file-{number}").st_size == 70_000
        plain(packed(tmp_path, size=10_000))
        assert len(files(cache)) == 4  # a layer that went would free nothing, and be unpacked again
    plain(packed(tmp_path, "other", size=60_000))
    assert len(files(cache)) == 2
    assert all((cache / name.partition(PROOF)[0]).exists() for name in os.listdir(cache)), (
        "notes go with what they are on"
    )


def test_who_comes_second_waits_for_the_first(tmp_path: Path, cache: Path) -> None:
    path = packed(tmp_path)
    fd = begun(path, cache)
    waiting = threading.Event()
    found: list[int] = []

    @contextmanager
    def show(work: Unpacking) -> Iterator[Callable[[], None]]:
        yield waiting.set

    SHOWS.append(show)
    try:
        second = threading.Thread(target=lambda: found.append(os.stat(plain(path)).st_ino))
        second.start()
        assert waiting.wait(PATIENCE)
        os.rename(cache / f".new-{_name_of(str(path))}", cache / _name_of(str(path)))
        first = os.fstat(fd).st_ino
        os.close(fd)
        second.join(PATIENCE)
    finally:
        SHOWS.remove(show)
    assert found == [first] and len(os.listdir(cache)) == 1


def test_many_at_once(tmp_path: Path, cache: Path) -> None:
    path = packed(tmp_path)
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(Path(plain(path)).read_bytes())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert found == [gzip.decompress(path.read_bytes())] * 8
    assert len(os.listdir(cache)) == 1


def test_what_was_left_half_done_goes(tmp_path: Path, cache: Path) -> None:
    path, other, third = packed(tmp_path), packed(tmp_path, "other"), packed(tmp_path, "third")
    os.close(begun(path, cache))
    os.close(begun(other, cache))
    alive = begun(third, cache)
    assert Path(plain(path)).read_bytes() == gzip.decompress(path.read_bytes())
    assert sorted(os.listdir(cache)) == sorted([_name_of(str(path)), f".new-{_name_of(str(third))}"])
    os.close(alive)


def test_a_signal_ends_it_and_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    path = packed(tmp_path)

    @contextmanager
    def show(work: Unpacking) -> Iterator[Callable[[], None]]:
        with inner(work):
            yield lambda: signal.raise_signal(signal.SIGINT) if os.listdir(cache) else None

    with unpacking.shown():
        inner = SHOWS[-1]
        SHOWS.append(show)
        try:
            with pytest.raises(KeyboardInterrupt):
                plain(path)
        finally:
            SHOWS.remove(show)
    assert not os.listdir(cache)
    plain(path)


@pytest.mark.parametrize("words", [("run", "--root", "{}", "--", "/bin/true"), ("fs", "ls", "{}")])
def test_progress_and_ctrl_c_on_a_terminal(tmp_path: Path, cache: Path, words: tuple[str, ...]) -> None:
    path = packed(tmp_path)
    busy = begun(path, cache)
    master, slave = os.openpty()
    command = [sys.executable, "-m", "rumpkit.cli", *(word.format(path) for word in words)]
    running = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm"}, start_new_session=True
    )
    os.close(slave)
    seen = b""
    while b"unpacking root.tar.gz   0% [" not in seen:
        seen += os.read(master, 1000)
    running.send_signal(signal.SIGINT)
    assert running.wait(PATIENCE) == 130
    assert os.listdir(cache) == [f".new-{_name_of(str(path))}"]  # which is ours
    os.close(busy)
    os.close(master)


@pytest.mark.needs("root", "linux")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    path = packed(tmp_path)
    place = tmp_path / "small"
    place.mkdir()
    script = 'mount -t tmpfs -o size=64k none "$1" || exit 77; XDG_CACHE_HOME="$1" "$2" -m rumpkit.cli fs ls "$3"; find "$1" -type f'
    words = ["unshare", "-m", "sh", "-c", script, "sh", place, sys.executable, path]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("there are no mount namespaces here")
    assert "no room for it in the cache" in done.stderr and "XDG_CACHE_HOME" in done.stderr, done.stderr
    assert done.stdout == ""


@pytest.mark.needs("root")
def test_a_cache_of_somebody_else(tmp_path: Path, cache: Path) -> None:
    path = packed(tmp_path)
    plain(path)
    os.chown(cache, 65534, 65534)
    with pytest.raises(OSError, match="XDG_CACHE_HOME") as caught:
        plain(path)
    assert caught.value.errno == abi.EPERM and str(cache) in str(caught.value)


def test_modes(tmp_path: Path, cache: Path) -> None:
    before = os.umask(0)
    try:
        made = plain(packed(tmp_path))
    finally:
        os.umask(before)
    assert cache.stat().st_mode & 0o7777 == 0o700 and os.stat(made).st_mode & 0o7777 == 0o400


def test_a_cache_that_vanishes_is_made_again(tmp_path: Path, cache: Path) -> None:
    path = packed(tmp_path)
    plain(path)
    shutil.rmtree(cache)
    began = time.time()
    made = plain(path)
    os.utime(made, (1, 1))
    plain(path)
    assert os.stat(made).st_mtime >= began - 10  # that it was used
