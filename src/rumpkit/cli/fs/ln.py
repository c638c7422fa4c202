"""`rump fs ln`: make links."""

import argparse
import os

from ...compose.image.inside import Inside
from ...compose.image.node import failure
from ...compose.image.session import named
from ...kern.abi.errno import EISDIR, EXDEV
from .common import Session, add_in_place, add_paths, changing, parse, parse_inside

DESCRIPTION = "Give a file a further name, or with -s make a symbolic link."
EPILOG = """\
examples:
  rump fs ln -s /proc/mounts disk.img:/etc/mtab
  rump fs ln disk.img:/bin/busybox disk.img:/bin/sh

Into a directory that is there, the link gets the target's own name.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_paths(parser, "target", "TARGET", None, "the file (IMAGE:PATH); with -s any text")
    add_paths(parser, "link", "LINK", None, "the new name")
    parser.add_argument("-s", dest="symbolic", action="store_true", help="a symbolic link")
    parser.add_argument("-f", dest="force", action="store_true", help="replace what has the name")
    parser.add_argument("-n", "-T", dest="exactly", action="store_true", help="LINK is no directory to link into")
    add_in_place(parser)


def run(arguments: argparse.Namespace) -> int:
    """Link."""
    return changing(arguments, lambda session, complaints: _link(session, arguments))


def _link(session: Session, arguments: argparse.Namespace) -> None:
    address = parse_inside(arguments.link)
    there = session.find(address, write=True)
    if there is not None and there.is_directory() and not arguments.exactly:
        path = arguments.target if arguments.symbolic else parse(arguments.target).path
        directory, name = there, os.fsencode(os.path.basename(path.rstrip("/")))
    else:
        directory, name = session.place(address, write=True)
    old = directory.child(name)
    if old is not None and arguments.force:
        if old.is_directory():
            raise failure(EISDIR, "it is a directory", address.text)
        directory.remove(name, old)
    if old is not None:
        old.close()
    if arguments.symbolic:
        with named(address.text):
            directory.symlink(name, os.fsencode(arguments.target), 0, 0).close()
        return
    target = parse(arguments.target)
    node = session.node(target, write=target.image == address.image, follow=False)
    if node.is_directory():
        raise failure(EISDIR, "a directory has one name only (-s makes a symbolic link)", arguments.target)
    if not isinstance(node, Inside) or not isinstance(directory, Inside) or node.mount() is not directory.mount():
        text = "it is not in the file system of the new name (-s makes a symbolic link, cp a copy)"
        raise failure(EXDEV, text, arguments.target)
    with named(address.text):
        directory.link(name, node)
    node.close()
