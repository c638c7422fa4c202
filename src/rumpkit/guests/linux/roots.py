"""The program's root: the host's, read-only and without what is the host's own; or another one.  Run by the starter, in a mount
namespace that nobody else sees, beside `mounts`.

The host's mounts are cut off: those that it makes later don't appear.  What the program may see or change in places that get covered is
held as mounts that are nowhere (open_tree(2)) while they are covered, and put there afterwards.  Another root becomes the root
(pivot_root(2)) before anything else is done, so that every path, and every symbolic link in it, leads within it.
"""

from __future__ import annotations

import os
import stat
from os import path

from . import abi, libc, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_BARE: Final = abi.MOUNT_ATTR_NOSUID | abi.MOUNT_ATTR_NODEV
_NEEDED: Final = ("/proc", "/sys", "/dev", "/tmp", "/run")
"""Directories that a root is to have."""
_STAGE: Final = "/proc"
"""Where mounts are for a moment; every root has it, and another one comes there later."""
_TREE: Final = abi.OPEN_TREE_CLONE | abi.OPEN_TREE_CLOEXEC | abi.AT_RECURSIVE
ENTRIES: Final = 4096
"""How many entries a directory may have to be shown by a copy."""
_ENAMETOOLONG: Final = 36
_ENOENT: Final = 2
_ENOTDIR: Final = 20
_EROFS: Final = 30


class Problem(OSError):
    """What can't be done about one path of the config's."""


