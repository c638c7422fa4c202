"""`rump fs mount`: a file system of an image as a directory of the host, by FUSE."""

import argparse
import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

from ...compose.image.session import named
from .. import exit as code
from .common import Address, Session, add_paths, parse_image
from .outcome import Outcome, mounted_on

if TYPE_CHECKING:
    from ...clients.fuse.session import FuseMount

DESCRIPTION = """\
Mount a file system of an image on a directory of the host, by FUSE: no privileges are needed but access to /dev/fuse.  A server stays in
the background until the directory is unmounted."""
EPILOG = """\
examples:
  rump fs mount disk.img@2 /mnt
  rump fs mount -r disk.img ./dir && ls ./dir; rump fs umount ./dir
  rump fs mount --gather disk.img ./dir         all changes or none: committed when it is unmounted

Changes are written as they come, and what a program syncs is durable: the file system's own journal protects it from a crash.  With
--gather they become the image's in one step when it is unmounted, and a crash before leaves it as it was.  Where that fails, `rump fs
umount` and Ctrl-C say so and exit with an error; umount(8) can't, so the terminal that the mount was made from and the system's log do.
Root sees owners and permissions as in the image; anybody else may do everything in their own mount.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_paths(parser, "image", "IMAGE", None, "the image, or IMAGE@PARTITION")
    add_paths(parser, "directory", "DIR", None, "the directory")
    parser.add_argument("-r", "--read-only", action="store_true", help="refuse every change; the image is not written")
    parser.add_argument("-f", "--foreground", action="store_true", help="don't go into the background; Ctrl-C unmounts")
    parser.add_argument("--gather", action="store_true", help="gather changes, and commit them when it is unmounted")
    parser.add_argument("--allow-other", action="store_true", help="let other users in, too")


def run(arguments: argparse.Namespace) -> int:
    """Mount."""
    if arguments.foreground:
        _reported(arguments, -1, Outcome())
        return code.OK
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _detached(arguments, writer)
    os.close(writer)
    with open(reader, "rb") as stream:
        said = stream.read()
    if said == b"ready":
        return code.OK
    os.waitpid(child, 0)
    print(f"rump: {os.fsdecode(said) or 'the server has ended before it was ready'}", file=sys.stderr)
    return code.FAILED


def _detached(arguments: argparse.Namespace, writer: int) -> None:
    """The server, in the background.  Does not return."""
    status = code.FAILED
    outcome = Outcome()
    try:
        os.setsid()
        _reported(arguments, writer, outcome)
        status = code.OK
    except BaseException as problem:
        if outcome.ready:
            _complain(_text(problem, arguments.image), outcome.terminal)
        else:
            os.write(writer, os.fsencode(_text(problem, arguments.image)))
    finally:
        os._exit(status)


def _reported(arguments: argparse.Namespace, writer: int, outcome: Outcome) -> None:
    """Serve, and say to who unmounts it how that has ended."""
    try:
        _serve(arguments, writer, outcome)
    except BaseException as problem:
        outcome.tell(_text(problem, arguments.image))
        raise
    outcome.tell("")


def _text(problem: BaseException, image: str) -> str:
    if isinstance(problem, OSError):
        return f"{problem.filename or image}: {problem.strerror or problem}"
    return f"{type(problem).__name__}: {problem}"


def _complain(text: str, terminal: int) -> None:
    """Say what went wrong where whoever has started us may still look: on their terminal, and in the system's log."""
    if terminal >= 0:
        with suppress(OSError):
            os.write(terminal, os.fsencode(f"rump: {text}\r\n"))
    import syslog

    syslog.openlog("rump")
    syslog.syslog(syslog.LOG_ERR, text)


def _serve(arguments: argparse.Namespace, writer: int, outcome: Outcome) -> None:
    """Open, mount, and answer until it is unmounted; then commit.  Raises OSError."""
    from ...hosts.posix.host import PosixHost

    address = parse_image(arguments.image)
    if _only_read(address.image):
        arguments.read_only = True
    write = not arguments.read_only
    host = PosixHost()
    session = Session(not arguments.gather, host)
    try:
        with named(arguments.image):
            mount = session.mount(address, write, {"devices": False})
            place = os.fsdecode(mount.path)
        session.lend()
        try:
            mounted = _attach(arguments, address, session, place)
            outcome.offer(mounted_on(os.path.realpath(arguments.directory)))
            outcome.terminal = _ready(writer)
            outcome.ready = True
            _wait(mounted)
        finally:
            session.take_back()
        session.commit()
    finally:
        session.close()
        host.close()


def _only_read(path: str) -> bool:
    """Whether an image is of a kind that can't be mounted otherwise."""
    from ...compose.image.foreign import FOREIGN_BYTES, only_read
    from ...compose.image.packed import is_packed

    if os.path.isdir(path) or not os.path.exists(path) or is_packed(path):  # a container image, an archive
        return True
    try:
        with open(path, "rb") as file:
            return only_read(file.read(FOREIGN_BYTES))
    except OSError:
        return False  # which opening it as an image says better


def _attach(arguments: argparse.Namespace, address: Address, session: Session, place: str) -> "FuseMount":
    from ...clients.fuse import SOLE, mount

    source = os.path.realpath(address.image)
    options = SOLE._replace(
        read_only=arguments.read_only,
        allow_other=arguments.allow_other,
        permissions=os.geteuid() == 0 or arguments.allow_other,
        source="rump" if "," in source or "\\" in source else source,
    )
    with named(arguments.directory):
        return mount(session.kernel(), place, arguments.directory, options)


def _ready(writer: int) -> int:
    """It is mounted: who has started us may go on.  Returns the terminal that it was started from, -1 if there is none."""
    if writer < 0:
        return -1
    terminal = os.dup(2) if os.isatty(2) else -1
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    os.write(writer, b"ready")
    os.close(writer)
    return terminal


def _wait(mounted: "FuseMount") -> None:
    """Until it is unmounted, by somebody or by a signal."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    with suppress(KeyboardInterrupt):
        mounted.wait()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    mounted.close()
