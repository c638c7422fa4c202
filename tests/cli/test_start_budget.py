"""What is loaded to start a program, by count and by name: times depend on the machine, this does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.once

MOST_MODULES = 370
"""Of all modules, Python's own included, once `rump run true` has done its work."""
MOST_OF_THE_STARTER = 60
HEAVY = (
    "ast", "asyncio", "dataclasses", "hashlib", "inspect", "json", "msgspec", "pathlib", "rich", "shutil", "subprocess", "tempfile",
    "termios", "tomllib", "urllib.parse", "zipfile",
)  # fmt: skip
"""What costs a millisecond and more, and a start has no use for."""
HEAVY_FOR_VERBS = ("asyncio", "msgspec", "rich", "rumpkit.compose.kernel", "rumpkit.guests.linux.guest")
RUN = """
import os, sys
from rumpkit.cli.entry import main
leave = os._exit
def told(status):
    print("\\n".join(sys.modules), flush=True)
    leave(status)
os._exit = told
sys.argv = ["rump", *{words!r}]
main()
"""


def loaded(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=100, check=False)
    return set(done.stdout.split("\n"))


@pytest.mark.needs("linux", "seccomp", "netns")
def test_a_program_starts_without_what_it_has_no_use_for():
    modules = loaded(RUN.format(words=["run", "--quiet", "--", "/bin/true"]))
    assert "rumpkit.guests.linux.guest" in modules
    assert sorted(modules & set(HEAVY)) == []
    assert len(modules) <= MOST_MODULES


def test_the_starter_of_programs_loads_little():
    modules = loaded("import sys; import rumpkit.guests.linux.ready; print('\\n'.join(sys.modules))")
    assert not modules & {*HEAVY, "typing", "re", "socket", "signal", "enum"}
    bare = loaded("import sys; print('\\n'.join(sys.modules))")
    assert len(modules - bare) <= MOST_OF_THE_STARTER


@pytest.mark.parametrize("words", [["--version"], ["ps"], ["completion", "--help"], ["fs", "ls", "--help"]])
def test_verbs_that_start_nothing_load_no_kernel(words, tmp_path, monkeypatch):
    monkeypatch.setenv("RUMPKIT_RUNTIME_DIR", str(tmp_path))
    tmp_path.chmod(0o700)
    code = RUN.format(words=words).replace("main()\n", "try:\n    main()\nexcept SystemExit:\n    told(0)\n")
    modules = loaded(code)
    assert "rumpkit.cli.main" in modules
    assert sorted(modules & set(HEAVY_FOR_VERBS)) == []
