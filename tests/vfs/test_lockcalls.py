"""Advisory locks: ranges, who is in whose way, waiting and deadlock, and when locks go."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.kern.abi.errno import EAGAIN, EBADF, EDEADLK, EINVAL, ENOLCK, EOVERFLOW
from rumpkit.kern.abi.fcntl import (
    F_GETLK,
    F_OFD_GETLK,
    F_OFD_SETLK,
    F_OFD_SETLKW,
    F_RDLCK,
    F_SETLK,
    F_SETLKW,
    F_UNLCK,
    F_WRLCK,
    LOCK_EX,
    LOCK_NB,
    LOCK_SH,
    LOCK_UN,
    O_CREAT,
    O_PATH,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    SEEK_CUR,
    SEEK_END,
)
from rumpkit.kern.wait import Blocked
from rumpkit.vfs.locks import END, FileLock, FileLocks, LockLimit
from tests.vfs.helpers import Client, Files, fails


class Two:
    """Two processes with the file /f open."""

    def __init__(self, files: Files):
        self.files = files
        files.root.put("/f", bytes(100))
        files.root.chmod("/f", 0o666)
        self.a = files.process(1)
        self.b = files.process(2)
        self.at_a = self.a.open("/f", O_RDWR)
        self.at_b = self.b.open("/f", O_RDWR)

    def lock_a(self, kind: int, *where: int, command: int = F_SETLK) -> Any:
        return self.a.fcntl_lock(self.at_a, command, kind, *where)

    def lock_b(self, kind: int, *where: int, command: int = F_SETLK) -> Any:
        return self.b.fcntl_lock(self.at_b, command, kind, *where)


@pytest.fixture
def two(files: Files) -> Two:
    return Two(files)


def end(two: Two, wait: Blocked) -> None:
    two.files.entered(wait.cancel)


def test_who_is_in_whose_way(two: Two):
    two.lock_a(F_RDLCK, 10, 10)
    two.lock_b(F_RDLCK, 15, 10)
    fails(EAGAIN, two.lock_b, F_WRLCK, 19, 1)
    two.lock_b(F_WRLCK, 20, 5)
    fails(EAGAIN, two.lock_a, F_RDLCK, 0)
    assert two.lock_a(F_WRLCK, 0, 0, command=F_GETLK) == FileLock(F_RDLCK, 15, 5, two.b.process.pid)
    assert two.lock_b(F_WRLCK, 0, 10, command=F_GETLK) == FileLock(F_UNLCK, 0, 10, 0)
    two.lock_a(F_UNLCK, 12, 3)
    two.lock_b(F_WRLCK, 12, 3)
    fails(EAGAIN, two.lock_b, F_WRLCK, 11, 1)
    two.lock_a(F_UNLCK)
    two.lock_b(F_WRLCK)
    two.lock_b(F_WRLCK, 50, 0)
    assert two.lock_a(F_RDLCK, command=F_GETLK) == FileLock(F_WRLCK, 0, 0, two.b.process.pid)


def test_ranges(two: Two):
    two.a.lseek(two.at_a, 30, 0)
    two.lock_a(F_WRLCK, 0, 5, SEEK_CUR)
    two.lock_a(F_WRLCK, -10, 5, SEEK_END)
    two.lock_a(F_WRLCK, 60, -5)
    shown = []
    for start in (0, 35, 60):
        lock = two.lock_b(F_WRLCK, start, 0, command=F_GETLK)
        shown.append((lock.start, lock.length))
    assert shown == [(30, 5), (55, 5), (90, 5)]
    fails(EINVAL, two.lock_a, F_WRLCK, -1)
    fails(EINVAL, two.lock_a, F_WRLCK, 3, -4)
    fails(EINVAL, two.lock_a, F_WRLCK, 0, 1, 7)
    fails(EINVAL, two.lock_a, 9)
    fails(EINVAL, two.lock_a, F_UNLCK, command=F_GETLK)
    fails(EOVERFLOW, two.lock_a, F_WRLCK, END, 2)
    fails(EOVERFLOW, two.lock_a, F_WRLCK, END, 1, SEEK_CUR)
    two.lock_a(F_WRLCK, END, 1)


def test_what_can_be_locked(files: Files):
    root = files.root
    root.put("/f")
    fails(EBADF, root.fcntl_lock, root.open("/f", O_RDONLY), F_SETLK, F_WRLCK)
    fails(EBADF, root.fcntl_lock, root.open("/f", O_WRONLY), F_SETLK, F_RDLCK)
    fails(EBADF, root.fcntl_lock, root.open("/f", O_PATH), F_SETLK, F_RDLCK)
    fails(EBADF, root.flock, root.open("/f", O_PATH), LOCK_SH)
    fails(EINVAL, root.flock, root.open("/f", O_RDONLY), 3)
    fails(EINVAL, root.flock, root.pipe2()[0], LOCK_SH)
    fails(EBADF, root.flock, 99, LOCK_SH)
    root.flock(root.open("/", O_RDONLY), LOCK_EX)


def test_they_go_with_any_descriptor_of_the_file(two: Two):
    a, b = two.a, two.b
    two.lock_a(F_WRLCK)
    a.close(a.open("/f", O_RDONLY))
    two.lock_b(F_WRLCK)
    two.lock_b(F_UNLCK)
    two.lock_a(F_WRLCK)
    child = two.files.entered(two.files.kernel.process, parent=a.process)
    two.files.entered(two.files.kernel.exit, child)  # a child has none, and takes none along
    fails(EAGAIN, two.lock_b, F_WRLCK)
    a.dup2(a.open("/", O_RDONLY), two.at_a)
    two.lock_b(F_WRLCK)
    two.files.entered(two.files.kernel.exit, b.process)
    third = two.files.process(3)
    third.fcntl_lock(third.open("/f", O_RDWR), F_SETLK, F_WRLCK)


def test_open_files_have_their_own(two: Two):
    a = two.a
    other = a.open("/f", O_RDWR)
    two.lock_a(F_WRLCK, 0, 10, command=F_OFD_SETLK)
    fails(EAGAIN, a.fcntl_lock, other, F_OFD_SETLK, F_RDLCK)
    fails(EAGAIN, two.lock_a, F_RDLCK)  # the process is another owner than its open file
    assert a.fcntl_lock(other, F_OFD_GETLK, F_RDLCK) == FileLock(F_WRLCK, 0, 10, -1)
    a.close(other)
    fails(EAGAIN, two.lock_b, F_RDLCK)
    copy = a.dup(two.at_a)
    a.close(two.at_a)
    fails(EAGAIN, two.lock_b, F_RDLCK)
    a.close(copy)
    two.lock_b(F_RDLCK)


def test_flock(two: Two):
    a, b = two.a, two.b
    a.flock(two.at_a, LOCK_SH)
    b.flock(two.at_b, LOCK_SH)
    fails(EAGAIN, a.flock, two.at_a, LOCK_EX | LOCK_NB)
    b.flock(two.at_b, LOCK_EX | LOCK_NB)  # the failed change has given the shared lock up, as on Linux
    fails(EAGAIN, a.flock, two.at_a, LOCK_SH | LOCK_NB)
    two.lock_a(F_WRLCK)  # the kinds know nothing of each other
    wait = a.flock(two.at_a, LOCK_EX)
    assert isinstance(wait, Blocked) and two.files.entered(wait.retry) is wait
    b.flock(two.at_b, LOCK_UN)
    assert two.files.entered(wait.retry) is None
    end(two, wait)
    fails(EAGAIN, b.flock, two.at_b, LOCK_SH | LOCK_NB)
    a.close(a.dup(two.at_a))
    fails(EAGAIN, b.flock, two.at_b, LOCK_SH | LOCK_NB)
    a.close(two.at_a)
    b.flock(two.at_b, LOCK_EX | LOCK_NB)


def test_waiting(two: Two):
    two.lock_a(F_WRLCK, 0, 10)
    wait = two.lock_b(F_RDLCK, 5, 10, command=F_SETLKW)
    assert isinstance(wait, Blocked)
    two.lock_a(F_UNLCK, 0, 5)
    assert two.files.entered(wait.retry) is wait
    two.lock_a(F_RDLCK, 0, 10)
    assert two.files.entered(wait.retry) is None
    end(two, wait)
    fails(EAGAIN, two.lock_a, F_WRLCK)
    wait = two.lock_a(F_WRLCK, command=F_OFD_SETLKW)
    two.a.close(two.at_a)
    fails(EBADF, two.files.entered, wait.retry)
    end(two, wait)


def test_deadlock(two: Two):
    c = two.files.process(3)
    at_c = c.open("/f", O_RDWR)
    two.lock_a(F_WRLCK, 0, 1)
    two.lock_b(F_WRLCK, 1, 1)
    c.fcntl_lock(at_c, F_SETLK, F_WRLCK, 2, 1)
    first = two.lock_a(F_WRLCK, 1, 1, command=F_SETLKW)
    second = two.lock_b(F_WRLCK, 2, 1, command=F_SETLKW)
    fails(EDEADLK, c.fcntl_lock, at_c, F_SETLKW, F_WRLCK, 0, 1)
    end(two, second)
    third = c.fcntl_lock(at_c, F_SETLKW, F_WRLCK, 0, 1)
    assert isinstance(third, Blocked)
    fails(EDEADLK, two.lock_b, F_WRLCK, 2, 1, command=F_SETLKW)
    two.lock_b(F_UNLCK, 1, 1)
    assert two.files.entered(first.retry) is None
    end(two, first)
    two.lock_a(F_UNLCK)
    assert two.files.entered(third.retry) is None
    end(two, third)


def test_a_limit(two: Two):
    two.files.kernel.sysctl.set("vfs.max_locks", 3)
    two.lock_a(F_WRLCK, 0, 1)
    two.lock_a(F_WRLCK, 2, 1)
    two.a.flock(two.at_a, LOCK_EX)
    fails(ENOLCK, two.lock_a, F_WRLCK, 4, 1)
    two.lock_a(F_WRLCK, 0, 10)
    two.lock_a(F_UNLCK, 5, 1)
    fails(ENOLCK, two.lock_a, F_UNLCK, 2, 1)
    assert two.files.vfs.lock_limit.used == 3
    two.files.entered(two.files.kernel.exit, two.a.process)
    assert two.files.vfs.lock_limit.used == 0


KINDS = st.sampled_from([F_RDLCK, F_WRLCK, F_UNLCK])
PUTS = st.lists(st.tuples(st.integers(0, 2), KINDS, st.integers(0, 30), st.integers(0, 12)), max_size=30)


@given(PUTS)
def test_like_a_map_of_bytes(puts: list[tuple[int, int, int, int]]):
    limit = LockLimit()
    locks = FileLocks(limit)
    owners = [object(), object(), object()]
    model: list[dict[int, int]] = [{} for _ in range(50)]
    for who, kind, start, length in puts:
        covered = range(start, start + length + 1)
        others = [kinds for byte in covered for other, kinds in model[byte].items() if other != who]
        free = kind == F_UNLCK or not (others if kind == F_WRLCK else [one for one in others if one == F_WRLCK])
        found = locks.conflict(owners[who], kind == F_WRLCK, start, start + length) if kind != F_UNLCK else None
        assert (found is None) == free
        if free:
            locks.put(owners[who], kind, start, start + length)
            for byte in covered:
                model[byte].pop(who, None)
                if kind != F_UNLCK:
                    model[byte][who] = kind
        assert limit.used == len(locks)
    for owner in owners:
        locks.drop(owner)
    assert limit.used == len(locks) == 0


def test_through_a_null_mount(files: Files):
    root = files.root
    root.mkdir("/a")
    root.put("/a/f")
    files.mount("null", "/n", "/a")
    other: Client = files.process(0)
    root.fcntl_lock(root.open("/a/f", O_RDWR), F_SETLK, F_WRLCK)
    fails(EAGAIN, other.fcntl_lock, other.open("/n/f", O_RDWR | O_CREAT), F_SETLK, F_RDLCK)
