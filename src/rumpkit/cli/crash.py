"""`rump run --crash-report`: what is left of a program that a fault has killed, or of a kernel's bug: its last calls, the last frames on
its kernel's interfaces, registers, the stack, as a text and as JSON.
"""

import json
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast, final

from ..compose.kernel import Kernel
from ..hosts.posix.private_file import create_private
from ..hyper.frame import Frame
from ..hyper.time import Instant
from ..net.link.interface import Interface
from ..net.link.tap import INBOUND, FrameTap
from ..net.wire.address import format_ipv4, format_ipv6
from .trace import line

if TYPE_CHECKING:
    from ..guests.linux.tracing.crash import Crash, CrashViewer
    from ..net.link.interfaces import Interfaces

FRAMES: Final = 64
"""The last of them that are kept, of all interfaces of a kernel."""
MAX_REPORTS: Final = 100
"""Of one run."""
_SHOWN: Final = 96
_PROTOCOLS: Final = {1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 58: "ICMPv6"}
_FLAGS: Final = "FSRPAUEC"


def directory() -> Path:
    """Where reports are: `$XDG_STATE_HOME/rumpkit/crashes`, by default ~/.local/state/rumpkit/crashes."""
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return base / "rumpkit" / "crashes"


@final
class LastFrames(FrameTap):
    """The beginnings of the last frames of a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: deque[tuple[Instant, str, int, int, bytes]] = deque(maxlen=FRAMES)

    def frame(self, interface: str, frame: Frame, direction: int, now: Instant) -> None:
        self.kept.append((now, interface, direction, len(frame), bytes(frame.head[:_SHOWN])))

    def lines(self, now: Instant) -> list[str]:
        """Oldest first, with the time before `now`."""
        return [
            f"{(when - now) / 1e9:10.6f} {name} {'in ' if direction == INBOUND else 'out'} {summary(head)}, {size} bytes"
            for when, name, direction, size, head in list(self.kept)
        ]


def _tap(tap: LastFrames, on: bool, interface: Interface) -> None:
    if on:
        interface.add_tap(tap)
    else:
        interface.remove_tap(tap)


def summary(frame: bytes) -> str:
    """An Ethernet frame in a line."""
    kind = int.from_bytes(frame[12:14], "big")
    if kind == 0x0806 and len(frame) >= 42:
        word = "request" if frame[21] == 1 else "reply"
        return f"ARP {word} {format_ipv4(frame[28:32])} > {format_ipv4(frame[38:42])}"
    if kind == 0x0800 and len(frame) >= 34:
        protocol, rest = frame[23], frame[14 + (frame[14] & 15) * 4 :]
        source, target = format_ipv4(frame[26:30]), format_ipv4(frame[30:34])
    elif kind == 0x86DD and len(frame) >= 54:
        protocol, rest = frame[20], frame[54:]
        source, target = format_ipv6(frame[22:38]), format_ipv6(frame[38:54])
    else:
        return f"type {kind:#06x}"
    name = _PROTOCOLS.get(protocol, f"protocol {protocol}")
    if protocol not in (6, 17) or len(rest) < 8:
        return f"{name} {source} > {target}"
    ports = int.from_bytes(rest[:2], "big"), int.from_bytes(rest[2:4], "big")
    text = f"{name} {source}:{ports[0]} > {target}:{ports[1]}"
    if protocol == 6 and len(rest) >= 16:
        flags = "".join(letter for bit, letter in enumerate(_FLAGS) if rest[13] >> bit & 1)
        sequence, acknowledged = int.from_bytes(rest[4:8], "big"), int.from_bytes(rest[8:12], "big")
        text += f" [{flags}] seq {sequence} ack {acknowledged} win {int.from_bytes(rest[14:16], 'big')}"
    return text


@final
class CrashReports:
    """Those of a run.  `close` gives everything back.  Raises OSError where there is no place for them."""

    def __init__(
        self,
        kernels: Mapping[str, Kernel],
        kernel_of: Callable[[str], str],
        refusals: Callable[[], list[Any]],
        quiet: bool,
    ) -> None:
        self._kernels = kernels
        self._kernel_of = kernel_of
        self._refusals = refusals
        self._quiet = quiet
        self._place = directory()
        self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._written = 0
        self._lock = threading.Lock()
        self._frames = {name: LastFrames() for name in kernels}
        for name, kernel in kernels.items():
            self._each(kernel, partial(_tap, self._frames[name], True))
        self._hook = threading.excepthook
        threading.excepthook = self._bug

    def _each(self, kernel: Kernel, what: Callable[[Interface], None]) -> None:
        kernel.host.enter()
        try:
            service = kernel.core.service("Interfaces")
            for interface in cast("Interfaces", service).all() if service is not None else []:
                what(interface)
        finally:
            kernel.host.leave()

    def close(self) -> None:
        """Watch no more."""
        threading.excepthook = self._hook
        for name, kernel in self._kernels.items():
            self._each(kernel, partial(_tap, self._frames[name], False))

    def viewer(self, program: str) -> "CrashViewer":
        """What looks after a program of this name."""
        from ..guests.linux.tracing.crash import CrashViewer

        return CrashViewer(lambda crash: self._crashed(program, crash))

    def _crashed(self, program: str, crash: "Crash") -> None:
        """In the tracer's thread, while the program stands still."""
        title = f"{program}: {crash.command}[{crash.process}] killed by {crash.signal}"
        start = crash.calls[0].when if crash.calls else 0.0
        last = [line(program, entry, entry.when - start) for entry in crash.calls]
        registers = {name: f"{value:#x}" for name, value in crash.registers.items()}
        parts: dict[str, Any] = {
            "signal": crash.info,
            "thread": crash.thread,
            "stack": crash.stack,
            "registers": registers,
            "calls": last,
            "refused": [f"{one[1][0]}: {one[1][1]}, {one[2]} times" for one in self._refusals() if one[0] == program],
            "frames": self._frame_lines(self._kernel_of(program)),
            "mappings": crash.mappings,
        }
        path = self._write(title, parts)
        where = f" in {crash.stack[0].split(' ', 1)[1]}" if crash.stack else ""
        self._say(f"{title}{where}", path)

    def _bug(self, arguments: threading.ExceptHookArgs) -> None:
        """A thread of ours has raised what nobody has caught: shown as ever, and kept."""
        self._hook(arguments)
        kind = arguments.exc_type.__name__
        lines = traceback.format_exception(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
        frames = {f"frames of {name or 'the kernel'}": self._frame_lines(name) for name in self._kernels}
        title = f"a bug of rumpkit: {kind}: {arguments.exc_value}"
        path = self._write(title, {"traceback": "".join(lines).splitlines(), **frames})
        self._say(title, path)

    def _frame_lines(self, kernel: str) -> list[str]:
        frames = self._frames.get(kernel) or next(iter(self._frames.values()))
        return frames.lines(time.monotonic_ns())

    def _say(self, text: str, path: Path | None) -> None:
        if not self._quiet:
            print(f"rump: {text}{f'; report: {path}' if path else ''}", file=sys.stderr)

    def _write(self, title: str, parts: dict[str, Any]) -> Path | None:
        """Both files, the text's path; None where that fails, or there are too many."""
        with self._lock:
            self._written += 1
            if self._written > MAX_REPORTS:
                return None
            path = self._place / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{self._written}.txt"
        when = time.strftime("%Y-%m-%d %H:%M:%S %z")
        try:
            for place, text in (
                (path, as_text(title, when, parts)),
                (path.with_suffix(".json"), json.dumps({"title": title, "time": when, **parts}, indent=1)),
            ):
                with open(create_private(place), "w", encoding="utf-8", errors="replace") as file:
                    file.write(text)
        except OSError as problem:
            print(f"rump: {path}: {problem.strerror}", file=sys.stderr)
            return None
        return path


_NOTES: Final = {
    "stack": "by frame pointers: a program that is built without them (-fomit-frame-pointer, as -O2 does) shows only its innermost "
    "function for sure",
    "calls": "the last ones, with the time since the first of them; those of memory, futexes and clocks are left out",
    "frames": "the last ones, with the time before now",
}


def as_text(title: str, when: str, parts: Mapping[str, Any]) -> str:
    """A report for people."""
    lines = [title, when]
    for name, value in parts.items():
        note = _NOTES.get(name, "")
        lines += ["", f"== {name}{f' ({note})' if note else ''}"]
        if isinstance(value, dict):
            lines += [f"{key:10} {text}" for key, text in value.items()]
        elif isinstance(value, list):
            lines += [str(one) for one in value] or ["none"]
        else:
            lines.append(str(value))
    return "\n".join(lines) + "\n"
