"""One kernel, and a wire whose far end is the test: any number of scripted peers, from any address.

Peers speak `script.Seg`, with sequence and acknowledgement numbers relative to the initial ones, through whole frames: what is
tested is the kernel from its interface to its sockets.
"""

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hyper.frame import Frame
from rumpkit.hyper.link import LinkPort
from rumpkit.hyper.time import MILLISECOND
from rumpkit.kern.abi.socket import AF_INET, SOCK_STREAM
from rumpkit.kern.components import BASE
from rumpkit.kern.kernel import RumpKernel
from rumpkit.kern.wait import Blocked
from rumpkit.net.components import NET
from rumpkit.net.ip.service import Ip
from rumpkit.net.socket.stream import TcpSocket
from rumpkit.net.transport.tcp.layer import Tcp
from rumpkit.net.wire.address import parse_ipv4
from rumpkit.net.wire.arp import REPLY, ArpPacket, parse_arp
from rumpkit.net.wire.checksum import pseudo_sum
from rumpkit.net.wire.ethernet import ETHERTYPE_ARP, ETHERTYPE_IPV4, emit_ethernet
from rumpkit.net.wire.ipv4 import PROTOCOL_TCP, emit_ipv4_header, parse_ipv4_header
from rumpkit.net.wire.offload import complete_checksum
from rumpkit.net.wire.segment import ACK, NO_SCALE, SYN, Segment
from rumpkit.net.wire.sequence import SEQ_MASK
from rumpkit.net.wire.tcp import emit_segment, parse_segment
from tests.net.transport.tcp.script import _LETTERS, Seg

OUR_MAC = b"\x02\0\0\0\0\1"
FAR_MAC = b"\x02\0\0\0\0\2"
OURS = "10.0.0.1"


class Far(LinkPort):
    """The far end: keeps the IP packets that come out, and answers ARP for everybody."""

    def __init__(self, wire, mtu):
        super().__init__(mtu, 0)
        self.wire = wire
        self.receiver = None
        self.packets = []
        self.resolves = True
        self.questions = 0

    def attach(self, receiver):
        self.receiver = receiver

    def close(self):
        self.receiver = None

    def transmit(self, frame):
        data = frame.linear()
        if data[12:14] == b"\x08\x06":
            asked = parse_arp(data, 14)
            self.questions += 1
            if self.resolves and asked is not None and asked.target_ip != asked.sender_ip:
                reply = ArpPacket(REPLY, FAR_MAC, asked.target_ip, asked.sender_mac, asked.sender_ip)
                self.arrive(emit_ethernet(asked.sender_mac, FAR_MAC, ETHERTYPE_ARP) + reply.emit())
            return
        self.packets.append(data[14:])

    def arrive(self, data):
        assert self.receiver is not None
        self.wire.host.post(self.receiver, Frame(data))


class Wire:
    """The kernel at 10.0.0.1/8, and time.  Keywords are sysctls below `net.tcp.`."""

    def __init__(self, mtu=1500, seed=1, **settings):
        self.host = SimHost(seed)
        self.kernel = RumpKernel(self.host, (*BASE, *NET, "tcp"), hostname="alone")
        ip = self.kernel.service("Ip")
        tcp = self.kernel.service("Tcp")
        assert isinstance(ip, Ip) and isinstance(tcp, Tcp)
        self.ip = ip
        self.tcp = tcp
        self.far = Far(self, mtu)
        ip.add_interface(self.far, "eth0", OUR_MAC)
        ip.add_address("eth0", f"{OURS}/8")
        for name, value in settings.items():
            self.sysctl(name, value)
        self.peers = {}
        self.run(1)

    @property
    def now(self):
        return self.host.now

    def sysctl(self, name, value):
        self.kernel.sysctl.set(f"net.tcp.{name}", value)

    def counter(self, name):
        return self.kernel.counters.get("tcp." + name)

    def run(self, milliseconds):
        """Let time pass, and sort what came out."""
        self.host.run(self.host.now + int(milliseconds * MILLISECOND))
        self.sort()

    def sort(self):
        packets = self.far.packets
        self.far.packets = []
        for data in packets:
            header = parse_ipv4_header(data, 0, len(data))
            assert header is not None and header.checksum_valid
            segment = parse_segment(Frame(data), header.transport, header.total_length)
            if header.protocol != PROTOCOL_TCP or segment is None:
                continue
            at = header.transport
            ours, theirs = data[at : at + 2], data[at + 2 : at + 4]
            key = (header.destination, int.from_bytes(theirs, "big"), int.from_bytes(ours, "big"))
            peer = self.peers.get(key)
            if peer is not None:
                peer.came(segment)

    def peer(self, address="10.1.2.3", port=4000, to=80, iss=0xFFFFFF80):
        """A peer; the same again if there is one already."""
        key = (parse_ipv4(address), port, to)
        return self.peers.setdefault(key, Peer(self, *key, iss))

    def inject(self, source, port, to, *segments):
        """Segments of absolute numbers arrive in one batch from wherever they say."""
        self.host.enter()
        try:
            for segment in segments:
                self.far.arrive(packet(source, port, to, segment))
        finally:
            self.host.leave()

    # Sockets

    def do(self, function, *arguments):
        """A socket's method; None where it would wait."""
        self.host.enter()
        try:
            result = function(*arguments)
        finally:
            self.host.leave()
        self.run(0)
        return None if isinstance(result, Blocked) else result

    def socket(self):
        made = self.kernel.sockets.make(AF_INET, SOCK_STREAM, 0)
        made.hold()
        assert isinstance(made, TcpSocket)
        return made

    def listener(self, backlog=16, port=80, **options):
        made = self.socket()
        for name, value in options.items():
            assert hasattr(made.options, name), name
            setattr(made.own_options(), name, value)
        self.do(made.bind, (bytes(4), port))
        self.do(made.listen, backlog)
        return made

    def accept(self, listener):
        made = self.do(listener.accept, self.now)
        if made is not None:
            made.hold()
        return made

    def close(self, socket):
        self.do(socket.release, self.now)


