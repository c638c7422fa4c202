"""What is asked of running kernels by hand: programs started again, restarted, and verbs before a kernel has its address."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.clients.control.kernels import runtime  # noqa: F401 (a fixture: control sockets of the test's own)
from tests.system.helpers.rump import Rump, eventually, rump

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

[[run]]
name = "lasting"
command = ["sleep", "1000"]

[[run]]
name = "short"
command = ["sh", "-c", "echo life >> {tmp_path}/lives; exec sleep 1000"]
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

[[run]]
name = "reader"
command = ["sh", "-c", "while sleep 0.01; do while read line; do echo $line >> {tmp_path}/read; done; done"]

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
