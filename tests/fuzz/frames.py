"""A whole kernel fed with frames on a link: Ethernet, ARP, IPv4 and IPv6, ICMP, UDP and TCP, with good checksums where it helps.

Nothing may raise out of the stack; every frame is accounted for by counters; what the kernel remembers keeps within its limits.
"""

from __future__ import annotations

import rumpkit.net.components
from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.frame import FEATURES_ALL, Frame
from rumpkit.hyper.link import LinkPort, Receiver
from rumpkit.hyper.time import MILLISECOND, SECOND
from rumpkit.kern.abi.socket import AF_INET, AF_INET6, SOCK_DGRAM, SOCK_STREAM
from rumpkit.kern.components import BASE
from rumpkit.kern.kernel import RumpKernel
from rumpkit.kern.socket import Socket
from rumpkit.kern.wait import Blocked
from rumpkit.net.ip.service import Ip
from rumpkit.net.ip6.service import Ip6
from rumpkit.net.link.ethernet import EthernetInterface
from rumpkit.net.transport.tcp.layer import Tcp
from rumpkit.net.wire import nd
from rumpkit.net.wire.arp import ArpPacket
from rumpkit.net.wire.checksum import internet_checksum, pseudo_sum
from rumpkit.net.wire.ethernet import emit_ethernet
from rumpkit.net.wire.icmp import IcmpMessage
from rumpkit.net.wire.ipv4 import emit_ipv4_header
from rumpkit.net.wire.ipv6 import emit_ipv6_header
from rumpkit.net.wire.ipv6_extensions import FragmentHeader, emit_options_header
from rumpkit.net.wire.segment import ACK, SYN, Segment
from rumpkit.net.wire.tcp import emit_segment
from rumpkit.net.wire.udp import emit_udp_header
from tests.fuzz.reader import Reader

OURS, PEERS = b"\x02\0\0\0\0\1", b"\x02\0\0\0\0\2"
A, B = b"\x0a\0\0\1", b"\x0a\0\0\2"
A6, B6 = b"\xfe\x80" + bytes(6) + b"\0\0\0\xff\xfe\0\0\1", b"\xfe\x80" + bytes(6) + b"\0\0\0\xff\xfe\0\0\2"
MASK = 0xFFFFFFFF
LIMITS = {
    "net.ip.fragment_memory": 8192, "net.ip.fragment_datagrams": 4, "net.ip.fragment_datagrams_per_peer": 3,
    "net.arp.max_neighbours": 4, "net.tcp.max_syn_backlog": 4, "net.ip.path_mtu_entries": 4,
    "net.tcp.max_time_wait": 4, "net.ip.route_cache_entries": 16, "net.ip6.stable_privacy": 0, "net.ip6.dad_transmits": 0,
    "net.nd.max_neighbours": 6, "net.ip6.max_routers": 3, "net.ip6.max_prefixes": 4, "net.ip6.max_addresses": 6,
    "net.ip6.fragment_memory": 8192,
}  # fmt: skip
MAX_FRAMES = 60
SWITCHES = {
    1: ("net.ip.forwarding", "net.ip6.forwarding"), 2: ("net.ip6.accept_redirects",), 4: ("net.ip6.use_temporary",),
    8: ("net.ip.accept_any_destination",),
}  # fmt: skip
"""Sysctls that the bits of an input's first byte set to 1; bit 128 gives the link no offload, bit 64 the kernel a second link."""


