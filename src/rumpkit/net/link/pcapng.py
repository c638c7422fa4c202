"""Captures: frames written as pcapng (draft-ietf-opsawg-pcapng), from an interface's taps to a sink outside the kernel.

What is written is what a wire would have carried: super-segments are split and checksums completed first.
"""

from abc import ABC, abstractmethod
from struct import pack
from typing import Final, final

from mypy_extensions import mypyc_attr

from ...hyper.frame import Frame
from ...hyper.time import Instant
from ..wire.offload import finish
from .tap import FrameTap

DEFAULT_SNAPLEN: Final = 1 << 18
"""More than any frame has, as tcpdump(1) takes it; those of the loopback interface have up to 65550 bytes."""
DEFAULT_LIMIT: Final = 1 << 30

_SECTION_HEADER: Final = 0x0A0D0D0A
_INTERFACE_DESCRIPTION: Final = 1
_INTERFACE_STATISTICS: Final = 5
_ENHANCED_PACKET: Final = 6
_BYTE_ORDER: Final = 0x1A2B3C4D
_LINKTYPE_ETHERNET: Final = 1
_COMMENT: Final = 1
_MAX_COMMENT: Final = 4096
_USER_APPLICATION: Final = 4
_IF_NAME: Final = 2
_IF_TSRESOL: Final = 9
_EPB_FLAGS: Final = 2
_ISB_IFRECV: Final = 4
_ISB_IFDROP: Final = 5


@mypyc_attr(allow_interpreted_subclasses=True)
class CaptureSink(ABC):
    """Where a capture's bytes go."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Take whole blocks, in order.  Called on the schedule: keep them, and do I/O that may block elsewhere."""

    def room(self) -> int:
        """How many bytes of frames it can keep now; frames beyond are left out."""
        return DEFAULT_LIMIT


@mypyc_attr(allow_interpreted_subclasses=True)
class Annotator(ABC):
    """Somebody who knows more about a frame than its bytes say."""

    @abstractmethod
    def note(self, frame: Frame, direction: int, now: Instant) -> str:
        """What to say about it, or "".  Called on the schedule, for every frame: look, change nothing."""


def section_header(application: str) -> bytes:
    """The block that a file starts with; `application` says who wrote it."""
    option = _option(_USER_APPLICATION, application.encode())
    return _block(_SECTION_HEADER, pack("<IHHq", _BYTE_ORDER, 1, 0, -1) + option + _END_OF_OPTIONS)


def interface_description(name: str, snaplen: int) -> bytes:
    """The block that introduces an Ethernet interface; interfaces are numbered from 0 in the order of these.  Times
    are in nanoseconds."""
    options = _option(_IF_NAME, name.encode()) + _option(_IF_TSRESOL, b"\x09") + _END_OF_OPTIONS
    return _block(_INTERFACE_DESCRIPTION, pack("<HHI", _LINKTYPE_ETHERNET, 0, snaplen) + options)


def enhanced_packet(interface: int, wall: int, data: bytes, size: int, direction: int, comment: str = "") -> bytes:
    """One frame: `data` is what was kept of its `size` bytes, `wall` nanoseconds since 1970 UTC, `direction` INBOUND
    or OUTBOUND, `comment` what Wireshark shows as the packet's comment."""
    fixed = pack("<IIIII", interface, wall >> 32 & 0xFFFFFFFF, wall & 0xFFFFFFFF, len(data), size)
    options = _option(_EPB_FLAGS, pack("<I", direction))
    if comment:
        options = _option(_COMMENT, comment.encode()[:_MAX_COMMENT]) + options
    return _block(_ENHANCED_PACKET, fixed + _padded(data) + options + _END_OF_OPTIONS)


def interface_statistics(interface: int, wall: int, received: int, dropped: int) -> bytes:
    """How many frames an interface saw, and how many of them are not in the capture."""
    fixed = pack("<III", interface, wall >> 32 & 0xFFFFFFFF, wall & 0xFFFFFFFF)
    options = _option(_ISB_IFRECV, pack("<Q", received)) + _option(_ISB_IFDROP, pack("<Q", dropped)) + _END_OF_OPTIONS
    return _block(_INTERFACE_STATISTICS, fixed + options)


_END_OF_OPTIONS: Final = bytes(4)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return pack("<HH", code, len(value)) + _padded(value)


def _block(kind: int, body: bytes) -> bytes:
    size = pack("<I", 12 + len(body))
    return pack("<I", kind) + size + body + size


@final
class Capture(FrameTap):
    """A tap that writes what it sees to a sink.  One capture may tap several interfaces of a kernel, or of several
    kernels of one host."""

    def __init__(
        self,
        sink: CaptureSink,
        wall: int,
        now: Instant,
        snaplen: int = DEFAULT_SNAPLEN,
        limit: int = DEFAULT_LIMIT,
        annotator: Annotator | None = None,
    ) -> None:
        self.written: int = 0
        """Bytes given to the sink."""
        self.frames: int = 0
        self.skipped: int = 0
        """Frames left out: the limit was reached, or the sink had no room."""
        self._sink: CaptureSink = sink
        self._snaplen: int = snaplen
        self._limit: int = limit
        self._annotator: Annotator | None = annotator
        self._epoch: int = wall - now
        """The wall clock at instant 0: all frames of a capture are timed by one clock that never jumps."""
        self._interfaces: dict[str, int] = {}
        self._seen: list[int] = []
        self._left_out: list[int] = []
        self._write(section_header("rumpkit"))

    def frame(self, interface: str, frame: Frame, direction: int, now: Instant) -> None:
        number = self._interfaces.get(interface, -1)
        if number < 0:
            number = self._introduce(interface)
        annotator = self._annotator
        comment = "" if annotator is None else annotator.note(frame, direction, now)
        for finished in finish(frame, 0):
            self._seen[number] += 1
            data = finished.linear()
            block = enhanced_packet(number, self._epoch + now, data[: self._snaplen], len(data), direction, comment)
            if self.written + len(block) > self._limit or len(block) > self._sink.room():
                self.skipped += 1
                self._left_out[number] += 1
            else:
                self.frames += 1
                self._write(block)

    def close(self, now: Instant) -> None:
        """End the capture with what each interface saw; the caller removes the taps and closes the sink."""
        for number, seen in enumerate(self._seen):
            self._write(interface_statistics(number, self._epoch + now, seen, self._left_out[number]))

    def _introduce(self, name: str) -> int:
        number = len(self._seen)
        self._interfaces[name] = number
        self._seen.append(0)
        self._left_out.append(0)
        self._write(interface_description(name, self._snaplen))
        return number

    def _write(self, data: bytes) -> None:
        self.written += len(data)
        self._sink.write(data)
