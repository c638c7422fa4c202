"""The copy engine: out of the host's tree, into a kernel's, back, and compared; what must not be copied; ends in between."""

import errno
import os

import pytest

from rumpkit.compose.image.copying import Copier, CopyOptions, CopyWatcher, same
from rumpkit.compose.image.manifest import lines, summary
from rumpkit.compose.image.outside import outside
from rumpkit.compose.image.removing import remove_tree
from tests.compose.image.trees_for_tests import make_tree, memory


def archive():
    options = CopyOptions()
    options.recursive = options.keep = True
    return options


def host(path):
    return outside(os.fsencode(path))


def test_a_tree_goes_in_and_comes_out_as_it_was(tmp_path):
    tree = make_tree(tmp_path / "tree")
    (tmp_path / "out").mkdir()
    with memory() as (root, _):
        copier = Copier(archive())
        copier.copy(host(tree), root, b"copy", b"tree")
        copier.close()
        inside = root.get(b"copy")
        assert list(lines(inside)) == list(lines(host(tree)))
        sparse = inside.get(b"sparse")
        assert sparse.stat().st_blocks * 512 < 1 << 20 and sparse.next_data(0) > 2 << 20
        assert inside.stat().st_mtime_ns == host(tree).stat().st_mtime_ns
        assert inside.get(b"dir").stat().st_mtime_ns == 1_500_000_002_000_000_000
        assert inside.get(b"large").stat().st_mtime_ns == 1_500_000_000_987_654_321
        assert same(inside.get(b"small"), inside.get(b"dir").get(b"hard"))
        copier = Copier(archive())
        copier.copy(inside, host(tmp_path / "out"), b"again", b"copy")
        copier.close()
        assert copier.files == 13
    again = tmp_path / "out" / "again"
    assert list(lines(host(again))) == list(lines(host(tree)))
    assert os.stat(again / "sparse").st_blocks * 512 < 1 << 20
    assert os.stat(again / "dir").st_mtime_ns == 1_500_000_002_000_000_000
    assert os.stat(again / "small").st_nlink == 3 and os.stat(again / "small").st_mode & 0o7777 == 0o4711


def test_without_keeping(tmp_path):
    tree = make_tree(tmp_path / "tree")
    options = CopyOptions()
    options.recursive = True
    options.uid, options.gid, options.now = 7, 8, 12_000_000_000
    with memory() as (root, _):
        Copier(options).copy(host(tree), root, b"copy", b"tree")
        small = root.get(b"copy").get(b"small").stat()
        assert (small.st_mode & 0o7777, small.st_uid, small.st_gid, small.st_nlink) == (0o711, 7, 8, 1)
        assert small.st_mtime_ns == root.get(b"copy").stat().st_mtime_ns == 12_000_000_000
        assert root.get(b"copy").get(b"dir").xattrs() == []


def test_a_tree_over_a_tree_merges(tmp_path):
    (tmp_path / "a" / "d").mkdir(parents=True)
    (tmp_path / "a" / "d" / "f").write_bytes(b"new")
    (tmp_path / "b" / "d").mkdir(parents=True)
    (tmp_path / "b" / "d" / "f").write_bytes(b"old")
    (tmp_path / "b" / "d" / "g").write_bytes(b"stays")
    os.link(tmp_path / "b" / "d" / "f", tmp_path / "b" / "other")
    Copier(archive()).copy_content(host(tmp_path / "a"), host(tmp_path / "b"), b"a")
    assert (tmp_path / "b" / "d" / "f").read_bytes() == b"new"
    assert (tmp_path / "b" / "d" / "g").read_bytes() == b"stays"
    assert (tmp_path / "b" / "other").read_bytes() == b"old"


@pytest.mark.parametrize(("into", "number"), [("self", errno.EINVAL), ("directory", errno.EISDIR)])
def test_what_would_destroy_something(tmp_path, into, number):
    (tmp_path / "f").write_bytes(b"data")
    (tmp_path / "directory").mkdir()
    name = b"f" if into == "self" else b"directory"
    with pytest.raises(OSError) as caught:
        Copier(archive()).copy(host(tmp_path / "f"), host(tmp_path), name, b"f")
    assert caught.value.errno == number
    assert (tmp_path / "f").read_bytes() == b"data"