class Wire(LinkPort):
    """A link whose other end is the fuzzer."""

    def __init__(self, features: int = FEATURES_ALL) -> None:
        super().__init__(1500, features)
        self.sent: list[Frame] = []
        self.receiver: Receiver | None = None

    def attach(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def transmit(self, frame: Frame) -> None:
        self.sent.append(frame)

    def close(self) -> None:
        self.receiver = None


class World:
    """One kernel: a TCP listener on port 80, UDP on port 7, a neighbour, and an established connection from its port 1000."""

    def __init__(self, switches: int = 0) -> None:
        self.host = SimHost(seed=1)
        self.wire = Wire(0 if switches & 128 else FEATURES_ALL)
        self.forwarding = switches & 1
        self.frames = 0
        host = self.host
        host.enter()
        self.kernel = RumpKernel(host, (*BASE, *rumpkit.net.components.NET, "tcp", "ipv6"), "fuzz")
        ip, tcp, ip6 = self.kernel.service("Ip"), self.kernel.service("Tcp"), self.kernel.service("Ip6")
        assert isinstance(ip, Ip) and isinstance(tcp, Tcp) and isinstance(ip6, Ip6)
        self.ip, self.tcp, self.ip6 = ip, tcp, ip6
        limits = dict(LIMITS)
        for bit, names in SWITCHES.items():
            limits.update(dict.fromkeys(names, switches >> (bit.bit_length() - 1) & 1))
        for name, value in limits.items():
            self.kernel.sysctl.set(name, value)
        interface = ip.add_interface(self.wire, "vif0", OURS)
        assert isinstance(interface, EthernetInterface)
        self.interface = interface
        ip.add_address("vif0", "10.0.0.1/24")
        if switches & 64:
            ip.add_interface(Wire(0), "vif1", b"\2\0\0\0\0\x11")
            ip.add_address("vif1", "10.0.9.1/24")
            ip.add_address("vif1", "fd01::1/64")
        self.listener = self._socket(SOCK_STREAM, 80)
        self.listener.listen(2)
        self.datagrams = self._socket(SOCK_DGRAM, 7)
        self._socket(SOCK_STREAM, 81, AF_INET6).listen(2)
        self._socket(SOCK_DGRAM, 8, AF_INET6)
        host.leave()
        self.arrive(emit_ethernet(OURS, PEERS, 0x0806) + ArpPacket(1, PEERS, B, bytes(6), A).emit())
        self.iss = 5000
        self.seq = self.ack = 0
        self.open(1000)

    def _socket(self, kind: int, port: int, family: int = AF_INET) -> Socket:
        made = self.kernel.sockets.make(family, kind, 0)
        made.hold()
        made.bind((bytes(4 if family == AF_INET else 16), port))
        return made

    def arrive(self, data: bytes, head: int = 0) -> None:
        """A frame arrives; its first `head` bytes as head, the rest as body, if that isn't 0."""
        self.frames += 1
        frame = Frame(data[:head], data, head, len(data) - head) if 0 < head < len(data) else Frame(data)
        self.host.enter()
        try:
            self.host.post(self.interface.ingress(), frame)
        finally:
            self.host.leave()

    def ipv4(self, protocol: int, payload: bytes, source: bytes = B, fragment: int = 0, options: bytes = b"") -> bytes:
        """A packet from the neighbour."""
        header = emit_ipv4_header(source, A, protocol, len(payload), 7, fragment, 64, 0, options)
        return emit_ethernet(OURS, PEERS, 0x0800) + header + payload

    def ipv6(self, kind: int, payload: bytes, destination: bytes = A6, hops: int = 255) -> bytes:
        """The same for IPv6."""
        return (
            emit_ethernet(OURS, PEERS, 0x86DD) + emit_ipv6_header(B6, destination, kind, len(payload), hops) + payload
        )

    def tcp_frame(self, segment: Segment, sport: int, dport: int = 80) -> bytes:
        """A segment from the neighbour, with its checksum."""
        data = bytearray(emit_segment(segment, sport, dport, 0).linear())
        data[16:18] = b"\0\0"
        pseudo = pseudo_sum(B, A, 6, len(data))
        data[16:18] = int(internet_checksum(bytes(data), 0, len(data), pseudo)).to_bytes(2, "big")
        return self.ipv4(6, bytes(data))

    def open(self, port: int) -> None:
        """A connection from the neighbour's port."""
        syn = Segment(self.iss, 0, SYN, 60_000)
        syn.mss = 1000
        self.arrive(self.tcp_frame(syn, port))
        answers = [frame.linear() for frame in self.wire.sent if frame.head[12:14] == b"\x08\0" and frame.head[23] == 6]
        if answers:
            self.ack = int.from_bytes(answers[-1][38:42], "big") + 1
            self.seq = self.iss + 1
            self.arrive(self.tcp_frame(Segment(self.seq, self.ack, ACK, 60_000), port))

    # What must be ------------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Counters account for all frames, and all limits hold."""
        get = self.kernel.counters.get
        counters = self.interface.counters
        assert counters.frames_in == self.frames, "a frame was not counted"
        arp = get("arp.requests_in") + get("arp.replies_in") + get("arp.bad_in")
        strange = counters.short_in + counters.other_host_in + counters.unknown_type_in + counters.tagged_in
        taken = get("ip.packets_in") + get("ip6.packets_in") + arp
        assert strange + taken == self.frames, "a frame is accounted for by no counter, or by two"
        for name in ("ip", "ip6"):
            outcomes = ("delivered", "bad_header", "bad_options", "martian_source", "martian_destination", "not_ours",
                        "unknown_protocol")  # fmt: skip
            done = sum(get(f"{name}.{outcome}") for outcome in outcomes)
            kept = get(f"{name}.fragments_in") - get(f"{name}.reassembled")
            if name == "ip":
                # A packet that can't be sent on has the counter of what was in the way, or of the report about it.
                sent_on = get("ip.forwarded") + get("ip.ttl_exceeded")
                if not self.forwarding:
                    assert get("ip.packets_in") == done + kept, "a packet is accounted for by no counter, or by two"
                    assert sent_on == 0
                assert get("ip.packets_in") >= done + kept + sent_on
            else:
                assert get("ip6.packets_in") >= kept
        assert self.ip.reassembly.memory <= LIMITS["net.ip.fragment_memory"]
        assert self.ip.reassembly.waiting() <= LIMITS["net.ip.fragment_datagrams"]
        assert len(self.interface.neighbours.rows()) <= LIMITS["net.arp.max_neighbours"]
        neighbours = self.ip6.neighbours(self.interface)
        assert neighbours is not None and len(neighbours.rows()) <= LIMITS["net.nd.max_neighbours"]
        assert self.ip6.reassembly.memory <= LIMITS["net.ip6.fragment_memory"]
        assert len(self.ip6.network.links[self.interface.index].addresses) <= 2 + 2 * LIMITS["net.ip6.max_addresses"]
        assert len(self.ip.v4.path_mtus.rows()) <= LIMITS["net.ip.path_mtu_entries"]
        assert len(self.tcp.channels) <= 3 + 2 + LIMITS["net.tcp.max_syn_backlog"] + LIMITS["net.tcp.max_time_wait"]
        for channel in self.tcp.channels.values():
            block = channel.connection.block
            assert block.receive_queue.size() <= block.receive_buffer + 65536


class Play:
    """One input."""

    def __init__(self, data: bytes) -> None:
        self.reader = Reader(data)
        self.world = World(self.reader.u8())
        self.steps = (
            self.raw, self.v4, self.segment, self.datagram, self.control, self.v6, self.time, self.users, self.through,
        )  # fmt: skip

    def all(self) -> None:
        """To the end of the input, and then a while of silence."""
        for _ in range(MAX_FRAMES):
            if not self.reader.more():
                break
            self.steps[self.reader.u8() % len(self.steps)]()
            self.world.check()
        self.world.host.run(self.world.host.now + 40 * SECOND)
        self.world.check()

    def raw(self) -> None:
        """Any bytes, behind an Ethernet header that lets them in."""
        reader = self.reader
        which = reader.u8() % 5
        kind = (0x0800, 0x86DD, 0x0806, 0x8100)[which] if which < 4 else reader.u16()
        destination = (OURS, b"\xff" * 6, b"\x01\0\x5e\0\0\1", b"\x33\x33\0\0\0\1")[reader.u8() & 3]
        data = emit_ethernet(destination, PEERS, kind) + reader.take(reader.u8())
        self.world.arrive(data, reader.u8())

    def v4(self) -> None:
        """An IPv4 packet with a good header: any protocol, fragments, options, other sources."""
        reader = self.reader
        what = reader.u8()
        protocol = (1, 2, 6, 17)[what % 5] if what % 5 < 4 else reader.u8()
        fragment = reader.u16() if what & 16 else 0
        source = B if not what & 32 else reader.take(4).ljust(4, b"\3")
        options = reader.take((reader.u8() & 3) * 4) if what & 64 else b""
        options += bytes(-len(options) % 4)
        payload = reader.take(reader.u8())
        if protocol == 1 and len(payload) >= 8:
            payload = IcmpMessage(payload[0], payload[1], int.from_bytes(payload[4:8], "big"), payload[8:]).emit()
        self.world.arrive(
            self.world.ipv4(protocol, payload, source, fragment, options), reader.u8() if what & 128 else 0
        )

    def segment(self) -> None:
        """A TCP segment of the connection's, or a new one's."""
        reader = self.reader
        world = self.world
        what = reader.u8()
        seq = world.seq + (reader.near() if what & 1 else 0)
        ack = world.ack + (reader.near() if what & 2 else 0)
        flags = reader.u8() if what & 4 else ACK
        payload = bytes(reader.u16() % 1400) if what & 8 else b""
        made = Segment(seq & MASK, ack & MASK, flags, reader.u16() if what & 16 else 60_000, payload, 0, len(payload))
        if what & 32:
            made.has_timestamp, made.ts_value = True, reader.u16()
        if what & 64:
            made.sack_blocks = ((ack & MASK, (ack + reader.near()) & MASK),)
        port = 1000 if not what & 128 else reader.u16()
        if port == 1000 and not what & 1:
            world.seq = (world.seq + len(payload)) & MASK
        world.arrive(world.tcp_frame(made, port))

    def datagram(self) -> None:
        """A UDP datagram, whose length may lie."""
        reader = self.reader
        what = reader.u8()
        payload = reader.take(reader.u8())
        size = len(payload) if not what & 1 else reader.u16() % 60_000
        port = 7 if not what & 2 else reader.u16()
        self.world.arrive(self.world.ipv4(17, emit_udp_header(9, port, size) + payload))

    def control(self) -> None:
        """An ICMP error about something, perhaps about what the kernel sent."""
        reader = self.reader
        what = reader.u8()
        sent = [frame.linear()[14:] for frame in self.world.wire.sent[-8:] if frame.head[12:14] == b"\x08\0"]
        quoted = sent[what % len(sent)] if sent and what & 128 else reader.take(reader.u8())
        message = IcmpMessage((3, 4, 5, 11, 12)[reader.u8() % 5], reader.u8() & 15, reader.u16(), quoted[: reader.u8()])
        self.world.arrive(self.world.ipv4(1, message.emit()))

    def v6(self) -> None:
        """An IPv6 packet: extension headers, or an ICMPv6 message with its checksum."""
        reader = self.reader
        what = reader.u8()
        destination = A6 if not what & 1 else b"\xff\2" + bytes(13) + b"\1"
        hops = 255 if not what & 2 else reader.u8()
        payload = reader.take(reader.u8())
        which = what >> 3 & 7
        kind = (58, 0, 43, 44, 60, 17, 6)[which] if which < 7 else reader.u8()
        if kind == 58 and len(payload) >= 8:
            data = bytearray(payload)
            if what & 4:
                data[0] = 133 + data[0] % 5
            data[2:4] = b"\0\0"
            pseudo = pseudo_sum(B6, destination, 58, len(data))
            data[2:4] = int(internet_checksum(bytes(data), 0, len(data), pseudo)).to_bytes(2, "big")
            payload = bytes(data)
        elif kind in (6, 17) and len(payload) >= 20:
            data = bytearray(payload)
            at = 16 if kind == 6 else 6
            if what & 4:
                data[:4] = b"\0\7\0" + (b"Q" if kind == 6 else b"\7\b"[1:])
            if kind == 17:
                data[4:6] = len(data).to_bytes(2, "big")
            else:
                data[12] = data[12] & 15 | 0x50
            data[at : at + 2] = b"\0\0"
            pseudo = pseudo_sum(B6, destination, kind, len(data))
            data[at : at + 2] = (int(internet_checksum(bytes(data), 0, len(data), pseudo)) or 0xFFFF).to_bytes(2, "big")
            payload = bytes(data)
        self.world.arrive(self.world.ipv6(kind, payload, destination, hops))

    def through(self) -> None:
        """A packet for somebody beyond, which a router sends on."""
        reader = self.reader
        what = reader.u8()
        payload = reader.take(reader.u8()) + bytes((what & 7) * 400)
        if what & 8:
            far = b"\xfd\1" + bytes(13) + bytes((reader.u8() & 3,))
            header = emit_ipv6_header(
                B6[:8] * 2 if what & 16 else b"\xfd\0" + B6[2:], far, 17, len(payload), reader.u8()
            )
            self.world.arrive(emit_ethernet(OURS, PEERS, 0x86DD) + header + payload)
        else:
            far = bytes((10, 0, 9 if not what & 16 else 0, reader.u8() & 3))
            header = emit_ipv4_header(B, far, 17, len(payload), 7, reader.u16() & 0x7FFF, reader.u8())
            self.world.arrive(emit_ethernet(OURS, PEERS, 0x0800) + header + payload)

    def time(self) -> None:
        """Time passes."""
        amount = self.reader.u8()
        self.world.host.run(self.world.host.now + (amount << (amount & 7)) * MILLISECOND)

    def users(self) -> None:
        """Somebody uses the sockets."""
        world = self.world
        what = self.reader.u8()
        world.host.enter()
        try:
            now = world.host.now
            if what & 1:
                accepted = world.listener.accept(now)
                if not isinstance(accepted, Blocked):
                    assert isinstance(accepted, Socket)
                    accepted.hold()
                    accepted.send(bytes(2000), 0, 0, None, now)
                    if what & 2:
                        accepted.release(now)
            else:
                world.datagrams.receive(100, 0, now)
        except OSError:
            pass  # such as a connection that was reset
        finally:
            world.host.leave()


def run(data: bytes) -> None:
    """The target."""
    Play(data).all()


def _v6(kind: int, payload: bytes, what: int = 0) -> bytes:
    return bytes((5, what | kind << 3, *((255,) if what & 2 else ()), len(payload))) + payload


def _nd(kind: int, body: bytes, what: int = 0) -> bytes:
    """A neighbour discovery message: its type is chosen by the first byte, modulo 5 (see `Play.v6`)."""
    return _v6(0, bytes((kind - 133, 0, 0, 0)) + body, what | 4)


_LINK, _TARGET = nd.Option(1, PEERS), nd.Option(2, PEERS)
_PREFIX = nd.PrefixInformation(64, 0xC0, 3600, 1800, b"\x20\1\x0d\xb8" + bytes(12))
_ADVERTISED = nd.RouterAdvertisement(64, 0x08, 1800, 10_000, 200)
_ADVERTISED.options = [
    _LINK, nd.prefix_option(_PREFIX), nd.mtu_option(1400), nd.Option(25, bytes(2) + b"\0\0\1\0" + B6),
    nd.Option(31, bytes(2) + b"\0\0\1\0\2ab\2cd\0\0"), nd.Option(24, b"\x30\0\0\0\1\0" + bytes(8)),
]  # fmt: skip
_ECHO6 = bytes([128, 0, 0, 0, 0, 1, 0, 1]) + bytes(24)


def _fragment6(at: int, more: bool) -> bytes:
    return _v6(3, FragmentHeader(58, at, more, 5).emit() + _ECHO6[at : at + 16])


def _fragment4(at: int, more: bool) -> bytes:
    data = (emit_udp_header(9, 7, 24) + bytes(24))[at : at + 16]
    return bytes((1, 18, (0x20 if more else 0) | at >> 11, at >> 3 & 255, len(data))) + data


SEEDS = [
    bytes([0, 2, 8, 4, 0, 7, 3, 2, 2, 5, 2, 4, 1, 6, 255]),
    bytes([0, 1, 3, 20, 0, 9, 0, 7, 0, 20, 0, 0, *b"hello world!", 3, 0, 5, *b"hello"]),
    bytes([0]) + _fragment4(0, True) + _fragment4(16, False),
    bytes([128]) + _fragment4(16, False) + _fragment4(0, True) + bytes([6, 255]),
    bytes([0, 4, 128, 0, 1, 2, 88, 255, 4, 128, 0, 4, 1, 0, 255]),
    bytes([0, 0, 2, 0, 28, 0, 1, 8, 0, 6, 4, 0, 2, *PEERS, *B, *OURS, *A]),
    bytes([4]) + _nd(134, _ADVERTISED.emit()) + bytes([6, 255]) + _nd(134, _ADVERTISED.emit()) + bytes([6, 127]),
    bytes([0])
    + _nd(135, nd.Neighbour(0, A6, [_LINK]).emit())
    + _v6(0, _ECHO6)
    + _nd(136, nd.Neighbour(96, B6, [_TARGET]).emit()),
    bytes([2]) + _nd(134, _ADVERTISED.emit()) + _nd(137, nd.Redirect(B6, b"\x20\1" + bytes(14), [_TARGET]).emit()),
    bytes([0]) + _fragment6(0, True) + _fragment6(16, False),
    bytes([0]) + _v6(1, emit_options_header(60, b"\x1e\0") + emit_options_header(43, b"\5\2\0\0") + bytes(8) + _ECHO6),
    bytes([65, 8, 0, 8, *bytes(8), 2, 0, 0, 64, 8, 5, 8, *bytes(8), 2, 64, 0, 0, 8, 8, 4, 1, 2, 3, 4, 2, 64, 6, 255]),
    bytes([65, 8, 12, 4, 1, 2, 3, 4, 2, 1, 6, 255, 8, 3, 0, 1, 0, 0, 3]),
]
SEEDS += [bytes([0]) + _v6(6, bytes(13) + b"\2" + bytes(6), 4) + _v6(5, bytes(24), 4)]
"""Segments and their acknowledgements; UDP; fragments; ICMP about what was sent; ARP; routers, neighbours, redirects, extension headers
of IPv6; a router."""
