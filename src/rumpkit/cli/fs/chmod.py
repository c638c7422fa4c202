"""`rump fs chmod`: set permission bits."""

import argparse
import os
from collections.abc import Callable

from ...compose.image.node import Node
from ...compose.image.trees import Walk
from ...kern.abi.fcntl import S_IFLNK
from . import VerbParser
from .common import Address, Complaints, Session, add_in_place, add_paths, changing, parse, parse_inside
from .modes import Change, parse_mode
from .progress import Watch, expect

DESCRIPTION = "Set the permission bits of files, in octal or as u+rwX,go-w.  Symbolic links have none of their own."
EPILOG = """\
examples:
  rump fs chmod 4755 disk.img:/bin/su
  rump fs chmod -R u=rwX,go=rX disk.img:/srv
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("mode", metavar="MODE", type=checked, help="644, u+x, go-w, a=rX, ...")
    add_paths(parser, "paths", "IMAGE:PATH", "+", "the files")
    parser.add_argument("-R", dest="recursive", action="store_true", help="and all that is in directories")
    add_in_place(parser)
    if isinstance(parser, VerbParser):
        parser.prepare = prepare


def prepare(words: list[str]) -> list[str]:
    """A mode that begins with a minus sign is no option."""
    for index, word in enumerate(words):
        if word.startswith("-") and len(word) > 1 and not set(word) - set("-rwxXstugo") and word[1] != "-":
            return [*words[:index], f"a{word}", *words[index + 1 :]]
    return words


def checked(text: str) -> Change:
    """A mode on the command line.  Raises ArgumentTypeError."""
    try:
        return parse_mode(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def run(arguments: argparse.Namespace) -> int:
    """Set them."""

    def change(node: Node) -> None:
        if node.kind != S_IFLNK:
            node.set_mode(arguments.mode(node.stat().st_mode & 0o7777, node.is_directory()))

    return change_all(arguments, lambda session, address: change, not arguments.recursive)


Changer = Callable[[Node], None]
"""What is done to each file."""


def change_all(arguments: argparse.Namespace, changer: Callable[[Session, Address], Changer], follow: bool) -> int:
    """Do something to the files that are named, and with -R to all that is in directories, these last; the exit code."""
    recursive: bool = arguments.recursive
    with Watch("changing") as watch:

        def do(session: Session, complaints: Complaints) -> None:
            expect(watch, session, [parse(text) for text in arguments.paths] if recursive else [])
            for text in arguments.paths:
                with complaints.caught(text):
                    _change_tree(session, complaints, text, changer, recursive, follow, watch)

        return changing(arguments, do)


def _change_tree(
    session: Session,
    complaints: Complaints,
    text: str,
    changer: Callable[[Session, Address], Changer],
    recursive: bool,
    follow: bool,
    watch: Watch,
) -> None:
    address = parse_inside(text)
    node = session.node(address, write=True, follow=follow)
    change = changer(session, address)
    for visit in Walk(node, os.fsencode(text), complaints, max_depth=1 << 20 if recursive else 0):
        if visit.leaving or not recursive or not visit.node.is_directory():
            watch.copied(visit.path, 0)
            with complaints.caught(os.fsdecode(visit.path)):
                change(visit.node)
    node.close()