class Arrangement:
    """The steps of one start, in their order."""

    def __init__(self, plan: dict[str, Any], places: list[str], files: list[str]) -> None:
        """`places` are directories that mounts will need, `files` those that are covered."""
        self.plan = plan
        self.places = places
        self.files = files
        self.foreign = bool(plan["source"] or plan["kernel"])
        self.problems: dict[str, OSError] = {}
        """Directories that could not be made places for, and why."""
        self.own: list[str] = []
        """Directories in memory, where we may make what we need."""
        self._trees: list[tuple[str, bool, int]] = []
        self._old = self._sys = self._proc = -1

    def hold(self) -> None:
        """Cut the host's mounts off, and hold what will be shown of them.  Raises OSError."""
        libc.mount("none", "/", None, abi.MS_REC | abi.MS_PRIVATE)
        mounts.hold_devices()
        for place, writable in self.plan["shown"]:
            try:
                tree = _tree(place)
                if not writable:
                    _set(tree, b"", abi.MOUNT_ATTR_RDONLY | _BARE, abi.AT_EMPTY_PATH)
                else:
                    _set(tree, b"", _BARE, abi.AT_EMPTY_PATH)
            except OSError as problem:
                raise Problem(problem.errno, os.strerror(problem.errno or 0), place) from None
            self._trees.append((place, writable, tree))

    def stage(self) -> str:
        """Another root is made here, before `enter`."""
        return mounts.stage()

    def attach_source(self, stage: str) -> None:
        """Let a directory of the host's be what becomes the root.  Raises OSError."""
        try:
            tree = _tree(self.plan["source"])
        except OSError as problem:
            raise Problem(problem.errno, os.strerror(problem.errno or 0), self.plan["source"]) from None
        _put(tree, stage)

    def enter(self, stage: str) -> None:
        """Make what is mounted at `stage` the root.  The host's files are behind it until `leave`.  Raises OSError."""
        wanted = {
            one.split("/")[1] for one in (*_NEEDED, *self.places, *self.files, *(shown[0] for shown in self._trees))
        }
        missing = sorted(name for name in wanted if name and not path.lexists(f"{stage}/{name}"))
        if missing and self.plan["read_only"]:
            _mirror(stage, [f"{stage}/{name}" for name in missing], [])
        attributes = _BARE | (abi.MOUNT_ATTR_RDONLY if self.plan["read_only"] else 0)
        _set(abi.AT_FDCWD, stage.encode(), attributes)
        self._sys, self._proc = _tree("/sys"), _tree("/proc")
        self._old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        os.chdir(stage)
        libc.syscall("pivot_root", b".", b".")
        os.chdir("/")

    def furnish(self) -> None:
        """Make what the root lacks, seal it, and put private things upon it.  Raises OSError."""
        if not self.foreign:
            # Devices stay usable: Linux has no way to make an exception for those of /dev, wherever that is.
            _set(abi.AT_FDCWD, b"/", abi.MOUNT_ATTR_RDONLY | abi.MOUNT_ATTR_NOSUID)
        if self.foreign:
            self._furnish_root()
        if self._sys >= 0:
            _put(self._sys, "/sys")
        self._sys = -1

    def show(self) -> None:
        """Put there what was held, and hide what is to be.  Raises OSError."""
        trees, self._trees = self._trees, []
        for place, writable, tree in trees:
            target = self._target(place, tree)
            try:
                _put(tree, target)
            except OSError as problem:
                raise Problem(problem.errno, os.strerror(problem.errno or 0), place) from None
            self._trees.append((place, writable, -1))
        self._hide()

    def _target(self, place: str, tree: int) -> str:
        """Where to put something of the host's, which may have to be made."""
        target = path.realpath(place)
        self._make(target, not stat.S_ISDIR(os.fstat(tree).st_mode))
        return target

    def _hide(self) -> None:
        hidden = [path.realpath(one) for one in self.plan["hidden"]]
        hidden = [one for one in hidden if path.lexists(one)]
        if not hidden:
            return
        libc.mount("tmpfs", _STAGE, "tmpfs", mounts.PLAIN, "mode=755,size=1m")
        try:
            os.mkdir(f"{_STAGE}/directory", 0)
            os.close(os.open(f"{_STAGE}/file", os.O_WRONLY | os.O_CREAT, 0))
            _set(abi.AT_FDCWD, _STAGE.encode(), abi.MOUNT_ATTR_RDONLY)
            for one in hidden:
                try:
                    libc.mount(f"{_STAGE}/{'directory' if path.isdir(one) else 'file'}", one, None, abi.MS_BIND)
                except FileNotFoundError:  # it has gone meanwhile
                    pass
        finally:
            libc.unmount(_STAGE, abi.MNT_DETACH)

    def _furnish_root(self) -> None:
        """Have the directories that every root has, and what files are to be shown upon.  Raises OSError."""
        for one in _NEEDED:
            try:
                self._make(path.realpath(one), False)
                if not path.isdir(one):
                    raise OSError(_ENOTDIR, os.strerror(_ENOTDIR))
            except OSError as problem:
                raise Problem(problem.errno, problem.strerror, one) from None
        scratch = [place for place, _ in self.plan["scratch"]]
        for one in self.files:
            target = path.realpath(one)
            if not any(_below(target, place) for place in scratch):
                self._make(target, True)

    def make_places(self) -> None:
        """Have directories to mount upon.  What can't be made is a problem of the mounts there."""
        missing: dict[str, list[str]] = {}
        for one in self.places:
            target = path.realpath(one)
            if not path.lexists(target) and not any(_below(one, other) and one != other for other in self.places):
                missing.setdefault(_existing(target), []).append(target)
        for above, targets in sorted(missing.items()):
            try:
                if self._is_hosts(above):
                    text = f"the host has no such directory, and programs may make files in {above}: make it there, with mkdir"
                    raise OSError(_EROFS, text)
                if above == "/" and self.foreign and self.plan["read_only"]:
                    raise OSError(_ENOENT, "the root has a link there, to what is not there")
                if self._may_make(above):
                    for target in targets:
                        os.makedirs(target, exist_ok=True)
                else:
                    _mirror(above, targets, [])
            except OSError as problem:
                self.problems[above] = problem

    def _make(self, target: str, is_file: bool) -> None:
        if path.lexists(target):
            return
        above = _existing(target)
        if above == "/" and self.foreign and self.plan["read_only"]:
            raise OSError(_ENOENT, "a link to what is not there")  # what it lacks itself `enter` has added
        if not self._may_make(above):
            _mirror(above, [] if is_file else [target], [target] if is_file else [])
        elif is_file:
            _touch(target)
        else:
            os.makedirs(target)

    def _may_make(self, above: str) -> bool:
        """Whether what we make there is in memory, or in a root that may be written to."""
        shown = max((place for place, _, _ in self._trees if _below(above, path.realpath(place))), default="")
        if shown:
            return self._is_hosts(above)
        return any(_below(above, own) for own in self.own) or not self.plan["read_only"]

    def _is_hosts(self, above: str) -> bool:
        """Whether it is of the host and may be changed."""
        found = [(path.realpath(place), writable) for place, writable, _ in self._trees]
        return max(((place, writable) for place, writable in found if _below(above, place)), default=("", False))[1]

    # What programs of one kernel have in memory -----------------------------------------------------------------

    def share_scratch(self, held: int) -> int:
        """Put the scratch file system, which another start has left us, or a new one, on its places; returns it for the next start.
        Raises OSError."""
        skeleton = _skeleton("/run")
        if held >= 0:
            _put(held, _STAGE)
        else:
            libc.mount("tmpfs", _STAGE, "tmpfs", mounts.PLAIN, f"mode=755,size={self.plan['size']}")
            for place, mode in self.plan["scratch"]:
                name = f"{_STAGE}/{place.replace('/', '-')}"
                os.mkdir(name)
                os.chmod(name, mode)
        try:
            for place, _ in self.plan["scratch"]:
                target = path.realpath(place)
                if any(_below(target, own) for own in self.own) or not path.isdir(target):
                    continue
                source = f"{_STAGE}/{place.replace('/', '-')}"
                libc.mount(source, target, None, abi.MS_BIND)
                self.own.append(target)
                if place == "/run" and held < 0:
                    _furnish(source, skeleton)
            next_one = _tree(_STAGE)
        finally:
            libc.unmount(_STAGE, abi.MNT_DETACH)
        return next_one

    # The rest ---------------------------------------------------------------------------------------------------

    def keep_proc(self) -> None:
        """No /proc of its own could be mounted: have the host's, as it is.  Raises OSError."""
        if self._proc >= 0:
            _put(self._proc, "/proc")
            self._proc = -1
        _clear(b"/proc", abi.MOUNT_ATTR_RDONLY)

    def leave(self) -> None:
        """Let go of the host's root where it isn't the program's.  Raises OSError."""
        if self._proc >= 0:
            os.close(self._proc)
        if self._old >= 0:
            os.fchdir(self._old)
            libc.unmount(".", abi.MNT_DETACH)
            os.chdir("/")
            os.close(self._old)


