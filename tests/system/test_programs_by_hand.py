"""What is asked of running kernels by hand: programs started again, restarted, and verbs before a kernel has its address."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from rumpkit.guests.linux.cgroups import why_missing
from tests.clients.control.kernels import runtime  # noqa: F401 (a fixture: control sockets of the test's own)
from tests.system.helpers.rump import Rump, eventually, interpreter, rump

pytestmark = [pytest.mark.needs("seccomp", "userns"), pytest.mark.once]
UNANSWERED = '[kernel]\nhostname = "slow"\n[[interface]]\nlink = "switch:lan"\naddress = "dhcp"\n'
"""Nobody gives addresses there: the programs wait for half a minute."""


def rows(name: str) -> dict[str, Any]:
    """What `rump ps` says of a kernel's programs, by name; nothing where there is no such kernel yet."""
    code, output, _ = rump("ps", "--json", name)
    return {row["program"]: row for row in json.loads(output)} if code == 0 else {}


def config(folder: Path, text: str) -> str:
    path = folder / "c.toml"
    path.write_text(text)
    return str(path)


def test_verbs_before_the_kernel_has_its_address(tmp_path: Path) -> None:
    text = UNANSWERED + '[[run]]\nname = "one"\ncommand = ["sleep", "1000"]\n'
    with Rump("run", config(tmp_path, text)) as running:
        eventually(lambda: "slow-" in rump("ps", "--names")[1])
        assert rows("slow")["one"]["state"] == "starting"
        assert rump("exec", "slow", "--", "sh", "-c", "exit 7")[0] == 7
        assert rump("stats", "--once", "-i", "0.1", "slow")[0] == 0
        assert rows("slow")["one"]["state"] == "starting"  # none of that took as long as addresses do
        assert rump("stop", "slow")[0] == 0
        assert running.end() == 0


def test_programs_are_started_again(tmp_path: Path) -> None:
    text = f"""
[kernel]
hostname = "again"
writable = ["."]

[[run]]
name = "lasting"
command = ["sleep", "1000"]

[[run]]
name = "short"
command = ["sh", "-c", "echo life >> {tmp_path}/lives; exec sleep 1000"]
writable = ["${{here}}"]
stop_signal = "SIGINT"

[[run]]
name = "broken"
command = ["sh", "-c", "test -e {tmp_path}/mended && exec sleep 1000"]
health = {{ command = ["test", "-e", "{tmp_path}/well"], start_interval = "50ms" }}
background = true
"""
    with Rump("run", config(tmp_path, text)) as running:
        eventually(lambda: rows("again").get("short", {}).get("state") == "running")
        first = rows("again")["short"]["pid"]
        assert rump("start", "short")[0] == 0 and rows("again")["short"]["pid"] == first
        assert rump("stop", "again/short")[0] == 0 and rows("again")["short"]["exit"] == -2
        assert rump("start", "again/short")[0] == 0 and rows("again")["short"]["state"] == "running"
        assert rump("restart", "short")[0] == 0
        assert rows("again")["short"]["pid"] != first and rows("again")["short"]["restarts"] == 2
        eventually(lambda: (tmp_path / "lives").read_text() == "life\n" * 3)
        code, _, errors = rump("start", "--wait", "broken")
        assert (code, errors) == (1, "rump: broken has ended with 1\n")
        (tmp_path / "mended").touch()
        (tmp_path / "well").touch()
        assert rump("start", "--wait", "broken")[0] == 0 and rows("again")["broken"]["state"] == "healthy"
        before = {name: row["pid"] for name, row in rows("again").items()}
        assert rump("restart", "again")[0] == 0
        after = {name: row["pid"] for name, row in rows("again").items()}
        assert not set(before.values()) & set(after.values()) and len(after) == 3
        assert rump("start", "nobody")[0] == 125
        running.stop()


def test_a_program_that_cannot_start_again_ends_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("#!/bin/sh\nexec sleep 1000\n")
    os.chmod(tmp_path / "program", 0o755)
    text = f'[[run]]\nname="a"\ncommand=["{tmp_path}/program"]\n[[run]]\nname="b"\ncommand=["sleep","1000"]\n'
    with Rump("run", config(tmp_path, f'[kernel]\nhostname = "gone"\n{text}')) as running:
        eventually(lambda: rows("gone").get("b", {}).get("state") == "running")
        (tmp_path / "program").unlink()
        code, _, errors = rump("restart", "gone/a")
        assert (code, errors) == (1, "rump: a has ended with 127\n")
        assert rows("gone")["b"]["state"] == "running"
        running.stop()
    assert f"a cannot be started again: {tmp_path}/program: No such file or directory" in running.errors


def test_a_pipe_whose_end_was_closed_is_joined_again(tmp_path: Path) -> None:
    text = f"""
[kernel]
hostname = "pipes"
writable = ["."]

[[run]]
name = "reader"
command = ["sh", "-c", "while sleep 0.01; do while read line; do echo $line >> {tmp_path}/read; done; done"]
writable = ["${{here}}"]

[[run]]
name = "writer"
command = ["sh", "-c", "echo hello; exec sleep 1000"]
pipe = "reader"
"""
    with Rump("run", config(tmp_path, text)) as running:
        read = tmp_path / "read"
        eventually(lambda: read.exists() and read.read_text() == "hello\n")
        assert rump("stop", "pipes/writer")[0] == 0
        assert rump("start", "pipes/writer")[0] == 0
        eventually(lambda: read.read_text() == "hello\n" * 2)
        running.stop()


