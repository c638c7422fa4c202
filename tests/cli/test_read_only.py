"""What `rump run` says at the end of a program that failed because it could not write."""

from __future__ import annotations

from pathlib import Path

import pytest

from rumpkit.cli.read_only import advice, says_so
from rumpkit.compose.supervise.output import Entry, Log
from rumpkit.guests.linux.plan import ProgramPlan, ShownMount
from rumpkit.guests.linux.root import Root, Scratch
from tests.system.helpers.rump import rump

pytestmark = pytest.mark.once
RUNS = pytest.mark.needs("linux", "seccomp", "userns")


def planned(root: Root | None, *shown: ShownMount) -> ProgramPlan:
    return ProgramPlan(["touch", "x"], directory="/srv/data", root=root, shown=shown)


def test_the_folder_is_named_unless_it_may_be_written_to() -> None:
    scratch = Scratch()
    told = "is read-only for the program: give it with --writable"
    assert advice(planned(Root(scratch))).startswith(f"/srv/data {told} ")
    assert advice(planned(Root(scratch))).endswith('(config: writable = ["/srv/data"])')
    assert told in advice(planned(Root(scratch, writable=["/srv/other"]), ShownMount("/srv/data", True)))
    for plan in (
        planned(Root(scratch, writable=["/srv"])),
        planned(Root(scratch), ShownMount("/srv/data")),
        planned(None),
    ):
        assert "--writable DIR" in advice(plan)
    assert "root_writable" in advice(planned(Root(scratch, source="/srv/root")))


def test_only_what_the_program_says_counts() -> None:
    log = Log(1 << 16)
    log.add(Entry(1, 0.0, "rump", "Read-only file system"))
    log.add(Entry(2, 0.0, "err", "Permission denied"))
    assert not says_so(log)
    log.add(Entry(3, 0.0, "err", "touch: cannot touch 'x': Read-only file system"))
    assert says_so(log)


def run(*words: str) -> str:
    """What it prints on stderr."""
    return rump("run", "--no-control", *words)[2]


@RUNS
def test_a_traced_program_that_was_refused_is_helped(tmp_path: Path) -> None:
    trace = ["-e", "openat", "-o", str(tmp_path / "trace")]
    told = run(*trace, "--", "touch", "/usr/x")
    text = '/ is read-only for the program: give it with --writable . (config: writable = ["/"])'
    assert f"rump: touch: {text}\n" in told
    assert "read-only" not in run(*trace, "--", "sh", "-c", "touch /usr/x || true")  # which succeeds in the end


@RUNS
@pytest.mark.long
def test_nobody_else_is(tmp_path: Path) -> None:
    trace = ["-e", "openat", "-o", str(tmp_path / "trace")]
    for words in (
        [*trace, "--", "false"],
        ["--", "touch", "/usr/x"],  # which nobody hears of
        [*trace, "--writable", str(tmp_path), "--", "touch", str(tmp_path / "x")],
    ):
        assert "read-only" not in run(*words)


@RUNS
@pytest.mark.parametrize(
    ("outlet", "helped"),
    [
        ("prefix", True),
        pytest.param("log", True, marks=pytest.mark.long),
        pytest.param("inherit", False, marks=pytest.mark.long),
    ],
)
def test_one_whose_output_goes_through_us_is_helped(outlet: str, helped: bool, tmp_path: Path) -> None:
    config = tmp_path / "writes.toml"
    config.write_text(f'[[run]]\ncommand = ["touch", "x"]\ncwd = "{tmp_path}"\nstderr = "{outlet}"\n')
    told = run(str(config))
    assert (f"rump: touch: {tmp_path} is read-only for the program: give it with --writable " in told) == helped
