"""Damaged frames of every kind: none raises out of the stack, none disturbs those whom it does not concern."""

from hypothesis import given
from hypothesis import strategies as st

from rumpkit.hyper.frame import Frame
from rumpkit.hyper.time import SECOND
from rumpkit.net.wire.address import ANY_MAC, BROADCAST_MAC, parse_ipv4
from rumpkit.net.wire.arp import REPLY, REQUEST, ArpPacket
from rumpkit.net.wire.checksum import internet_checksum, pseudo_sum, sum_bytes
from rumpkit.net.wire.ethernet import ETHERTYPE_ARP, emit_ethernet
from rumpkit.net.wire.icmp import DESTINATION_UNREACHABLE, ECHO, ECHO_REPLY, REDIRECT, IcmpMessage
from rumpkit.net.wire.ipv4 import MORE_FRAGMENTS
from rumpkit.net.wire.udp import emit_udp_header
from tests.net.lan import packet, pair

A = parse_ipv4("10.0.0.1")
B = parse_ipv4("10.0.0.2")
MAC_A = b"\x02\0\0\0\0\1"
MAC_C = b"\x02\0\0\0\0\3"
C = "10.0.0.3"
UDP = emit_udp_header(1000, 7, 30) + bytes(range(30))
QUOTE = packet("10.0.0.1", C, 17, emit_udp_header(7, 1000, 30) + bytes(30))[14:]


def from_c(protocol, payload, **fields):
    return packet(C, "10.0.0.1", protocol, payload, mac=MAC_C, **fields)


def icmp(kind, code, rest, data):
    return from_c(1, IcmpMessage(kind, code, rest, data).emit())


FRAMES = [
    emit_ethernet(BROADCAST_MAC, MAC_C, ETHERTYPE_ARP) + ArpPacket(REQUEST, MAC_C, parse_ipv4(C), ANY_MAC, A).emit(),
    emit_ethernet(MAC_A, MAC_C, ETHERTYPE_ARP) + ArpPacket(REPLY, MAC_C, parse_ipv4(C), MAC_A, A).emit(),
    from_c(17, UDP),
    from_c(17, UDP, options=bytes([7, 7, 4, 0, 0, 0, 0, 0])),
    from_c(17, UDP[:16], fragment=MORE_FRAGMENTS),
    from_c(17, UDP[16:], fragment=2),
    icmp(ECHO, 0, 0x10001, bytes(range(40))),
    icmp(ECHO_REPLY, 0, 0x10001, bytes(range(40))),
    icmp(DESTINATION_UNREACHABLE, 3, 0, QUOTE),
    icmp(DESTINATION_UNREACHABLE, 4, 600, QUOTE),
    icmp(REDIRECT, 1, 0x0A000003, QUOTE),
    from_c(6, bytes([0, 80, 0, 81]) + bytes(8) + b"\x50\x02" + bytes(6)),
    from_c(99, bytes(40)),
]

damage = st.lists(
    st.tuples(st.integers(0, 90), st.one_of(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]), st.integers(0, 255))), max_size=4
)


def mend(frame):
    """Correct the checksums of a damaged frame where it still has them, so that the layers above see it."""
    frame = bytearray(frame)
    size = (frame[14] & 15) * 4
    if frame[12:14] != b"\x08\0" or size < 20 or len(frame) < 14 + size + 8:
        return bytes(frame)
    frame[24:26] = b"\0\0"
    frame[24:26] = int(internet_checksum(bytes(frame), 14, 14 + size)).to_bytes(2, "big")
    start = 14 + size
    end = min(14 + int.from_bytes(frame[16:18], "big"), len(frame))
    if end < start + 8:
        return bytes(frame)
    protocol = frame[23]
    field = {1: 2, 17: 6}.get(protocol)
    if field is not None:
        frame[start + field : start + field + 2] = b"\0\0"
        pseudo = pseudo_sum(bytes(frame[26:30]), bytes(frame[30:34]), 17, end - start) if protocol == 17 else 0
        checksum = sum_bytes(bytes(frame), start, end, pseudo) ^ 0xFFFF
        frame[start + field : start + field + 2] = int(checksum or 0xFFFF).to_bytes(2, "big")
    return bytes(frame)


def exchange(host, a, b, socket_a, socket_b, text):
    """Datagrams both ways between two connected sockets."""
    a.send(socket_a, text)
    b.send(socket_b, text[::-1])
    host.run(host.now + SECOND)
    assert b.drain(socket_b) == [text]
    assert a.drain(socket_a) == [text[::-1]]


@given(
    st.lists(st.tuples(st.sampled_from(FRAMES), damage, st.integers(0, 120), st.booleans(), st.booleans()), max_size=12)
)
def test_damaged_frames_never_raise_nor_disturb_a_conversation(attacks):
    host, a, b = pair()
    a.udp_socket(port=7)
    socket_a, socket_b = a.udp_socket("10.0.0.1", 5000), b.udp_socket("10.0.0.2", 6000)
    a.do(socket_a.connect, (B, 6000), host.now)
    b.do(socket_b.connect, (A, 5000), host.now)
    exchange(host, a, b, socket_a, socket_b, b"before")
    for frame, changes, size, cut, mended in attacks:
        damaged = bytearray(frame)
        for at, value in changes:
            damaged[at % len(damaged)] = value
        # The attacker is C: frames that claim to come from B are B's to send (ARP and UDP know no better).
        if bytes(damaged[26:30]) == B or bytes(damaged[28:32]) == B:
            continue
        whole = bytes(damaged[: size % (len(damaged) + 1)] if cut else damaged)
        a.inject(mend(whole) if mended and len(whole) > 34 else whole)
    exchange(host, a, b, socket_a, socket_b, b"after")
    assert a.do(socket_a.take_error) == 0


@given(
    st.sampled_from(FRAMES),
    damage,
    st.integers(0, 100),
    st.integers(0, 2),
    st.integers(-5, 80),
    st.integers(-5, 80),
    st.sampled_from([0, 1, 4, 5, 9]),
    st.integers(-3, 40),
)
def test_frames_whose_offload_state_lies_never_raise(
    frame, changes, split, checksum, start, offset, gso_type, gso_size
):
    host, a, _ = pair()
    a.udp_socket(port=7)
    a.kernel.sysctl.set("net.ip.forwarding", 1)
    damaged = bytearray(frame)
    for at, value in changes:
        damaged[at % len(damaged)] = value
    data = mend(bytes(damaged))
    split %= len(data) + 1
    lying = Frame(data[:split], data, split, len(data) - split)
    lying.checksum, lying.checksum_start, lying.checksum_offset = checksum, start, offset
    lying.gso_type, lying.gso_size = gso_type, gso_size
    with a.entered():
        host.post(a.interface.ingress(), lying)
    host.run(host.now + 40 * SECOND)


@given(st.binary(max_size=200), st.integers(0, 3))
def test_noise_never_raises(noise, kind):
    _, a, _ = pair()
    prefix = [b"", MAC_A + MAC_C + b"\x08\0", MAC_A + MAC_C + b"\x08\0\x45", MAC_A + MAC_C + b"\x08\x06"][kind]
    a.inject(prefix + noise)
