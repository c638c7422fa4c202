"""`rump run --trace` from the outside: its lines are those of strace, of the same program; files, JSON, expressions, threads."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from rumpkit.guests.linux.numbers import NUMBERS
from tests.guests.linux.sandbox_helpers import PYTHON
from tests.system.helpers.rump import Rump, rump

pytestmark = [pytest.mark.needs("seccomp", "userns"), pytest.mark.once]

PROGRAM = Path(__file__).parent.parent / "guests" / "linux" / "programs" / "traced.py"
DIFFERENT = (
    *("clone3", "gettid", "getpid", "readlink(", "brk(", "mmap(NULL, 2", "munmap(", "futex("),
    "setsockopt(4, SOL_SOCKET, SO_RCVTIMEO",
)
"""Calls that are written in another way, or come where the C library likes."""
SUBSTITUTES = (
    (r" +=", "="),
    (r"(S_IFDIR\|0\d+, st_size=)\d+", r"\1SIZE"),
    (r"^((?:wait4|clone\().*)= \d+$", r"\1= N"),
    (r"0x[0-9a-f]{5,}", "POINTER"),
    (r"htons\(\d+\)", "PORT"),
    (r"(\\x[0-9a-f]{2})+", "RANDOM"),
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
    first = theirs.read_text().partition(" /*")[0], found[0].partition(" /*")[0]
    assert re.sub("0x.*", "", first[0]) in first[1] and first[0].startswith("execve(")
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


@pytest.mark.long
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
    code = "import os, socket, signal\ns = socket.socket(); s.listen(); signal.setitimer(0, 0.1); s.accept()"
    status, _, errors = rump("run", "--trace", "-e", "accept4", "--", PYTHON, "-S", "-c", code)
    assert status == 128 + 14
    assert re.search(r"accept4\(3, .*\) = \? ", errors), errors
    assert "--- SIGALRM {si_signo=SIGALRM, si_code=SI_KERNEL} ---" in errors
    assert "+++ killed by SIGALRM +++" in errors


@pytest.mark.parametrize(
    "options",
    [[], pytest.param(["-e", "all"], marks=pytest.mark.long), pytest.param(["--crash-report"], marks=pytest.mark.long)],
)
@pytest.mark.needs("cc")
def test_what_is_hard_for_tracers_goes_on_as_without_one(tmp_path: Path, options: list[str]) -> None:
    program = tmp_path / "hard"
    subprocess.run(["cc", "-O1", "-o", program, PROGRAM.parent / "hard_to_trace.c", "-lpthread"], check=True)
    options = [*options, "-o", str(tmp_path / "trace"), "--visible", str(tmp_path)]
    status, output, errors = rump("run", *options, "--", str(program), "20", "10")
    assert (status, output, errors) == (5, "all\n", "")
    text = (tmp_path / "trace").read_text()
    assert text.count("socket(AF_INET, SOCK_STREAM, 0x4d /* IPPROTO_??? */) = -1 EPROTONOSUPPORT") == 20
    assert "si_code=SI_USER, si_pid=" in text
    assert text.endswith("hard[2] +++ exited with 5 +++\n")


def test_calls_that_are_not_asked_for_do_not_stop() -> None:
    code = "import os, resource, socket\n"
    code += "def waits(): return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw\n"
    code += "before = waits()\nfor _ in range(1000): os.getppid()\nprint(waits() - before)\n"
    code += "socket.socket(socket.AF_UNIX)\nsocket.socket().setsockopt(6, 3, 1)"
    status, output, errors = rump("run", "--trace", "--", PYTHON, "-S", "-c", code)
    assert status == 0 and int(output) < 500
    assert "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0) = 3" in errors  # that Linux answers
    assert "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = 3" in errors  # that the kernel does
    assert "setsockopt(3, SOL_TCP, TCP_CORK, [1], 4) = 0" in errors  # that the filter does


OWN_FILTER = """
import ctypes, socket, struct, sys
numbers = [int(word) for word in sys.argv[1:]]
code = [(0x20, 0, 0, 0)]
for number in numbers:
    code += [(0x15, 0, 1, number), (6, 0, 0, 0x7FF00000)]
code = b"".join(struct.pack("<HBBI", *one) for one in [*code, (6, 0, 0, 0x7FFF0000)])
text = ctypes.create_string_buffer(code, len(code))
header = struct.pack("<H6xQ", len(code) // 8, ctypes.addressof(text))
libc = ctypes.CDLL(None, use_errno=True)
print(libc.prctl(22, 2, header, 0, 0), libc.unshare(0x10000000), ctypes.get_errno())
with socket.socket() as one, socket.socket() as other:
    one.bind(("10.0.2.15", 80))
    one.listen()
    other.connect(("10.0.2.15", 80))
    print(other.getsockname()[0])
"""


def test_a_filter_of_the_programs_own_is_no_way_past_the_kernel() -> None:
    calls = ("unshare", "socket", "bind", "listen", "connect", "getsockname", "setsockopt")
    numbers = [str(NUMBERS[os.uname().machine][name]) for name in calls]
    status, output, errors = rump("run", "-e", ",".join(calls), "--", PYTHON, "-S", "-c", OWN_FILTER, *numbers)
    assert (status, output) == (0, "0 -1 1\n10.0.2.15\n"), errors
    assert "unshare(" in errors and 'sin_addr=inet_addr("10.0.2.15")}, 16) = 0' in errors


def test_the_program_ends_with_its_tracer() -> None:
    with Rump("run", "--trace", "--", "sh", "-c", "echo here; sleep 1000 & sleep 1000").process as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "here\n"
        run.kill()
        assert run.stdout.read() == ""  # the last that holds it open has gone


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
