"""`rump fs grep`: find lines in files."""

import argparse
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, Final

from ...compose.image.node import Node, failure
from ...compose.image.trees import Walk
from ...kern.abi.errno import EFBIG, EISDIR
from ...kern.abi.fcntl import S_IFREG
from .. import exit as code
from .common import Complaints, Output, Session, add_paths, bad_usage, parse

DESCRIPTION = (
    "Print the lines of files that a pattern matches: a regular expression (Python's re), or with -F plain text."
)
EPILOG = """\
examples:
  rump fs grep root disk.img:/etc/passwd
  rump fs grep -rn '^PermitRoot' disk.img:/etc
  rump fs grep -rlF 'password=' disk.img:/

Of a file with NUL bytes it is said only that it matches.  Exits with 0 if any line matched, 1 if none did, 2 if something
could not be read and nothing matched.
"""

LINE_LIMIT: Final = 16 << 20
"""Bytes of a line."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("pattern", metavar="PATTERN", help="what to look for")
    add_paths(parser, "paths", "IMAGE:PATH", "+", "where; - is the standard input")
    parser.add_argument("-r", "-R", dest="recursive", action="store_true", help="in all files below directories")
    parser.add_argument("-i", dest="any_case", action="store_true", help="whatever case")
    parser.add_argument("-v", dest="invert", action="store_true", help="lines that don't match")
    parser.add_argument("-n", dest="numbers", action="store_true", help="with line numbers")
    parser.add_argument("-l", dest="list", action="store_true", help="names of files only")
    parser.add_argument("-c", dest="count", action="store_true", help="how many lines only")
    parser.add_argument("-q", dest="quiet", action="store_true", help="nothing: the exit code says it")
    parser.add_argument("-H", dest="with_name", action="store_true", default=None, help="with the file's name")
    parser.add_argument("--no-filename", dest="with_name", action="store_false", help="without it")
    parser.add_argument("-w", dest="word", action="store_true", help="whole words")
    parser.add_argument("-E", dest="extended", action="store_true", help="a regular expression (it always is)")
    parser.add_argument("-F", dest="fixed", action="store_true", help="plain text")


def run(arguments: argparse.Namespace) -> int:
    """Search."""
    pattern = os.fsencode(arguments.pattern)
    if arguments.fixed:
        pattern = re.escape(pattern)
    if arguments.word:
        pattern = rb"\b(?:" + pattern + rb")\b"
    try:
        expression = re.compile(pattern, re.IGNORECASE if arguments.any_case else 0)
    except re.error as problem:
        return bad_usage(f"{arguments.pattern!r} is no regular expression: {problem} (-F takes it as plain text)")
    complaints = Complaints()
    search = Search(arguments, expression, complaints)
    with Session() as session:
        for text in arguments.paths:
            with complaints.caught(text):
                if text == "-":
                    search.stream()
                    continue
                top = session.node(parse(text))
                if top.is_directory() and not arguments.recursive:
                    raise failure(EISDIR, "it is a directory (-r searches in it)")
                for visit in Walk(top, os.fsencode(text), complaints):
                    if not visit.leaving and visit.node.kind == S_IFREG:
                        with complaints.caught(os.fsdecode(visit.path)):
                            search.file(visit.path, visit.node)
                if search.found and arguments.quiet:
                    break
    search.output.flush()
    return code.OK if search.found else code.USAGE if complaints.count else code.NOTHING


class Search:
    """One search."""

    def __init__(self, arguments: argparse.Namespace, expression: "re.Pattern[bytes]", complaints: Complaints) -> None:
        self.options: Any = arguments
        self.expression = expression
        self.complain = complaints
        self.output = Output()
        self.found = False
        several = arguments.recursive or len(arguments.paths) > 1
        self.with_name: bool = several if arguments.with_name is None else arguments.with_name

    def stream(self) -> None:
        """Search the standard input."""
        self._lines(b"(standard input)", iter(lambda: sys.stdin.buffer.read(1 << 16), b""))

    def file(self, path: bytes, node: Node) -> None:
        """Search a file."""
        self._lines(path, node.content())

    def _lines(self, path: bytes, pieces: Iterator[bytes]) -> None:
        options = self.options
        rest = b""
        number = matched = 0
        binary = False
        for piece in pieces:
            binary = binary or b"\0" in piece
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            if len(rest) > LINE_LIMIT:
                if not binary:
                    raise failure(EFBIG, f"a line is longer than {LINE_LIMIT >> 20} MiB")
                lines.append(rest)
                rest = b""
            done, number, hits = self._some(path, lines, number, binary)
            matched += hits
            if done:
                return
        if rest:
            done, number, hits = self._some(path, [rest], number, binary)
            matched += hits
            if done:
                return
        if options.count and not options.list:
            prefix = self.output.name(path) + b":" if self.with_name else b""
            self.output.line(prefix + b"%d" % matched)

    def _some(self, path: bytes, lines: list[bytes], number: int, binary: bool) -> tuple[bool, int, int]:
        """Search some lines behind line `number`: whether the file is done, the last line's number, how many matched."""
        options = self.options
        search = self.expression.search
        hits = 0
        for line in lines:
            number += 1
            if (search(line) is None) != options.invert:
                continue
            hits += 1
            self.found = True
            if options.quiet:
                return True, number, hits
            if options.list:
                self.output.line(self.output.name(path))
                return True, number, hits
            if options.count:
                continue
            if binary:
                self.output.line(self.output.name(path) + b": binary file matches")
                return True, number, hits
            prefix = self.output.name(path) + b":" if self.with_name else b""
            self.output.line(prefix + (b"%d:" % number if options.numbers else b"") + line)
        return False, number, hits
