"""What a terminal says about its users."""

from __future__ import annotations

import os
import sys
import tty

import pytest

from rumpkit.cli.terminal import in_foreground, reads_keys
from tests.cli.pseudo import Terminal


def test_who_reads_keys_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert not reads_keys()
    tty.setcbreak(terminal.fileno())
    assert reads_keys()
    terminal.hang_up()
    assert not reads_keys()


def test_a_pipe_reads_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with open(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stderr", pipe)
        assert not reads_keys()
    os.close(reader)


def test_without_a_terminal_nobody_is_in_its_foreground() -> None:
    child = os.fork()
    if not child:
        os.setsid()
        os._exit(1 if in_foreground() else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_session_that_has_the_terminal_is_in_its_foreground() -> None:
    import pty

    child, terminal = pty.fork()
    if not child:
        os._exit(0 if in_foreground() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(terminal)
