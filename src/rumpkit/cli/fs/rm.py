"""`rump fs rm`: remove files."""

import argparse
import os

from ...compose.image.node import failure
from ...compose.image.removing import remove_tree
from ...kern.abi.errno import EBUSY, EISDIR, ENOENT
from .common import Complaints, Session, add_in_place, add_paths, changing, parse, parse_inside
from .progress import Watch, expect

DESCRIPTION = "Remove files, and with -r directories with all that is in them.  Nobody is asked first."
EPILOG = """\
examples:
  rump fs rm disk.img:/etc/machine-id
  rump fs rm -rf disk.img:/var/cache/apt

Exits with 1 where something could not be removed; the rest is.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_paths(parser, "paths", "IMAGE:PATH", "+", "what to remove")
    parser.add_argument("-r", "-R", dest="recursive", action="store_true", help="directories, too")
    parser.add_argument("-f", dest="force", action="store_true", help="what is not there is no failure")
    parser.add_argument("-d", dest="directories", action="store_true", help="empty directories, too")
    add_in_place(parser)


def run(arguments: argparse.Namespace) -> int:
    """Remove."""
    with Watch("removing") as watch:
        return changing(arguments, lambda session, complaints: _remove(session, complaints, arguments, watch))


def _remove(session: Session, complaints: Complaints, arguments: argparse.Namespace, watch: Watch) -> None:
    expect(watch, session, [parse(text) for text in arguments.paths])
    for text in arguments.paths:
        with complaints.caught(text):
            address = parse_inside(text)
            try:
                directory, name = session.place(address, write=True)
                node = directory.child(name) if name else None
            except OSError as problem:
                if problem.errno == ENOENT and arguments.force:
                    continue
                raise
            if not name:
                raise failure(EBUSY, "a root directory stays")
            if node is None:
                if arguments.force:
                    continue
                raise failure(ENOENT)
            if node.is_directory() and not arguments.recursive:
                if not arguments.directories:
                    raise failure(EISDIR, "it is a directory (-r removes it with all that is in it)")
                directory.remove(name, node)
                node.close()
                continue
            remove_tree(node, directory, name, os.fsencode(text), complaints, watch)
            node.close()
