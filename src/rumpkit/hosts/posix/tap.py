"""TAP links: frames to and from the host's own network stack.  Between an interface (above) and /dev/net/tun.

With offload on (IFF_VNET_HDR) each read and write carries a virtio_net_hdr of 10 bytes in front of the frame, which tells of
unfinished checksums and super-segments as `Frame` does (virtio 1.2 section 5.1.6); so 64 KiB go through in one system call.
Without it (`offload=False`) frames of MTU size go through, finished.

Reading: as many frames an event as there are, up to a burst that grows while bursts follow each other at once and shrinks to
what was there, so that a lone frame costs no second read that finds nothing. Writing never waits: what the device does not
take at once is dropped and counted, as on a wire.
"""

import errno
import os
from select import EPOLLIN
from typing import Final, final

from ...hyper.frame import (
    CHECKSUM_PARTIAL,
    CHECKSUM_VERIFIED,
    FEATURE_CHECKSUM,
    FEATURE_TSO4,
    FEATURE_TSO6,
    FEATURE_USO,
    GSO_NONE,
    Frame,
)
from ...hyper.link import LinkPort, Receiver
from ...hyper.time import MICROSECOND, Instant
from ..delivery import BATCH
from . import netdev
from .host import PosixHost
from .loop import Source

VNET_HEADER: Final = 10
NEEDS_CSUM: Final = 1
DATA_VALID: Final = 2
GSO_ECN: Final = 0x80

TCP_CHECKSUM_AT: Final = 16
UDP_CHECKSUM_AT: Final = 6

MAX_BURST: Final = 64
"""Frames read an event at most; others get their turn then."""
MAX_BURST_BYTES: Final = 1 << 20
BACK_AT_ONCE: Final = 50 * MICROSECOND
READ_SIZE: Final = VNET_HEADER + 18 + 65535
BY_REFERENCE: Final = 2048
"""Payload from this size on stays in the buffer that was read, as the frame's body, and is not copied."""
CACHED_HEADERS: Final = 1024
MIN_FRAME: Final = 14
"""An Ethernet header; a bare IP packet is longer than that, too."""

FEATURE_OF: Final = (
    (netdev.TUN_F_CSUM, FEATURE_CHECKSUM),
    (netdev.TUN_F_TSO4, FEATURE_TSO4),
    (netdev.TUN_F_TSO6, FEATURE_TSO6),
    (netdev.TUN_F_USO, FEATURE_USO),
)


