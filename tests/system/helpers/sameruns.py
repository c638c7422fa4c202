"""One random run on both sides, and the comparison of what it leaves."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Any

from tests.system.helpers.randomcalls import PRELUDE
from tests.system.helpers.samecalls import Host, OnDisk, Ours, Run, names, shown


def _is_fifo(run: Run, path: str) -> bool:
    """Whether opening `path` would wait for the other end."""
    try:
        return stat.S_ISFIFO(run.host.stat(path).st_mode)
    except OSError:
        return False


def compare(make: Callable[[], Ours], make_host: Callable[[], Host], steps: list[Any]) -> Ours:
    """Take the steps on both sides; ours when it is finished.  What a disk of ours keeps is compared once more behind a remount."""
    old_mask = os.umask(0o022)
    host = make_host()
    run = None
    try:
        run = Run(make(), host)
        for name, arguments in PRELUDE + steps:
            if name == "open_file" and not arguments[1] & os.O_NONBLOCK and _is_fifo(run, arguments[0]):
                continue
            getattr(run, name)(*arguments)
        if isinstance(run.ours, OnDisk):
            while run.open:
                run.on_file(0, "close")
            run.ours.again(0)
            same_tree(run, ".")
    finally:
        os.umask(old_mask)
        if run is not None:
            for _, fd in run.open:
                os.close(fd)
            run.ours.finish()
        os.close(host.base)
    return run.ours


def same_tree(run: Run, path: str) -> None:
    """Compare everything below a directory, as the superuser sees it."""
    ours, host = run.ours, run.host
    expected = names(host, path)
    found = names(ours, path)
    assert found == expected, "\n".join([*run.log, f"{path} has {found} and not {expected} behind a remount"])
    for name in expected:
        where = f"{path}/{name}"
        mine, theirs = ours.lstat(where), host.lstat(where)
        assert shown(mine) == shown(theirs), "\n".join(
            [*run.log, f"behind a remount: {where}: {mine} and not {theirs}"]
        )
        same = _content(ours, where, mine.st_mode) == _content(host, where, theirs.st_mode)
        assert same, "\n".join([*run.log, f"behind a remount {where} has other contents"])
        if stat.S_ISDIR(mine.st_mode):
            same_tree(run, where)


def _content(side: Any, path: str, mode: int) -> object:
    """The bytes of a file, and its attributes."""
    if stat.S_ISLNK(mode):
        return side.readlink(path)
    attributes = {}
    if not side.folds:
        attributes = {name: side.getxattr(path, name, 0) for name in side.listxattr(path, 0) if name[:4] != "secu"}
    if not stat.S_ISREG(mode):
        return attributes
    fd = side.open(path, os.O_RDONLY, 0)
    try:
        return side.pread(fd, 1 << 20, 0), attributes
    finally:
        side.close(fd)
