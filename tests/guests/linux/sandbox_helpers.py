"""What the tests of Linux guests share: programs that are answered by a handler of the test's, and being somebody else."""

from __future__ import annotations

import ctypes
import os
import select
import stat
import struct
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rumpkit.guests.linux import abi, capabilities, libc
from rumpkit.guests.linux.listener import Listener, Notification
from rumpkit.guests.linux.plan import ProgramPlan
from rumpkit.guests.linux.spawn import Program, spawn

PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
"""For programs under test; the tests' own interpreter may lie where an ordinary user cannot read."""

Handler = Callable[[Listener, Notification], object]


def unguarded(what: str) -> None:
    """A guard that allows everything: these tests hold no schedule."""


def proceed(listener: Listener, call: Notification) -> None:
    listener.proceed(call.id)


class Answers(threading.Thread):
    """Answers a program's notified calls: by name as `handlers` say, and else lets them proceed natively."""

    def __init__(self, program: Program, handlers: dict[str, Handler] | None = None) -> None:
        super().__init__(daemon=True)
        self.listener = Listener(program.listener, unguarded)
        self.handlers = {libc.number(name): handler for name, handler in (handlers or {}).items()}
        self.seen: list[Notification] = []
        self.problem: BaseException | None = None
        self._stop_reader, self._stop_writer = os.pipe()
        self.start()

    def run(self) -> None:
        poll = select.poll()
        poll.register(self.listener.fd, select.POLLIN)
        poll.register(self._stop_reader, select.POLLIN)
        while True:
            for fd, event in poll.poll():
                if fd == self._stop_reader or not event & select.POLLIN:
                    return
                call = self.listener.receive()
                if call is None:
                    continue
                self.seen.append(call)
                try:
                    self.handlers.get(call.number, proceed)(self.listener, call)
                except BaseException as problem:
                    traceback.print_exc()
                    self.problem = problem
                    self.listener.fail(call.id, 22)

    def stop(self) -> None:
        os.write(self._stop_writer, b"x")
        self.join()
        os.close(self._stop_reader)
        os.close(self._stop_writer)
        if self.problem:
            raise self.problem


@contextmanager
def answered(
    command: list[str], handlers: dict[str, Handler] | None = None, **options
) -> Iterator[tuple[Program, Answers]]:
    program = spawn(ProgramPlan(command, **options))
    answers = Answers(program, handlers)
    try:
        yield program, answers
    finally:
        program.kill()
        answers.stop()
        program.close()


def run(command: list[str], handlers: dict[str, Handler] | None = None, **options) -> tuple[int, str]:
    """The exit code (or -signal) and the standard output of a program."""
    with tempfile.TemporaryFile() as out:
        options.setdefault("stdio", (0, out.fileno(), 2))
        with answered(command, handlers, **options) as (program, _):
            status = program.wait(30)
        assert status is not None, "it did not end"
        out.seek(0)
        return os.waitstatus_to_exitcode(status), out.read().decode()


def exit_code(status: int | None) -> int:
    """The exit code, or -signal, of a wait status that must be there."""
    assert status is not None, "it did not end"
    return os.waitstatus_to_exitcode(status)


def become_nobody() -> None:
    """Become the unprivileged user for good."""
    import pwd

    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)
    if not os.access(sys.executable, os.X_OK):
        sys.executable = PYTHON
    os.environ["HOME"] = "/"
    os.chdir("/")


def lose_admin() -> None:
    """Be root without CAP_SYS_ADMIN, as in many containers, for good."""
    library, number = libc.library(), 21
    header, sets = struct.pack("=Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
    libc.prctl(capabilities.PR_CAPBSET_DROP, number)
    assert library.capget(header, sets) == 0
    words = struct.unpack("=6I", sets.raw)
    low = [word & ~(1 << number) for word in words[:3]]
    assert library.capset(header, struct.pack("=6I", *low, *words[3:])) == 0


def with_subordinate_ids(folder: Path, text: str) -> None:
    """Become an ordinary user whom the machine gives subordinate numbers, as far as this process sees it."""
    for name in ("subuid", "subgid"):
        (folder / name).write_text(text)
    folder.chmod(0o755)
    libc.library().unshare(abi.CLONE_NEWNS)
    libc.mount("none", "/", None, abi.MS_REC | abi.MS_PRIVATE)
    for name in ("subuid", "subgid"):
        if not os.path.exists(f"/etc/{name}"):
            raise FileNotFoundError(f"/etc/{name}, which comes with newuidmap")
        libc.mount(str(folder / name), f"/etc/{name}", None, abi.MS_BIND)
    become_nobody()


def in_child(function: Callable[[], object], setup: Callable[[], object]) -> None:
    """Run `function` in a forked child after `setup`; fails if it raises."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        code = 1
        try:
            setup()
            function()
            code = 0
        except pytest.skip.Exception:
            code = 77
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == 77:
        pytest.skip("skipped in the child")
    assert code == 0, f"failed in the child with {code}"


def own_device(mode: int) -> None:
    """In a mount namespace of this child's: a /dev/fuse of that mode."""
    assert libc.library().unshare(abi.CLONE_NEWNS) == 0
    libc.mount("none", "/", None, abi.MS_REC | abi.MS_SLAVE)
    libc.mount("tmpfs", "/mnt", "tmpfs", 0)
    os.mknod("/mnt/fuse", stat.S_IFCHR, os.makedev(10, 229))
    os.chmod("/mnt/fuse", mode)
    libc.mount("/mnt/fuse", "/dev/fuse", None, abi.MS_BIND)
    libc.unmount("/mnt", 2)


def as_root() -> None:
    """A setup for `in_child`: root, with a /dev/fuse for root."""
    own_device(0o600)


def as_nobody() -> None:
    """A setup for `in_child`: a user without privileges, with a /dev/fuse for all."""
    own_device(0o666)
    become_nobody()


def without_device() -> None:
    """A setup for `in_child`: a user without privileges, with a /dev/fuse for root."""
    own_device(0o600)
    become_nobody()


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