@final
class TapPort(LinkPort):
    """One TAP.  Made by `open_tap`."""

    def __init__(self, host: PosixHost, fd: int, name: str, mtu: int, features: int, vnet: bool) -> None:
        super().__init__(mtu, features)
        self.slow_start = True  # Linux sends nothing before its link watch has seen the carrier
        self.name: str = name
        self.fd: int = fd
        self.vnet: bool = vnet
        self.receiver: Receiver | None = None
        self.frames_in: int = 0
        self.frames_out: int = 0
        self.short_in: int = 0
        """Frames dropped because they were shorter than their headers say."""
        self.drops_out: int = 0
        """Frames that the device did not take: it is down, or its queue is full."""
        self._host: PosixHost = host
        self._burst: int = MAX_BURST
        self._full_at: Instant = 0
        """When a burst last ended because it was long enough."""
        self._read_size: int = READ_SIZE if vnet else mtu + 64
        self._headers: dict[int, bytes] = {}
        self._source: _TapSource = _TapSource(self)

    def attach(self, receiver: Receiver) -> None:
        """Deliver what the host sends to `receiver` from now on."""
        self.receiver = receiver
        if self._source.watched < 0:
            self._host.loop.register(self._source, EPOLLIN)

    def close(self) -> None:
        """Give the TAP up; it goes away unless it is a persistent one."""
        if self.fd >= 0:
            self._host.loop.unregister(self._source)
            os.close(self.fd)
            self.fd = -1
            self.receiver = None

    # From the host to the kernel -------------------------------------------------------------------------

    def read_burst(self, now: Instant) -> None:
        """Read what is there, up to a burst, and hand it to the receiver in batches."""
        receiver = self.receiver
        fd = self.fd
        burst = self._burst
        taken = 0
        size = 0
        while taken < burst and size < MAX_BURST_BYTES and receiver is not None:
            try:
                data = os.read(fd, self._read_size)
            except OSError as error:
                # EIO, EBADFD: somebody has deleted the device; it would be reported for ever.
                if error.errno != errno.EAGAIN:
                    self._host.loop.unregister(self._source)
                self._burst = max(taken, 1)
                break
            taken += 1
            size += len(data)
            frame = self._incoming(data) if self.vnet else Frame(data)
            if frame is not None:
                receiver.receive(frame, now)
            if taken % BATCH == 0:
                receiver.flush(now)
        else:
            # More may be waiting. It is if we are back at once; a round trip later there is one frame again.
            if now - self._full_at < BACK_AT_ONCE:
                self._burst = min(burst * 2, MAX_BURST)
            self._full_at = now
        self.frames_in += taken
        if taken % BATCH != 0 and receiver is not None:
            receiver.flush(now)

    def _incoming(self, data: bytes) -> Frame | None:
        """The frame behind a virtio_net_hdr."""
        length = len(data)
        if length < VNET_HEADER + MIN_FRAME:
            self.short_in += 1
            return None
        flags = data[0]
        if flags & NEEDS_CSUM == 0:
            frame = Frame(data[VNET_HEADER:])
            if flags & DATA_VALID:
                frame.checksum = CHECKSUM_VERIFIED
            return frame
        start = data[6] | data[7] << 8
        offset = data[8] | data[9] << 8
        # Where the payload starts: behind the transport header, whose checksum's place tells its kind.
        at = VNET_HEADER + start
        if offset == TCP_CHECKSUM_AT and at + 20 <= length:
            at += (data[at + 12] >> 4) * 4
        elif offset == UDP_CHECKSUM_AT and at + 8 <= length:
            at += 8
        else:
            at = length
        if at + BY_REFERENCE <= length:
            frame = Frame(data[VNET_HEADER:at], data, at, length - at)
        else:
            frame = Frame(data[VNET_HEADER:])
        if start + offset + 2 > len(frame.head):
            self.short_in += 1
            return None
        frame.checksum = CHECKSUM_PARTIAL
        frame.checksum_start = start
        frame.checksum_offset = offset
        frame.gso_type = data[1] & ~GSO_ECN
        frame.gso_size = data[4] | data[5] << 8
        return frame

    # From the kernel to the host -------------------------------------------------------------------------

    def transmit(self, frame: Frame) -> None:
        """Write one frame; dropped and counted if the device does not take it at once."""
        head = self._header(frame) + frame.head if self.vnet else frame.head
        try:
            size = frame.size
            if size == 0:
                os.write(self.fd, head)
            elif size < BY_REFERENCE:
                os.write(self.fd, head + frame.payload())  # one piece costs Linux less than two
            elif size == len(frame.body):
                os.writev(self.fd, (head, frame.body))
            else:
                start = frame.start
                os.writev(self.fd, (head, memoryview(frame.body)[start : start + size]))
            self.frames_out += 1
        except OSError:
            self.drops_out += 1

    def _header(self, frame: Frame) -> bytes:
        """The virtio_net_hdr of a frame.  Few are different: made once and kept."""
        if frame.checksum != CHECKSUM_PARTIAL:
            return PLAIN_HEADER if frame.checksum != CHECKSUM_VERIFIED else VALID_HEADER
        start = frame.checksum_start
        key = start << 32 | frame.checksum_offset << 24 | frame.gso_size << 4 | frame.gso_type
        length = 0
        if frame.gso_type != GSO_NONE:
            length = self._header_length(frame)
            key |= length << 48
        header = self._headers.get(key)
        if header is None:
            if len(self._headers) >= CACHED_HEADERS:
                self._headers.clear()
            header = self._headers[key] = _vnet_header(frame, length)
        return header

    def _header_length(self, frame: Frame) -> int:
        """How many bytes of headers a super-segment has."""
        if frame.size:
            return len(frame.head)
        at = frame.checksum_start
        return at + (8 if frame.checksum_offset == UDP_CHECKSUM_AT else (frame.head[at + 12] >> 4) * 4)


def _vnet_header(frame: Frame, length: int) -> bytes:
    """struct virtio_net_hdr (little-endian, as on every machine that Python's wheels are built for)."""
    fields = (length, frame.gso_size, frame.checksum_start, frame.checksum_offset)
    return bytes((NEEDS_CSUM, frame.gso_type)) + b"".join(field.to_bytes(2, "little") for field in fields)


PLAIN_HEADER: Final = bytes(VNET_HEADER)
VALID_HEADER: Final = bytes((DATA_VALID,)) + bytes(VNET_HEADER - 1)


@final
class _TapSource(Source):
    def __init__(self, port: TapPort) -> None:
        super().__init__(port.fd, True)
        self._port: TapPort = port

    def on_events(self, events: int, now: Instant) -> None:
        self._port.read_burst(now)


def open_tap(
    host: PosixHost, name: str = "", mtu: int = 0, offload: bool = True, mode: int = netdev.IFF_TAP
) -> TapPort:
    """A port on the TAP called `name`: an existing one that this user may use, or a new one where that is allowed.  With
    IFF_TUN as `mode` it is a TUN, and frames are bare IP packets.

    `mtu` is set on a new one (default 1500); an existing one keeps its own, and must have room for it. Raises
    `netdev.DeviceError`, whose message says what to do.
    """
    host.assert_unscheduled("opening a TAP")
    new = not name or not netdev.exists(name)
    fd, name = netdev.open_device(name, offload, mode)
    try:
        features = 0
        if offload:
            bits = netdev.set_offload(fd)
            for bit, feature in FEATURE_OF:
                if bits & bit:
                    features |= feature
        if new and mtu:
            netdev.set_mtu(name, mtu)
        device_mtu = netdev.mtu(name)
        if mtu > device_mtu:
            raise netdev.DeviceError(errno.EMSGSIZE, f"the device {name} has an MTU of {device_mtu}, less than {mtu}")
    except BaseException:
        os.close(fd)
        raise
    return TapPort(host, fd, name, mtu or device_mtu, features, offload)


def configure_host_side(port: TapPort, address: bytes = b"", prefix: int = 24) -> None:
    """Bring the host's side of a TAP up, with an IPv4 address where one is given.  For root; raises DeviceError."""
    if address:
        netdev.set_address(port.name, address, prefix)
    netdev.set_up(port.name)