def packet(source, port, to, segment):
    """A frame with a whole TCP packet for the kernel."""
    destination = parse_ipv4(OURS)
    segment.gso_size = 0
    frame = complete_checksum(emit_segment(segment, port, to, pseudo_sum(source, destination, PROTOCOL_TCP, 0)))
    data = frame.linear()
    header = emit_ipv4_header(source, destination, PROTOCOL_TCP, len(data))
    return emit_ethernet(OUR_MAC, FAR_MAC, ETHERTYPE_IPV4) + header + data


class Peer:
    """One remote address and port, and what the kernel has sent it."""

    def __init__(self, wire, address, port, to, iss):
        self.wire = wire
        self.address = address
        self.port = port
        self.to = to
        self.iss = iss
        self.theirs = None
        """The kernel's initial number, once it is known."""
        self.out = []

    def came(self, segment):
        if segment.flags & SYN:
            self.theirs = segment.seq
        self.out.append(segment)

    def send(self, *segments):
        """Segments arrive now, in one batch; whatever follows at once has been sent when this returns."""
        self.wire.inject(self.address, self.port, self.to, *(self._real(one) for one in segments))
        self.wire.run(0)

    def expect(self, *expected):
        """Exactly these came since the last time."""
        got = [self._relative(segment) for segment in self.out]
        self.out.clear()
        assert len(got) == len(expected), f"sent {got}, expected {list(expected)}"
        for sent, wanted in zip(got, expected, strict=True):
            assert set(sent.flags) - {"P"} == set(wanted.flags) - {"P"}, f"sent {got}, expected {list(expected)}"
            for name in ("seq", "ack", "data", "window"):
                value = getattr(wanted, name)
                if name in ("seq", "ack") and value is not None:
                    value &= SEQ_MASK
                assert value is None or getattr(sent, name) == value, f"{name}: sent {got}, expected {list(expected)}"
            for name, value in wanted.fields.items():
                assert sent.fields[name] == value, f"{name}: {sent.fields[name]} sent, {value} expected"
        return got

    def silent(self):
        self.expect()

    def open(self, **fields):
        """The whole handshake, from this side; returns the SYN-ACK."""
        self.send(Seg("S", 0, **fields))
        answer = self.expect(Seg("SA", 0, 1))[0]
        ts = answer.fields["ts"]
        self.send(Seg("A", 1, 1, **({"ts": (fields["ts"][0] + 1, ts[0])} if ts else {})))
        return answer

    def _real(self, wanted):
        fields = dict(wanted.fields)
        data = wanted.data or b""
        flags = sum(_LETTERS[letter] for letter in wanted.flags)
        ack = 0 if wanted.ack is None else ((self.theirs or 0) + wanted.ack) & SEQ_MASK
        window = 60000 if wanted.window is None else wanted.window
        segment = Segment((self.iss + (wanted.seq or 0)) & SEQ_MASK, ack, flags, window, data, 0, len(data))
        segment.mss = fields.pop("mss", 1460 if flags & SYN else 0)
        segment.window_scale = fields.pop("scale", NO_SCALE)
        segment.sack_permitted = fields.pop("sack", False)
        segment.urgent = fields.pop("urgent", 0)
        ts = fields.pop("ts", None)
        if ts is not None:
            segment.has_timestamp = True
            segment.ts_value, segment.ts_echo = ts
        for name in list(fields):
            setattr(segment, name, fields.pop(name))
        return segment

    def _relative(self, segment):
        flags = "".join(letter for letter, bit in _LETTERS.items() if segment.flags & bit)
        return Seg(
            flags,
            (segment.seq - (self.theirs or 0)) & SEQ_MASK,
            (segment.ack - self.iss) & SEQ_MASK if segment.flags & ACK else None,
            segment.payload(),
            segment.window,
            mss=segment.mss,
            scale=segment.window_scale,
            sack=segment.sack_permitted,
            ts=(segment.ts_value, segment.ts_echo) if segment.has_timestamp else None,
            urgent=segment.urgent,
        )