def test_exec_as_a_program_of_the_config_runs_and_with_limits_of_its_own(tmp_path: Path) -> None:
    text = """
[kernel]
hostname = "like"

[[run]]
name = "server"
command = ["sleep", "1000"]
limits = { files = 64, file_size = "1M" }
env = { COLOUR = "blue", SIZE = "3" }
cwd = "/usr"
"""
    text += 'user = "nobody"\n' if os.geteuid() == 0 else ""
    script = "echo $(ulimit -n) $(id -u) $COLOUR $SIZE $(pwd)"
    with Rump("run", config(tmp_path, text)) as running:
        eventually(lambda: rows("like").get("server", {}).get("state") == "running")
        uid = 65534 if os.geteuid() == 0 else os.geteuid()
        code, output, errors = rump("exec", "--env", "SIZE=4", "like/server", "--", "sh", "-c", script)
        assert (code, output) == (0, f"64 {uid} blue 4 /usr\n"), errors
        code, output, _ = rump("exec", "-l", "files=32", "-w", "/", "server", "--", "sh", "-c", f"{script}; ulimit -f")
        assert (code, output) == (0, f"32 {uid} blue 3 /\n2048\n")
        ours = os.popen("ulimit -n").read().strip()
        assert rump("exec", "like", "--", "sh", "-c", "ulimit -n")[1].strip() == ours
        code, _, errors = rump("exec", "--limit", "file=3", "like", "--", "true")
        assert code != 0 and "there is no limit 'file' (did you mean \"files\"?)" in errors
        code, _, errors = rump("exec", "--limit", "files=3", "like", "--", "true")
        assert code != 0 and "files: 3 is not within 16 to" in errors
        stats = {
            row["name"].partition("/")[2]: row for row in json.loads(rump("stats", "--json", "-i", "0.1", "like")[1])
        }
        assert stats["server"]["limits"] == {"files": 64, "file_size": 1 << 20}
        running.stop()


def test_a_limit_of_memory_whatever_keeps_it(tmp_path: Path) -> None:
    grow = "grown = []\\nwhile True: grown.append(bytearray(1 << 20))"
    text = f"""
[kernel]
hostname = "small"

[[run]]
name = "cache"
command = ["{interpreter(0)}", "-S", "-c", "{grow}"]
limits = {{ memory = "100M" }}
"""
    code, _, errors = rump("run", config(tmp_path, text))
    if why_missing(["memory"]):
        assert code == 1 and "MemoryError" in errors
        note = "rump: cache memory: this machine gives no control group to us ("
        assert note in errors
        (tmp_path / "lasting.toml").write_text(text.replace("while True", "while not __import__('time').sleep(1)"))
        code, _, errors = rump("run", "--detach", str(tmp_path / "lasting.toml"))
        assert code == 0 and note in errors
        assert rump("stop", "--kill", "small")[0] == 0
    else:
        assert code == 128 + 9 and "rump: cache was killed: it reached memory = 100M\n" in errors


def test_a_detached_run_that_is_stopped_before_its_programs_start_says_so(tmp_path: Path) -> None:
    text = UNANSWERED + '[[run]]\nname = "one"\ncommand = ["sleep", "1000"]\n'
    with Rump("run", "--detach", config(tmp_path, text)) as running:
        eventually(lambda: rows("slow").get("one", {}).get("state") == "starting")
        assert rump("stop", "slow")[0] == 0
        assert running.end() == 125
    assert (running.output, running.errors) == ("", "rump: it was stopped before everything was started\n")


@pytest.mark.long
def test_a_kernel_whose_process_stands_still_is_told_and_holds_up_nobody(tmp_path: Path) -> None:
    text = '[kernel]\nhostname = "still"\n[[run]]\nname = "one"\ncommand = ["sleep", "1000"]\n'
    with Rump("run", config(tmp_path, text)) as running:
        eventually(lambda: rows("still").get("one", {}).get("state") == "running")
        os.kill(running.process.pid, signal.SIGSTOP)
        try:
            code, output, errors = rump("ps")
            name = f"still-{running.process.pid}"
            assert (code, output) == (1, "")
            assert errors == f"rump: {name}: the kernel does not answer; is its process stopped?\n"
        finally:
            os.kill(running.process.pid, signal.SIGCONT)
        running.stop()


@pytest.mark.long
def test_signals_and_wishes_to_end_that_come_together(tmp_path: Path) -> None:
    text = """
[kernel]
hostname = "deaf"

[[run]]
name = "one"
command = ["sh", "-c", "trap '' TERM INT; echo ready; while :; do sleep 1; done"]
stop_timeout = "1000s"
"""
    with Rump("run", config(tmp_path, text)) as running:
        assert running.process.stdout is not None and running.process.stdout.readline() == "ready\n"
        with Rump("stop", "deaf") as waiting:
            eventually(lambda: rows("deaf")["one"]["state"] == "stopping")
            for verb in ("start", "restart"):
                code, _, errors = rump(verb, "deaf/one")
                assert code == 125 and "this kernel is being stopped" in errors
            assert rump("exec", "deaf", "--", "true")[0] == 0
            assert rump("stop", "--kill", "deaf")[0] == 0
            assert waiting.end() == 0
        assert running.end() == 128 + signal.SIGKILL
