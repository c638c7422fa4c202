"""Control groups: real ones, as far as this machine gives any.  Without controllers, what a program sees and what is left at the end; with
them, limits that real programs reach.  `tests/system/test_linux61.py` runs all of it where there is nothing but version 2."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rumpkit.compose.errors import ConfigError
from rumpkit.compose.kernel import Kernel
from rumpkit.compose.limits import allow, limit_numbers, limits_from
from rumpkit.compose.spec import LimitsSpec
from rumpkit.guests.linux import cgroups, own_group
from rumpkit.guests.linux.cgroups import GROUPS, Group, Groups, sweep
from rumpkit.guests.linux.guest import Guest
from rumpkit.guests.linux.own_group import PREFIX
from rumpkit.guests.linux.plan import ProgramPlan
from tests.guests.linux.guest_helpers import Output, two_kernels
from tests.guests.linux.sandbox_helpers import PYTHON, become_nobody, in_child

pytestmark = [pytest.mark.needs("linux", "cgroup2"), pytest.mark.once]
PROGRAMS = pytest.mark.needs("seccomp", "netns")
NODE = """
const os = require('os'), most = os.totalmem(), limit = process.constrainedMemory?.() || 0;
if (os.cpus().length < 1 || most < 1 || (limit > 0 && limit < 1 << 20)) process.exit(1);
"""


def base() -> Path:
    """Where this process's groups are made, or would be."""
    return cgroups._base(())[0]


def left() -> list[Path]:
    """What is there of ours."""
    return list(base().glob(f"{PREFIX}{os.getpid()}-*"))


@pytest.fixture
def group() -> Iterator[Group]:
    made = GROUPS.make("test", {})
    yield made
    made.remove()
    assert not left()


def ran(kernel: Kernel, group: Group | None, code: str) -> str:
    output = Output()
    command = ["sh", "-c", code]
    guest = Guest.start(kernel.core, kernel.host, ProgramPlan(command, stdio=(0, output.fd, 2), group=group))  # type: ignore[arg-type]
    try:
        assert guest.wait(60) == 0
    finally:
        guest.close()
    return output.text()


def wait_for(condition: object, seconds: float = 60.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@PROGRAMS
def test_a_program_sees_its_group_as_the_only_one(group: Group) -> None:
    with two_kernels() as (here, _):
        seen = ran(here, group, "cat /proc/self/cgroup; ls /sys/fs/cgroup; cat /sys/fs/cgroup/cgroup.procs | wc -l")
    assert "0::/\n" in seen and "rumpkit" not in seen
    assert "cgroup.procs\n" in seen and seen.splitlines()[-1] in ("2", "3")  # sh, cat, and wc if it is there yet
    assert not left()  # the guest has taken it away


@PROGRAMS
def test_without_one_the_hosts_path_is_not_seen() -> None:
    with two_kernels() as (here, _):
        seen = ran(here, None, "cat /proc/self/cgroup")
    assert {line.split(":", 2)[2] for line in seen.splitlines()} == {"/"}


TELL = (
    "ls /sys/fs/cgroup; echo --; cat /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/*/cgroup.controllers 2>&1 | head -1"
)


@PROGRAMS
@pytest.mark.parametrize("user", ["self", pytest.param("nobody", marks=pytest.mark.needs("nobody", "userns"))])
def test_without_one_no_group_of_the_host_is_seen_but_ours(user: str) -> None:
    """Ours is the program's, too; where it is the root of all, there is nothing to see."""

    def looked() -> None:
        ours = own_group.shown()
        with two_kernels() as (here, _):
            names, _, below = ran(here, None, TELL).partition("--\n")
        assert set(names.split()) == (set(os.listdir(ours)) if ours else set())
        assert ours or "No such file" in below

    if user == "self":
        looked()
    else:
        in_child(looked, become_nobody)


@PROGRAMS
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["java", "-Xshare:auto", "-version"], marks=pytest.mark.needs("java")),
        pytest.param(["java", "-XshowSettings:system", "-version"], marks=pytest.mark.needs("java", "root")),
        pytest.param(["node", "-e", NODE], marks=pytest.mark.needs("node")),
    ],
    ids=["java", "java-settings", "node"],
)
def test_who_looks_for_limits_finds_them_or_none(command: list[str]) -> None:
    with two_kernels() as (here, _):
        output = Output()
        guest = here.run(command, stdout=output.fd, stderr=output.fd)
        assert guest.wait(60) == 0, output.text()
        guest.close()
    assert "Exception" not in output.text()


