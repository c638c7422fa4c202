"""The program's view of the host's files: everything as it is, but a few files of its own.  Run by the starter, in a mount
namespace that nobody else sees."""

from __future__ import annotations

import os
import struct
from os import path

from . import abi, libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

PLAIN: Final = abi.MS_NOSUID | abi.MS_NODEV
_STAGES: Final = ("/tmp", "/run", "/mnt", "/var", "/etc", "/dev")
_OLD: Final = "/.old"
FUSE_MAJOR: Final = 7
FUSE_MINOR: Final = 36
FUSE_OLDEST: Final = 31
FUSE_REQUEST: Final = 1 << 16
GREETING: Final = struct.Struct("<IIIIHHIIHHI28x")
REPLY: Final = struct.Struct("<IiQ")
UNIQUE: Final = 8
_INIT: Final = 40
_EPROTO: Final = 71


def stage() -> str:
    """A directory where something can be mounted for a moment."""
    return next(directory for directory in _STAGES if path.isdir(directory))


def isolate() -> None:
    """Keep our mounts to ourselves, while the host's later ones still come in.  Raises OSError."""
    libc.mount("none", "/", None, abi.MS_REC | abi.MS_SLAVE)
    hold_devices()


def tree(place: str) -> int:
    """A copy of a mount, with all that is mounted in it, that is nowhere (open_tree(2)).  Raises OSError."""
    flags = abi.OPEN_TREE_CLONE | abi.OPEN_TREE_CLOEXEC | abi.AT_RECURSIVE
    return libc.syscall("open_tree", abi.AT_FDCWD, place.encode(), flags)


def put(one: int, place: str) -> None:
    """Mount a tree, and let go of it.  Raises OSError."""
    try:
        libc.syscall("move_mount", one, b"", abi.AT_FDCWD, place.encode(), abi.MOVE_MOUNT_F_EMPTY_PATH)
    finally:
        os.close(one)


def cover(
    files: dict[str, bytes], hidden: list[str], kept: dict[str, int] | None = None, own: list[str] | None = None
) -> list[str]:
    """Show `files` (path and content) in place of the root's, and the directories `hidden` as empty.  In the directories `own` we may
    make files.

    Symbolic links are followed, as a reader of the path would.  Returns the paths that could not be covered because
    there is nothing to cover.  Into `kept`, if given, go descriptors by which to write the files again.  Raises OSError."""
    for directory in hidden:
        if path.isdir(directory):
            libc.mount("tmpfs", path.realpath(directory), "tmpfs", PLAIN, "mode=755,size=1m")
    targets = {name: path.realpath(name) for name in files}
    ours = [*(own or ()), *(path.realpath(directory) for directory in hidden if path.isdir(directory))]
    missing = [name for name, target in targets.items() if not _exists(target, ours)]
    stage = next(directory for directory in _STAGES if path.isdir(directory) and not _holds(directory, targets))
    # A file system in memory, seen at `stage` for a moment only: the bind mounts keep it.
    libc.mount("tmpfs", stage, "tmpfs", PLAIN, "mode=755,size=1m")
    try:
        for number, (name, target) in enumerate(targets.items()):
            if name in missing:
                continue
            source = f"{stage}/{number}"
            fd = os.open(source, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            os.write(fd, files[name])
            if kept is None:
                os.close(fd)
            else:
                kept[name] = fd
            libc.mount(source, target, None, abi.MS_BIND)
    finally:
        libc.unmount(stage, abi.MNT_DETACH)
    return missing


def _holds(directory: str, targets: dict[str, str]) -> bool:
    """Whether one of the targets would vanish behind something mounted there."""
    return any(target.startswith(path.realpath(directory) + "/") for target in targets.values())


def _exists(target: str, ours: list[str]) -> bool:
    """Whether there is a file to mount upon; in a directory that is ours alone we may make one."""
    if path.isfile(target):
        return True
    if any(target.startswith(directory + "/") for directory in ours):
        os.makedirs(path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT, 0o644))
        return True
    return False


