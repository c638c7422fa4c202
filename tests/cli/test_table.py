"""Tables in a pipe and on a terminal."""

from __future__ import annotations

import json
import sys

import pytest

from rumpkit.cli.table import show, show_json

ROWS = [("eth0", "user"), ("[bold]", "tap:x")]


def test_plain_columns_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    show("interfaces", ("name", "link"), ROWS)
    assert capsys.readouterr().out == "interfaces:\n  name    link\n  eth0    user\n  [bold]  tap:x\n"


def test_nothing_for_no_rows(capsys: pytest.CaptureFixture[str]) -> None:
    show("interfaces", ("name", "link"), [])
    assert capsys.readouterr().out == ""


def test_drawn_on_a_terminal_and_never_taken_as_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show("interfaces", ("name", "link"), ROWS)
    out = capsys.readouterr().out
    assert "[bold]" in out and "───" in out


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"a": [1, "x"], "b": None}
    show_json(value)
    assert json.loads(capsys.readouterr().out) == value
