"""Network namespaces of the machine beside the one that the test is in, and commands run in them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from tests.system.helpers.wire import PEER


class Space:
    """Made by `space`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.pid = process.pid
        self.enter = ["nsenter", "-t", str(process.pid), "-n"]
        self._children: list[subprocess.Popen[str]] = []

    def run(self, command: str) -> str:
        """Run a command in there; what it prints, whatever its status."""
        done = subprocess.run([*self.enter, *command.split()], capture_output=True, text=True)
        return done.stdout + done.stderr

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        """Start a command in there; it ends with the space."""
        child = subprocess.Popen(
            [*self.enter, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._children.append(child)
        return child

    def linux(self, role: str, *arguments: object) -> subprocess.Popen[str]:
        """Start `peer.py ROLE ARGUMENTS` in there."""
        return self.start([sys.executable, str(PEER), role, *map(str, arguments)])

    def close(self) -> None:
        for child in self._children:
            child.kill()
            child.communicate()


@contextlib.contextmanager
def space() -> Iterator[Space]:
    """A new network namespace, with its loopback up."""
    command = ["unshare", "-n", "sh", "-c", "ip link set lo up; echo; exec sleep 1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        made = None
        try:
            assert process.stdout is not None and process.stdout.readline()
            made = Space(process)
            yield made
        finally:
            if made is not None:
                made.close()
            process.kill()
