"""`rump fs ls`: list files.

The first line comes at once, however large the directory is: names are sorted up to `SORT_LIMIT` of them, and what a line shows is
read when the line is due.  Only -t and -S read the attributes of a whole directory first.
"""

import argparse
import os
import shutil
import stat as modes
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any, Final, NamedTuple, final

from ...compose.image.inside import Inside
from ...compose.image.node import Named, Node
from ...compose.image.trees import SORT_LIMIT, Walk, join, ordered
from ...vfs.stat import Stat
from .common import Address, Complaints, Output, Session, add_json, add_paths, stream_json, trees
from .show import add_human, date, record, shown, size_of

DESCRIPTION = (
    "List files of images (or of the host).  Owners are shown by number: their names are the image's own affair."
)
EPILOG = """\
examples:
  rump fs ls disk.img                     the root of the only file system in it
  rump fs ls -lR disk.img@2:/etc
  rump fs ls -lSh disk.img:/var/log       largest first
  rump fs ls --json disk.img:/ | jq -r '.[].path'

A directory of more than 10,000 names is listed in the order in which it is stored.
Exits with 1 where something could not be listed.
"""

CHUNK: Final = 256
"""Lines whose columns are made equally wide."""
FIRST: Final = 32
"""The same of the first lines, which should come at once."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_paths(parser, "paths", "IMAGE[:PATH]", "+", "what to list")
    parser.add_argument("-l", dest="long", action="store_true", help="mode, links, owner, group, size, time")
    parser.add_argument("-n", dest="long", action="store_true", help="the same (owners are numbers always)")
    parser.add_argument("-R", dest="recursive", action="store_true", help="and what is in directories")
    parser.add_argument("-a", dest="all", action="store_true", help="names that begin with a dot, too")
    parser.add_argument("-A", dest="almost", action="store_true", help='the same without "." and ".."')
    parser.add_argument("-d", dest="itself", action="store_true", help="directories themselves")
    parser.add_argument("-i", dest="inode", action="store_true", help="inode numbers")
    parser.add_argument("-t", dest="by_time", action="store_true", help="newest first")
    parser.add_argument("-S", dest="by_size", action="store_true", help="largest first")
    parser.add_argument("-r", dest="reverse", action="store_true", help="in reverse order")
    parser.add_argument("-U", dest="unsorted", action="store_true", help="in the order in which they are stored")
    parser.add_argument("-1", dest="single", action="store_true", help="one name a line")
    add_human(parser)
    add_json(parser)


class Row(NamedTuple):
    """One file to show."""

    name: bytes
    node: Node
    status: Stat


def run(arguments: argparse.Namespace) -> int:
    """List."""
    complaints = Complaints()
    with Session() as session:
        lister = Lister(arguments, session, complaints)
        if arguments.json:
            stream_json(lister.records())
        else:
            lister.show()
    return complaints.code()


@final
class Lister:
    """One listing."""

    def __init__(self, arguments: argparse.Namespace, session: Session, complaints: Complaints) -> None:
        self.options: Any = arguments
        self.session: Session = session
        self.complain: Complaints = complaints
        self.output: Output = Output()
        self.lines: int = 0

    def show(self) -> None:
        """List everything that was named: files first, then directories."""
        directories: list[tuple[Address, Node]] = []
        files: list[Row] = []
        addresses = trees(self.options.paths)
        for address in addresses:
            with self.complain.caught(address.text):
                # As ls has it: a link that is named is followed, unless -l or -d asks for the link.
                node = self.session.node(address, follow=not (self.options.long or self.options.itself))
                if node.is_directory() and not self.options.itself:
                    directories.append((address, node))
                else:
                    files.append(Row(os.fsencode(address.text), node, node.stat()))
        if files:
            self._rows(iter(files))
        several = len(addresses) > 1 or self.options.recursive
        for address, node in directories:
            self._directory(address.shown() if self.options.recursive else os.fsencode(address.text), node, several)
            node.close()

    def records(self) -> Iterator[dict[str, Any]]:
        """The files, as JSON has them."""
        depth = 1 << 30 if self.options.recursive else 1
        for address in trees(self.options.paths):
            with self.complain.caught(address.text):
                top = self.session.node(address, follow=False)
                whole = top.is_directory() and not self.options.itself
                walk = Walk(top, os.fsencode(address.path), self.complain, depth if whole else 0)
                for visit in walk:
                    if visit.leaving or (visit.depth == 0 and whole):
                        continue
                    if visit.name.startswith(b".") and not (self.options.all or self.options.almost):
                        walk.prune()
                        continue
                    with self.complain.caught(os.fsdecode(visit.path)):
                        yield record(visit.path, visit.node, visit.node.stat())

    # Directories ---------------------------------------------------------------------------------------

    def _directory(self, path: bytes, node: Node, header: bool) -> None:
        """A directory, and with -R what is in it.  The list of what is to come holds paths only."""
        pending: list[tuple[bytes, list[bytes]]] = [(path, [])]
        while pending:
            at, names = pending.pop()
            with self.complain.caught(os.fsdecode(at)):
                directory = _descend(node, names)
                below: list[bytes] = []
                if header:
                    self.output.write((b"\n" if self.lines else b"") + self.output.name(at) + b":\n")
                    self.lines += 1
                self._rows(self._entries(at, directory, below))
                if directory is not node:
                    directory.close()
                if self.options.recursive:
                    pending += [(join(at, name), [*names, name]) for name in reversed(below)]

    def _entries(self, path: bytes, directory: Node, below: list[bytes]) -> Iterator[Row]:
        """The files of a directory in the order that is wanted; `below` gets the names of directories."""
        options = self.options
        dots = self._dots(directory) if options.all else ()
        names: Iterable[Named] = (
            one for one in directory.entries() if options.all or options.almost or not one.name.startswith(b".")
        )
        by_attribute = options.by_time or options.by_size
        if not options.unsorted:
            names, complete = ordered(iter(names), SORT_LIMIT)
            if complete and by_attribute:
                rows = sorted(self._rows_of(path, directory, names, below), key=self._key)
                return chain(dots, reversed(rows) if options.reverse else rows)
            if complete and options.reverse:
                names = reversed(list(names))
        return chain(dots, self._rows_of(path, directory, names, below))

    def _rows_of(self, path: bytes, directory: Node, names: Iterable[Named], below: list[bytes]) -> Iterator[Row]:
        needed = self._needs_attributes()
        for name, number, kind in names:
            if kind == modes.S_IFDIR:
                below.append(name)
            if not needed:
                yield Row(name, directory, NOTHING._replace(st_ino=number, st_mode=kind))
                continue
            with self.complain.caught(os.fsdecode(join(path, name))):
                node = directory.get(name)
                yield Row(name, node, node.stat())

    def _needs_attributes(self) -> bool:
        options = self.options
        return bool(options.long or options.by_time or options.by_size)

    def _key(self, row: Row) -> tuple[int, bytes]:
        value = row.status.st_mtime_ns if self.options.by_time else row.status.st_size
        return -value, row.name

    def _dots(self, directory: Node) -> list[Row]:
        above = directory.parent() if isinstance(directory, Inside) else directory.child(b"..") or directory
        return [Row(b".", directory, directory.stat()), Row(b"..", above, above.stat())]

    # Lines ---------------------------------------------------------------------------------------------

    def _rows(self, rows: Iterator[Row]) -> None:
        options = self.options
        if options.long:
            self._long(rows)
        elif options.single or not self.output.terminal:
            for row in rows:
                self.output.line(self._inode(row) + shown(self.output, row.name, row.node, row.status, False))
                self._count(row)
        else:
            self._columns(rows)
        self.output.flush()

    def _count(self, row: Row) -> None:
        self.lines += 1
        if self.lines == 1:
            self.output.flush()
        if row.name not in (b".", b"..") and self._needs_attributes():
            row.node.close()

    def _inode(self, row: Row) -> bytes:
        return b"%8d " % row.status.st_ino if self.options.inode else b""

    def _long(self, rows: Iterator[Row]) -> None:
        """Lines of attributes; columns are as wide as a chunk of lines needs, and never become narrower."""
        widths: tuple[int, ...] = (1, 1, 1, 1)
        while True:
            chunk = list(islice(rows, CHUNK if self.lines > FIRST else FIRST))
            if not chunk:
                return
            cells = [
                (
                    str(one.status.st_nlink),
                    str(one.status.st_uid),
                    str(one.status.st_gid),
                    size_of(one.status, self.options.human),
                )
                for one in chunk
            ]
            columns = zip(*cells, strict=True)
            widths = tuple(max(width, *map(len, column)) for width, column in zip(widths, columns, strict=True))
            for row, (links, uid, gid, size) in zip(chunk, cells, strict=True):
                a, b, c, d = widths
                text = f"{modes.filemode(row.status.st_mode)} {links:>{a}} {uid:>{b}} {gid:>{c}} {size:>{d}} "
                line = self._inode(row) + text.encode() + date(row.status.st_mtime_ns).encode() + b" "
                self.output.line(line + shown(self.output, row.name, row.node, row.status))
                self._count(row)

    def _columns(self, rows: Iterator[Row]) -> None:
        """Names side by side, as many as the terminal is wide, a chunk at a time."""
        width = shutil.get_terminal_size().columns
        while True:
            chunk = list(islice(rows, SORT_LIMIT + 2))
            if not chunk:
                return
            lengths = [len(self._inode(row)) + len(os.fsdecode(row.name)) for row in chunk]
            column = max(lengths) + 2
            across = max(width // column, 1)
            down = -(-len(chunk) // across)
            for line in range(down):
                for index in range(line, len(chunk), down):
                    row = chunk[index]
                    text = self._inode(row) + shown(self.output, row.name, row.node, row.status, False)
                    last = index + down >= len(chunk)
                    self.output.write(text + (b"\n" if last else b" " * (column - lengths[index])))
            for row in chunk:
                self._count(row)


NOTHING: Final = Stat(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def _descend(node: Node, names: list[bytes]) -> Node:
    """The directory to which `names` lead from `node`; the nodes between stay open as long as it needs them."""
    for name in names:
        node = node.get(name)
    return node
