"""Transfers under `tc netem` with Debian 12's own kernel as the peer: many a machine's own kernel lacks netem."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.system.helpers.machine import QEMU, Command, Machine, debian_kernel

pytestmark = [pytest.mark.long, pytest.mark.needs("linux", "processes", QEMU)]


@pytest.mark.timeout(2700)
@pytest.mark.parametrize(
    ("which", "count"),
    [
        ("ten_megabytes and all", 4),
        pytest.param("ten_megabytes and not all", 12, marks=pytest.mark.needs("native")),
        pytest.param("hundred_megabytes and all", 4, marks=pytest.mark.needs("native")),
    ],
)
def test_transfers_are_byte_exact(which: str, count: int, tmp_path: Path) -> None:
    machine = Machine(debian_kernel("6.1"), tmp_path)
    words = ["-q", "-p", "no:cacheprovider", "--durations=5", "--long", "tests/system/test_net_netem.py", "-k", which]
    tests = Command(sys.executable, "-m", "pytest", *words)
    machine.run(tests, timeout=2600)
    print(f"Linux {machine.release} under {machine.accelerator}, {tests.seconds:.0f} s\n{tests.output}")
    assert tests.status == 0
    assert re.search(rf"^{count} passed, \d+ deselected", tests.output, re.MULTILINE), tests.output
