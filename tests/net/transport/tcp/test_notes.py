"""What captures say about packets of TCP: the state of the right connection, for both directions."""

import pytest

from rumpkit.hyper.frame import Frame
from rumpkit.net.link.tap import INBOUND, OUTBOUND, FrameTap
from rumpkit.net.transport.tcp.notes import ConnectionNotes, connection_key
from rumpkit.net.wire.ethernet import ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, emit_ethernet
from rumpkit.net.wire.ipv4 import emit_ipv4_header
from tests.net.tcp_world import World

A, B = b"\x0a\0\0\1", b"\x0a\0\0\2"
PORTS = b"\x01\x02\x03\x04"
LINK = emit_ethernet(bytes(6), bytes(6), ETHERTYPE_IPV4)


def packet(protocol=6, fragment=0, options=b""):
    return LINK + emit_ipv4_header(A, B, protocol, 20, 0, fragment, 64, 0, options) + PORTS + bytes(16)


def test_the_key_is_the_peer_s_end_first():
    assert connection_key(packet(), True) == A + B + PORTS
    assert connection_key(packet(), False) == B + A + PORTS[2:] + PORTS[:2]
    assert connection_key(packet(options=b"\1\1\1\1"), True) == A + B + PORTS
    v6 = (
        emit_ethernet(bytes(6), bytes(6), ETHERTYPE_IPV6)
        + b"\x60\0\0\0\0\x14\6\x40"
        + A * 4
        + B * 4
        + PORTS
        + bytes(16)
    )
    assert connection_key(v6, True) == A * 4 + B * 4 + PORTS


@pytest.mark.parametrize(
    "head",
    [
        b"",
        LINK,
        packet(protocol=17),
        packet(fragment=1),
        packet()[:36],
        emit_ethernet(bytes(6), bytes(6), ETHERTYPE_ARP) + bytes(40),
        emit_ethernet(bytes(6), bytes(6), ETHERTYPE_IPV6) + b"\x60" + bytes(25),
    ],
)
def test_what_has_no_connection(head):
    assert connection_key(head, True) == b""


class Listener(FrameTap):
    def __init__(self, tcp):
        self.notes = ConnectionNotes(tcp)
        self.said: list[tuple[int, str]] = []

    def frame(self, interface, frame: Frame, direction, now):
        self.said.append((direction, self.notes.note(frame, direction, now)))


def test_states_from_the_first_segment_to_the_last():
    world = World()
    listener = Listener(world.a.tcp)
    world.a.ip.interfaces.get("eth0").add_tap(listener)
    client, server = world.pair()
    world.call(client.send, b"x" * 3000, 0, 0, None, world.now)
    world.run(1)
    said = [text for _, text in listener.said if text]
    states = [text.split()[1] for text in said]
    assert states[0] == "SYN-SENT"  # the SYN that leaves
    assert states[1] == "SYN-SENT"  # the SYN-ACK meets that state
    assert states[2] == "ESTABLISHED"
    sending = [text for direction, text in listener.said if direction == OUTBOUND and "flight=3000" in text]
    assert sending and all("cwnd=" in text and "ssthresh=inf" in text for text in sending)
    assert any(direction == INBOUND and "flight=3000" in text for direction, text in listener.said)
    assert server is not None
