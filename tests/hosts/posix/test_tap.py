"""TAP links against the host's own network stack, in a network namespace."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rumpkit.hosts.posix import netdev
from rumpkit.hosts.posix.host import PosixHost
from rumpkit.hosts.posix.tap import TapPort, configure_host_side, open_tap
from rumpkit.hyper.calls import Parker
from rumpkit.hyper.frame import (
    CHECKSUM_PARTIAL,
    CHECKSUM_UNVERIFIED,
    CHECKSUM_VERIFIED,
    FEATURE_CHECKSUM,
    FEATURE_TSO4,
    FEATURE_TSO6,
    GSO_TCPV4,
    GSO_UDP_L4,
    Frame,
)
from rumpkit.hyper.link import Receiver
from rumpkit.hyper.time import SECOND
from tests.hosts.posix.netns import ip, network_namespace
from tests.house.descriptors import descriptors_before, open_descriptors

needs_tap = pytest.mark.needs("root", "tap", "netns", "ip")

OURS, THEIRS = bytes([10, 9, 0, 2]), bytes([10, 9, 0, 1])
MAC = bytes.fromhex("020000000002")
UDP_SEGMENT = 103


class Inbox(Receiver):
    def __init__(self, host: PosixHost) -> None:
        self.host = host
        self.frames: list[Frame] = []
        self.batches: list[int] = [0]
        self.waiting: Parker | None = None
        self.wanted = 0

    def receive(self, frame: Frame, now: int) -> None:
        if frame.head[12:14] != b"\x08\x00" or frame.head[30:34] != OURS:
            return
        self.frames.append(frame)
        self.batches[-1] += 1
        if self.waiting is not None and len(self.frames) >= self.wanted:
            self.waiting.wake()

    def flush(self, now: int) -> None:
        if self.batches[-1]:
            self.batches.append(0)

    def wait(self, count: int, seconds: float = 5) -> list[Frame]:
        self.waiting, self.wanted = self.host.parker(), count
        self.host.enter()
        if len(self.frames) < count:
            self.waiting.park(self.host.now + int(seconds * SECOND))
        self.host.leave()
        self.waiting = None
        return self.frames


class Wire:
    """A TAP with the host's side set up, and what arrives on ours."""

    def __init__(self, offload: bool, mtu: int = 0) -> None:
        self.host = PosixHost()
        self.port: TapPort = open_tap(self.host, "tap7", mtu, offload)
        configure_host_side(self.port, THEIRS, 24)
        ip(f"neigh add 10.9.0.2 lladdr {MAC.hex(':')} dev tap7 nud permanent")
        self.inbox = Inbox(self.host)
        self.port.attach(self.inbox)
        shown = ip("-o link show tap7").split("link/ether ")[1]
        self.peer_mac = bytes.fromhex(shown.split()[0].replace(":", ""))

    def send(self, frame: Frame) -> None:
        self.host.enter()
        self.port.transmit(frame)
        self.host.leave()

    def ethernet(self) -> bytes:
        return self.peer_mac + MAC + b"\x08\x00"

    def close(self) -> None:
        self.port.close()
        self.port.close()
        self.host.close()


@pytest.fixture
def namespace():
    descriptors = len(descriptors_before())
    with network_namespace():
        yield
    assert len(open_descriptors()) == descriptors


@pytest.fixture(params=[True, False], ids=["offload", "plain"])
def wire(request, namespace):
    wire = Wire(request.param)
    yield wire
    wire.close()
    assert not netdev.exists("tap7"), "what we made goes away when we close it"


@pytest.fixture
def offloaded(namespace):
    wire = Wire(True)
    yield wire
    wire.close()


