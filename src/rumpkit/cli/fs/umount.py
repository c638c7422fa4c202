"""`rump fs umount`: take away what `rump fs mount` has mounted."""

import argparse
import fcntl
import os
import subprocess

from ...compose.image.node import failure
from ...kern.abi.errno import EBUSY, EINVAL
from .. import exit as code
from .common import Complaints, add_paths
from .outcome import ask, await_end, mounted_on

DESCRIPTION = """\
Unmount directories that rump fs mount has mounted, and wait until their images are complete and free.  What the server of one could
not write or commit is said, and the exit code is 1 then."""
EPILOG = """\
examples:
  rump fs umount ./dir
  rump fs umount -l ./dir       now, though somebody uses it
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_paths(parser, "directories", "DIR", "+", "the directories")
    parser.add_argument("-l", "--lazy", action="store_true", help="now, though somebody uses it")


def run(arguments: argparse.Namespace) -> int:
    """Unmount."""
    complaints = Complaints()
    for directory in arguments.directories:
        with complaints.caught(directory):
            _unmount(directory, arguments.lazy)
    return complaints.code(code.OK)


def _unmount(directory: str, lazy: bool) -> None:
    where = os.path.realpath(directory)
    mounted = mounted_on(where)
    if mounted is None:
        raise failure(EINVAL, "no image is mounted there")
    if lazy:
        _take_away(where, True)
        return
    line = ask(mounted)
    if line is None:
        _take_away(where, False)
        if os.path.isabs(mounted.source) and os.path.exists(mounted.source):
            _await(mounted.source)
        return
    with line:
        _take_away(where, False)
        await_end(line)


def _take_away(where: str, lazy: bool) -> None:
    words = ["umount", "-l"] if lazy else ["umount"]
    if os.geteuid() != 0:
        words = ["fusermount3", "-u", "-z"] if lazy else ["fusermount3", "-u"]
    done = subprocess.run([*words, "--", where], capture_output=True, text=True)
    if done.returncode != 0:
        text = done.stderr.strip().rpartition(": ")[2] or f"{words[0]} has failed"
        raise failure(EBUSY, f"{text} (-l unmounts it nevertheless)" if "busy" in text else text)


def _await(image: str) -> None:
    """Wait until the server has let the image go: it locks it as long as it writes."""
    with open(image, "rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
