"""Random system calls, for comparisons: paths that mostly are there, flags and modes that mostly make sense."""

from __future__ import annotations

import os
import struct
from typing import Any

from hypothesis import strategies as st

from tests.system.helpers.samecalls import F_OFD_GETLK, F_OFD_SETLK

USER = 1000
NAMELESS = os.O_TMPFILE | os.O_RDWR
NAMES = st.sampled_from(["a", "b", "c", "d", "a", "b", ".", "..", "é", "n" * 255, "n" * 256])
SIMPLE = st.sampled_from(["a", "b", "c", "a/b", "b/a", "a/a", "a/b/c", "c/a"])
ODD = st.builds(
    lambda parts, joint, end: joint.join(parts) + end,
    st.lists(NAMES, min_size=0, max_size=3),
    st.sampled_from(["/", "/", "//"]),
    st.sampled_from(["", "", "", "/", "/.", "/.."]),
).filter(lambda path: not path.startswith("/"))
PATHS = st.one_of(SIMPLE, SIMPLE, SIMPLE, ODD)
MODES = st.sampled_from([0o777, 0o644, 0o600, 0o700, 0o000, 0o111, 0o4755, 0o2755, 0o1777, 0o2644])
FLAGS = st.builds(
    lambda access, more: access | sum(set(more)),
    st.sampled_from([os.O_RDONLY, os.O_WRONLY, os.O_RDWR]),
    st.lists(
        st.sampled_from(
            [
                os.O_CREAT,
                os.O_CREAT,
                os.O_EXCL,
                os.O_TRUNC,
                os.O_APPEND,
                os.O_DIRECTORY,
                os.O_NOFOLLOW,
                os.O_NONBLOCK,
                os.O_PATH,
            ]
        )
    ),
).filter(lambda flags: flags & (os.O_CREAT | os.O_DIRECTORY) != os.O_CREAT | os.O_DIRECTORY)
"""Linux changed its mind about O_CREAT with O_DIRECTORY in version 6.4."""
OFFSETS = st.integers(-2, 300) | st.sampled_from([4095, 65536, 200_000])
DATA = st.binary(max_size=40)
FILE = st.integers(0, 20)


XATTRS = st.sampled_from(
    [
        "user.a",
        "user.a",
        "user.b",
        "user.",
        "trusted.a",
        "security.a",
        "system.a",
        "odd.a",
        "a",
        "",
        "user." + "n" * 251,
    ]
)
VALUES = st.sampled_from([b"", b"x", b"some value", b"long " * 40])
AT_FLAGS = st.sampled_from([0, 0, 256])
TAGS = st.sampled_from([1, 2, 4, 8, 16, 32])
IDS = st.sampled_from([0, USER, 1001, 0xFFFFFFFF])


def acl(user: int, entries: list[tuple[int, int, int]], group: int, mask: int, other: int) -> bytes:
    """A list with some named entries.  Its mask denies nothing to the owning group alone: where all group bits of the mode
    are clear Linux takes "other" for everybody but the owner, against acl(5)."""
    rows = [(1, user, 0xFFFFFFFF), *sorted(row for row in entries if row[0] == 2), (4, group, 0xFFFFFFFF)]
    rows += sorted(row for row in entries if row[0] == 8)
    if mask >= 0:
        rows.append((16, mask, 0xFFFFFFFF))
    return packed([*rows, (32, other, 0xFFFFFFFF)])


def packed(rows: list[tuple[int, int, int]], version: int = 2) -> bytes:
    return struct.pack("<I", version) + b"".join(struct.pack("<HHI", *row) for row in rows)


BITS = st.integers(0, 7)
NAMED = st.lists(st.tuples(st.sampled_from([2, 8]), BITS, st.sampled_from([USER, 1001])), max_size=3)
ACLS = st.one_of(
    st.builds(acl, BITS, NAMED, BITS, st.integers(1, 7), BITS),
    st.builds(acl, BITS, NAMED, BITS, st.integers(1, 7), BITS),
    st.builds(acl, BITS, NAMED, st.integers(1, 7), st.just(-1), BITS),
    st.builds(packed, st.lists(st.tuples(TAGS, st.integers(0, 8), IDS), max_size=5), st.sampled_from([2, 2, 2, 1])),
    st.binary(max_size=20),
)
LOCK_COMMANDS = st.sampled_from([F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLK])
KINDS = st.sampled_from([0, 1, 2, 0, 1, 2, 5])
ACL_NAMES = st.sampled_from(["system.posix_acl_access", "system.posix_acl_default"])


