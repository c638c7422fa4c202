"""Linux's bridge with VLANs, in Debian 12's own kernel: many a machine's own kernel lacks both."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.system.helpers.machine import QEMU, Command, Machine, debian_kernel

pytestmark = [pytest.mark.long, pytest.mark.needs("linux", "processes", QEMU)]


@pytest.mark.timeout(1800)
def test_the_bridge_of_linux_61(tmp_path: Path) -> None:
    machine = Machine(debian_kernel("6.1"), tmp_path)
    words = ["-q", "-p", "no:cacheprovider", "--durations=5", "tests/system/test_net_bridge.py"]
    tests = Command(sys.executable, "-m", "pytest", *words)
    machine.run(tests, timeout=1700)
    print(f"Linux {machine.release} under {machine.accelerator}, {tests.seconds:.0f} s\n{tests.output}")
    assert tests.status == 0
    assert re.search(r"^5 passed", tests.output, re.MULTILINE), tests.output
