"""Fragmentation and reassembly, between honest hosts and against tampering ones."""

import gc
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.hyper.frame import Frame
from rumpkit.hyper.time import SECOND
from rumpkit.net.ip.contract import Transport
from rumpkit.net.ip.fragments import Assembly
from rumpkit.net.wire.icmp import TIME_EXCEEDED, parse_icmp
from rumpkit.net.wire.ipv4 import MORE_FRAGMENTS
from rumpkit.net.wire.udp import emit_udp_header
from tests.net.lan import packet, pair


def datagram(size, seed=0):
    """A UDP datagram to port 7, without checksum."""
    payload = random.Random(seed).randbytes(size)
    return emit_udp_header(1000, 7, size) + payload, payload


def pieces(data, step=64, identification=7, source="10.0.0.2"):
    """Frames of the fragments of `data`, in order."""
    frames = []
    for at in range(0, len(data), step):
        more = MORE_FRAGMENTS if at + step < len(data) else 0
        part = data[at : at + step]
        frames.append(piece(part, at, more, identification, source))
    return frames


def piece(part, at, more=MORE_FRAGMENTS, identification=7, source="10.0.0.2"):
    return packet(source, "10.0.0.1", 17, part, identification=identification, fragment=more | at >> 3)


def receiver():
    host, a, b = pair()
    return host, a, b, a.udp_socket(port=7)


def waiting(node):
    return node.ip.reassembly.waiting()


