"""`rump fs tree`: draw the tree of files."""

import argparse
import os
from collections.abc import Iterator
from typing import Any

from ...compose.image.node import DEPTH_LIMIT, Named, Node
from ...compose.image.trees import join, ordered
from ...kern.abi.fcntl import S_IFDIR
from .common import Complaints, Output, Session, add_json, add_paths, trees
from .show import KINDS, add_human, shown, size_of

DESCRIPTION = "Draw the tree of files below directories."
EPILOG = """\
examples:
  rump fs tree disk.img
  rump fs tree -L 2 -s disk.img@2:/usr
  rump fs tree --json disk.img:/etc
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_paths(parser, "paths", "IMAGE[:PATH]", "+", "where to begin")
    parser.add_argument("-a", dest="all", action="store_true", help="names that begin with a dot, too")
    parser.add_argument("-d", dest="directories", action="store_true", help="directories only")
    parser.add_argument("-s", dest="sizes", action="store_true", help="sizes, too")
    parser.add_argument(
        "-L", dest="levels", type=int, default=DEPTH_LIMIT, metavar="N", help="not deeper than N levels"
    )
    add_human(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Draw."""
    complaints = Complaints()
    with Session() as session:
        drawing = Drawing(arguments, complaints)
        found: list[Any] = []
        for address in trees(arguments.paths):
            with complaints.caught(address.text):
                top = session.node(address)
                if arguments.json:
                    found.append(drawing.record(address.text, top))
                else:
                    drawing.draw(address.shown(), top)
        if arguments.json:
            from ..table import show_json

            show_json(found)
    return complaints.code()


class Drawing:
    """One drawing, with its counts."""

    def __init__(self, arguments: argparse.Namespace, complaints: Complaints) -> None:
        self.options: Any = arguments
        self.complain = complaints
        self.output = Output()
        self.files = 0
        self.directories = 0

    def draw(self, path: bytes, top: Node) -> None:
        """A tree, and how many files it has."""
        self.output.line(shown(self.output, path, top, top.stat()))
        stack = [(path, top, self._names(path, top), b"")]
        while stack:
            path, directory, names, margin = stack[-1]
            found = next(names, None)
            if found is None:
                stack.pop()
                if stack:
                    directory.close()
                continue
            name, last = found
            below = join(path, name)
            with self.complain.caught(os.fsdecode(below)):
                node = directory.get(name)
                self.output.line(margin + ("└── " if last else "├── ").encode() + self._label(name, node))
                if node.kind == S_IFDIR:
                    self.directories += 1
                    if len(stack) < self.options.levels:
                        gap = "    " if last else "│   "
                        stack.append((below, node, self._names(below, node), margin + gap.encode()))
                else:
                    self.files += 1
                    node.close()
        self.output.line(f"\n{self.directories} directories, {self.files} files".encode())
        self.output.flush()

    def record(self, name: str, node: Node, depth: int = 0) -> dict[str, Any]:
        """A tree as JSON has it."""
        row: dict[str, Any] = {"name": name, "type": KINDS.get(node.kind, "unknown"), "size": node.stat().st_size}
        if node.kind == S_IFDIR and depth < min(self.options.levels, JSON_DEPTH):
            row["contents"] = []
            for below, _ in self._names(os.fsencode(name), node):
                with self.complain.caught(os.fsdecode(below)):
                    child = node.get(below)
                    text = below.decode("utf-8", "backslashreplace")
                    row["contents"].append(self.record(text, child, depth + 1))
                    child.close()
        return row

    def _label(self, name: bytes, node: Node) -> bytes:
        status = node.stat()
        text = shown(self.output, name, node, status)
        return f"[{size_of(status, self.options.human):>6}]  ".encode() + text if self.options.sizes else text

    def _names(self, path: bytes, directory: Node) -> Iterator[tuple[bytes, bool]]:
        """The names to show, each with whether it is the last."""
        found: Iterator[Named] = iter(())
        with self.complain.caught(os.fsdecode(path)):
            found, _ = ordered(one for one in directory.entries() if self._wanted(one))
        before: Named | None = None
        for one in found:
            if before is not None:
                yield before.name, False
            before = one
        if before is not None:
            yield before.name, True

    def _wanted(self, one: Named) -> bool:
        if self.options.directories and one.kind != S_IFDIR:
            return False
        return self.options.all or not one.name.startswith(b".")


JSON_DEPTH = 200
"""Levels of a tree in JSON: readers don't like deeper ones."""
