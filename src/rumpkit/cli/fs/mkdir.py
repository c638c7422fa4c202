"""`rump fs mkdir`: make directories."""

import argparse

from ...compose.image.node import Node, failure
from ...kern.abi.errno import EEXIST, ENOTDIR
from ...kern.abi.fcntl import S_IFDIR
from .chmod import checked
from .common import Address, Complaints, Session, add_in_place, add_paths, changing, parse_inside
from .cp import owner

DESCRIPTION = "Make directories."
EPILOG = """\
examples:
  rump fs mkdir disk.img:/srv
  rump fs mkdir -p -m 700 disk.img:/home/user/.ssh
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_paths(parser, "paths", "IMAGE:PATH", "+", "the directories")
    parser.add_argument("-p", dest="parents", action="store_true", help="and those they lie in; they may be there")
    parser.add_argument(
        "-m", dest="mode", type=mode, default=0o755, metavar="MODE", help="permission bits: 750, go-w, ... (755)"
    )
    parser.add_argument("--owner", metavar="UID:GID", type=owner, default=(0, 0), help="owner (0:0)")
    add_in_place(parser)


def mode(text: str) -> int:
    """Permission bits on the command line: what they make of rwxr-xr-x.  Raises ArgumentTypeError."""
    return checked(text)(0o755, True)


def run(arguments: argparse.Namespace) -> int:
    """Make them."""
    return changing(arguments, lambda session, complaints: _make(session, complaints, arguments))


def _make(session: Session, complaints: Complaints, arguments: argparse.Namespace) -> None:
    for text in arguments.paths:
        with complaints.caught(text):
            make_directory(session, parse_inside(text), arguments.mode, arguments.owner, arguments.parents)


def make_directory(session: Session, address: Address, mode: int, owner: tuple[int, int], parents: bool) -> Node:
    """Make a directory, with `parents` those above it, too (which get mode 755); it may be there then."""
    if parents:
        steps = [part for part in address.path.split("/") if part]
        begin = "/" if address.path.startswith("/") else ""
        for count in range(1, len(steps)):
            above = address._replace(path=begin + "/".join(steps[:count]))
            if session.find(above, write=True) is None:
                make_directory(session, above, 0o755, owner, False).close()
    there = session.find(address, write=True)
    if there is not None:
        if not parents:
            raise failure(EEXIST)
        if there.kind != S_IFDIR:
            raise failure(ENOTDIR, "it is there, and no directory")
        return there
    directory, name = session.place(address, write=True)
    return directory.make(name, S_IFDIR | mode, *owner)
