"""Some fifteen hundred checks of sockets come out as they do on Linux, but for what is meant (`helpers/guest_differences.py`)."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from rumpkit import Kernel
from tests.guests.linux.guest_helpers import HERE, HERE6, PROGRAMS, Output
from tests.hosts.posix.netns import ip, network_namespace
from tests.system.helpers.guest_differences import DIFFERENCES

pytestmark = [
    pytest.mark.needs("root", "tap", "netns", "ip", "seccomp", "ipv6", "linux"),
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) < (6, 11),
        reason="missing: Linux 6.11 (its unix sockets treat urgent data as TCP does)",
    ),
]
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
COMMAND = [PYTHON, "-S", str(PROGRAMS / "transcript.py")]
CHECKS = 1000
"""So many at least."""


def natively() -> str:
    """The transcript of Linux's own sockets, in a network like the kernel's."""
    with network_namespace():
        ip("tuntap add mode tap name rump0")
        ip(f"addr add {HERE}/24 dev rump0")
        ip(f"addr add {HERE6}/64 dev rump0 nodad")
        ip("link set rump0 up")
        # Which namespace's sysctls are shown, the opener's has to say.
        subprocess.run(["sh", "-c", "echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range"], check=True)
        return subprocess.run(COMMAND, capture_output=True, text=True, timeout=250).stdout


def as_a_guest() -> str:
    """The transcript of a program on a kernel."""
    output = Output()
    net, at_once = f"switch:transcript{os.getpid()}", {"net.ip6.dad_transmits": 0}
    with (
        Kernel(net=net, address=[f"{HERE}/24", f"{HERE6}/64"], sysctl=at_once) as kernel,
        kernel.run(COMMAND, stdout=output.fd) as program,
    ):
        assert program.wait(250) == 0
    return output.text()


def lines_of(text: str) -> dict[str, str]:
    """What came out, by theme and name."""
    found = {}
    for line in text.splitlines():
        theme, name, outcome = line.split(": ", 2)
        found[f"{theme}: {name}"] = outcome
    return found


def test_sockets_behave_as_linux_has_them() -> None:
    native, ours = lines_of(natively()), lines_of(as_a_guest())
    assert len(native) >= CHECKS
    assert [name for name in native if "RAISED" in name] == []
    differing = {name for name in native.keys() | ours.keys() if native.get(name) != ours.get(name)}
    meant = {name for name in differing for one in DIFFERENCES if re.fullmatch(one.lines, name)}
    assert {name: (native.get(name), ours.get(name)) for name in sorted(differing - meant)} == {}
    idle = [one.subject for one in DIFFERENCES if not any(re.fullmatch(one.lines, name) for name in differing)]
    assert idle == [], "these are no differences any more"
