"""Runs `rump fs` for the tests of it: in this process, as most of a command's time is Python's own start."""

import io
import os
import subprocess
import sys
from contextlib import contextmanager

from rumpkit.cli.main import main
from rumpkit.compose.image.outside import outside

RUMP = (sys.executable, "-m", "rumpkit.cli", "fs")
"""For tests that kill it, or leave it behind."""


@contextmanager
def _streams(stdin, env):
    before = sys.stdin, sys.stdout, sys.stderr, dict(os.environ)
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), "utf-8", "surrogateescape")
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape") for _ in range(2))
    os.environ.update(env or {})
    try:
        yield sys.stdout, sys.stderr
    finally:
        sys.stdin, sys.stdout, sys.stderr = before[:3]
        os.environ.clear()
        os.environ.update(before[3])


def run(*words, stdin=b"", env=None):
    """Run it; its exit code, and what it prints on stdout and stderr."""
    with _streams(stdin, env) as streams:
        try:
            code: object = main(["fs", *map(str, words)])
        except SystemExit as end:
            code = end.code
        printed = []
        for stream in streams:
            stream.flush()
            printed.append(stream.buffer.getvalue())
    return code, *printed


def rump(*words, check=0, stdin=b"", env=None):
    """Run it; what it prints.  Its exit code must be `check`."""
    code, out, err = run(*words, stdin=stdin, env=env)
    assert code == check, (words, code, err.decode())
    return out


def complaint(*words, check=1):
    """Run it; what it says on stderr."""
    code, _, err = run(*words)
    assert code == check, (words, code, err.decode())
    return err.decode("utf-8", "surrogateescape")


def apart(*words):
    """Run it in a process of its own; what it prints."""
    return subprocess.run([*RUMP, *map(str, words)], capture_output=True, check=True).stdout


def clean(image, *, kind):
    """What other people's tools say of the image: nothing."""
    command = ["fsck.fat", "-n", image] if kind == "vfat" else ["e2fsck", "-fn", image]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def host(path):
    """The node of a host path."""
    return outside(str(path).encode())
