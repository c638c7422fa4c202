"""Control groups for programs with limits (cgroups(7), version 2): where they may be, one for each program, and their end.

Below `spawn`, whose starter puts a program into its group.  A group is `BASE/rumpkit-PID-X/NAME`.  BASE is our own group, or one above
it, that we may write to; `rumpkit-PID-X` is this process's, and locked (flock) as long as it lives, however it ends: who finds one that
nobody locks removes it.

Where processes are in a group Linux gives its children no controllers.  Where BASE is our own group, which has nobody else in it, we
therefore move into a group of our own below (`self`), and back at the end.
"""

import fcntl
import os
import threading
import time
from collections.abc import Mapping, Sequence
from errno import EBUSY, ENOENT, ESRCH
from pathlib import Path
from typing import Final, final

from .family import below
from .own_group import PREFIX, find
from .own_group import Unavailable as Unavailable

SELF: Final = "self"
CONTROLLERS: Final = ("memory", "cpu", "pids")
OPTIONAL: Final = ("memory.swap.max", "memory.oom.group")
"""Not every Linux has these files."""
REMOVAL_TIMEOUT: Final = 2.0
"""Seconds that what has been killed has to leave its group; then the next one to make groups removes it."""
REMOVAL_STEP: Final = 0.005
HELD_TRIES: Final = 1000
"""How often a group may be swept away before it is locked; each time takes another process that sweeps just then."""
DELEGATION: Final = "start it in a group of its own: systemd-run --user --scope -p Delegate=yes rump ..."


@final
class Group:
    """A program's group.  Off the schedule."""

    def __init__(self, owner: "Groups", path: Path) -> None:
        self._owner = owner
        self.path = path

    def killed_for_memory(self) -> bool:
        """Whether Linux has ended processes because all of them together reached memory.max."""
        return _table(self.path / "memory.events").get("oom_kill", 0) > 0

    def use(self) -> dict[str, float]:
        """Bytes of memory, seconds of a processor, tasks (processes and threads), as far as Linux counts them."""
        found = {name: _number(self.path / file) for name, file in _USE.items()}
        time_used = _table(self.path / "cpu.stat").get("usage_usec")
        found["cpu"] = None if time_used is None else time_used / 1e6
        return {name: value for name, value in found.items() if value is not None}

    def remove(self) -> None:
        """End whoever is in it, and take it away.  A second call does nothing."""
        self._owner.remove(self)


_USE: Final = {"memory": "memory.current", "tasks": "pids.current"}


@final
class Groups:
    """Those of this process.  Any thread may make and remove them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._base: Path | None = None
        self._ours: Path | None = None
        self._held = -1
        self._groups: set[Group] = set()
        self._number = 0
        self._moved = False

    def make(self, name: str, settings: Mapping[str, str]) -> Group:
        """A group with these files set ("memory.max": "1000000").  Raises Unavailable, and OSError for a value that Linux refuses."""
        wanted = sorted({file.partition(".")[0] for file in settings})
        with self._lock:
            if self._ours is None:
                self._begin(wanted)
            try:
                return self._make(name, settings, wanted)
            finally:
                if not self._groups:
                    self._end()

    def _make(self, name: str, settings: Mapping[str, str], wanted: Sequence[str]) -> Group:
        assert self._base is not None and self._ours is not None
        for directory in (self._base, self._ours):
            _enable(directory, wanted)
        self._number += 1
        group = Group(self, self._ours / f"{name}-{self._number}")
        try:
            group.path.mkdir()
            for file, text in settings.items():
                if file in OPTIONAL and not (group.path / file).exists():
                    continue
                (group.path / file).write_text(text)
        except OSError:
            _remove(group.path)
            raise
        self._groups.add(group)
        return group

    def remove(self, group: Group) -> None:
        """See `Group.remove`."""
        with self._lock:
            if group in self._groups:
                self._groups.discard(group)
                _remove(group.path)
                if not self._groups:
                    self._end()

    def _begin(self, wanted: Sequence[str]) -> None:
        self._base, crowded = _base(wanted)
        sweep(self._base)
        ours = self._base / f"{PREFIX}{os.getpid()}-{os.urandom(2).hex()}"
        try:
            self._held = hold(ours)
            self._ours = ours
            if crowded:
                (ours / SELF).mkdir()
                self._moved = True
                _move(self._base, ours / SELF)
        except OSError as problem:
            self._end()
            raise Unavailable(f"{ours}: {problem.strerror}") from None

    def _end(self) -> None:
        """Leave nothing."""
        if self._moved and self._base is not None and self._ours is not None:
            try:
                _disable(self._ours)
                _disable(self._base)
                _move(self._ours / SELF, self._base)
            except OSError:  # somebody else uses it by now; it is removed once we are gone
                pass
            _discard(self._ours / SELF)
        if self._ours is not None:
            _discard(self._ours)
        if self._held >= 0:
            os.close(self._held)
        self._base = self._ours = None
        self._held, self._moved = -1, False


GROUPS: Final = Groups()


def why_missing(controllers: Sequence[str] = CONTROLLERS) -> str:
    """Why programs can't have groups with these controllers; "" if they can."""
    try:
        _base(controllers)
    except Unavailable as problem:
        return str(problem)
    return ""