def folded(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def ipv4(protocol: int, size: int, source: bytes = OURS, destination: bytes = THEIRS) -> bytes:
    header = b"\x45\0" + (20 + size).to_bytes(2, "big") + b"\0\1\x40\0\x40" + bytes([protocol]) + bytes(2)
    header += source + destination
    return header[:10] + (folded(header) ^ 0xFFFF).to_bytes(2, "big") + header[12:]


def pseudo(protocol: int, size: int) -> int:
    return folded(OURS + THEIRS + bytes([0, protocol]) + size.to_bytes(2, "big"))


def udp(payload: bytes, port: int, checksum: int | None = None) -> bytes:
    """A UDP header with a finished checksum, or with the one given."""
    size = 8 + len(payload)
    header = (4000).to_bytes(2, "big") + port.to_bytes(2, "big") + size.to_bytes(2, "big")
    if checksum is None:
        checksum = folded(OURS + THEIRS + b"\0\x11" + size.to_bytes(2, "big") + header + bytes(2) + payload) ^ 0xFFFF
    return header + checksum.to_bytes(2, "big")


def udp_socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("10.9.0.1", 0))
    made.settimeout(5)
    return made


@needs_tap
def test_frames_from_the_host(wire):
    with udp_socket() as sender:
        sender.sendto(b"hello", ("10.9.0.2", 7))
        frame = wire.inbox.wait(1)[0]
    data = frame.linear()
    assert data[:14] == MAC + wire.peer_mac + b"\x08\x00"
    assert data[42:47] == b"hello"
    if wire.port.vnet:
        assert (frame.checksum, frame.checksum_start, frame.checksum_offset) == (CHECKSUM_PARTIAL, 34, 6)
    else:
        assert frame.checksum == CHECKSUM_UNVERIFIED
        assert folded(data[26:34] + b"\0\x11" + data[38:40] + data[34:47]) == 0xFFFF, "a finished checksum"
    assert wire.port.frames_in >= 1


@needs_tap
def test_a_finished_frame_to_the_host(wire):
    with udp_socket() as receiver:
        header = udp(b"hello", receiver.getsockname()[1])
        wire.send(Frame(wire.ethernet() + ipv4(17, 13) + header + b"hello"))
        assert receiver.recvfrom(100) == (b"hello", ("10.9.0.2", 4000))
    assert wire.port.frames_out == 1


@needs_tap
@pytest.mark.parametrize(("start", "size"), [(0, 1000), (3, 900)])
def test_a_body_by_reference_to_the_host(wire, start, size):
    body = bytes(range(250)) * 4
    payload = body[start : start + size]
    with udp_socket() as receiver:
        header = udp(payload, receiver.getsockname()[1])
        wire.send(Frame(wire.ethernet() + ipv4(17, 8 + size) + header, body, start, size))
        assert receiver.recv(2000) == payload


@needs_tap
def test_an_unfinished_checksum_is_finished_by_the_host(offloaded):
    with udp_socket() as receiver:
        header = udp(b"hello", receiver.getsockname()[1], pseudo(17, 13))
        frame = Frame(offloaded.ethernet() + ipv4(17, 13) + header, b"hello", 0, 5)
        frame.checksum, frame.checksum_start, frame.checksum_offset = CHECKSUM_PARTIAL, 34, 6
        offloaded.send(frame)
        assert receiver.recv(100) == b"hello"


@needs_tap
def test_a_wrong_checksum_is_refused_by_the_host(offloaded):
    with udp_socket() as receiver:
        receiver.settimeout(0.2)
        header = udp(b"hello", receiver.getsockname()[1], 0x1234)
        offloaded.send(Frame(offloaded.ethernet() + ipv4(17, 13) + header + b"hello"))
        with pytest.raises(TimeoutError):
            receiver.recv(100)


@needs_tap
def test_a_udp_batch_to_the_host_arrives_as_datagrams(offloaded):
    payload = os.urandom(3500)
    with udp_socket() as receiver:
        header = udp(payload, receiver.getsockname()[1], pseudo(17, 8 + len(payload)))
        frame = Frame(offloaded.ethernet() + ipv4(17, 8 + len(payload)) + header, payload, 0, len(payload))
        frame.checksum, frame.checksum_start, frame.checksum_offset = CHECKSUM_PARTIAL, 34, 6
        frame.gso_type, frame.gso_size = GSO_UDP_L4, 1000
        offloaded.send(frame)
        assert [len(receiver.recv(2000)) for _ in range(4)] == [1000, 1000, 1000, 500]


