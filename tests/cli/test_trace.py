"""What `--trace` prints of each call."""

from __future__ import annotations

import re

import pytest

from rumpkit import O_CREAT, O_RDWR, Kernel
from rumpkit.cli.trace import attach, show
from rumpkit.hosts.posix.host import PosixHost
from rumpkit.kern.abi.errno import ENOENT, error
from rumpkit.kern.wait import Blocked, WaitQueue


def test_values_as_strace_shows_them() -> None:
    assert show(7) == "7"
    assert show(b"ab\n") == r"b'ab\n'"
    assert show(bytes(40)) == repr(bytes(32)) + "+8"
    assert show(error(ENOENT)) == "-1 ENOENT (No such file or directory)"
    assert show(Blocked(WaitQueue(), 0)) == "..."


def test_a_kernels_calls_on_its_console(capfd: pytest.CaptureFixture[str]) -> None:
    host = PosixHost(console=2)
    with Kernel(mounts={"/": "tmpfs"}, host=host) as kernel:
        process = kernel.process()
        attach(kernel)
        fd = process.open("/file", O_RDWR | O_CREAT)
        process.write(fd, b"hello")
        with pytest.raises(OSError):
            process.stat("/none")
        kernel.core.trace.sink = None
        process.close(fd)
    host.close()
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 3, lines
    assert re.fullmatch(rf" +\d+\.\d{{6}} \[\d+\] open\(.*/file.*\) = {fd}", lines[0])
    assert lines[1].endswith(f"write({fd}, b'hello') = 5")
    assert lines[2].endswith("= -1 ENOENT (No such file or directory)")
