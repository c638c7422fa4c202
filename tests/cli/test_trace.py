"""What `--trace` makes of a call: a line as strace has it, with colours where there is a terminal, or JSON."""

from __future__ import annotations

import json

import pytest

from rumpkit.cli.trace import as_json, line
from rumpkit.guests.linux.tracing.calls import Entry

CALL = Entry("call", 100.5, 2, 777, "connect", ["3", "{...}", "16"], "-1 ECONNREFUSED (Connection refused)", -111, 0.25)
SIGNAL = Entry("signal", 101.0, 2, 777, "SIGTERM", [], "{si_signo=SIGTERM}", 15, 0.0)


def test_a_line() -> None:
    said = line("web", CALL, 0.5, durations=True)
    assert said == "  0.500000 web[2] connect(3, {...}, 16) = -1 ECONNREFUSED (Connection refused) <0.250000>"
    assert line("web", SIGNAL, 1.0) == "  1.000000 web[2] --- SIGTERM {si_signo=SIGTERM} ---"
    killed = Entry("exit", 0.0, 2, 777, "", [], "killed by SIGTERM", -15, 0.0)
    assert line("web", killed, 1.0) == "  1.000000 web[2] +++ killed by SIGTERM +++"


def test_a_call_that_has_not_returned_has_no_duration() -> None:
    pending = CALL._replace(result="? <unfinished ...>", value=None)
    assert line("web", pending, 0.0, durations=True).endswith("= ? <unfinished ...>")


@pytest.mark.parametrize("entry", [CALL, SIGNAL])
def test_colours_are_around_what_is_said_without_them(entry: Entry) -> None:
    import re

    coloured = line("web", entry, 0.5, coloured=True)
    assert "\x1b[" in coloured
    assert re.sub("\x1b\\[[0-9]*m", "", coloured) == line("web", entry, 0.5)


def test_json() -> None:
    found = json.loads(as_json("web", CALL, 0.5))
    assert found["call"] == "connect" and found["value"] == -111 and found["duration"] == 0.25
    assert (found["pid"], found["host_pid"], found["since_start"]) == (2, 777, 0.5)
    assert json.loads(as_json("web", SIGNAL, 1.0))["signal"] == "SIGTERM"
