"""`rump run --capture` on several kernels: a file each, interfaces by name, readable while it runs, whole after Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.guests.linux.sandbox_helpers import PYTHON
from tests.system.helpers.rump import Rump

pytestmark = [pytest.mark.needs("seccomp", "userns", "tshark"), pytest.mark.once, pytest.mark.long]

CONFIG = """
[[switch]]
name = "lan"
[kernel.web]
[[kernel.web.interface]]
link = "switch:lan"
address = "10.0.0.1/24"
[[kernel.web.run]]
command = ["sleep", "1000"]
[kernel.user]
[[kernel.user.interface]]
link = "switch:lan"
address = "10.0.0.2/24"
[[kernel.user.interface]]
link = "user"
name = "out"
address = "10.0.2.15/24"
[[kernel.user.run]]
command = ["%s", "-u", "-S", "-c", "%s"]
"""
CODE = (
    r"import socket as s, time; u = s.socket(s.AF_INET, s.SOCK_DGRAM)\n"
    r"for to in ('10.0.0.1', '10.0.2.3', '127.0.0.1'): u.sendto(b'x', (to, 9))\n"
    r"print('sent'); time.sleep(1000)"
)


def frames(path: Path) -> set[tuple[str, ...]]:
    fields = ["-e", "frame.interface_name", "-e", "ip.dst"]
    command = ["tshark", "-r", str(path), "-Y", "udp", "-T", "fields", *fields]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {tuple(line.split("\t")) for line in done.stdout.splitlines()}


def test_a_file_for_each_kernel_with_every_interface(tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text(CONFIG % (PYTHON, CODE))
    run = Rump("run", "--capture", str(tmp_path / "x.pcapng"), str(tmp_path / "two.toml")).process
    with run:
        assert run.stdout is not None
        assert run.stdout.readline() == "sent\n"
        expected = {("vif0", "10.0.0.1"), ("out", "10.0.2.3"), ("lo", "127.0.0.1")}
        end = time.monotonic() + 60
        while True:  # what has been written is readable while it runs
            try:
                found = {(name, to.partition(",")[0]) for name, to in frames(tmp_path / "x-user.pcapng")}
            except subprocess.CalledProcessError:
                found = set()
            if expected <= found or time.monotonic() > end:
                break
            time.sleep(0.1)
        assert expected <= found
        run.send_signal(signal.SIGINT)
        run.wait(60)
    assert expected <= {(name, to.partition(",")[0]) for name, to in frames(tmp_path / "x-user.pcapng")}
    assert ("vif0", "10.0.0.1") in {(name, to.partition(",")[0]) for name, to in frames(tmp_path / "x-web.pcapng")}
