"""Runs `rump fs` for the tests of it."""

import subprocess
import sys

from rumpkit.compose.image.outside import outside

RUMP = (sys.executable, "-m", "rumpkit.cli", "fs")


def rump(*words, check=0, stdin=b"", env=None):
    """Run it; what it prints.  Its exit code must be `check`."""
    done = subprocess.run([*RUMP, *map(str, words)], input=stdin, capture_output=True, env=env)
    assert done.returncode == check, (words, done.returncode, done.stderr.decode())
    return done.stdout


def complaint(*words, check=1):
    """Run it; what it says on stderr."""
    done = subprocess.run([*RUMP, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == check, (words, done.returncode, done.stderr)
    return done.stderr


def clean(image, *, kind):
    """What other people's tools say of the image: nothing."""
    command = ["fsck.fat", "-n", image] if kind == "vfat" else ["e2fsck", "-fn", image]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def host(path):
    """The node of a host path."""
    return outside(str(path).encode())
