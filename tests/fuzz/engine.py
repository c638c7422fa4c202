"""A small coverage-guided fuzzer: mutates inputs, and keeps those that reach code that no other reached.

Needs nothing but Python.  Coverage is the lines (3.12 and later: lines and branches) of `rumpkit` that ran, from sys.monitoring, where
each place costs something only the first time; on 3.11 from sys.settrace.  The same seed gives the same run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from random import Random
from types import CodeType, FrameType
from typing import Any

Target = Callable[[bytes], object]
"""Takes any bytes; raises for what is a bug."""

PACKAGE = "/rumpkit/"
MAX_SIZE = 1024
_NUMBERS = (0, 1, 2, 3, 4, 7, 8, 15, 16, 20, 31, 32, 40, 60, 63, 64, 127, 128, 129, 255)
_WORDS = (0, 1, 0x7F, 0xFF, 0x100, 0x5DC, 0x7FFF, 0x8000, 0xFFFF)


class Crash(Exception):
    """A target raised."""

    def __init__(self, data: bytes, cause: BaseException) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}; input {data.hex()}")
        self.data = data
        self.cause = cause


class TraceCoverage:
    """Lines reached, by sys.settrace."""

    def __init__(self) -> None:
        self.seen: set[tuple[CodeType, int]] = set()
        self._left: dict[CodeType, set[int]] = {}
        """The lines of each code object that were not reached yet."""

    def run(self, target: Target, data: bytes) -> int:
        """Run a target; how many places it reached that were new."""
        before = len(self.seen)
        sys.settrace(self._enter)
        try:
            target(data)
        finally:
            sys.settrace(None)
        return len(self.seen) - before

    def _enter(self, frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        left = self._left.get(code)
        if left is None:
            ours = PACKAGE in code.co_filename
            left = {line for _, _, line in code.co_lines() if line is not None} if ours else set()
            self._left[code] = left
        return self._line if left else None

    def _line(self, frame: FrameType, event: str, argument: object) -> Any:
        left = self._left[frame.f_code]
        if frame.f_lineno in left:
            left.discard(frame.f_lineno)
            self.seen.add((frame.f_code, frame.f_lineno))
        return self._line


class MonitorCoverage:
    """Lines and branches reached, by sys.monitoring (3.12)."""

    def __init__(self) -> None:
        self.seen: set[tuple[CodeType, int, int]] = set()
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
        self._monitoring = monitoring
        self._tool = 4  # beside coverage.py's
        events = monitoring.events
        if monitoring.get_tool(self._tool) is not None:
            monitoring.free_tool_id(self._tool)  # of a run that ended in a crash
        monitoring.use_tool_id(self._tool, "rumpkit fuzz")
        monitoring.restart_events()
        monitoring.register_callback(self._tool, events.LINE, self._line)
        self._events = events.LINE
        if hasattr(events, "BRANCH_LEFT"):
            # 3.14: each way out of a branch is a place of its own.
            for event in (events.BRANCH_LEFT, events.BRANCH_RIGHT):
                monitoring.register_callback(self._tool, event, self._branch)
                self._events |= event

    def run(self, target: Target, data: bytes) -> int:
        """Run a target; how many places it reached that were new."""
        before = len(self.seen)
        self._monitoring.set_events(self._tool, self._events)
        try:
            target(data)
        finally:
            self._monitoring.set_events(self._tool, 0)
        return len(self.seen) - before

    def _line(self, code: CodeType, line: int) -> Any:
        if PACKAGE in code.co_filename:
            self.seen.add((code, line, -1))
        return self._monitoring.DISABLE

    def _branch(self, code: CodeType, start: int, end: int) -> Any:
        if PACKAGE in code.co_filename:
            self.seen.add((code, start, end))
        return self._monitoring.DISABLE


def make_coverage() -> TraceCoverage | MonitorCoverage:
    """What this Python has."""
    return MonitorCoverage() if sys.version_info >= (3, 12) else TraceCoverage()


class Fuzzer:
    """One run over one target.  `corpus` grows; it holds the inputs that reached something new, in that order."""

    def __init__(self, target: Target, seeds: Iterable[bytes], seed: int = 0) -> None:
        self.target = target
        self.random = Random(seed)
        self.coverage = make_coverage()
        self.corpus: list[bytes] = []
        self.executions = 0
        for data in seeds:
            self.try_out(data)
        if not self.corpus:
            self.corpus.append(b"")

    def close(self) -> None:
        """Give the interpreter's tool back."""
        if isinstance(self.coverage, MonitorCoverage):
            self.coverage._monitoring.free_tool_id(self.coverage._tool)

    def places(self) -> int:
        """How much code was reached."""
        return len(self.coverage.seen)

    def run(self, executions: int = 0, seconds: float = 0.0) -> None:
        """So many inputs, or for so long.  Raises Crash."""
        end = time.monotonic() + seconds
        done = 0
        while done < executions or (seconds and time.monotonic() < end):
            self.try_out(self.mutate(self._choose()))
            done += 1

    def try_out(self, data: bytes) -> None:
        """Run one input, and keep it if it reached something new."""
        self.executions += 1
        try:
            found = self.coverage.run(self.target, data)
        except Exception as failure:
            raise Crash(data, failure) from failure
        if found:
            self.corpus.append(data)

    def _choose(self) -> bytes:
        # The youngest have been tried least.
        corpus = self.corpus
        if self.random.random() < 0.5:
            return corpus[-1 - self.random.randrange(min(len(corpus), 16))]
        return self.random.choice(corpus)

    def mutate(self, data: bytes) -> bytes:
        """Another input."""
        changed = bytearray(data)
        for _ in range(1 << self.random.randrange(4)):
            self.random.choice(_MUTATIONS)(self, changed)
        return bytes(changed[:MAX_SIZE])