def mirror(directory: str, targets: list[str], files: list[str] | None = None) -> None:
    """Show `directory` by a copy of its entries, which are the root's, with the directories `targets` and empty `files` added.  Nothing
    else can be made in it.  Raises OSError; then everything is as it was."""
    # Not above it, where it would vanish behind the stage.
    stage = next(one for one in _STAGES if path.isdir(one) and not f"{directory}/".startswith(f"{one}/"))
    libc.mount("tmpfs", stage, "tmpfs", PLAIN, "mode=755,size=4m")
    try:
        if directory == "/":
            _mirror_root(stage, targets, files or [])
            stage = ""
            return
        _fill(directory, stage, _relative(targets, directory), _relative(files or [], directory))
        libc.mount(stage, directory, None, abi.MS_MOVE)
        stage = ""
        _seal(directory)
    finally:
        if stage:
            libc.unmount(stage, abi.MNT_DETACH)


def _relative(targets: list[str], directory: str) -> list[str]:
    return [path.relpath(target, directory) for target in targets]


def _mirror_root(stage: str, targets: list[str], files: list[str]) -> None:
    """The root can't be mounted over: the copy becomes the new root, and the old one goes."""
    os.mkdir(stage + _OLD)
    libc.syscall("pivot_root", stage.encode(), (stage + _OLD).encode())
    os.chdir("/")
    _fill(_OLD, "", _relative(targets, "/"), _relative(files, "/"))
    libc.unmount(_OLD, abi.MNT_DETACH)
    os.rmdir(_OLD)
    _seal("/")
    hold_devices()  # those of the old root are nowhere now


def _fill(source: str, into: str, missing: list[str], files: list[str]) -> None:
    """Let the entries of one directory appear in another, which is empty."""
    for entry in os.scandir(source):
        place = f"{into}/{entry.name}"
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), place)
            continue
        if entry.is_dir():
            os.mkdir(place)
        else:
            os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        # With all that is mounted in it: parts of mounts that come from outside may not be shown alone.
        libc.mount(entry.path, place, None, abi.MS_BIND | abi.MS_REC)
    for name in missing:
        os.makedirs(f"{into}/{name}", exist_ok=True)
    for name in files:
        os.makedirs(path.dirname(f"{into}/{name}"), exist_ok=True)
        os.close(os.open(f"{into}/{name}", os.O_WRONLY | os.O_CREAT, 0o644))


def _seal(directory: str) -> None:
    """Make the copy read-only: what a program made in it would vanish with the program."""
    libc.mount("none", directory, None, abi.MS_REMOUNT | abi.MS_BIND | abi.MS_RDONLY | PLAIN)


def mount_fuse(directory: str, options: str, read_only: bool) -> int:
    """Mount a FUSE file system that nobody serves yet; returns the /dev/fuse to serve it by.  Raises OSError."""
    device = os.open("fuse", os.O_RDWR, dir_fd=_devices)
    try:
        data = f"fd={device},rootmode=40000,user_id={os.geteuid()},group_id={os.getegid()},{options}"
        libc.mount("rump", directory, "fuse.rump", PLAIN | (abi.MS_RDONLY if read_only else 0), data)
    except OSError:
        os.close(device)
        raise
    return device


def mount_proc() -> bool:
    """Show the program's own process ids in /proc.  False where that is forbidden (in containers that mask parts of
    /proc): then the host's /proc stays, whose /proc/self is right all the same."""
    try:
        libc.mount("proc", "/proc", "proc", PLAIN | abi.MS_NOEXEC)
    except OSError:
        return False
    return True


def take_proc(harmless: bool) -> int:
    """Take the /proc of `mount_proc` away again, as a tree in which the machine's settings are read-only; where they are `harmless`, it
    need not be so.  Raises OSError."""
    try:
        seal_settings("/proc")
    except OSError:
        if not harmless:
            raise
    taken = tree("/proc")
    libc.unmount("/proc", abi.MNT_DETACH)
    return taken


_SHOWN_OF_SYSFS: Final = ("devices/virtual/net", "class/net")
"""The latter consists of links into the former."""


