"""Walks through trees: in order, with limits, without what nobody wants, and without end in none."""

import errno

import pytest

from rumpkit.compose.image import trees
from rumpkit.compose.image.inside import Inside
from rumpkit.compose.image.trees import Walk, ordered
from tests.compose.image.trees_for_tests import memory

CHILD = Inside.child


def fill(root, names):
    for name in names:
        node = root
        *above, last = name.split(b"/")
        for part in above:
            node = node.child(part) or node.make(part, 0o040755, 0, 0)
        node.make(last, 0o100644, 0, 0)


def seen(walk):
    return [(visit.path, visit.depth, visit.leaving) for visit in walk]


def test_directories_come_before_and_after_what_is_in_them():
    with memory() as (root, _):
        fill(root, [b"b/y", b"a", b"b/x"])
        assert seen(Walk(root, b".")) == [
            (b".", 0, False),
            (b"./a", 1, False),
            (b"./b", 1, False),
            (b"./b/x", 2, False),
            (b"./b/y", 2, False),
            (b"./b", 1, True),
            (b".", 0, True),
        ]
        assert [path for path, _, _ in seen(Walk(root, b".", max_depth=1))] == [b".", b"./a", b"./b", b"."]


def test_pruned_and_unwanted():
    with memory() as (root, _):
        fill(root, [b"a/x", b"b/x", b"c"])
        walk = Walk(root, b".", wanted=lambda path, found: found.name != b"c")
        paths = []
        for visit in walk:
            paths.append(visit.path)
            if visit.name == b"a" and not visit.leaving:
                walk.prune()
        assert paths == [b".", b"./a", b"./b", b"./b/x", b"./b", b"."]


def test_large_directories_come_as_they_are_stored(monkeypatch):
    with memory() as (root, _):
        fill(root, [b"c", b"a", b"b"])
        names, in_order = ordered(root.entries(), 3)
        assert in_order and [one.name for one in names] == [b"a", b"b", b"c"]
        names, in_order = ordered(root.entries(), 2)
        assert not in_order and [one.name for one in names] == [one.name for one in root.entries()]
        monkeypatch.setattr(trees, "SORT_LIMIT", 2)
        assert sorted(seen(Walk(root, b"."))) == sorted(seen(Walk(root, b".", in_order=False)))


def test_a_directory_that_is_in_itself_does_not_end_in_nothing(monkeypatch):
    with memory() as (root, _):
        fill(root, [b"a/b/c"])
        inner = root.get(b"a").get(b"b")
        monkeypatch.setattr(
            type(inner), "child", lambda self, name: root.get(b"a") if name == b"c" else CHILD(self, name)
        )
        said = []
        paths = [
            path for path, _, _ in seen(Walk(root, b".", lambda path, problem: said.append((path, problem.errno))))
        ]
        assert said == [(b"./a/b/c", errno.EUCLEAN)] and len(paths) < 20
        with pytest.raises(OSError, match="in itself"):
            seen(Walk(root, b"."))
