"""`rump fs chmod`: set permission bits."""

import argparse
import os
from collections.abc import Callable

from ...compose.image.node import Node
from ...compose.image.trees import Walk
from ...kern.abi.fcntl import S_IFLNK
from . import VerbParser
from .common import Complaints, Session, add_in_place, add_paths, changing, parse_inside
from .modes import Change, parse_mode

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

    return changing(
        arguments,
        lambda session, complaints: change_all(
            session, complaints, arguments.paths, change, arguments.recursive, not arguments.recursive
        ),
    )


def change_all(
    session: Session,
    complaints: Complaints,
    texts: list[str],
    change: Callable[[Node], None],
    recursive: bool,
    follow: bool,
) -> None:
    """Do something to files, and with `recursive` to all that is in directories, these last."""
    for text in texts:
        with complaints.caught(text):
            node = session.node(parse_inside(text), write=True, follow=follow)
            for visit in Walk(node, os.fsencode(text), complaints, max_depth=1 << 20 if recursive else 0):
                if visit.leaving or not recursive or not visit.node.is_directory():
                    with complaints.caught(os.fsdecode(visit.path)):
                        change(visit.node)
            node.close()