def interfaces() -> list[tuple[str, int]]:
    """What shows the interfaces of this network namespace in /sys: places and trees; everything else there stays the host's.  Nothing where
    that is forbidden: then /sys/class/net stays the host's, too."""
    place = stage()
    try:
        libc.mount("sysfs", place, "sysfs", PLAIN | abi.MS_NOEXEC | abi.MS_RDONLY)
    except OSError:
        return []
    try:
        return [(f"/sys/{name}", tree(f"{place}/{name}")) for name in _SHOWN_OF_SYSFS]
    except OSError:
        return []
    finally:
        libc.unmount(place, abi.MNT_DETACH)


_SETTINGS: Final = ("sys", "sysrq-trigger", "irq", "bus", "acpi", "scsi")
"""In /proc, and of the whole machine: Linux lets root write to them by his number alone, whatever capabilities he has."""


def seal_settings(proc: str) -> None:
    """Make the machine's settings in a /proc read-only for the program.  Raises OSError."""
    for name in _SETTINGS:
        place = f"{proc}/{name}"
        if path.exists(place):
            libc.mount(place, place, None, abi.MS_BIND | abi.MS_REC)
            _read_only(place)


GROUPS: Final = "/sys/fs/cgroup"
"""Where control groups are seen, of both versions."""


def show_group(group: int) -> None:
    """Let one control group (a tree, of which this lets go) be all that is seen of them, or with -1 none.  Raises OSError."""
    if not path.isdir(GROUPS):
        return
    try:
        libc.unmount(GROUPS, abi.MNT_DETACH)
    except OSError:  # none are there, or they came from outside a user namespace: then they stay below
        pass
    if group >= 0:
        put(group, GROUPS)
    elif os.listdir(GROUPS):
        libc.mount("tmpfs", GROUPS, "tmpfs", PLAIN | abi.MS_NOEXEC, "mode=755,size=4k")


def seal_sys() -> None:
    """The same for all of /sys, which a root may have as a link.  Raises OSError."""
    place = path.realpath("/sys")
    if path.ismount(place):
        _read_only(place)


def _read_only(place: str) -> None:
    """A mount, with all that is mounted in it (mount_setattr(2)); nosuid and the like stay as they are."""
    attributes = struct.pack("=4Q", abi.MOUNT_ATTR_RDONLY, 0, 0, 0)
    libc.syscall("mount_setattr", abi.AT_FDCWD, place.encode(), abi.AT_RECURSIVE, attributes, len(attributes))


PROC_NET: Final = "/proc/net"
"""A symbolic link to self/net; ours is mounted over the link itself."""
_UNUSED: Final = "/proc/fs"
"""A directory of /proc that tells of the host's disks, and is a place for ours."""


def mount_proc_net(process: int) -> int:
    """Let /proc/net lead to a FUSE file system that nobody serves yet, and the same of a process and its first thread (/proc/self/net,
    /proc/thread-self/net); returns the /dev/fuse to serve it by.  Raises OSError, and then everything is as it was."""
    device = mount_fuse(_UNUSED, "allow_other", True)
    try:
        _greet(device)
        _mount_link(path.basename(_UNUSED), PROC_NET)
    except OSError:
        libc.unmount(_UNUSED, abi.MNT_DETACH)
        os.close(device)
        raise
    for place in (f"/proc/{process}/net", f"/proc/{process}/task/{process}/net"):
        try:
            libc.mount(_UNUSED, place, None, abi.MS_BIND)
        except OSError:  # it stays Linux's own
            pass
    return device


def _greet(device: int) -> None:
    """Answer FUSE's first request, which comes with the mount, so that who serves it is asked nothing until a program looks in.  Raises
    OSError.  (The formats are those of `clients.fuse.wire`, which takes too long to load here.)"""
    request = os.read(device, FUSE_REQUEST)
    (unique,) = struct.unpack_from("<Q", request, UNIQUE)
    major, minor, readahead = struct.unpack_from("<III", request, _INIT)
    if major != FUSE_MAJOR or minor < FUSE_OLDEST:
        raise OSError(_EPROTO, "an old FUSE")
    reply = GREETING.pack(major, min(minor, FUSE_MINOR), readahead, 0, 0, 0, 4096, 1, 0, 0, 0)
    os.write(device, REPLY.pack(REPLY.size + len(reply), 0, unique) + reply)