def step(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(st.just("both"), st.tuples(st.just(name), *arguments))


def on_file(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(st.just("on_file"), st.tuples(FILE, st.just(name), *arguments))


STEPS = st.one_of(
    st.tuples(st.just("open_file"), st.tuples(PATHS, FLAGS, MODES)),
    st.tuples(st.just("open_file"), st.tuples(PATHS, st.just(os.O_RDWR | os.O_CREAT), st.just(0o666))),
    st.tuples(
        st.just("open_file"), st.tuples(PATHS, st.sampled_from([NAMELESS, NAMELESS, NAMELESS | os.O_EXCL]), MODES)
    ),
    st.tuples(st.just("open_file"), st.tuples(st.sampled_from(["a", "b"]), st.just(NAMELESS), st.just(0o666))),
    on_file("link_file", PATHS),
    on_file("link_file", SIMPLE),
    step("mkdir", PATHS, st.just(0o777) | MODES),
    step("mkdir", SIMPLE, st.just(0o777)),
    step("rmdir", PATHS),
    step("unlink", PATHS),
    step("rename", PATHS, PATHS, st.sampled_from([0, 0, 0, 1, 2, 3])),
    step("rename", SIMPLE, SIMPLE, st.just(0)),
    step("link", PATHS, PATHS),
    step("symlink", PATHS, PATHS),
    step("readlink", PATHS),
    step("stat", PATHS),
    step("lstat", PATHS),
    step("chmod", PATHS, MODES),
    step("chown", PATHS, st.sampled_from([-1, 0, USER]), st.sampled_from([-1, 0, USER])),
    step("utimens", PATHS, st.integers(0, 10**14), st.integers(0, 10**14)),
    step("truncate", PATHS, OFFSETS),
    step("access", PATHS, st.integers(0, 7)),
    step("mkfifo", PATHS, MODES),
    step("setxattr", PATHS, XATTRS, VALUES, st.integers(0, 4), AT_FLAGS),
    step("setxattr", SIMPLE, st.just("user.a"), VALUES, st.just(0), AT_FLAGS),
    step("getxattr", PATHS, XATTRS | ACL_NAMES, AT_FLAGS),
    step("listxattr", SIMPLE, AT_FLAGS),
    step("removexattr", PATHS, XATTRS | ACL_NAMES, AT_FLAGS),
    step("setxattr", SIMPLE, ACL_NAMES, ACLS, st.integers(0, 2), AT_FLAGS),
    st.tuples(st.just("list"), st.tuples(PATHS)),
    on_file("close"),
    on_file("fstat"),
    on_file("read", st.integers(0, 100)),
    on_file("write", DATA),
    on_file("pread", st.integers(0, 100), OFFSETS),
    on_file("pwrite", DATA, OFFSETS),
    on_file("lseek", OFFSETS, st.integers(-1, 2)),
    on_file("ftruncate", OFFSETS),
    on_file("fsetxattr", XATTRS, VALUES),
    on_file("fgetxattr", XATTRS),
    on_file("flock", st.sampled_from([1, 2, 8, 1, 2, 8, 3])),
    on_file("fcntl_lock", LOCK_COMMANDS, KINDS, OFFSETS, st.integers(-9, 90), st.integers(0, 2)),
    on_file("fcntl_lock", LOCK_COMMANDS, KINDS, st.integers(0, 9), st.integers(0, 9), st.just(0)),
    on_file("fallocate", st.sampled_from([0, 1, 3, 3, 2, 64]), OFFSETS, OFFSETS),
)


PRELUDE = [
    ("both", ("mkdir", "a", 0o777)),
    ("both", ("mkdir", "b", 0o777)),
    ("both", ("mkdir", "a/b", 0o700)),
    ("open_file", ("a/a", os.O_RDWR | os.O_CREAT, 0o666)),
    ("on_file", (0, "write", b"some text")),
    ("both", ("symlink", "a", "c")),
    ("both", ("symlink", "../a/a", "b/a")),
]
"""So that the random calls find something."""
