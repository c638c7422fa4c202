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


def take(run: Run, steps: list[Any], begin: bool = True) -> None:
    """Take the steps; to begin with, those that have them find something."""
    for name, arguments in PRELUDE * begin + steps:
        if name == "open_file" and not arguments[1] & os.O_NONBLOCK and _is_fifo(run, arguments[0]):
            continue
        getattr(run, name)(*arguments)


def compare(make: Callable[[], Ours], make_host: Callable[[], Host], steps: list[Any]) -> Ours:
    """Take the steps on both sides; ours when it is finished.  What a disk of ours keeps is compared once more behind a remount."""
    old_mask = os.umask(0o022)
    host = make_host()
    run = None
    try:
        run = Run(make(), host)
        take(run, steps)
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
        kept, expected_content = _content(ours, where, mine.st_mode), _content(host, where, theirs.st_mode)
        text = f"behind a remount {where}: {_difference(kept, expected_content)}"
        assert kept == expected_content, "\n".join([*run.log, text])
        if stat.S_ISDIR(mine.st_mode):
            same_tree(run, where)


def _content(side: Any, path: str, mode: int) -> tuple[dict[str, bytes], bytes]:
    """The attributes of a file, and its bytes."""
    if stat.S_ISLNK(mode):
        return {}, side.readlink(path).encode()
    attributes: dict[str, bytes] = {}
    if not side.folds:
        attributes = {name: side.getxattr(path, name, 0) for name in side.listxattr(path, 0) if name[:4] != "secu"}
    if not stat.S_ISREG(mode):
        return attributes, b""
    fd = side.open(path, os.O_RDONLY, 0)
    try:
        return attributes, side.pread(fd, 1 << 20, 0)
    finally:
        side.close(fd)


def _difference(found: tuple[dict[str, bytes], bytes], expected: tuple[dict[str, bytes], bytes]) -> str:
    if found[0] != expected[0]:
        return f"attributes {found[0]} and not {expected[0]}"
    pairs = enumerate(zip(found[1], expected[1], strict=False))
    at = next((place for place, (one, other) in pairs if one != other), min(len(found[1]), len(expected[1])))
    return f"byte {at} of {len(found[1])} and {len(expected[1])}: {found[1][at:][:40]!r}, not {expected[1][at:][:40]!r}"
