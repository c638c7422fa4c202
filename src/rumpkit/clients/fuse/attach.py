"""Making a FUSE mount on the host and taking it away: by mount(2) where we may, else by fusermount3, which is set-user-ID.

Below `session`.  A mount outlives the process that serves it, and is a trap then: everything in it fails.  So each has a watcher, a small
shell that waits on a pipe until we end, however that comes, and unmounts.
"""

import os
import shutil
import socket
import stat
from typing import Final, final

from ...hosts.posix import libc
from ...kern.abi.errno import EACCES, EBUSY, EINVAL, ENODEV, ENOENT, ENOTCONN, ENXIO, EPERM
from .options import FuseOptions

DEVICE: Final = "/dev/fuse"
HELPER: Final = "fusermount3"
CAP_SYS_ADMIN: Final = 21
WATCHER: Final = """\
trap '' INT TERM HUP QUIT
read -r word && exit
while read -r id parent device rest; do
  if [ "$device" = "$1" ]; then
    shift
    exec "$@"
  fi
done < /proc/self/mountinfo
"""
"""Waits for a line, which means that all is well, or for the end of the pipe; then unmounts, if the mount is still there."""

REMEDIES: Final = {
    ENOENT: "load it with: modprobe fuse; in a container, add --device /dev/fuse",
    ENODEV: "load it with: modprobe fuse",
    ENXIO: "load it with: modprobe fuse",
    EACCES: "allow it with: chmod 0666 /dev/fuse (most machines have it so), or run as root",
    EPERM: "in a container, add --device /dev/fuse",
}


@final
class FuseUnavailable(OSError):
    """This machine does not let us mount: the text says why, and how to allow it."""


def unavailable(code: int, text: str, remedy: str) -> FuseUnavailable:
    """The error with its remedy."""
    return FuseUnavailable(code, f"{text}: {remedy}")


def open_device() -> int:
    """Open /dev/fuse.  Raises FuseUnavailable."""
    try:
        return os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as problem:
        raise explain(problem.errno or 0) from None


def explain(code: int) -> FuseUnavailable:
    """What it means that /dev/fuse can't be opened."""
    text = f"{DEVICE} cannot be opened ({os.strerror(code).lower()}"
    try:
        text += f"; its mode is {stat.S_IMODE(os.stat(DEVICE).st_mode):04o})"
    except OSError:
        text += ")"
    return unavailable(code, text, REMEDIES.get(code, "is FUSE allowed here?"))


def why_missing() -> str:
    """Why this process can't open /dev/fuse, "" if it can."""
    try:
        os.close(open_device())
    except FuseUnavailable as problem:
        return problem.strerror or ""
    return ""


def privileged() -> bool:
    """Whether we may call mount(2)."""
    with open("/proc/self/status") as status:
        effective = next(int(line[7:], 16) for line in status if line.startswith("CapEff:"))
    return bool(effective >> CAP_SYS_ADMIN & 1)


def mount_data(fd: int, kind: int, options: FuseOptions) -> str:
    """The options of mount(2) for an open /dev/fuse and a root of that kind (S_IFDIR)."""
    data = f"fd={fd},rootmode={kind:o},user_id={os.geteuid()},group_id={os.getegid()}"
    return data + "".join(f",{name}" for name in _flags(options))


def _flags(options: FuseOptions) -> list[str]:
    names = [f"max_read={options.max_request}"]
    if options.allow_other:
        names.append("allow_other")
    if options.permissions:
        names.append("default_permissions")
    return names