def _flip(fuzzer: Fuzzer, data: bytearray) -> None:
    if data:
        data[fuzzer.random.randrange(len(data))] ^= 1 << fuzzer.random.randrange(8)


def _byte(fuzzer: Fuzzer, data: bytearray) -> None:
    if data:
        random = fuzzer.random
        data[random.randrange(len(data))] = random.choice(_NUMBERS) if random.random() < 0.5 else random.randrange(256)


def _word(fuzzer: Fuzzer, data: bytearray) -> None:
    if len(data) > 1:
        at = fuzzer.random.randrange(len(data) - 1)
        data[at : at + 2] = fuzzer.random.choice(_WORDS).to_bytes(2, "big")


def _step(fuzzer: Fuzzer, data: bytearray) -> None:
    if data:
        at = fuzzer.random.randrange(len(data))
        data[at] = (data[at] + fuzzer.random.randrange(-8, 9)) & 0xFF


def _insert(fuzzer: Fuzzer, data: bytearray) -> None:
    at = fuzzer.random.randrange(len(data) + 1)
    data[at:at] = fuzzer.random.randbytes(1 << fuzzer.random.randrange(5))


def _remove(fuzzer: Fuzzer, data: bytearray) -> None:
    if data:
        at = fuzzer.random.randrange(len(data))
        del data[at : at + (1 << fuzzer.random.randrange(6))]


def _repeat(fuzzer: Fuzzer, data: bytearray) -> None:
    if data:
        at = fuzzer.random.randrange(len(data))
        part = data[at : at + (1 << fuzzer.random.randrange(6))]
        to = fuzzer.random.randrange(len(data) + 1)
        data[to:to] = part


def _splice(fuzzer: Fuzzer, data: bytearray) -> None:
    other = fuzzer.random.choice(fuzzer.corpus)
    if other:
        start = fuzzer.random.randrange(len(other))
        end = start + 1 + fuzzer.random.randrange(len(other) - start)
        at = fuzzer.random.randrange(len(data) + 1)
        data[at : at + (end - start if fuzzer.random.random() < 0.5 else 0)] = other[start:end]


_MUTATIONS = (_flip, _byte, _word, _step, _insert, _remove, _repeat, _splice)


def shrink(target: Target, data: bytes, cause: type[BaseException]) -> bytes:
    """A shorter input that still makes the target raise the same kind of exception."""

    def fails(attempt: bytes) -> bool:
        try:
            target(attempt)
        except cause:
            return True
        except Exception:
            return False
        return False

    size = max(len(data) // 2, 1)
    while size:
        at = 0
        while at < len(data):
            attempt = data[:at] + data[at + size :]
            if fails(attempt):
                data = attempt
            else:
                at += size
        size //= 2
    return data


def distil(target: Target, corpus: list[bytes]) -> list[bytes]:
    """The inputs of a corpus, short ones first, that each reach something the ones before do not."""
    fuzzer = Fuzzer(target, sorted(set(corpus), key=lambda data: (len(data), data)))
    fuzzer.close()
    return fuzzer.corpus
