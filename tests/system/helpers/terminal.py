"""Runs `rump` on a terminal of its own, as its session's foreground job."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

from tests.system.helpers.rump import search_path


class OnTerminal:
    """One running `rump`, what it has written, and a keyboard."""

    def __init__(self, *words: str, rows: int = 24, columns: int = 80, command: list[str] | None = None) -> None:
        """`command` is run instead of `rump` and its words."""
        self.text = ""
        command = command or [sys.executable, "-m", "rumpkit.cli", *words]
        environment = {**os.environ, "PYTHONPATH": search_path(), "TERM": "xterm"}
        self.process, self._terminal = pty.fork()
        if not self.process:
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                os.execvpe(command[0], command, environment)
            finally:
                os._exit(127)

    def type(self, keys: str) -> None:
        """As a user does."""
        os.write(self._terminal, keys.encode())

    def expect(self, text: str, timeout: float = 30) -> None:
        """Read until it has written `text`."""
        end = time.monotonic() + timeout
        while text not in self.text:
            assert self._read(max(0.0, end - time.monotonic())), f"no {text!r} in {self.text!r}"

    def _read(self, timeout: float) -> bool:
        if not select.select([self._terminal], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self._terminal, 65536)
        except OSError:  # the last program has closed it
            return False
        self.text += data.decode(errors="replace")
        return data != b""

    def end(self, timeout: float = 30) -> int:
        """Read to its end; its exit code, or minus a signal."""
        end = time.monotonic() + timeout
        while self._read(max(0.0, end - time.monotonic())):
            pass
        assert time.monotonic() < end, f"still runs: {self.text!r}"
        _, status = os.waitpid(self.process, 0)
        self.process = 0
        return os.waitstatus_to_exitcode(status)

    def __enter__(self) -> OnTerminal:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process:
            os.kill(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)
        os.close(self._terminal)