def test_a_directory_is_not_copied_into_itself(tmp_path):
    make_tree(tmp_path / "tree")
    with memory() as (root, _):
        Copier(archive()).copy(host(tmp_path / "tree"), root, b"tree", b"tree")
        below = root.get(b"tree").get(b"dir")
        with pytest.raises(OSError, match="into itself"):
            Copier(archive()).copy(root.get(b"tree"), below, b"again", b"tree")
    with pytest.raises(OSError, match="into itself"):
        Copier(archive()).copy(host(tmp_path / "tree"), host(tmp_path / "tree" / "dir"), b"again", b"tree")


def test_a_link_that_is_in_the_way_is_not_followed(tmp_path):
    """What an image says can't make a copy out of it write elsewhere."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "out" / "tree").mkdir(parents=True)
    os.symlink("../../victim", tmp_path / "out" / "tree" / "dir")
    os.symlink("../../victim/file", tmp_path / "out" / "tree" / "small")
    tree = make_tree(tmp_path / "tree")
    said = []
    copier = Copier(archive(), lambda path, problem: said.append((path, problem.errno)))
    copier.copy(host(tree), host(tmp_path / "out"), b"tree", b"tree")
    assert said == [(b"tree/dir", errno.ENOTDIR)]
    assert not list((tmp_path / "victim").iterdir())
    assert (tmp_path / "out" / "tree" / "small").read_bytes() == b"small\n"


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0b"])
def test_evil_names_come_nowhere(tmp_path, name):
    with memory() as (root, _):
        for directory in (root, host(tmp_path)):
            with pytest.raises(OSError) as caught:
                directory.make(name, 0o100644, 0, 0)
            assert caught.value.errno == errno.EUCLEAN


def test_complaints_don_t_end_a_copy(tmp_path):
    tree = make_tree(tmp_path / "tree")
    said = []
    options = archive()
    options.replace = False
    with memory() as (root, _):
        Copier(archive()).copy(host(tree), root, b"tree", b"tree")
        Copier(options, lambda path, problem: said.append(problem.errno)).copy(host(tree), root, b"tree", b"tree")
    assert said == [errno.EEXIST] * 10


class Impatient(CopyWatcher):
    def copied(self, path, size):
        if path.endswith(b"large") and size:
            raise KeyboardInterrupt


def test_whoever_watches_may_end_it(tmp_path):
    tree = make_tree(tmp_path / "tree")
    with memory() as (root, session):
        copier = Copier(archive(), watcher=Impatient())
        with pytest.raises(KeyboardInterrupt):
            copier.copy(host(tree), root, b"tree", b"tree")
        assert session.host.now > 0
        assert root.get(b"tree").get(b"dir").stat().st_mode


def test_removing(tmp_path):
    tree = make_tree(tmp_path / "tree")
    with memory() as (root, _):
        before = summary(root)
        Copier(archive()).copy(host(tree), root, b"tree", b"tree")
        assert remove_tree(root.get(b"tree"), root, b"tree", b"tree")
        assert summary(root) == before
    assert remove_tree(host(tree), host(tmp_path), b"tree", b"tree")
    assert not tree.exists()


def test_files_that_say_that_they_are_empty_and_are_not():
    with memory() as (root, _):
        Copier(archive()).copy(host("/proc/version"), root, b"version", b"version")
        with open("/proc/version", "rb") as file:
            assert root.get(b"version").read(0, 1000) == file.read()


@pytest.mark.parametrize("size", [5000, 3 << 20])
def test_a_file_that_shrinks_is_said(tmp_path, size):
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    source = host(path)
    os.truncate(path, 1000)
    said = []
    with memory() as (root, _):
        Copier(archive(), lambda where, problem: said.append((where, problem.errno))).copy(source, root, b"a", b"file")
        assert said == [(b"file", errno.EBUSY)] and root.get(b"a").stat().st_size == 1000
