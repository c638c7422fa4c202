"""What `-e` chooses."""

from __future__ import annotations

import signal

import pytest

from rumpkit.guests.linux.tracing.expression import BadExpression, parse


def test_the_network_and_all_signals_if_nothing_is_said() -> None:
    chosen = parse([])
    assert {"connect", "recvmsg"} < chosen.calls and "openat" not in chosen.calls
    assert {signal.SIGTERM, signal.SIGSEGV, 40} < chosen.signals


@pytest.mark.parametrize(
    ("expressions", "there", "missing"),
    [
        (["trace=openat,connect"], {"openat", "connect"}, {"socket", "read"}),
        (["%file"], {"openat", "execve"}, {"connect", "read"}),
        (["file", "t=net"], {"openat", "connect"}, {"mmap"}),
        (["!memory,futex"], {"openat", "connect"}, {"mmap", "brk", "futex"}),
        (["all"], {"mmap", "connect", "rseq"}, set()),
        (["signal=none"], {"connect"}, {"openat"}),
        (["none"], set(), {"connect"}),
    ],
)
def test_calls(expressions: list[str], there: set[str], missing: set[str]) -> None:
    chosen = parse(expressions).calls
    assert there <= chosen and not missing & chosen


def test_signals() -> None:
    assert parse(["signal=TERM,SIGINT"]).signals == {signal.SIGTERM, signal.SIGINT}
    assert signal.SIGCHLD not in parse(["signal=!chld"]).signals
    assert not parse(["signal=none"]).signals


@pytest.mark.parametrize("expression", ["trace=nocall", "signal=NONE", "verbose=all", "trace=", ""])
def test_nonsense(expression: str) -> None:
    with pytest.raises(BadExpression):
        parse([expression])
