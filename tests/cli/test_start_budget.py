"""What is loaded to start a program, by count and by name: times depend on the machine, this does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

import build_native

pytestmark = pytest.mark.once

MOST_MODULES = 345
"""Of all modules, Python's own included, once `rump run true` has done its work."""
MOST_OF_THE_STARTER = 60
HEAVY = (
    "ast", "asyncio", "dataclasses", "hashlib", "inspect", "json", "locale", "msgspec", "pathlib", "rich", "shutil", "subprocess",
    "tempfile", "termios", "tomllib", "urllib.parse", "zipfile",
)  # fmt: skip
"""What costs a millisecond and more, and a start has no use for."""
LATER = (
    "rumpkit.clients.control.session", "rumpkit.clients.fuse.wire", "rumpkit.compose.supervise.service", "rumpkit.guests.linux.proctree",
    "rumpkit.net.socket.datagram", "rumpkit.net.socket.ping", "rumpkit.net.socket.stream", "rumpkit.vfs.vfs",
)  # fmt: skip
"""Parts of ours that wait until a program, or somebody else, asks for them: a program may well not."""
AT_LEISURE = ("rumpkit.guests.linux.calls", "rumpkit.guests.linux.context", "rumpkit.guests.linux.carrier")
"""Those that are loaded beside the program's start."""
HEAVY_FOR_VERBS = ("asyncio", "msgspec", "rich", "rumpkit.compose.kernel", "rumpkit.guests.linux.guest")
MODULES = "sys.modules"
NAMED = """[
    f"{kind.__module__}.{kind.__name__}"
    for name, module in sys.modules.items() if name.startswith("rumpkit.")
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")
    if kind.__new__.__module__ != "rumpkit.hyper.named"
]"""
"""Classes of named tuples that Python has made."""
RUN = """
import os, sys
from rumpkit.cli.entry import main
leave = os._exit
def told(status):
    print("\\n".join({what}), flush=True)
    leave(status)
os._exit = told
sys.argv = ["rump", *{words!r}]
main()
"""
TRUE = ["run", "--quiet", "--", "/bin/true"]


def loaded(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=100, check=False)
    return set(done.stdout.split("\n"))


@pytest.mark.needs("linux", "seccomp", "netns")
def test_a_program_starts_without_what_it_has_no_use_for():
    modules = loaded(RUN.format(words=TRUE, what=MODULES))
    assert "rumpkit.guests.linux.guest" in modules
    assert sorted(modules & {*HEAVY, *LATER}) == []
    assert len(modules) <= MOST_MODULES


def test_what_answers_a_programs_calls_is_not_loaded_before_it_is_started():
    modules = loaded("import sys, rumpkit.cli.run; print('\\n'.join(sys.modules))")
    assert "rumpkit.guests.linux.guest" in modules
    assert sorted(modules & set(AT_LEISURE)) == []


@pytest.mark.needs("linux", "seccomp", "netns")
def test_named_tuples_of_a_start_are_those_that_cost_little():
    """Python's own take a tenth of a millisecond each; compiled modules have to have them."""
    hot = set(build_native.hot_modules())
    named = loaded(RUN.format(words=TRUE, what=NAMED)) - {""}
    assert sorted(one for one in named if one.rpartition(".")[0] not in hot) == []


def test_the_starter_of_programs_loads_little():
    modules = loaded("import sys; import rumpkit.guests.linux.ready; print('\\n'.join(sys.modules))")
    assert not modules & {*HEAVY, "typing", "re", "socket", "signal", "enum"}
    bare = loaded("import sys; print('\\n'.join(sys.modules))")
    assert len(modules - bare) <= MOST_OF_THE_STARTER


@pytest.mark.parametrize("words", [["--version"], ["ps"], ["completion", "--help"], ["fs", "ls", "--help"]])
def test_verbs_that_start_nothing_load_no_kernel(words, tmp_path, monkeypatch):
    monkeypatch.setenv("RUMPKIT_RUNTIME_DIR", str(tmp_path))
    tmp_path.chmod(0o700)
    code = RUN.format(words=words, what=MODULES).replace(
        "main()\n", "try:\n    main()\nexcept SystemExit:\n    told(0)\n"
    )
    modules = loaded(code)
    assert "rumpkit.cli.main" in modules
    assert sorted(modules & set(HEAVY_FOR_VERBS)) == []
