"""`rump run --trace` from the outside: its lines are those of strace, of the same program; files, JSON, expressions, threads."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from pathlib import Path

import pytest

from tests.guests.linux.sandbox_helpers import PYTHON
from tests.system.helpers.rump import rump

pytestmark = [pytest.mark.needs("seccomp", "userns"), pytest.mark.once]

PROGRAM = Path(__file__).parent.parent / "guests" / "linux" / "programs" / "traced.py"
DIFFERENT = (
    *("getrandom", "clone(", "gettid", "getpid", "readlink(", "brk(", "mmap(NULL, 2", "munmap(", "futex("),
    "setsockopt(4, SOL_SOCKET, SO_RCVTIMEO",
)
"""Calls that are written in another way, or come where the C library likes."""
SUBSTITUTES = (
    (r" +=", "="),
    (r"^(wait4.*)= \d+$", r"\1= N"),
    (r"0x[0-9a-f]{5,}", "POINTER"),
    (r"htons\(\d+\)", "PORT"),
    (r"u64=\d+", "u64"),
    (r"(pid=|kill\(|= ?)\d{3,}\b", r"\1N"),
    (r"si_pid=\d+", "si_pid=N"),
    (r"kill\(\d+", "kill(N"),
    (r", si_utime=.*?}", "}"),
    (r"sin_addr=inet_addr\(\"0.0.0.0\"\)", "sin_addr=ANY"),
    (r"( /\* \d{4}-[^*]*\*/)", ""),
)


def plain(lines: list[str], prefix: str) -> list[str]:
    """Between the marks, with what is different every time substituted."""
    found = []
    between = False
    for line in lines:
        line = re.sub(prefix, "", line)
        if 'access("/end"' in line:
            return found
        if between and not line.startswith(DIFFERENT):
            for pattern, text in SUBSTITUTES:
                line = re.sub(pattern, text, line)
            found.append(line)
        between = between or 'access("/begin"' in line
    raise AssertionError(f"no marks in {lines[-10:]}")


@pytest.mark.needs("strace")
def test_the_lines_are_those_of_strace(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "strace", tmp_path / "rump"
    command = [PYTHON, "-I", "-S", str(PROGRAM)]
    subprocess.run(["strace", "-o", theirs, *command], check=True)
    code, _, errors = rump("run", "-e", "all", "-o", str(ours), "--", *command)
    assert (code, errors) == (0, "")
    expected = plain(theirs.read_text().splitlines(), r"^")
    found = [line for line in ours.read_text().splitlines() if "[2]" in line]
    # A child's end may be told before or after the call that waits for it.
    assert sorted(plain(found, r"^ *[0-9.]+ \S+\[2\] ")) == sorted(expected)
    assert len(expected) > 70
    assert stat.S_IMODE(ours.stat().st_mode) == 0o600


def test_json_lines_with_signals_and_ends(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    code = "import socket, os\nsocket.socket().connect_ex(('127.0.0.1', 9))\nif os.fork(): os.wait()\nelse: os.abort()"
    status, _, errors = rump("run", "--trace-json", "-o", str(trace), "-e", "connect", "--", PYTHON, "-S", "-c", code)
    assert (status, errors) == (0, "")
    entries = [json.loads(line) for line in trace.read_text().splitlines()]
    (connect,) = [one for one in entries if one["kind"] == "call"]
    assert (connect["call"], connect["value"], connect["program"]) == ("connect", -111, "python3")
    assert connect["result"] == "-1 ECONNREFUSED (Connection refused)"
    assert connect["arguments"][1] == '{sa_family=AF_INET, sin_port=htons(9), sin_addr=inet_addr("127.0.0.1")}'
    assert connect["duration"] >= 0 and connect["host_pid"] != connect["pid"] == 2
    assert [one["signal"] for one in entries if one["kind"] == "signal"] == ["SIGABRT", "SIGCHLD"]
    ends = {one["pid"]: one for one in entries if one["kind"] == "exit"}
    assert (ends[3]["signal"], ends[2]["status"]) == (6, 0)


def test_threads_and_several_programs_with_durations(tmp_path: Path) -> None:
    code = "import socket, threading as t\nx = t.Thread(target=lambda: socket.socket().listen(7)); x.start(); x.join()"
    config = tmp_path / "two.toml"
    config.write_text(
        f'[[interface]]\nlink = "user"\n[[run]]\nname = "first"\ncommand = ["{PYTHON}", "-S", "-c", {json.dumps(code)}]\n'
        f'[[run]]\nname = "second"\nmain = true\nafter = ["first"]\ncommand = ["{PYTHON}", "-S", "-c", "import socket; socket.socket()"]\n'
    )
    status, _, errors = rump("run", "--trace", "-T", "-e", "signal=none", str(config))
    assert status == 0
    assert re.search(r"first\[3\] listen\(3, 7\) = 0 <\d+\.\d{6}>\n", errors), errors
    assert re.search(r"second\[2\] socket\(AF_INET, SOCK_STREAM\|SOCK_CLOEXEC, IPPROTO_IP\) = 3 <", errors), errors
    assert "first[2] +++ exited with 0 +++" in errors
    assert "\x1b" not in errors and "SIG" not in errors


def test_a_call_that_does_not_return_is_shown_at_the_end() -> None:
    code = "import os, socket, signal\ns = socket.socket(); s.listen(); signal.alarm(1); s.accept()"
    status, _, errors = rump("run", "--trace", "-e", "accept4", "--", PYTHON, "-S", "-c", code)
    assert status == 128 + 14
    assert re.search(r"accept4\(3, .*\) = \? ", errors), errors
    assert "--- SIGALRM {si_signo=SIGALRM, si_code=SI_KERNEL} ---" in errors
    assert "+++ killed by SIGALRM +++" in errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["-e", "bogus"],
            "-e: there is no system call or class 'bogus' (known: all, clock, creds, desc, file, ipc, memory, ",
        ),
        (["-e", "netwrok"], "-e: there is no system call or class 'netwrok' (did you mean \"network\"?)"),
        (["-e", "signal=TREM"], 'did you mean "SIGTERM"?'),
        (["-e", "abbrev=all"], "there is no expression 'abbrev'"),
        (["--trace", "-s", "-3"], "-s: must be from 0"),
    ],
)
@pytest.mark.long
def test_options_that_mean_nothing(options: list[str], message: str) -> None:
    status, _, errors = rump("run", *options, "--", "true")
    assert status == 2 and message in errors, errors
