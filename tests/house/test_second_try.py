"""The second try of a failed test (tests/conftest.py): when the others are done, once, and told in the summary."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.house.files import ROOT

pytestmark = pytest.mark.once

CLI = """
import pathlib, pytest

def log(name):
    with open("log", "a") as file:
        print(name, file=file)
    return pathlib.Path("log").read_text().split().count(name)

@pytest.fixture(scope="module")
def shared():
    yield log("made")
    log("gone")

def test_now_and_then(shared, tmp_path):
    assert log("now-and-then") == 2

def test_never():
    assert not log("never")

def test_skipped_then():
    assert log("skipped-then") == 2
    pytest.skip()

def test_always(shared):
    log("always")
"""
LAB = """
def test_strict():
    with open("log", "a") as file:
        print("strict", file=file)
    assert False
"""

Run = Callable[..., tuple[str, dict[str, Any], list[str]]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs pytest on those two files: its output, its tally, and who ran in which order."""
    for name, text in (("cli/test_real.py", CLI), ("lab/test_strict.py", LAB)):
        file = tmp_path / "tests" / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
    (tmp_path / "tests" / "house").mkdir()
    for name in ("conftest.py", "house/resources.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests" / name)
    (tmp_path / "hypothesis.py").write_text("raise ImportError  # it would take time\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\nmarkers = needs: x\n once: x\n")

    def run(*arguments: str, status: int = 1) -> tuple[str, dict[str, Any], list[str]]:
        ours = ("PYTEST_", "RUMPKIT_", "COV_")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        environment |= {"PYTHONPATH": f"{tmp_path}:{ROOT / 'src'}", "RUMPKIT_TEST_TALLY": "tally"}
        environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "xdist.plugin"}
        command = [sys.executable, "-m", "pytest", "-rfE", "-p", "no:cacheprovider", *arguments, "tests"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout, json.loads((tmp_path / "tally").read_text()), (tmp_path / "log").read_text().split()

    return run


@pytest.mark.parametrize("spread", [[], ["-n2", "--dist=loadfile"]], ids=" ".join)
def test_it_comes_when_the_others_are_done(run: Run, spread: list[str]) -> None:
    said, tally, log = run(*spread)
    file = "tests/cli/test_real.py"
    assert tally["counts"] == {"passed": 2, "failed": 3, "error": 0, "skipped": 0, "xfailed": 0, "xpassed": 0}
    assert tally["again"] == [f"{file}::test_{name}" for name in ("now_and_then", "never", "skipped_then")]
    assert [name for name in log if name != "strict"] == [
        *("made", "now-and-then", "never", "skipped-then", "always", "gone"),
        *("made", "now-and-then", "gone", "never", "skipped-then"),
    ]
    assert log.count("strict") == 1
    assert f"needed a second try: {file}::test_now_and_then: call: " in said
    failed = {line.split()[1] for line in said.splitlines() if line.startswith("FAILED")}
    assert failed == {f"{file}::test_never", f"{file}::test_skipped_then", "tests/lab/test_strict.py::test_strict"}


def test_there_is_none_where_the_first_failure_is_to_end_the_run(run: Run) -> None:
    _, tally, log = run("-x")
    assert (log, tally["again"]) == (["made", "now-and-then", "gone"], [])


def test_an_interrupted_run_tells_what_has_failed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "tests" / "lab" / "test_strict.py").write_text("def test_strict():\n    raise KeyboardInterrupt\n")
    _, tally, _ = run(status=2)
    assert (tally["counts"]["failed"], tally["again"]) == (3, [])


def test_what_a_worker_takes_with_it_is_a_failure(run: Run, tmp_path: Path) -> None:
    """Its first try failed, and in the second the process ends, when nobody waits for anything of it any more."""
    (tmp_path / "tests" / "lab" / "test_strict.py").write_text("def test_fine():\n    pass\n")
    (tmp_path / "tests" / "cli" / "test_real.py").write_text(
        "import os, pathlib\n"
        "def test_fatal():\n"
        "    log = pathlib.Path('log')\n"
        "    if log.exists():\n        os._exit(0)\n"
        "    log.write_text('fatal')\n    assert False\n"
    )
    said, tally, _ = run("-n2", "--dist=loadfile")
    assert "lost, as a process ended before it could tell: tests/cli/test_real.py::test_fatal" in said
    assert (tally["counts"]["passed"], tally["counts"]["error"]) == (1, 1)
