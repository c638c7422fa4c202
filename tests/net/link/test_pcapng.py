"""Captures, read back by a reader that knows only the pcapng draft."""

from struct import unpack_from

import pytest

from rumpkit.hyper.frame import CHECKSUM_PARTIAL, FEATURES_ALL, GSO_NONE, GSO_UDP_L4, Frame
from rumpkit.hyper.time import SECOND
from rumpkit.net.link.pcapng import Annotator, Capture, CaptureSink
from rumpkit.net.link.tap import INBOUND, OUTBOUND
from rumpkit.net.wire.checksum import pseudo_sum
from rumpkit.net.wire.ethernet import ETHERTYPE_IPV4, emit_ethernet
from rumpkit.net.wire.ipv4 import emit_ipv4_header
from rumpkit.net.wire.offload import verify
from rumpkit.net.wire.udp import emit_datagram
from tests.net.lan import pair


class Memory(CaptureSink):
    def __init__(self):
        self.data = b""

    def write(self, data):
        self.data += data


def blocks(data):
    """Type and body of each block; lengths and padding are checked on the way."""
    at = 0
    while at < len(data):
        kind, size = unpack_from("<II", data, at)
        assert size % 4 == 0
        assert unpack_from("<I", data, at + size - 4) == (size,)
        yield kind, data[at + 8 : at + size - 4]
        at += size


def options(data):
    found: dict[int, bytes] = {}
    at = 0
    while True:
        code, size = unpack_from("<HH", data, at)
        if code == 0:
            return found
        found[code] = data[at + 4 : at + 4 + size]
        at += 4 + (size + 3) // 4 * 4


def packets(data):
    """(interface, time, bytes, original size, direction) of each packet."""
    for kind, body in blocks(data):
        if kind == 6:
            interface, high, low, kept, size = unpack_from("<IIIII", body)
            flags = unpack_from("<I", options(body[20 + (kept + 3) // 4 * 4 :])[2])[0]
            yield interface, high << 32 | low, body[20 : 20 + kept], size, flags


def super_frame(size=5000, gso_size=1400):
    source, destination = b"\x0a\0\0\1", b"\x0a\0\0\2"
    frame = emit_datagram(1, 2, pseudo_sum(source, destination, 17, 0), bytes(size), 0, size, gso_size)
    frame.push(emit_ipv4_header(source, destination, 17, len(frame)))
    frame.push(emit_ethernet(bytes(6), bytes(6), ETHERTYPE_IPV4))
    assert frame.checksum == CHECKSUM_PARTIAL
    assert frame.gso_type == (GSO_UDP_L4 if gso_size else GSO_NONE)
    return frame


def test_a_capture_opens_with_its_section_and_names_its_interfaces():
    sink = Memory()
    capture = Capture(sink, wall=0, now=0)
    capture.frame("vif0", Frame(bytes(60)), INBOUND, 1)
    capture.frame("lo", Frame(bytes(61)), OUTBOUND, 2)
    capture.frame("vif0", Frame(bytes(62)), OUTBOUND, 3)
    found = list(blocks(sink.data))
    assert [kind for kind, _ in found] == [0x0A0D0D0A, 1, 6, 1, 6, 6]
    assert unpack_from("<IHHq", found[0][1]) == (0x1A2B3C4D, 1, 0, -1)
    for index, name in ((1, b"vif0"), (3, b"lo")):
        body = found[index][1]
        assert unpack_from("<HHI", body) == (1, 0, 1 << 18)
        assert options(body[8:]) == {2: name, 9: b"\x09"}
    assert [(number, len(data), way) for number, _, data, _, way in packets(sink.data)] == [
        (0, 60, INBOUND),
        (1, 61, OUTBOUND),
        (0, 62, OUTBOUND),
    ]


def test_times_are_nanoseconds_of_the_wall_clock():
    sink = Memory()
    wall = 1_700_000_000_123_456_789
    capture = Capture(sink, wall=wall, now=1000)
    capture.frame("vif0", Frame(bytes(60)), INBOUND, 1007)
    assert [when for _, when, _, _, _ in packets(sink.data)] == [wall + 7]


def test_super_segments_are_split_and_checksums_complete():
    sink = Memory()
    Capture(sink, 0, 0).frame("vif0", super_frame(), OUTBOUND, 0)
    found = [data for _, _, data, _, _ in packets(sink.data)]
    assert [len(data) - 42 for data in found] == [1400, 1400, 1400, 800]
    assert all(verify(Frame(data), 14) for data in found)


def test_the_snap_length_cuts_frames_and_tells_their_size():
    sink = Memory()
    Capture(sink, 0, 0, snaplen=50).frame("vif0", Frame(bytes(range(100))), INBOUND, 0)
    assert list(packets(sink.data)) == [(0, 0, bytes(range(50)), 100, INBOUND)]


def test_the_limit_ends_a_capture_and_the_statistics_tell():
    sink = Memory()
    capture = Capture(sink, 0, 0, limit=1000)
    for _ in range(20):
        capture.frame("vif0", Frame(bytes(100)), INBOUND, 0)
    assert len(sink.data) <= 1000
    assert (capture.frames, capture.skipped) == (len(list(packets(sink.data))), 20 - capture.frames)
    assert capture.written == len(sink.data)
    capture.close(9)
    kind, body = list(blocks(sink.data))[-1]
    assert kind == 5
    counts = options(body[12:])
    assert unpack_from("<Q", counts[4]) == (20,)
    assert unpack_from("<Q", counts[5]) == (capture.skipped,)


@pytest.mark.parametrize("features", [0, FEATURES_ALL])
def test_a_tap_on_an_interface_sees_both_directions(features):
    host, a, b = pair(features=features)
    sink = Memory()
    capture = Capture(sink, host.wall(), host.now)
    a.interface.add_tap(capture)
    b.udp_socket(port=7)
    client = a.socket()
    a.send(client, b"question", "10.0.0.2", 7)
    host.run(host.now + SECOND)
    found = [(data[12:14], way) for _, _, data, _, way in packets(sink.data)]
    assert found == [(b"\x08\x06", OUTBOUND), (b"\x08\x06", INBOUND), (b"\x08\x00", OUTBOUND)]
    assert all(verify(Frame(data), 14) for _, _, data, _, _ in packets(sink.data) if data[12:14] == b"\x08\0")
    a.interface.remove_tap(capture)
    a.send(client, b"again", "10.0.0.2", 7)
    assert capture.frames == 3


class Notes(Annotator):
    def note(self, frame, direction, now):
        return f"{len(frame)} bytes, {'in' if direction == INBOUND else 'out'}" if direction != OUTBOUND else ""


def comments(data):
    """The comment of each packet, None where it has none."""
    for kind, body in blocks(data):
        if kind == 6:
            kept = unpack_from("<I", body, 12)[0]
            yield options(body[20 + (kept + 3) // 4 * 4 :]).get(1)


def test_packets_bear_what_the_annotator_says():
    sink = Memory()
    capture = Capture(sink, 0, 0, annotator=Notes())
    capture.frame("a", super_frame(5000), INBOUND, 0)
    capture.frame("a", super_frame(100, 0), OUTBOUND, 0)
    size = len(super_frame(5000))
    assert list(comments(sink.data)) == [f"{size} bytes, in".encode()] * 4 + [None]
    assert len(list(packets(sink.data))) == 5