@needs_tap
def test_a_udp_batch_of_the_host_arrives_as_one_frame(offloaded):
    payload = os.urandom(20000)
    with udp_socket() as sender:
        try:
            sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1400)
        except OSError:
            pytest.skip("missing: UDP_SEGMENT")
        sender.sendto(payload, ("10.9.0.2", 7))
    if not offloaded.port.features & 8:
        assert len(offloaded.inbox.wait(15)) == 15
        return
    frame = offloaded.inbox.wait(1)[0]
    assert (frame.gso_type, frame.gso_size, frame.checksum) == (GSO_UDP_L4, 1400, CHECKSUM_PARTIAL)
    assert (len(frame.head), frame.size) == (42, 20000)
    assert frame.payload() == payload


def tcp_segment(port: int, sequence: int, acknowledgement: int, flags: int, window: int, options: bytes = b"") -> bytes:
    """A finished TCP header from our port 80."""
    header = (80).to_bytes(2, "big") + port.to_bytes(2, "big") + sequence.to_bytes(4, "big")
    header += acknowledgement.to_bytes(4, "big") + bytes([(20 + len(options)) << 2, flags])
    header += window.to_bytes(2, "big") + bytes(4) + options
    checksum = folded(OURS + THEIRS + b"\0\x06" + len(header).to_bytes(2, "big") + header) ^ 0xFFFF
    return header[:16] + checksum.to_bytes(2, "big") + header[18:]


@needs_tap
def test_tcp_super_segments_of_the_host(offloaded):
    """A handshake by hand, then the host's first flight."""
    assert offloaded.port.features & (FEATURE_CHECKSUM | FEATURE_TSO4 | FEATURE_TSO6)
    payload = os.urandom(12000)
    with socket.socket() as client:
        client.setblocking(False)
        assert client.connect_ex(("10.9.0.2", 80)) == errno.EINPROGRESS
        syn = offloaded.inbox.wait(1)[0].linear()
        port = int.from_bytes(syn[34:36], "big")
        sequence = (int.from_bytes(syn[38:42], "big") + 1) & 0xFFFFFFFF
        header = tcp_segment(port, 1000, sequence, 0x12, 65535, b"\x02\x04\x05\xb4")
        offloaded.send(Frame(offloaded.ethernet() + ipv4(6, len(header)) + header))
        offloaded.inbox.wait(2)
        client.setblocking(True)
        client.sendall(payload)
        frames = offloaded.inbox.wait(3)[2:]
    frame = frames[0]
    assert (frame.gso_type, frame.gso_size, frame.checksum) == (GSO_TCPV4, 1460, CHECKSUM_PARTIAL)
    assert (frame.checksum_start, frame.checksum_offset, len(frame.head)) == (34, 16, 54)
    assert frame.payload() == payload[: frame.size] and frame.size > 1460


@needs_tap
def test_a_burst_arrives_in_batches_of_16(wire):
    with udp_socket() as sender:
        for number in range(100):
            sender.sendto(b"%d" % number, ("10.9.0.2", 7))
    frames = wire.inbox.wait(100)
    assert [frame.linear()[42:] for frame in frames] == [b"%d" % number for number in range(100)]
    assert max(wire.inbox.batches) <= 16
    assert len(wire.inbox.batches) < 20


@needs_tap
def test_frames_that_the_device_does_not_take_are_counted(wire):
    ip("link set tap7 down")
    wire.send(Frame(wire.ethernet() + ipv4(17, 13) + udp(b"hello", 9) + b"hello"))
    assert (wire.port.drops_out, wire.port.frames_out) == (1, 0)
    wire.port.close()
    wire.send(Frame(wire.ethernet()))
    assert wire.port.drops_out == 2


