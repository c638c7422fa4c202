"""Guests on real kernels: kernels on a switch of one host, and a program on one of them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rumpkit.compose.kernel import Kernel
from rumpkit.guests.linux.guest import Guest
from tests.guests.linux.sandbox_helpers import PYTHON

PROGRAMS = Path(__file__).parent / "programs"
HERE = "10.9.0.1"
THERE = "10.9.0.2"
HERE6 = "fd00:9::1"
THERE6 = "fd00:9::2"


@contextmanager
def two_kernels() -> Iterator[tuple[Kernel, Kernel]]:
    """Two kernels of one host, at HERE and THERE."""
    name = f"switch:test{os.getpid()}"
    with Kernel(net=name, address=f"{HERE}/24") as here, Kernel(net=name, address=f"{THERE}/24") as there:
        yield here, there


@contextmanager
def two_kernels_with_ipv6() -> Iterator[tuple[Kernel, Kernel]]:
    """The same, with both versions of IP."""
    name = f"switch:test{os.getpid()}"
    at_once = {"net.ip6.dad_transmits": 0}
    with (
        Kernel(net=name, address=[f"{HERE}/24", f"{HERE6}/64"], sysctl=at_once) as here,
        Kernel(net=name, address=[f"{THERE}/24", f"{THERE6}/64"], sysctl=at_once) as there,
    ):
        yield here, there


class Output:
    """What a program writes, in a file that any user may write to."""

    def __init__(self) -> None:
        self.fd = os.open(tempfile.gettempdir(), os.O_TMPFILE | os.O_RDWR, 0o600)

    def __del__(self) -> None:
        os.close(self.fd)

    def text(self) -> str:
        return os.pread(self.fd, 1 << 20, 0).decode()


@contextmanager
def guest(kernel: Kernel, command: list[str], output: Output | None = None) -> Iterator[Guest]:
    """A program on a kernel."""
    one = kernel.run(command, stdout=output.fd if output else None)
    try:
        yield one
    finally:
        one.close()


@contextmanager
def python(kernel: Kernel, code: str, output: Output | None = None) -> Iterator[Guest]:
    """A Python program on a kernel."""
    preamble = "import os, select, signal, socket, struct, sys, threading, time\nHERE, THERE = '10.9.0.1', '10.9.0.2'\n"
    preamble += "HERE6, THERE6 = 'fd00:9::1', 'fd00:9::2'\n"
    with guest(kernel, [PYTHON, "-S", "-u", "-c", preamble + code], output) as one:
        yield one
