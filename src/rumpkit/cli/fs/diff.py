"""`rump fs diff`: compare trees."""

import argparse
import os
from collections.abc import Iterator
from typing import Final

from ...compose.image.compare import Comparison, Difference
from ...compose.image.node import Node
from ...kern.abi.fcntl import S_IFREG
from .. import exit as code
from .common import Address, Complaints, Output, Session, add_json, add_paths, parse, parse_tree, stream_json
from .progress import Watch, expect

DESCRIPTION = "Compare two files or trees: of two images, of one, or of an image and the host."
EPILOG = """\
examples:
  rump fs diff old.img new.img
  rump fs diff -u disk.img:/etc ./etc
  rump fs diff --content usb.img@1:/ ./tree      names and contents only: what FAT can keep

Lines begin with - (only in the first), + (only in the second) or ~ (not the same).
Exits with 0 if they are the same, 1 if not, 2 if something could not be read.
"""

TEXT_LIMIT: Final = 4 << 20
"""Bytes of files whose lines -u compares."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_paths(parser, "one", "OLD", None, "IMAGE[:PATH] or host path")
    add_paths(parser, "other", "NEW", None, "IMAGE[:PATH] or host path")
    parser.add_argument("-r", dest="recursive", action="store_true", help="all that is below (always done)")
    parser.add_argument("-q", dest="brief", action="store_true", help="say nothing: the exit code does")
    parser.add_argument("-u", dest="unified", action="store_true", help="the lines that differ, of text files")
    parser.add_argument("--content", action="store_true", help="ignore modes, owners, times, xattrs and hard links")
    parser.add_argument("--no-times", action="store_true", help="ignore times of modification")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compare."""
    complaints = Complaints()
    output = Output()
    differ = False
    with Watch("comparing", at_once=True) as watch, Session() as session:
        addresses = _sides(session, arguments.one, arguments.other)
        expect(watch, session, addresses[:1])
        one, other = (session.node(address) for address in addresses)
        comparison = Comparison(arguments.content, not arguments.no_times, complaints, watcher=watch)
        found = comparison.compare(one, other)
        if arguments.json:
            rows = list(found)
            differ = bool(rows)
            stream_json(_record(row) for row in rows)
        else:
            for difference in found:
                differ = True
                if arguments.brief:
                    break
                what = f": {', '.join(difference.what)}" if difference.what else ""
                output.line(f"{difference.sign} ".encode() + output.name(difference.path) + what.encode())
                if arguments.unified and difference.sign == "~":
                    names = (arguments.one, arguments.other) if difference.path == b"." else ()
                    for line in _lines(one, other, difference, names):
                        output.write(line)
    output.flush()
    return code.USAGE if complaints.count else code.NOTHING if differ else code.OK


def _sides(session: Session, one: str, other: str) -> list[Address]:
    """What is compared: a file of the host that a file is compared with is that file, and no image."""
    plain = [parse(one), parse(other)]
    for address in plain:
        if address.inside and session.node(address).kind == S_IFREG:
            return plain
    return [parse_tree(one), parse_tree(other)]


def _record(row: Difference) -> dict[str, object]:
    return {"path": row.path.decode("utf-8", "backslashreplace"), "sign": row.sign, "what": list(row.what)}


def _lines(one: Node, other: Node, difference: Difference, names: tuple[str, ...]) -> Iterator[bytes]:
    """The lines that differ, of two text files, which are called `names`, or as they are in both trees."""
    texts = []
    for root in (one, other):
        node = root
        for name in difference.path.split(b"/")[1:]:
            node = node.get(name)
        if node.kind != S_IFREG or node.stat().st_size > TEXT_LIMIT:
            return
        data = b"".join(node.content())
        if b"\0" in data:
            return
        texts.append(data.splitlines(keepends=True))
    from difflib import diff_bytes, unified_diff

    name = os.fsencode(difference.path).removeprefix(b"./")
    left, right = (os.fsencode(text) for text in names) if names else (b"a/" + name, b"b/" + name)
    for line in diff_bytes(unified_diff, texts[0], texts[1], left, right):
        yield line if line.endswith(b"\n") else line + b"\n\\ No newline at end of file\n"
