"""The status line on a terminal: what the screen shows, and that it is as before in the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rumpkit.cli.status import StatusLine
from tests.cli.pseudo import Terminal


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    made = Terminal()
    yield made
    made.hang_up()


def shown(terminal: Terminal) -> list[str]:
    return [row.rstrip() for row in terminal.screen.rows]


def test_the_last_line_is_replaced_and_given_back(terminal: Terminal) -> None:
    terminal.write("$ rump run\r\n")
    line = StatusLine(terminal)
    line.show("up 1 s")
    assert shown(terminal) == ["$ rump run", "", "", "", "", "up 1 s"]
    line.show("up 2 s")
    assert shown(terminal)[-1] == "up 2 s"
    line.close()
    assert shown(terminal) == ["$ rump run", "", "", "", "", ""]
    assert (terminal.screen.top, terminal.screen.bottom) == (0, 5)


def test_what_programs_print_scrolls_above_it(terminal: Terminal) -> None:
    line = StatusLine(terminal)
    line.show("status")
    for number in range(9):
        terminal.write(f"line {number}\r\n")
    assert shown(terminal) == ["line 5", "line 6", "line 7", "line 8", "", "status"]


def test_nothing_is_hidden_where_the_cursor_stands_on_the_last_line(terminal: Terminal) -> None:
    terminal.write("".join(f"line {number}\r\n" for number in range(5)) + "name? ")
    StatusLine(terminal).show("status")
    assert shown(terminal) == ["line 1", "line 2", "line 3", "line 4", "name?", "status"]
    terminal.write("bob")
    assert shown(terminal)[4] == "name? bob"


def test_a_prompt_keeps_its_cursor(terminal: Terminal) -> None:
    terminal.write("\r\nname? ")
    line = StatusLine(terminal)
    line.show("status")
    terminal.write("bob")
    line.show("status")
    line.close()
    assert shown(terminal)[1] == "name? bob"


def test_a_line_too_long_is_cut(terminal: Terminal) -> None:
    StatusLine(terminal).show("x" * 100)
    assert shown(terminal)[-1] == "x" * 39


def test_a_window_that_grows_or_becomes_too_small(terminal: Terminal) -> None:
    line = StatusLine(terminal)
    line.show("one")
    terminal.resize(3, 40)
    before = shown(terminal)
    line.show("two")
    assert shown(terminal) == before
    terminal.resize(5, 40)
    line.show("three")
    assert shown(terminal)[4] == "three" and terminal.screen.bottom == 3


@pytest.mark.parametrize("name", ["dumb", ""])
def test_a_terminal_that_cannot(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("TERM", name)
    if not name:
        monkeypatch.delenv("TERM")
    line = StatusLine(terminal)
    line.show("status")
    line.close()
    assert not line.enabled and shown(terminal) == [""] * 6


def test_while_a_program_reads_keys_it_has_the_screen(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    line = StatusLine(terminal)
    line.show("status")
    monkeypatch.setattr("rumpkit.cli.terminal.reads_keys", lambda: True)
    line.show("again")
    assert shown(terminal)[-1] == "" and terminal.screen.bottom == 5
    monkeypatch.setattr("rumpkit.cli.terminal.reads_keys", lambda: False)
    line.show("again")
    assert shown(terminal)[-1] == "again"


def test_colour_only_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, wanted in (("", True), ("1", False)):
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("NO_COLOR", value)
        terminal = Terminal()
        written: list[str] = []
        monkeypatch.setattr(terminal, "write", written.append)
        StatusLine(terminal).show("status")
        assert ("\x1b[2m" in "".join(written)) is wanted
        terminal.hang_up()
