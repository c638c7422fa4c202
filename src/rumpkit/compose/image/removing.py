"""Removing files and trees."""

from ...kern.abi.fcntl import S_IFDIR
from .copying import CopyWatcher
from .node import Node
from .trees import Complaint, Walk, throw


def remove_tree(
    node: Node,
    directory: Node,
    name: bytes,
    path: bytes,
    complain: Complaint = throw,
    watcher: CopyWatcher | None = None,
) -> bool:
    """Remove `node`, called `name` in `directory`, with all that is in it; whether all of it is gone."""
    problems = 0

    def note(where: bytes, problem: OSError) -> None:
        nonlocal problems
        problems += 1
        complain(where, problem)

    for visit in Walk(node, path, note):
        if visit.node.kind == S_IFDIR and not visit.leaving:
            continue
        if watcher is not None:
            watcher.copied(visit.path, 0)
        try:
            if visit.above is None:
                directory.remove(name, visit.node)
            else:
                visit.above.remove(visit.name, visit.node)
        except OSError as problem:
            note(visit.path, problem)
    return problems == 0