@PROGRAMS
def test_a_program_cannot_change_its_group(group: Group) -> None:
    code = "for one in procs freeze; do echo 0 > /sys/fs/cgroup/cgroup.$one; done; mkdir /sys/fs/cgroup/more"
    with two_kernels() as (here, _):
        assert ran(here, group, f"({code}) 2>&1; true").count("Read-only file system") == 3


@PROGRAMS
def test_all_that_a_program_starts_is_in_it_and_nothing_is_left(group: Group) -> None:
    with two_kernels() as (here, _):
        plan = ProgramPlan(["sh", "-c", "setsid sleep 1000 & exec sleep 1000"], group=group)
        guest = Guest.start(here.core, here.host, plan)  # type: ignore[arg-type]
        wait_for(lambda: len((group.path / "cgroup.procs").read_text().split()) == 2)
        guest.close()
    assert not left()


@PROGRAMS
def test_a_start_that_fails_leaves_no_group(tmp_path: Path) -> None:
    with two_kernels() as (here, _), pytest.raises(OSError):
        here.run([str(tmp_path / "none")], limits={"cpus": 1, "memory": "64M"})
    assert not left()


def test_several_at_once_and_the_last_one_takes_the_rest_away() -> None:
    made = [GROUPS.make("one", {}), GROUPS.make("one", {})]
    assert made[0].path != made[1].path and made[0].path.parent == made[1].path.parent
    made[0].remove()
    made[0].remove()
    assert left()
    made[1].remove()
    assert not left()


def test_what_a_killed_process_leaves_is_removed_by_the_next_and_nobody_elses() -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        Groups().make("left", {})
        os.write(writer, b"x")
        signal.pause()
    assert os.read(reader, 1)
    os.close(reader)
    os.close(writer)
    (theirs,) = base().glob(f"{PREFIX}{child}-*")
    sweep(base())
    assert theirs.exists()  # its maker lives
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert theirs.exists()
    GROUPS.make("next", {}).remove()
    assert not theirs.exists()


def test_a_group_is_made_while_others_sweep() -> None:
    """Between its making and its lock a group may be taken for one that a dead process has left."""
    place, over = base(), threading.Event()

    def sweeping() -> None:
        while not over.is_set():
            sweep(place)

    sweepers = [threading.Thread(target=sweeping) for _ in range(3)]
    for one in sweepers:
        one.start()
    try:
        for _ in range(100):
            made = Groups().make("test", {})
            assert made.path.is_dir()
            made.remove()
    finally:
        over.set()
        for one in sweepers:
            one.join()
    assert not left()


def test_who_is_left_in_an_abandoned_group_is_not_ended() -> None:
    abandoned = base() / f"{PREFIX}0-test"
    inside = abandoned / cgroups.SELF
    inside.mkdir(parents=True)
    child = subprocess.Popen(["sleep", "1000"])
    try:
        (inside / "cgroup.procs").write_text(str(child.pid))
        sweep(base())
        assert inside.exists() and child.poll() is None
    finally:
        child.kill()
        child.wait()
    sweep(base())
    assert not abandoned.exists()


def test_a_controller_that_is_not_there_is_named() -> None:
    assert "lacks the controller imagined" in cgroups.why_missing(["imagined"])
    with pytest.raises(cgroups.Unavailable):
        GROUPS.make("test", {"imagined.max": "1"})
    assert not left()


