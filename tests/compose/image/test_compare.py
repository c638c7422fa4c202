"""Comparisons of trees, and manifests: what they see, one difference at a time."""

import os

import pytest

from rumpkit.compose.image.compare import Comparison
from rumpkit.compose.image.copying import Copier, CopyOptions
from rumpkit.compose.image.manifest import summary
from rumpkit.compose.image.outside import outside
from tests.compose.image.trees_for_tests import make_tree, memory


@pytest.fixture
def pair(tmp_path):
    tree = make_tree(tmp_path / "tree")
    options = CopyOptions()
    options.recursive = options.keep = True
    with memory() as (root, _):
        there = outside(os.fsencode(tree))
        Copier(options).copy_content(there, root, b"tree")
        yield there, root
        there.close()


def differences(pair, **options):
    return [(one.path, one.sign, *one.what) for one in Comparison(**options).compare(*pair)]


def test_equal_trees_are_equal(pair):
    assert differences(pair) == []
    assert summary(pair[0]) == summary(pair[1])


CHANGES = {
    "mode": (lambda root: root.get(b"fifo").set_mode(0o644), [(b"./fifo", "~", "mode 0600 -> 0644")]),
    "mtime": (lambda root: root.get(b"large").set_times(0, 1), [(b"./large", "~", "mtime")]),
    "owner": (
        lambda root: root.get(b"fifo").set_owner(3, 4),
        [(b"./fifo", "~", f"owner {os.getuid()}:{os.getgid()} -> 3:4")],
    ),
    "gone": (lambda root: root.remove(b"empty", root.get(b"empty")), [(b"./empty", "-")]),
    "new": (lambda root: root.make(b"zzz", 0o100644, 0, 0), [(b"./zzz", "+")]),
    "xattr": (lambda root: root.get(b"dir").set_xattr(b"user.new", b"1"), [(b"./dir", "~", "xattrs")]),
}


@pytest.mark.parametrize("what", CHANGES)
def test_each_difference_is_seen(pair, what):
    change, seen = CHANGES[what]
    before = summary(pair[1])
    change(pair[1])
    assert differences(pair) == seen
    assert summary(pair[1]) != before


def test_content_is_seen_though_size_and_time_are_the_same(pair):
    large = pair[1].get(b"large")
    times = large.stat()
    large.write(2 << 20, b"!")
    large.set_times(times.st_atime_ns, times.st_mtime_ns)
    assert differences(pair) == differences(pair, content_only=True) == [(b"./large", "~", "content")]


def test_a_hole_is_as_good_as_zeros(pair):
    sparse = pair[1].get(b"sparse")
    times = sparse.stat()
    sparse.write(0, bytes(1 << 20))
    sparse.set_times(times.st_atime_ns, times.st_mtime_ns)
    assert differences(pair) == []


def test_a_link_that_became_a_copy_is_seen(pair):
    root = pair[1]
    below = root.get(b"dir")
    old = below.get(b"hard")
    below.remove(b"hard", old)
    new = below.make(b"hard", old.stat().st_mode, old.stat().st_uid, old.stat().st_gid)
    new.write(0, b"small\n")
    new.set_times(old.stat().st_atime_ns, old.stat().st_mtime_ns)
    assert (b"./dir/hard", "~", "hard links") in differences(pair)
    assert summary(pair[0]) != summary(root)
    assert differences(pair, content_only=True) == []
