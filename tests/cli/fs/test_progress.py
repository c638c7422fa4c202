"""The line that says how far a command is."""

import io
import os
import signal
import sys

import pytest

from rumpkit.cli.fs import progress
from rumpkit.cli.fs.common import CLEARERS, Output
from rumpkit.cli.fs.progress import Watch
from rumpkit.compose.image.counting import Amount, count
from rumpkit.compose.image.outside import outside
from rumpkit.compose.image.session import Interrupted


def shares(watch):
    return watch.line(200).partition("%")[0].split()[-1]


def test_how_much_is_done(monkeypatch):
    watch = Watch("copying")
    watch.copied(b"a", 0)
    assert "%" not in watch.line(200) and watch.line(200).startswith("copying ")
    watch.count = lambda: Amount(4, -1)
    watch._due = True
    watch.copied(b"b", 0)
    assert watch.count is None and shares(watch) == "50" and "2 files" in watch.line(200)
    watch.place = lambda: (3, 4)
    assert shares(watch) == "75" and len(watch.line(20)) == 19
    watch.place = lambda: (9, 0)
    assert "%" not in watch.line(200)


def test_bytes_count_where_they_are_known():
    watch = Watch("copying")
    watch.count = lambda: Amount(1, 3 * progress.FILE_WEIGHT)
    watch._due = True
    watch.copied(b"a", 0)
    assert shares(watch) == "25"
    watch.copied(b"a", progress.FILE_WEIGHT)
    assert shares(watch) == "50"
    watch.restart()
    assert shares(watch) == "0"


def test_trees_are_counted(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_bytes(b"x" * 5000)
    os.symlink("nowhere", tmp_path / "link")
    assert count([outside(os.fsencode(tmp_path))]) == Amount(4, 5000)


class Terminal(io.TextIOWrapper):
    def isatty(self):
        return True


def test_a_terminal_has_lines_that_stay_and_one_that_goes(monkeypatch):
    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", Terminal(screen, write_through=True))
    monkeypatch.setattr(sys, "stdout", Terminal(screen, write_through=True))
    monkeypatch.setattr(progress, "PATIENCE", 0.01)
    monkeypatch.setattr(os, "get_terminal_size", lambda fd: os.terminal_size((80, 24)))
    monkeypatch.setattr(sys.stderr, "fileno", lambda: 2, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with Watch("looking", at_once=True) as watch:
        while not watch._drawn:
            pass
        Output().line(b"found")
        assert CLEARERS
    assert not CLEARERS
    before, _, behind = screen.getvalue().partition(b"found\n")
    assert b"looking" in before and before.endswith(b"\r\x1b[K")
    assert not behind or behind.endswith(b"\r\x1b[K")


@pytest.mark.parametrize("terminal", [b"dumb", None])
def test_elsewhere_there_is_none(monkeypatch, terminal):
    monkeypatch.setattr(sys, "stderr", (Terminal if terminal else io.TextIOWrapper)(io.BytesIO()))
    monkeypatch.setenv("TERM", "dumb")
    with Watch("looking", at_once=True) as watch:
        assert watch._thread is None and not CLEARERS


@pytest.mark.parametrize("at_once", [True, False])
def test_a_signal_waits_for_a_step_where_something_is_changed(at_once):
    reached = False
    with pytest.raises(KeyboardInterrupt) as caught, Watch("looking", at_once=at_once) as watch:
        signal.raise_signal(signal.SIGINT)
        reached = True
        watch.copied(b"file", 1)
    assert reached is not at_once and isinstance(caught.value, Interrupted) is not at_once