@pytest.mark.rfc("1122", "3.2.1.4-a", "3.3.2-a", "3.3.2-b")
@given(st.randoms(use_true_random=False), st.integers(512, 2000), st.sampled_from([8, 64, 512]))
def test_fragments_in_any_order_and_with_duplicates_make_the_datagram(order, size, step):
    _, a, _, server = receiver()
    data, payload = datagram(size)
    frames = pieces(data, step)
    for_delivery = frames + order.sample(frames, len(frames) // 3)
    order.shuffle(for_delivery)
    for frame in for_delivery:
        a.inject(frame)
    # Duplicates that come when the datagram is whole can make it whole again.
    assert set(a.drain(server)) == {payload}


def test_two_datagrams_do_not_mix():
    _, a, _, server = receiver()
    one, payload_one = datagram(300, 1)
    two, payload_two = datagram(300, 2)
    other, payload_other = datagram(300, 3)
    streams = [pieces(one), pieces(two, identification=8), pieces(other, source="10.0.0.3")]
    for frames in zip(*streams, strict=True):
        for frame in frames:
            a.inject(frame)
    assert a.drain(server) == [payload_one, payload_two, payload_other]
    assert waiting(a) == 0
    assert a.ip.reassembly.memory == 0


@pytest.mark.parametrize(
    "evil",
    [
        piece(bytes(64), 32),  # overlaps two
        piece(bytes(32), 64 + 8),  # within one
        piece(b"\xff" * 64, 64),  # the same place, other bytes
        piece(bytes(128), 0),  # over two whole ones
        piece(bytes(8), 8, 0),  # a last one before the others end
    ],
)
def test_a_datagram_with_overlapping_fragments_is_given_up_whole(evil):
    host, a, _, server = receiver()
    frames = pieces(datagram(400)[0])
    for frame in [*frames[:3], evil, *frames[3:]]:
        a.inject(frame)
    assert a.drain(server) == []
    assert a.counter("ip.reassembly_failed") == 1
    assert waiting(a) == 1  # swallows what may still come
    host.run(host.now + 31 * SECOND)
    assert (waiting(a), a.ip.reassembly.memory) == (0, 0)
    for frame in frames:
        a.inject(frame)
    assert len(a.drain(server)) == 1


def test_data_behind_the_end_and_a_second_end_are_tampering():
    for evil in (piece(bytes(8), 512), piece(bytes(16), 448 - 64 + 128, 0)):
        _, a, _, server = receiver()
        frames = pieces(datagram(400)[0])
        for frame in [frames[-1], evil, *frames[:-1]]:
            a.inject(frame)
        assert a.drain(server) == []


@pytest.mark.parametrize(
    "frame",
    [
        piece(bytes(64), 65528),  # reaches past 65535
        piece(bytes(65), 0),  # not the last, and no multiple of 8
        piece(b"", 0),
        piece(b"", 64, 0),
    ],
)
def test_impossible_fragments_are_dropped(frame):
    _, a, _, server = receiver()
    a.inject(frame)
    assert a.counter("ip.reassembly_failed") == 1
    assert waiting(a) == 0
    for good in pieces(datagram(300)[0]):
        a.inject(good)
    assert len(a.drain(server)) == 1


@pytest.mark.rfc("1122", "3.3.2-e", "3.3.2-f")
def test_the_sender_hears_of_a_datagram_that_never_became_whole():
    host, a, b, _ = receiver()
    frames = pieces(datagram(300)[0])
    for frame in frames[:-1]:
        a.inject(frame)
    host.run(host.now + 31 * SECOND)
    assert waiting(a) == 0
    assert a.counter("icmp.errors_out") == 1
    sent = next(frame for frame in a.ports[0].sent if frame.head[12:14] == b"\x08\0")
    message = parse_icmp(Frame(sent.linear()), 34, len(sent))
    assert message is not None
    assert (message.kind, message.code) == (TIME_EXCEEDED, 1)
    assert message.data == frames[0][14:]
    assert b.counter("icmp.errors_in") == 1


def test_without_the_first_fragment_nobody_is_told():
    host, a, _, _ = receiver()
    for frame in pieces(datagram(300)[0])[1:]:
        a.inject(frame)
    host.run(host.now + 31 * SECOND)
    assert waiting(a) == 0
    assert a.counter("icmp.errors_out") == 0


def test_the_number_of_datagrams_is_limited_for_each_peer_and_in_all():
    _, a, _, server = receiver()
    a.kernel.sysctl.set("net.ip.fragment_datagrams", 8)
    a.kernel.sysctl.set("net.ip.fragment_datagrams_per_peer", 4)
    honest = pieces(datagram(300)[0], source="10.0.0.9")
    a.inject(honest[0])
    for identification in range(100, 150):  # one peer fills its own share only
        a.inject(piece(bytes(64), 0, identification=identification))
    assert waiting(a) == 1 + 4
    for frame in honest[1:]:
        a.inject(frame)
    assert len(a.drain(server)) == 1
    for last in range(10, 60):
        a.inject(piece(bytes(64), 0, source=f"10.0.0.{last}"))
    assert waiting(a) == 8


def test_what_is_given_up_is_not_kept():
    _, a, _, _ = receiver()
    gc.collect()
    before = sum(isinstance(some, Assembly) for some in gc.get_objects())
    for identification in range(1000):
        a.inject(piece(bytes(64), 0, identification=identification))
    assert sum(isinstance(some, Assembly) for some in gc.get_objects()) - before == waiting(a) == 64


def test_memory_is_limited():
    _, a, _, server = receiver()
    a.kernel.sysctl.set("net.ip.fragment_memory", 20_000)
    for identification in range(100, 130):
        a.inject(piece(bytes(1400), 0, identification=identification, source=f"10.0.0.{identification}"))
        assert a.ip.reassembly.memory <= 20_000
    assert waiting(a) == 20_000 // (1400 + 128 + 14 + 20 + 1400)  # the first fragment's frame is kept, for the error
    for frame in pieces(datagram(3000)[0], step=1024):
        a.inject(frame)
    assert len(a.drain(server)) == 1


def test_reassembly_can_be_turned_off():
    _, a, _, server = receiver()
    a.kernel.sysctl.set("net.ip.fragment_datagrams", 0)
    for frame in pieces(datagram(300)[0]):
        a.inject(frame)
    assert (a.drain(server), waiting(a)) == ([], 0)


def test_the_whole_datagram_s_checksum_is_checked():
    host, a, b = pair()
    server = b.udp_socket(port=7)
    a.send(a.socket(), bytes(range(256)) * 10, "10.0.0.2", 7)
    host.run(host.now + SECOND)
    assert len(b.drain(server)) == 1
    frames = [bytearray(frame.linear()) for frame in a.ports[0].sent if frame.head[12:14] == b"\x08\0"]
    assert len(frames) == 2
    frames[1][-1] ^= 1
    for frame in frames:
        b.inject(bytes(frame))
    assert b.drain(server) == []
    assert b.counter("udp.bad_checksum") == 1


def test_fragments_sent_fit_the_mtu_and_share_an_identification():
    host, a, b = pair(mtu=576)
    server = b.udp_socket(port=7)
    data = datagram(5000)[1]
    a.send(a.socket(), data, "10.0.0.2", 7)
    a.send(a.socket(), data, "10.0.0.2", 7)
    host.run(host.now + SECOND)
    assert b.drain(server) == [data, data]
    sent = [frame for frame in a.ports[0].sent if frame.head[12:14] == b"\x08\0"]
    assert max(len(frame) for frame in sent) <= 14 + 576
    assert len({frame.head[18:20] for frame in sent}) == 2
    assert a.counter("ip.fragmented") == 2
    assert a.counter("ip.fragments_out") == len(sent)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [((2, 2, 2), 2), ((2, 3, 2), 3), ((1, 1, 3), 3), ((0, 0, 0), 0), ((0, 3, 0), None), ((3, 0, 0), None)],
)
def test_a_congestion_mark_on_a_fragment_is_the_datagrams(codes, expected):
    """RFC 3168 section 5.3: what was not to be marked and is, is dropped."""
    seen = Seen()
    _, a, _, _ = receiver()
    a.ip.v4.register(99, seen)
    for at, code in enumerate(codes):
        more = MORE_FRAGMENTS if at < 2 else 0
        a.inject(packet("10.0.0.2", "10.0.0.1", 99, bytes(64), fragment=more | at << 3, tos=code))
    assert seen.codes == ([] if expected is None else [expected])


class Seen(Transport):
    """A protocol that notes the ECN field of its packets."""

    def __init__(self):
        self.codes = []

    def input(self, frame, network, transport, end, now):
        self.codes.append(frame.head[network + 1] & 3)
