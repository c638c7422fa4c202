"""Going through trees: directories in order, without recursion, without end where an image is evil.

A directory's names are sorted where they are few enough to be read first (`SORT_LIMIT`); the names of a larger one come as they are
stored, so that the first one is there at once and memory stays small.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from ...kern.abi.errno import EUCLEAN
from ...kern.abi.fcntl import S_IFDIR
from .node import DEPTH_LIMIT, Named, Node, failure

SORT_LIMIT: Final = 10_000
"""Names of one directory that are sorted; a larger directory comes in the order in which it is stored."""

Complaint = Callable[[bytes, OSError], None]
"""Told of what went wrong with a path; the walk goes on with the next one, unless it raises."""


class Visit(NamedTuple):
    """One file of a walk; its node lives until the next step."""

    path: bytes
    name: bytes
    node: Node
    above: Node | None
    """Its directory; None for the top."""
    depth: int
    """0 for the top."""
    leaving: bool
    """A directory, after all that is in it."""


def ordered(names: Iterator[Named], limit: int = SORT_LIMIT) -> tuple[Iterator[Named], bool]:
    """The names sorted, and True, if there are no more than `limit`; else as they come, and False."""
    first = list(islice(names, limit + 1))
    if len(first) <= limit:
        first.sort()
        return iter(first), True
    return _chain(first, names), False


def _chain(first: list[Named], rest: Iterator[Named]) -> Iterator[Named]:
    yield from first
    first.clear()
    yield from rest


def join(path: bytes, name: bytes) -> bytes:
    """The path of `name` in a directory."""
    return path + name if path.endswith(b"/") or not path else path + b"/" + name


def throw(path: bytes, problem: OSError) -> None:
    """The complaint that ends the walk: the error, naming the path."""
    if not isinstance(problem.filename, str):
        problem.filename = path.decode("utf-8", "surrogateescape")
    raise problem


class Walk:
    """A walk through the tree at `top`: iterate over it.  It closes the nodes that it opens, not `top`."""

    def __init__(
        self,
        top: Node,
        path: bytes,
        complain: Complaint = throw,
        max_depth: int = DEPTH_LIMIT,
        in_order: bool = True,
        wanted: Callable[[bytes, Named], bool] | None = None,
    ) -> None:
        """`wanted` is asked of each path whose kind the directory tells, directories excepted: what it doesn't want is not opened, which
        is most of the price."""
        self._top: Node = top
        self._path: bytes = path
        self._complain: Complaint = complain
        self._max_depth: int = max_depth
        self._limit: int = SORT_LIMIT if in_order else 0
        self._wanted: Callable[[bytes, Named], bool] | None = wanted
        self._pruned: bool = False

    def prune(self) -> None:
        """Don't go into the directory that came last."""
        self._pruned = True

    def __iter__(self) -> Iterator[Visit]:
        """Each file, a directory before and after what is in it."""
        top = Visit(self._path, b"", self._top, None, 0, False)
        yield top
        stack: list[tuple[Visit, Iterator[Named]]] = []
        above: set[tuple[int, int]] = set()
        try:
            if self._top.kind == S_IFDIR:
                self._enter(top, stack, above)
            while stack:
                directory, names = stack[-1]
                visit = self._next(directory, names)
                if visit is None:
                    stack.pop()
                    above.discard(_identity(directory.node))
                    yield directory._replace(leaving=True)
                    if stack:
                        directory.node.close()
                    continue
                yield visit
                if visit.node.kind != S_IFDIR or not self._enter(visit, stack, above):
                    visit.node.close()
        finally:
            for visit, _ in stack[1:]:
                visit.node.close()

    def _next(self, directory: Visit, names: Iterator[Named]) -> Visit | None:
        """The next file of a directory that can be reached."""
        while True:
            path = directory.path
            try:
                found = next(names, None)
                if found is None:
                    return None
                path = join(directory.path, found.name)
                if self._wanted is not None and found.kind not in (0, S_IFDIR) and not self._wanted(path, found):
                    path = directory.path
                    continue
                return Visit(
                    path, found.name, directory.node.get(found.name), directory.node, directory.depth + 1, False
                )
            except OSError as problem:
                self._complain(path, problem)
                if path == directory.path:
                    return None

    def _enter(self, visit: Visit, stack: list[tuple[Visit, Iterator[Named]]], above: set[tuple[int, int]]) -> bool:
        if self._pruned or visit.depth >= self._max_depth:
            self._pruned = False
            return False
        try:
            identity = _identity(visit.node)
            if identity in above:
                raise failure(EUCLEAN, "the directory is in itself")
            names, _ = ordered(visit.node.entries(), self._limit)
        except OSError as problem:
            self._complain(visit.path, problem)
            return False
        above.add(identity)
        stack.append((visit, names))
        return True


def _identity(node: Node) -> tuple[int, int]:
    status = node.stat()
    return status.st_dev, status.st_ino