@final
class Attachment:
    """One mount on the host."""

    def __init__(self, directory: str, kind: int, options: FuseOptions) -> None:
        """Mount on `directory`, whose file is of the same kind (S_IFDIR, S_IFREG).  Nobody answers yet.

        Raises FuseUnavailable, and OSError for the directory.
        """
        self.directory: str = os.path.realpath(directory)
        found = os.stat(self.directory)
        if stat.S_IFMT(found.st_mode) != kind:
            raise OSError(EINVAL, "a directory is mounted on a directory, and a file on a file", directory)
        self.fd: int = -1
        """The open /dev/fuse; whoever takes it over sets -1."""
        self._helper: str = ""
        if privileged():
            self._mount(kind, options)
        else:
            self._helper = shutil.which(HELPER) or ""
            self._ask_helper(options)
        self.device: str = _device_of(self.directory)
        """Major and minor number of the file system, by which lists of mounts know it."""
        self._pipe: int = -1
        self._watcher: int = 0
        try:
            self._watch()
        except BaseException:
            os.close(self.fd)
            self.unmount(True)
            raise

    def _mount(self, kind: int, options: FuseOptions) -> None:
        self.fd = open_device()
        flags = libc.MS_NOSUID | libc.MS_NODEV | (libc.MS_RDONLY if options.read_only else 0)
        try:
            libc.mount(options.source, self.directory, "fuse.rump", flags, mount_data(self.fd, kind, options))
        except OSError as problem:
            os.close(self.fd)
            if problem.errno == EPERM:
                raise unavailable(
                    EPERM, "mount(2) is forbidden here", "in a container, add --cap-add SYS_ADMIN"
                ) from None
            if problem.errno == ENODEV:
                raise unavailable(ENODEV, "Linux has no FUSE", REMEDIES[ENODEV]) from None
            raise

    def _ask_helper(self, options: FuseOptions) -> None:
        """fusermount3 opens the device and mounts; the descriptor comes over a socket."""
        if not self._helper:
            raise unavailable(
                EPERM,
                "mounting takes privileges",
                f"install {HELPER} (package fuse3), or run as root; programs of `rump run` see mounts without either",
            )
        ours, theirs = socket.socketpair()
        with ours, theirs:
            names = [*_flags(options), "nosuid", "nodev", "subtype=rump", f"fsname={options.source}"]
            names.append("ro" if options.read_only else "rw")
            reader, writer = os.pipe2(os.O_CLOEXEC)
            process = os.posix_spawn(
                self._helper,
                [self._helper, "-o", ",".join(names), "--", self.directory],
                {**os.environ, "_FUSE_COMMFD": "0", "LC_ALL": "C"},
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0), (os.POSIX_SPAWN_DUP2, writer, 2)],
            )
            os.close(writer)
            theirs.close()
            said = _all_of(reader)
            status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            fds = socket.recv_fds(ours, 1, 1)[1] if status == 0 else []
        if not fds:
            why_not = why_missing()
            text = said.decode(errors="replace").strip() or f"{HELPER} has failed"
            raise FuseUnavailable(EPERM, why_not or text)
        self.fd = fds[0]
        os.set_inheritable(self.fd, False)

    def _unmount_words(self, lazy: bool) -> list[str]:
        if self._helper:
            return [self._helper, "-u", *(["-z"] if lazy else []), "--", self.directory]
        return ["umount", *(["-l"] if lazy else []), "--", self.directory]

    def _watch(self) -> None:
        reader, self._pipe = os.pipe2(os.O_CLOEXEC)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._watcher = os.posix_spawn(
                "/bin/sh",
                ["sh", "-c", WATCHER, "rumpkit-fuse", self.device, *self._unmount_words(True)],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, reader, 0),
                    (os.POSIX_SPAWN_DUP2, null, 1),
                    (os.POSIX_SPAWN_DUP2, null, 2),
                ],
                setsid=True,
            )
        finally:
            os.close(reader)
            os.close(null)

    def mounted(self) -> bool:
        """Whether the mount is still there: somebody else may have unmounted it."""
        with open("/proc/self/mountinfo", "rb") as listing:
            return any(line.split(b" ", 3)[2].decode() == self.device for line in listing)

    def unmount(self, lazy: bool) -> None:
        """Take the mount away; with `lazy` whoever still uses it keeps it until the server stops.  Raises EBUSY."""
        if not self.mounted():
            return
        try:
            if self._helper:
                self._unmount_by_helper(lazy)
            else:
                libc.unmount(self.directory, libc.UMOUNT_NOFOLLOW | (libc.MNT_DETACH if lazy else 0))
        except OSError as problem:
            if problem.errno not in (EINVAL, ENOTCONN) or self.mounted():
                raise

    def _unmount_by_helper(self, lazy: bool) -> None:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        words = self._unmount_words(lazy)
        process = os.posix_spawn(words[0], words, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 2)])
        os.close(writer)
        said = _all_of(reader)
        if os.waitpid(process, 0)[1]:
            text = said.decode(errors="replace").strip()
            raise OSError(EBUSY if "busy" in text else EPERM, text, self.directory)

    def release(self) -> None:
        """The mount has gone: end the watcher."""
        if self._watcher:
            try:
                os.write(self._pipe, b"done\n")
            except OSError:
                pass  # somebody has killed it
            os.close(self._pipe)
            try:
                os.waitpid(self._watcher, 0)
            except ChildProcessError:  # somebody waits for any child in this process
                pass
            self._watcher = 0


def _device_of(directory: str) -> str:
    """Major and minor number of what was mounted last on `directory`.  From the list of mounts: stat would ask the server."""
    found = ""
    with open("/proc/self/mountinfo", "rb") as listing:
        for line in listing:
            fields = line.split(b" ")
            # Blanks and the like are escaped as \\040; other bytes are as they are, which Latin-1 gives back.
            if fields[4].decode("unicode_escape").encode("latin-1") == os.fsencode(directory):
                found = fields[2].decode()
    return found


def _all_of(reader: int) -> bytes:
    """What comes out of a pipe up to its end; closes it."""
    with open(reader, "rb") as file:
        return file.read()