def hold(directory: Path) -> int:
    """Make a group that nobody sweeps away as long as the descriptor is open.  Raises OSError."""
    for _ in range(HELD_TRIES):
        directory.mkdir(exist_ok=True)
        try:
            held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        # Somebody who sweeps may have been quicker with the lock: then it has gone by the time that we get it.
        fcntl.flock(held, fcntl.LOCK_EX)
        if _is(held, directory):
            return held
        os.close(held)
    raise OSError(EBUSY, "others keep removing it")


def _is(held: int, directory: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(held), os.stat(directory))
    except OSError:
        return False


def sweep(base: Path) -> None:
    """Remove what others have left who are dead."""
    for one in base.glob(f"{PREFIX}*"):
        try:
            fd = os.open(one, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for child in [*one.iterdir()]:
                if child.is_dir():
                    _discard(child)
            _discard(one)
        except OSError:
            pass
        finally:
            os.close(fd)


# Where ----------------------------------------------------------------------------------------------------------------


def _base(wanted: Sequence[str]) -> tuple[Path, bool]:
    """Where groups with these controllers may be, and whether we have to leave it first.  Raises Unavailable."""
    top, own = _own()
    reason = ""
    directory = own
    while True:
        problem = _problem(directory, wanted, own)
        if problem in ("", _CROWDED):
            return directory, bool(problem)
        reason = reason or problem
        if directory == top:
            raise Unavailable(reason)
        directory = directory.parent


_CROWDED: Final = "we are in it"


def _problem(directory: Path, wanted: Sequence[str], own: Path) -> str:
    try:
        there = (directory / "cgroup.controllers").read_text().split()
        enabled = (directory / "cgroup.subtree_control").read_text().split()
        inside = [int(word) for word in (directory / "cgroup.procs").read_text().split()]
    except OSError as problem:
        return f"{directory}: {problem.strerror}"
    lacking = [one for one in wanted if one not in there]
    if lacking:
        return f"{_told(directory)} lacks the controller {', '.join(lacking)}{_elsewhere(lacking[0])}"
    if not all(os.access(directory / name, os.W_OK) for name in ("", "cgroup.procs", "cgroup.subtree_control")):
        return f"{_told(directory)} is not ours to write to; {DELEGATION}"
    if all(one in enabled for one in wanted) or not (directory / "cgroup.type").exists():  # which only the root lacks
        return ""
    strangers = set(inside) - {os.getpid(), *below(os.getpid())}
    if not inside:
        return ""
    return (
        f"other processes are in {_told(directory)}, too; {DELEGATION}" if strangers or directory != own else _CROWDED
    )


def _told(directory: Path) -> str:
    return f"the control group {directory}"


def _elsewhere(controller: str) -> str:
    """Where cgroup version 1 has it."""
    try:
        with open("/proc/self/cgroup") as file:
            old = any(controller in line.split(":")[1].split(",") for line in file)
    except OSError:
        return ""
    return " (version 1 has it: start Linux with systemd.unified_cgroup_hierarchy=1)" if old else ""


def _own() -> tuple[Path, Path]:
    """Where cgroup2 is mounted, and our own group there.  Raises Unavailable."""
    top, own = find()
    return Path(top), Path(own)


# Files ----------------------------------------------------------------------------------------------------------------


def _enable(directory: Path, wanted: Sequence[str]) -> None:
    """Have the children of a group counted.  Raises Unavailable."""
    if not wanted:
        return
    try:
        (directory / "cgroup.subtree_control").write_text(" ".join(f"+{one}" for one in wanted))
    except OSError as problem:
        raise Unavailable(f"{_told(directory)}: {problem.strerror}; {DELEGATION}") from None


def _disable(directory: Path) -> None:
    file = directory / "cgroup.subtree_control"
    file.write_text(" ".join(f"-{one}" for one in file.read_text().split()))


def _move(source: Path, target: Path) -> None:
    """All processes, our own and our children's."""
    for _ in range(3):  # one may be born meanwhile
        for process in (source / "cgroup.procs").read_text().split():
            try:
                (target / "cgroup.procs").write_text(process)
            except OSError as problem:
                if problem.errno != ESRCH:
                    raise


def _discard(directory: Path) -> None:
    """Take a group away that has nobody in it; who is in one that is not a program's is none of ours to end."""
    try:
        directory.rmdir()
    except OSError:
        pass


def _remove(directory: Path) -> None:
    """Take a program's group away, and who is in it."""
    end = time.monotonic() + REMOVAL_TIMEOUT
    while True:
        try:
            directory.rmdir()
            return
        except OSError as problem:
            if problem.errno != EBUSY or time.monotonic() > end:
                return
        _kill(directory)
        time.sleep(REMOVAL_STEP)


def _kill(directory: Path) -> None:
    try:
        (directory / "cgroup.kill").write_text("1")
    except OSError as problem:
        if problem.errno not in (ENOENT, EBUSY):
            return


def _number(file: Path) -> float | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _table(file: Path) -> dict[str, int]:
    try:
        return {line.split()[0]: int(line.split()[1]) for line in file.read_text().splitlines()}
    except (OSError, ValueError, IndexError):
        return {}