def _mount_link(target: str, place: str) -> None:
    """Mount a symbolic link to `target` over the one at `place`.  Raises OSError."""
    stage = next(directory for directory in _STAGES if path.isdir(directory))
    libc.mount("tmpfs", stage, "tmpfs", PLAIN, "mode=755,size=1m")
    try:
        os.symlink(target, f"{stage}/link")
        flags = abi.OPEN_TREE_CLONE | abi.OPEN_TREE_CLOEXEC | abi.AT_SYMLINK_NOFOLLOW
        tree = libc.syscall("open_tree", abi.AT_FDCWD, f"{stage}/link".encode(), flags)
        try:
            libc.syscall("move_mount", tree, b"", abi.AT_FDCWD, place.encode(), abi.MOVE_MOUNT_F_EMPTY_PATH)
        finally:
            os.close(tree)
    finally:
        libc.unmount(stage, abi.MNT_DETACH)


_NODES: Final = ("full", "null", "random", "tty", "urandom", "zero")
_LINKS: Final = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)
_NODE: Final = abi.MS_NOSUID | abi.MS_NOEXEC
_TERMINALS: Final = "newinstance,ptmxmode=0666,mode=620"
_devices = -1
"""The host's /dev, whatever the program's is."""


def hold_devices() -> None:
    """Have the host's /dev, before another one is mounted there."""
    global _devices
    if _devices >= 0:
        os.close(_devices)
    _devices = os.open("/dev", os.O_PATH | os.O_CLOEXEC)


def devices() -> int:
    """The host's /dev, as a descriptor to open its devices by."""
    return _devices


def forget_devices() -> None:
    """Need the host's /dev no more: who looks up names for the program shall have no such directory."""
    global _devices
    os.close(_devices)
    _devices = -1


def make_dev() -> int:
    """A /dev with what every program may use, pseudo-terminals and shared memory of its own, and nothing of the host's hardware: a tree.
    Raises OSError."""
    place = stage()
    libc.mount("tmpfs", place, "tmpfs", PLAIN, "mode=755,size=1m")
    try:
        _fill_dev(place)
        return tree(place)
    finally:
        libc.unmount(place, abi.MNT_DETACH)


def forget_log() -> None:
    """Have no /dev/log, which leads to the host's syslog, in a /dev of `make_dev`."""
    if path.islink("/dev/log"):
        os.unlink("/dev/log")


def mount_console() -> None:
    """Show the terminal that is our standard input as /dev/console, in a /dev of `make_dev`."""
    if not os.isatty(0):
        return
    name = path.relpath(os.readlink("/proc/self/fd/0"), "/dev")
    if path.exists(f"/proc/self/fd/{_devices}/{name}"):  # not a terminal of another root
        _show_node(f"/proc/self/fd/{_devices}/{name}", "/dev/console")


def _show_node(device: str, place: str) -> None:
    os.close(os.open(place, os.O_WRONLY | os.O_CREAT, 0o600))
    libc.mount(device, place, None, abi.MS_BIND)
    # Which leaves what is written to the device alone, and the host's node its owner and mode.
    libc.mount("none", place, None, abi.MS_REMOUNT | abi.MS_BIND | abi.MS_RDONLY | _NODE)


def _fill_dev(stage: str) -> None:
    for name in _NODES:
        if path.exists(f"/dev/{name}"):
            _show_node(f"/dev/{name}", f"{stage}/{name}")
    for name, target in _LINKS:
        os.symlink(target, f"{stage}/{name}")
    if path.islink("/dev/log"):
        os.symlink(os.readlink("/dev/log"), f"{stage}/log")  # where the host's syslog listens
    os.mkdir(f"{stage}/pts")
    libc.mount("devpts", f"{stage}/pts", "devpts", abi.MS_NOSUID | abi.MS_NOEXEC, _TERMINALS)
    os.mkdir(f"{stage}/shm")
    libc.mount("tmpfs", f"{stage}/shm", "tmpfs", PLAIN, "mode=1777")
