"""Guests on Debian 12's own kernel, 6.1, whatever this machine runs: as root and as an ordinary user."""

from __future__ import annotations

import os
import re
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.system.helpers.machine import QEMU, Command, Machine, debian_kernel
from tests.system.helpers.rump import EXAMPLES, NOBODY, Rump, descendants, eventually, interpreter

pytestmark = [
    pytest.mark.long,
    pytest.mark.once,  # what differs is Linux
    pytest.mark.needs("linux", "processes", QEMU),
    pytest.mark.timeout(1800),
    pytest.mark.parametrize("user", [0, os.getuid() or NOBODY], ids=["root", "ordinary"]),
]

CLOSING = re.compile(r"\d+ passed(, \d+ skipped)?(, \d+ deselected)?(, \d+ warnings?)? in [\d.]+s.*")
WHAT_6_1_HAS = ("linux", "seccomp", "netns", "userns")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(debian_kernel("6.1"), tmp_path)


def test_the_guests_own_tests(machine: Machine, user: int) -> None:
    words = [interpreter(user), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5", "tests/guests/linux"]
    # What they do as nobody when root runs them, the other run does as a whole.
    tests = Command(*words, "-k", "not nobody", user=user)
    machine.run(tests, timeout=1500)
    print(f"Linux {machine.release} under {machine.accelerator}, {tests.seconds:.0f} s\n{tests.output}")
    assert machine.release.startswith("6.1")
    assert tests.status == 0
    (closing,) = [line for line in tests.output.splitlines() if " passed" in line]
    assert CLOSING.fullmatch(closing), closing
    for name in WHAT_6_1_HAS:
        assert f"skipped because missing: {name}" not in tests.output


OF_THE_CATALOGUE = {
    "redis-replica": r"OK\n1\nhello from the primary\n",
    "git/git": r"A greeting\nhello from git\n",
    "audio/mpg123": r"tone.wav: \d{5} bytes\n",
}
"""Examples that end by themselves, and what their clients say."""


def test_programs_of_the_catalogue(machine: Machine, user: int) -> None:
    runs = {
        name: Command(interpreter(user), "-m", "rumpkit.cli", "run", str(EXAMPLES / f"{name}.toml"), user=user)
        for name in OF_THE_CATALOGUE
    }
    machine.run(*runs.values(), timeout=1500)
    assert machine.release.startswith("6.1")
    for name, said in OF_THE_CATALOGUE.items():
        print(f"{name}: {runs[name].seconds:.0f} s on Linux {machine.release}\n{runs[name].output}")
        assert runs[name].status == 0
        assert re.search(said, runs[name].output)


def test_a_web_server_through_a_forward(machine: Machine, user: int) -> None:
    here = "from tests.system.test_linux61 import fetch; fetch()"
    fetching = Command(interpreter(user), "-c", here, user=user)
    machine.run(fetching, timeout=600)
    print(f"Linux {machine.release} under {machine.accelerator}, {fetching.seconds:.0f} s\n{fetching.output}")
    assert machine.release.startswith("6.1")
    assert fetching.status == 0
    assert fetching.output.splitlines()[-1] == f"{user} fetched 5000000 bytes on {machine.release}"


def fetch() -> None:
    """Inside: `rump run` with a web server, a client beside it, and a clean end."""
    folder = Path("/tmp/served")
    folder.mkdir()
    sent = os.urandom(5_000_000)
    (folder / "file").write_bytes(sent)
    server = [sys.executable, "-m", "http.server", "8000", "--directory", str(folder)]
    with Rump("run", "--forward", "0 -> 8000", "--", *server, user=0) as running:
        (port,) = running.forwards()

        got: list[bytes] = []
        eventually(lambda: _get(port, got), 120)
        children = descendants(running.process.pid)
        assert children
        assert running.stop() == 128 + 15, running.errors
    assert got == [sent]
    assert not [child for child in children if os.path.exists(f"/proc/{child}")]
    print(f"{os.getuid()} fetched {len(got[0])} bytes on {os.uname().release}")


def _get(port: int, got: list[bytes]) -> bool:
    """Fetch the file; False if nobody answers yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/file", timeout=60) as response:
            got.append(response.read())
    except OSError:
        return False
    return True
