"""The name cache: what it knows, what it forgets, its limit, and that a disk's directories never contradict it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rumpkit.fs.ext.mount import ExtMount
from rumpkit.kern.abi.errno import ENOENT
from rumpkit.kern.abi.fcntl import RENAME_EXCHANGE
from rumpkit.vfs.namecache import UNKNOWN, NameCache, NameCounters
from tests.vfs.helpers import Files, fails


def test_names_come_and_go():
    counters = NameCounters()
    cache = NameCache(3, counters)
    assert cache.get(2, 0, b"a") == UNKNOWN
    cache.put(2, 0, b"a", 11)
    cache.put(2, 0, b"b", 0)
    assert (cache.get(2, 0, b"a"), cache.get(2, 0, b"b")) == (11, 0)
    assert cache.get(2, 1, b"a") == cache.get(3, 0, b"a") == UNKNOWN
    cache.forget(2, 0, b"a")
    cache.forget(2, 0, b"none")
    assert cache.get(2, 0, b"a") == UNKNOWN
    assert (counters.hits, counters.negative_hits, counters.misses) == (1, 1, 4)
    for number in range(5):
        cache.put(9, 0, b"%d" % number, number + 1)
    assert len(cache) == 3 and [cache.get(9, 0, b"%d" % number) for number in range(5)] == [UNKNOWN, UNKNOWN, 3, 4, 5]
    off = NameCache(0, counters)
    off.put(1, 1, b"a", 1)
    assert off.get(1, 1, b"a") == UNKNOWN and len(off) == 0


@pytest.fixture
def ext() -> Files:
    return Files(root="ext4")


def test_a_disks_names(ext: Files):
    root = ext.root
    counters = ext.vfs.name_counters
    root.mkdir("/d")
    for _ in range(2):
        fails(ENOENT, root.stat, "/d/f")
    assert counters.negative_hits >= 1
    root.put("/d/f", b"one")
    known = counters.hits
    for _ in range(3):
        assert root.get("/d/f") == b"one"
    assert counters.hits >= known + 4
    root.rename("/d/f", "/d/g")
    fails(ENOENT, root.stat, "/d/f")
    root.put("/d/f", b"two")
    root.rename("/d/f", "/d/g", RENAME_EXCHANGE)
    assert (root.get("/d/f"), root.get("/d/g")) == (b"one", b"two")
    root.unlink("/d/f")
    root.unlink("/d/g")
    for name in "fg":
        fails(ENOENT, root.stat, f"/d/{name}")
    root.rmdir("/d")
    root.mkdir("/d")  # with the same inode number
    root.put("/d/g", b"three")
    assert root.get("/d/g") == b"three"
    root.chdir("/d")
    assert root.names(".") == ["g"]


NAMES = st.sampled_from(["a", "b", "c"])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "mkdir", "unlink", "rmdir", "rename", "link", "stat"]), NAMES, NAMES, NAMES, NAMES
    ),
    max_size=25,
)


def outcome(files: Files, step: tuple[str, str, str, str, str]) -> object:
    """What a step gives: a result or an errno."""
    call, *names = step
    one, other = f"/{names[0]}/{names[1]}", f"/{names[2]}/{names[3]}"
    try:
        if call == "stat":
            return files.root.stat(one).st_mode
        getattr(files.root, call)(*((one, other) if call in ("rename", "link") else (one,)))
    except OSError as problem:
        return problem.errno
    return None


@settings(max_examples=20)
@given(STEPS)
def test_the_same_as_without(steps: list[tuple[str, str, str, str, str]]):
    """Every outcome, and what is there in the end, are as with no cache at all."""
    found = []
    for limit in (0, 2, 1000):
        files = Files(root="ext4")
        mount = files.vfs.mounts()[0]
        assert isinstance(mount, ExtMount)
        mount.volume.names.limit = limit
        for name in "abc":
            files.root.mkdir(f"/{name}")
        seen = [outcome(files, step) for step in steps]
        seen.append([sorted(files.root.names(f"/{name}")) for name in "abc"])
        found.append(seen)
        assert len(mount.volume.names) <= max(limit, 4)
    assert found[0] == found[1] == found[2]
