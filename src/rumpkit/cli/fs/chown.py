"""`rump fs chown`: set owners."""

import argparse
import re

from ...compose.image.node import Node
from .chmod import change_all
from .common import add_in_place, add_paths, changing

DESCRIPTION = "Set owner and group of files, by number: names are the image's own affair.  No privileges are needed."
EPILOG = """\
examples:
  rump fs chown 1000:1000 disk.img:/home/user
  rump fs chown -R :100 disk.img:/srv             the group only
  rump fs chown -Rh 0 disk.img:/etc               of links themselves
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("owner", metavar="UID[:GID]", type=owner, help="the owner, :GID for the group only")
    add_paths(parser, "paths", "IMAGE:PATH", "+", "the files")
    parser.add_argument("-R", dest="recursive", action="store_true", help="and all that is in directories")
    parser.add_argument("-h", dest="links", action="store_true", help="of links themselves (-R always does)")
    add_in_place(parser)


def owner(text: str) -> tuple[int, int]:
    """UID, UID:GID, UID: or :GID, -1 for what is not given.  Raises ArgumentTypeError."""
    found = re.fullmatch(r"(\d*)(?::(\d*))?", text)
    if found is None or not any(found.groups()):
        raise argparse.ArgumentTypeError(f"{text!r} is no owner such as 1000, 1000:100 or :100, in numbers")
    uid, gid = (int(part) if part else -1 for part in found.groups())
    if max(uid, gid) >= 1 << 32:
        raise argparse.ArgumentTypeError(f"{text!r} has a number of more than 32 bits")
    return uid, gid


def run(arguments: argparse.Namespace) -> int:
    """Set them."""
    uid, gid = arguments.owner

    def change(node: Node) -> None:
        status = node.stat()
        node.set_owner(status.st_uid if uid < 0 else uid, status.st_gid if gid < 0 else gid)

    follow = not (arguments.links or arguments.recursive)
    return changing(
        arguments,
        lambda session, complaints: change_all(
            session, complaints, arguments.paths, change, arguments.recursive, follow
        ),
    )