@pytest.mark.skipif(not cgroups.why_missing(), reason="the machine gives groups with all controllers")
def test_where_there_is_none_it_is_told_and_something_else_is_used() -> None:
    spec = LimitsSpec(memory="64M", cpus=0.5, files=64)
    found = allow(spec)
    assert found.group is None and found.processors == 1
    assert [one[1] for one in found.resources] == [64, 64 << 20]
    assert "memory: this machine gives no control group to us (" in found.notes[0]
    assert found.notes[0].endswith("RLIMIT_DATA is used instead") and "cpus: " in found.notes[1]
    spec.strict = True
    with pytest.raises(ConfigError, match="gives no control group"):
        allow(spec)


@PROGRAMS
@pytest.mark.skipif(not cgroups.why_missing(), reason="the machine gives groups with all controllers")
def test_processors_instead_of_their_time() -> None:
    output = Output()
    with two_kernels() as (here, _):
        guest = here.run(["nproc"], stdout=output.fd, limits={"cpus": 0.5})
        assert guest.wait(60) == 0 and len(guest.notes) == 1
        guest.close()
    assert output.text() == "1\n"


def test_limits_by_names() -> None:
    spec = limits_from({"files": "64", "memory": "1M", "cpus": "0.5", "strict": "true", "core": None})
    assert spec == LimitsSpec(files=64, memory="1M", cpus=0.5, strict=True)
    assert limit_numbers(spec) == {"files": 64, "memory": 1 << 20, "cpus": 0.5}
    for given, text in (
        ({"file": 1}, 'did you mean "files"'),
        ({"files": "x"}, "'x' is not a number"),
        ({"cpus": 0}, "cpus: 0.0 is not"),
    ):
        with pytest.raises(ConfigError) as caught:
            limits_from(given)
        assert text in str(caught.value)


# With controllers -----------------------------------------------------------------------------------------------------

FULL = "grown = []\nwhile True: grown.append(bytearray(1 << 20))"
CHILDREN = """
import errno, os, time
try:
    for _ in range(40):
        if not os.fork(): time.sleep(60)
except OSError as problem:
    print(errno.errorcode[problem.errno])
"""


@PROGRAMS
@pytest.mark.needs("cgroup-memory")
def test_all_processes_together_reach_the_memory_and_are_ended() -> None:
    with two_kernels() as (here, _):
        command = ["sh", "-c", f'sleep 1000 & {PYTHON} -S -c "$0"; exec sleep 1000', FULL]
        guest = here.run(command, limits={"memory": "48M", "strict": True})
        assert not guest.notes
        assert guest.wait(120) == -signal.SIGKILL and guest.killed_for_memory()
        guest.close()
    assert not left()


@PROGRAMS
@pytest.mark.needs("cgroup-memory")
def test_a_program_knows_its_memory_and_stays_below_it() -> None:
    output = Output()
    with two_kernels() as (here, _):
        guest = here.run(["cat", "/sys/fs/cgroup/memory.max"], stdout=output.fd, limits={"memory": "48M"})
        assert guest.wait(60) == 0 and not guest.killed_for_memory()
        guest.close()
    assert output.text() == f"{48 << 20}\n"


@PROGRAMS
@pytest.mark.needs("cgroup-pids")
def test_processes_of_root_are_counted_too() -> None:
    output = Output()
    with two_kernels() as (here, _):
        guest = here.run([PYTHON, "-S", "-c", CHILDREN], stdout=output.fd, limits={"processes": 20})
        wait_for(lambda: "EAGAIN" in output.text())
        guest.close()
    assert not left()


@PROGRAMS
@pytest.mark.needs("cgroup-cpu", "cgroup-memory", "cgroup-pids")
def test_a_busy_program_has_its_part_of_a_processor_and_its_use_is_told() -> None:
    with two_kernels() as (here, _):
        guest = here.run(["sh", "-c", "while :; do :; done"], limits={"cpus": 0.2, "memory": "64M", "processes": 9})
        assert guest.group is not None
        statistics = guest.group.path / "cpu.stat"
        wait_for(lambda: "nr_throttled 0\n" not in statistics.read_text())
        assert (guest.group.path / "cpu.max").read_text() == "20000 100000\n"
        used = guest.group.use()
        assert used["tasks"] == 1 and used["cpu"] > 0 and 0 < used["memory"] <= 64 << 20
        guest.close()
