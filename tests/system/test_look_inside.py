"""docs/howto/look-inside.md: its transcripts are what `rump net` really says, but for the numbers."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rumpkit.clients.control import answers
from rumpkit.net.meanings import MEANINGS, meaning
from tests.system.helpers.rump import Rump, search_path
from tests.system.test_net_eyes import CHATTER

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "look-inside.md"
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands() -> list[tuple[str, list[str]]]:
    """Each command of the page, and the lines that it is shown to say."""
    found: list[tuple[str, list[str]]] = []
    for block in BLOCK.findall(PAGE.read_text("utf-8")):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def shape(line: str) -> str:
    """A line without its numbers, MAC addresses and widths."""
    line = re.sub(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", "MAC", line)
    line = re.sub(r"ssthresh=\S+", "ssthresh=N", line)
    return " ".join(re.sub(r"\d+(?:\.\d+)?", "N", line).split())


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Where the commands run, beside a kernel whose program talks to itself."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        runtime = Path(name, "run")
        runtime.mkdir(mode=0o700)
        with Rump("run", "--", sys.executable, "-c", CHATTER, env={"RUMPKIT_RUNTIME_DIR": str(runtime)}) as running:
            assert running.process.stdout is not None
            assert running.process.stdout.readline() == "ready\n"
            yield Path(name)


@pytest.mark.needs("seccomp", "userns")
@pytest.mark.parametrize(("command", "lines"), [pytest.param(*one, id=one[0]) for one in commands()])
def test_a_transcript_is_what_is_said(command: str, lines: list[str], folder: Path) -> None:
    words = command.split()
    if words[0] == "rump":
        words[:1] = [sys.executable, "-m", "rumpkit.cli"]
    elif shutil.which(words[0]) is None:
        pytest.skip(f"missing: {words[0]}")
    environment = {**os.environ, "PYTHONPATH": search_path(), "RUMPKIT_RUNTIME_DIR": str(folder / "run")}
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    said = {shape(line) for line in (done.stdout + done.stderr).splitlines()}
    assert lines
    for line in lines:
        assert shape(line) in said


def test_the_page_has_transcripts() -> None:
    assert len(commands()) >= 10


def known_counters() -> list[str]:
    """Counters and gauges of a kernel with everything."""
    tool = importlib.util.spec_from_file_location("reference", PAGE.parents[2] / "tools" / "reference.py")
    assert tool is not None and tool.loader is not None
    module = importlib.util.module_from_spec(tool)
    tool.loader.exec_module(module)
    kernel = module.full_kernel()
    gauges = answers.gauges(kernel)
    while True:
        try:
            next(gauges)
        except StopIteration as end:
            return [*dict(kernel.counters), *end.value]


def test_every_counter_has_a_meaning() -> None:
    missing = [name for name in known_counters() if not meaning(name)]
    assert missing == [], "write into net/meanings.py what they count"


def test_meanings_are_of_counters_that_are_there() -> None:
    known = {f"interface.{one.rpartition('.')[2]}" if one.startswith("interface.") else one for one in known_counters()}
    of_one_version_only = {"ip.beyond_scope", "ip.atomic_fragments"}
    assert [one for one in MEANINGS if one not in known | of_one_version_only] == []
