"""`rump fs umount`: take away what `rump fs mount` has mounted."""

import argparse
import fcntl
import os
import subprocess

from ...compose.image.node import failure
from ...kern.abi.errno import EBUSY, EINVAL
from .. import exit as code
from .common import Complaints, add_paths
from .mount import FUSE_TYPE

DESCRIPTION = "Unmount directories that rump fs mount has mounted, and wait until their images are complete and free."
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
    source = source_of(where)
    if source is None:
        raise failure(EINVAL, "no image is mounted there")
    words = ["umount", "-l"] if lazy else ["umount"]
    if os.geteuid() != 0:
        words = ["fusermount3", "-u", "-z"] if lazy else ["fusermount3", "-u"]
    done = subprocess.run([*words, "--", where], capture_output=True, text=True)
    if done.returncode != 0:
        text = done.stderr.strip().rpartition(": ")[2] or f"{words[0]} has failed"
        raise failure(EBUSY, f"{text} (-l unmounts it nevertheless)" if "busy" in text else text)
    if not lazy and os.path.isfile(source):
        _await(source)


def source_of(directory: str) -> str | None:
    """The image that is mounted on a directory, as the list of mounts says; None where none is."""
    found = None
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as listing:
        for line in listing:
            before, _, behind = line.partition(" - ")
            kind, source = behind.split(" ")[:2]
            if _plain(before.split(" ")[4]) == directory:
                found = _plain(source) if kind == FUSE_TYPE else None
    return found


def _plain(text: str) -> str:
    """A field of mountinfo without its escapes."""
    for escape, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(escape, letter)
    return text


def _await(image: str) -> None:
    """Wait until the server has let the image go: it locks it as long as it writes."""
    with open(image, "rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
