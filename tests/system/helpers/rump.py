"""Runs `rump` as a user would, in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"
NOBODY = 65534

FORWARDING = re.compile(r"rump: forwarding ([\d.]+):(\d+) -> (\d+)")


SYSTEM_PYTHON = "/usr/bin/python3"


def interpreter(user: int) -> str:
    """A Python that `user` may run: ours, or the system's if it is of the same version (a home folder may be closed)."""
    if not user:
        return sys.executable
    version = "import sys; print(sys.version_info[:2])"
    for candidate in (sys.executable, SYSTEM_PYTHON):
        try:
            said = subprocess.run([candidate, "-c", version], capture_output=True, text=True, user=user, cwd="/").stdout
        except OSError:
            continue
        if said.strip() == str(sys.version_info[:2]):
            return candidate
    pytest.skip("missing: a Python that other users may run")


def search_path() -> str:
    """Where that Python finds what ours finds: the form under test first."""
    return os.pathsep.join(
        os.path.abspath(path) for path in sys.path if "site-packages" in path or path.endswith("src")
    )


class Rump:
    """One running `rump`."""

    def __init__(self, *words: str, user: int = 0, env: dict[str, str] | None = None) -> None:
        """`user` other than 0 becomes that user first, which takes root."""
        ids: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if user else {}
        self.process = subprocess.Popen(
            [interpreter(user), "-m", "rumpkit.cli", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": search_path(), **(env or {})},
            cwd="/",
            **ids,
        )
        self.errors = ""

    def forwards(self, count: int = 1) -> list[int]:
        """The host ports of the first `count` forwards, as it says at its start."""
        assert self.process.stderr is not None
        ports: list[int] = []
        while len(ports) < count:
            line = self.process.stderr.readline()
            assert line, f"rump ended: {self.errors}"
            self.errors += line
            if match := FORWARDING.search(line):
                ports.append(int(match[2]))
        return ports

    def stop(self, number: int = signal.SIGTERM, timeout: float = 30) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(number)
        return self.end(timeout)

    def end(self, timeout: float = 60) -> int:
        """Wait for its end; its exit code."""
        output, errors = self.process.communicate(timeout=timeout)
        self.output = output
        self.errors += errors
        return self.process.returncode

    def __enter__(self) -> Rump:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def rump(*words: str, timeout: float = 60, user: int = 0) -> tuple[int, str, str]:
    """Run to the end: exit code, standard output, standard error."""
    with Rump(*words, user=user) as running:
        code = running.end(timeout)
        return code, running.output, running.errors


def with_free_ports(config: Path, folder: Path) -> Path:
    """A copy of an example whose forwards let the host choose its ports, beside the files that it names."""
    text = re.sub(r'"127\.0\.0\.1:\d+ -> ', '"127.0.0.1:0 -> ', config.read_text("utf-8"))
    copy = folder / config.name
    copy.write_text(text.replace("${here}", str(config.parent)))
    copy.chmod(0o644)
    folder.chmod(0o755)
    return copy


def eventually(check: Callable[[], bool], timeout: float = 20) -> None:
    """Wait until `check` holds."""
    end = time.monotonic() + timeout
    while not check():
        assert time.monotonic() < end, f"never came true: {check}"
        time.sleep(0.05)


def descendants(process: int) -> set[int]:
    """All processes below one."""
    found: set[int] = set()
    waiting = [process]
    while waiting:
        one = waiting.pop()
        try:
            children = Path(f"/proc/{one}/task/{one}/children").read_text().split()
        except OSError:
            continue
        found.update(map(int, children))
        waiting += map(int, children)
    return found


def run(words: Sequence[str], timeout: float = 60) -> str:
    """Run a client of the host; its output."""
    return subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=True).stdout