def _tree(place: str) -> int:
    return libc.syscall("open_tree", abi.AT_FDCWD, os.fsencode(place), _TREE)


def _put(tree: int, place: str) -> None:
    """Mount a tree, and let go of it."""
    flags = abi.MOVE_MOUNT_F_EMPTY_PATH | abi.MOVE_MOUNT_T_SYMLINKS
    libc.syscall("move_mount", tree, b"", abi.AT_FDCWD, os.fsencode(place), flags)
    os.close(tree)


def _set(directory: int, place: bytes, attributes: int, flags: int = 0) -> None:
    """Give a mount attributes, and all that is mounted in it (mount_setattr(2))."""
    data = attributes.to_bytes(8, "little") + bytes(24)
    libc.syscall("mount_setattr", directory, place, abi.AT_RECURSIVE | flags, data, len(data))


def _clear(place: bytes, attributes: int) -> None:
    data = bytes(8) + attributes.to_bytes(8, "little") + bytes(16)
    libc.syscall("mount_setattr", abi.AT_FDCWD, place, 0, data, len(data))


def _below(place: str, other: str) -> bool:
    return place == other or place.startswith(other.rstrip("/") + "/")


def _existing(target: str) -> str:
    """The deepest of the directories above it that is there."""
    above = target
    while not path.lexists(above):
        above = path.dirname(above)
    return above


def _touch(target: str) -> None:
    os.makedirs(path.dirname(target), exist_ok=True)
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT, 0o644))


def _mirror(above: str, directories: list[str], files: list[str]) -> None:
    if not path.isdir(above):
        raise OSError(_ENOTDIR, f"{above} is not a directory")
    if len(os.listdir(above)) > ENTRIES:
        raise OSError(_ENAMETOOLONG, f"{above} has too many entries to add one")
    mounts.mirror(above, directories, files)


def _skeleton(directory: str) -> list[tuple[str, os.stat_result, str]]:
    """Its directories and symbolic links: name, attributes, target.  Servers look for theirs in /run, which their packages have made."""
    found = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    found.append((entry.name, entry.stat(follow_symlinks=False), ""))
                elif entry.is_symlink():
                    found.append((entry.name, entry.stat(follow_symlinks=False), os.readlink(entry.path)))
    except OSError:
        pass
    return found[:ENTRIES]


def _furnish(directory: str, skeleton: list[tuple[str, os.stat_result, str]]) -> None:
    """Make empty ones of the same owners and modes, as far as we may."""
    for name, was, target in skeleton:
        place = f"{directory}/{name}"
        if target:
            os.symlink(target, place)
            continue
        os.mkdir(place)
        try:
            if (was.st_uid, was.st_gid) != (0, 0):
                os.chown(place, was.st_uid, was.st_gid)
            os.chmod(place, stat.S_IMODE(was.st_mode))
        except OSError:  # an ordinary user's namespace has no such owner: it is his
            pass
