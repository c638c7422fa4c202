"""What became of a mount: its server says it to `rump fs umount`, which waits for it.

Between `mount` and `umount`, which are two processes.  The server listens on an abstract socket that is named for the mount's device
number; umount connects before it unmounts, and reads how the server has ended.  Nothing is left behind in a file.
"""

import os
import socket
import struct
from contextlib import suppress
from typing import Final, NamedTuple, final

from ...compose.image.node import failure
from ...kern.abi.errno import EIO

FUSE_TYPE: Final = "fuse.rump"
MOST_WAITING: Final = 64
"""Processes that may wait for one mount's end."""
MOST_TEXT: Final = 4096
"""Bytes of what went wrong."""

_COMPLETE: Final = b"+"
_FAILED: Final = b"-"
_CREDENTIALS: Final = struct.Struct("iII")
"""struct ucred of unix(7): process, user, group."""


class Mounted(NamedTuple):
    """One mount of a server of ours, as Linux lists it."""

    number: str
    """Of its device, which no other mount has meanwhile: "0:57"."""
    source: str
    """The image."""
    owner: int
    """The server's user."""


@final
class Outcome:
    """The server's side."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self.ready: bool = False
        """It is mounted, and who has started the server has gone."""
        self.terminal: int = -1
        """The terminal that it was started from, if any."""

    def offer(self, mounted: Mounted | None) -> None:
        """From now on others may wait for the end.  Where there can be no such socket, umount waits for the image's lock instead."""
        if mounted is None:
            return
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(_address(mounted))
            listening.listen(MOST_WAITING)
            listening.setblocking(False)
        except OSError:
            listening.close()
            return
        self._socket = listening

    def tell(self, problem: str) -> None:
        """It has ended: say to all who wait what went wrong, or "" that everything is in the image."""
        listening, self._socket = self._socket, None
        if listening is None:
            return
        said = _FAILED + os.fsencode(problem)[:MOST_TEXT] if problem else _COMPLETE
        with listening:
            while True:
                try:
                    waiting, _ = listening.accept()
                except OSError:
                    return  # there are no more
                with waiting, suppress(OSError):
                    waiting.sendall(said)


def ask(mounted: Mounted) -> socket.socket | None:
    """A connection to a mount's server, to be made before it is unmounted; None where it has none, or somebody else is there."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.setblocking(False)  # connects at once, or there is no room
        line.connect(_address(mounted))
        line.setblocking(True)
        raw = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(raw)[1] in (0, mounted.owner):
            return line
    except OSError:
        pass
    line.close()
    return None


def await_end(line: socket.socket) -> None:
    """Wait until the server has ended.  Raises EIO where not everything is in the image."""
    said = b""
    with suppress(ConnectionResetError):
        while piece := line.recv(MOST_TEXT):
            said += piece
    if said.startswith(_FAILED):
        raise failure(EIO, f"it is unmounted, but its server has failed: {os.fsdecode(said[1:])}")
    if said != _COMPLETE:
        raise failure(EIO, "it is unmounted, but its server has ended before the image was complete")


def mounted_on(directory: str) -> Mounted | None:
    """What a server of ours has mounted on a directory, as the list of mounts says; None where nothing is, or something else."""
    found = None
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as listing:
        for line in listing:
            before, _, behind = line.rstrip("\n").partition(" - ")
            fields = before.split(" ")
            if _plain(fields[4]) == directory:
                kind, source, options = behind.split(" ")[:3]
                found = Mounted(fields[2], _plain(source), _owner(options)) if kind == FUSE_TYPE else None
    return found


def _owner(options: str) -> int:
    for option in options.split(","):
        name, _, value = option.partition("=")
        if name == "user_id" and value.isdecimal():
            return int(value)
    return 0


def _plain(text: str) -> str:
    """A field of mountinfo without its escapes."""
    for escape, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(escape, letter)
    return text


def _address(mounted: Mounted) -> str:
    return f"\0rump-fs-mount/{mounted.number}"
