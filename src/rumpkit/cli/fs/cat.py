"""`rump fs cat`: print files."""

import argparse
import sys

from ...compose.image.node import failure
from ...kern.abi.errno import EISDIR
from ...kern.abi.fcntl import S_IFREG
from .common import Complaints, Output, Session, add_paths, parse
from .progress import Watch, expect

DESCRIPTION = "Print files of images, one after the other."
EPILOG = """\
examples:
  rump fs cat disk.img:/etc/os-release
  rump fs cat disk.img@1:/initrd.gz | zcat | cpio -t

Exits with 1 where one could not be read; the others are printed.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_paths(parser, "paths", "IMAGE:PATH", "+", "the files; - is the standard input")


def run(arguments: argparse.Namespace) -> int:
    """Print."""
    complaints = Complaints()
    output = Output()
    with Watch("reading", at_once=True) as watch, Session() as session:
        expect(watch, session, [parse(text) for text in arguments.paths if text != "-"])
        for text in arguments.paths:
            with complaints.caught(text):
                if text == "-":
                    while data := sys.stdin.buffer.read(1 << 16):
                        output.write(data)
                    continue
                node = session.node(parse(text))
                if node.kind != S_IFREG:
                    raise failure(EISDIR, "it is a directory" if node.is_directory() else "it is no regular file")
                for piece in node.content():
                    watch.copied(b"", len(piece))
                    output.write(piece)
                node.close()
        output.flush()
    return complaints.code()
