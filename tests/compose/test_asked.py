"""What is asked to be started, from each of those who ask: the same fields, whoever it is."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from rumpkit import Kernel
from rumpkit.compose.asked import OURS, Asked, by_call, by_check, by_exec, by_run
from rumpkit.compose.errors import ConfigError
from rumpkit.compose.roots import ALIKE, Sees
from rumpkit.compose.spec import HealthSpec, LimitsSpec, RunSpec

pytestmark = pytest.mark.once
STREAMS = (7, 8, None)
EXEC = {
    "command": ["ls"], "env": {"B": 2}, "user": "", "limits": {}, "descriptors": [3, 4, 5], "terminal": False, "cwd": "", "program": "",
}  # fmt: skip


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    with Kernel(mounts={"/": "tmpfs"}) as one:
        yield one


@pytest.fixture
def run() -> RunSpec:
    """A program that says all it can, but for a user."""
    health = HealthSpec(command=["true"])
    limits = LimitsSpec(files=64, memory="1G")
    return RunSpec(["sleep", "9"], env={"A": "1"}, cwd="/srv", allow=["ptrace"], limits=limits, health=health)


def test_a_run_as_its_config_says(kernel: Kernel, run: RunSpec) -> None:
    sees = Sees(writable=["/data"])
    asked = by_run(kernel, run, sees, STREAMS, "web.it")
    assert asked == Asked(
        ["sleep", "9"], {"A": "1"}, "/srv", STREAMS, allow=["ptrace"], limits=run.limits, name="web.it", sees=sees
    )


def test_a_run_without_a_command_and_without_an_image_that_has_one(kernel: Kernel) -> None:
    with pytest.raises(ConfigError, match="is empty") as caught:
        by_run(kernel, RunSpec([]), ALIKE, OURS, "it")
    assert caught.value.key == "command"


def test_a_check_is_as_its_program_but_for_the_command(kernel: Kernel, run: RunSpec) -> None:
    wanted = by_run(kernel, run, ALIKE, STREAMS, "it")._replace(command=["true"], name="it-health")
    assert by_check(kernel, run, ALIKE, STREAMS, "it") == wanted


def test_exec_goes_before_the_program_that_it_is_like(kernel: Kernel, run: RunSpec) -> None:
    asked = by_exec(kernel, {**EXEC, "program": "it"}, run, ALIKE, "/home")
    assert (asked.command, asked.env, asked.cwd) == (["ls"], {"A": "1", "B": "2"}, "/srv")
    assert (asked.stdio, asked.allow, asked.limits, asked.name) == ((3, 4, 5), ["ptrace"], run.limits, "it-exec")
    given = {**EXEC, "cwd": "/tmp", "limits": {"files": "32"}, "terminal": True}
    asked = by_exec(kernel, given, run, ALIKE, "/home")
    assert asked.limits is not None and run.limits is not None
    assert (asked.cwd, asked.terminal, asked.limits.files, asked.limits.memory) == ("/tmp", True, 32, "1G")
    alone = by_exec(kernel, EXEC, RunSpec([]), ALIKE, "/home")
    assert (alone.cwd, alone.env, alone.name) == ("/home", {"B": "2"}, "kernel-exec")


@pytest.mark.needs("root", "nobody")
def test_who_runs_it_has_his_variables_unless_others_are_said(kernel: Kernel, run: RunSpec) -> None:
    run.user = "nobody"
    run.env = {"USER": "somebody"}
    asked = by_run(kernel, run, ALIKE, OURS, "it")
    assert asked.user is not None and asked.user[0] == 65534
    assert asked.env is not None and asked.env["USER"] == "somebody" and asked.env["LOGNAME"] == "nobody"
    called = by_call(kernel, ["ls"], None, None, OURS, (), ALIKE, "nobody", None)
    assert called.user == asked.user and called.env is not None and called.env["USER"] == "nobody"
    assert by_exec(kernel, EXEC, run, ALIKE, "").user == asked.user
    assert by_exec(kernel, {**EXEC, "user": "root"}, run, ALIKE, "").user == (0, 0, os.getgrouplist("root", 0))


def test_a_call(kernel: Kernel) -> None:
    asked = by_call(kernel, ("ls", "-l"), {"A": "1"}, "/", STREAMS, ["bpf"], ALIKE, "", {"files": 99})
    assert asked == Asked(("ls", "-l"), {"A": "1"}, "/", STREAMS, allow=["bpf"], limits=LimitsSpec(files=99))
    with pytest.raises(ConfigError, match="there is no limit 'speed'"):
        by_call(kernel, ["ls"], None, None, OURS, (), ALIKE, "", {"speed": 1})
