"""What was typed in `rump fs shell` is there the next time."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from pathlib import Path

import pytest

from tests.compose.image.blank_image import blank
from tests.system.fs_tools import RUMP

pytestmark = [pytest.mark.needs("linux"), pytest.mark.once]
pytest.importorskip("readline", reason="missing: readline")


def talk(image: Path, home: Path, typed: list[bytes], status: int = 0) -> bytes:
    """What a terminal shows while these are typed, each once the shell waits for it."""
    ours, its = pty.openpty()
    environment = {**os.environ, "HOME": str(home), "TERM": "dumb"}
    environment.pop("INPUTRC", None)
    shell = subprocess.Popen([*RUMP, "shell", str(image)], stdin=its, stdout=its, stderr=its, env=environment)
    os.close(its)
    shown = b""
    try:
        for words in typed:
            seen = len(shown)
            while b"> " not in shown[seen:]:
                shown += _more(ours)
            os.write(ours, words)
        while shell.poll() is None or select.select([ours], [], [], 0)[0]:
            piece = _more(ours)
            if not piece and shell.poll() is not None:
                break
            shown += piece
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)
    assert shell.returncode == status, shown
    return shown


def _more(terminal: int) -> bytes:
    """What comes next; b"" at the end."""
    deadline = time.monotonic() + 60
    while not select.select([terminal], [], [], 0.1)[0]:
        assert time.monotonic() < deadline, "the shell says nothing"
    try:
        return os.read(terminal, 65536)
    except OSError:  # nobody has its other side any more
        return b""


def test_history(tmp_path: Path) -> None:
    image = blank(tmp_path / "disk.img", "ext4")
    home = tmp_path / "home"
    home.mkdir()
    talk(image, home, [b"mkdir from-the-first\n", b"ls -d /lost+found\n", b"exit\n"])
    history = home / ".local" / "state" / "rump" / "fs_history"
    assert history.read_text().splitlines()[-3:] == ["mkdir from-the-first", "ls -d /lost+found", "exit"]
    assert history.parent.stat().st_mode & 0o077 == 0
    # Ctrl-P three times is the first line of the other run: the directory is there by now.
    shown = talk(image, home, [b"\x10\x10\x10\n", b"exit\n"], 1)
    assert b"mkdir from-the-first" in shown and b"File exists" in shown