@needs_tap
def test_a_tap_that_is_deleted_does_not_make_the_loop_spin(wire):
    ip("link delete tap7")
    parker = wire.host.parker()
    started = time.process_time()
    wire.host.enter()
    assert parker.park(wire.host.now + SECOND // 5) is False
    wire.host.leave()
    assert time.process_time() - started < 0.1
    assert wire.host.loop.sources() == []


@pytest.fixture
def fake():
    """A port whose device is one end of a socket pair, and the other end: what the device would see, byte by byte."""
    host = PosixHost()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    port = TapPort(host, ours.detach(), "fake", 1500, FEATURE_CHECKSUM, True)
    os.set_blocking(port.fd, False)
    inbox = Everything()
    port.attach(inbox)
    yield port, inbox, theirs
    port.close()
    theirs.close()
    host.close()


class Everything(Receiver):
    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def receive(self, frame: Frame, now: int) -> None:
        self.frames.append(frame)


@pytest.mark.needs("linux")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=st.binary(min_size=10, max_size=10), data=st.binary(max_size=100), size=st.sampled_from([0, 3000]))
def test_no_virtio_header_is_trusted(fake, header, data, size):
    port, inbox, device = fake
    inbox.frames.clear()
    short = port.short_in
    data += bytes(size)
    device.send(header + data)
    port.read_burst(0)
    assert len(inbox.frames) + port.short_in - short == 1
    for frame in inbox.frames:
        assert frame.linear() == data
        if frame.checksum == CHECKSUM_PARTIAL:
            assert frame.checksum_start + frame.checksum_offset + 2 <= len(frame.head)


@pytest.mark.needs("linux")
def test_virtio_headers_that_are_written(fake):
    port, _, device = fake
    frame = Frame(bytes(54), b"x" * 3000, 0, 3000)
    frame.checksum, frame.checksum_start, frame.checksum_offset = CHECKSUM_PARTIAL, 34, 16
    frame.gso_type, frame.gso_size = GSO_TCPV4, 1448
    for _ in range(2):
        port.transmit(frame)
        assert device.recv(4000)[:10] == bytes.fromhex("01 01 3600 a805 2200 1000".replace(" ", ""))
    linear = Frame(bytes(46) + b"\x80" + bytes(3000))
    linear.checksum, linear.checksum_start, linear.checksum_offset = CHECKSUM_PARTIAL, 34, 16
    linear.gso_type, linear.gso_size = GSO_TCPV4, 1448
    port.transmit(linear)
    assert device.recv(4000)[:10] == bytes.fromhex("01 01 4200 a805 2200 1000".replace(" ", ""))
    valid = Frame(bytes(60))
    valid.checksum = CHECKSUM_VERIFIED
    port.transmit(valid)
    port.transmit(Frame(bytes(60)))
    assert [device.recv(100)[:10] for _ in range(2)] == [b"\2" + bytes(9), bytes(10)]
    device.send(b"\2" + bytes(9) + bytes(60))
    port.read_burst(0)


@needs_tap
def test_the_mtu_of_new_and_existing_taps(namespace):
    host = PosixHost()
    port = open_tap(host, "tap8", mtu=9000)
    assert port.mtu == 9000
    assert netdev.mtu("tap8") == 9000
    with pytest.raises(netdev.DeviceError, match="tap8 is used by another process"):
        open_tap(host, "tap8")
    port.close()
    ip("tuntap add mode tap name tap9")
    port = open_tap(host, "tap9")
    assert port.mtu == 1500
    port.close()
    assert netdev.exists("tap9"), "a persistent one stays"
    with pytest.raises(netdev.DeviceError, match="MTU of 1500, less than 4000"):
        open_tap(host, "tap9", mtu=4000)
    port = open_tap(host)
    assert port.name and netdev.exists(port.name)
    port.close()
    host.close()


@needs_tap
def test_errors_say_what_to_do(namespace):
    host = PosixHost()
    with pytest.raises(netdev.DeviceError, match="lo is there and is not a TAP"):
        open_tap(host, "lo")
    with pytest.raises(netdev.DeviceError, match="at most 15 bytes"):
        open_tap(host, "a-very-long-interface-name")
    host.close()


@needs_tap
@pytest.mark.needs("nobody")
def test_an_ordinary_user_is_told_the_way_out(namespace):
    program = (
        "import os, sys\n"
        "from rumpkit.hosts.posix.host import PosixHost\n"
        "from rumpkit.hosts.posix.tap import open_tap\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n"
        "    open_tap(PosixHost(), 'tap7')\n"
        "except OSError as error:\n"
        "    print(error.errno, error)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    number, _, message = run.stdout.partition(" ")
    assert int(number) in (errno.EACCES, errno.EPERM)
    assert "ip tuntap add mode tap user $USER name tap7" in message
    assert "/dev/net/tun" in message or int(number) == errno.EPERM
