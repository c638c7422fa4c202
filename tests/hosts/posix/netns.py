"""A network namespace of its own for the calling thread, and threads it starts, while a test runs."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator

CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def network_namespace() -> Iterator[None]:
    """Move the calling thread to a new network namespace, and back."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            ip("link set lo up")
            yield
        finally:
            if libc.setns(before, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(before)


def ip(command: str) -> str:
    """Run an `ip` command in the calling thread's namespace."""
    return subprocess.run(["ip", *command.split()], check=True, capture_output=True, text=True).stdout
