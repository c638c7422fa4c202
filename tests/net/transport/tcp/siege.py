"""Two kernels that talk, and somebody on their cable who sends what he likes from whatever address he likes."""

from random import Random

from rumpkit.hyper.frame import Frame
from rumpkit.hyper.link import Receiver
from rumpkit.net.wire.checksum import pseudo_sum
from rumpkit.net.wire.ethernet import ETHERTYPE_IPV4, emit_ethernet
from rumpkit.net.wire.ipv4 import PROTOCOL_TCP, emit_ipv4_header
from rumpkit.net.wire.offload import complete_checksum
from rumpkit.net.wire.segment import SYN, Segment
from rumpkit.net.wire.tcp import emit_segment
from tests.net.tcp_world import World

HIS_MAC = b"\x02\xee\0\0\0\1"


class Deaf(Receiver):
    """Takes frames and does nothing."""

    def __init__(self):
        self.frames = 0

    def receive(self, frame, now):
        self.frames += 1

    def flush(self, now):
        pass


class Siege(World):
    """The attacker stands on the switch.  Keywords beside `delay` are sysctls below `net.tcp.` of b, who is attacked."""

    def __init__(self, delay=1_000_000, features=0, **settings):
        super().__init__(delay=delay, features=features)
        self.random = Random(1)
        self.port = self.switch.port()
        self.deaf = Deaf()
        self.port.attach(self.deaf)
        for name, value in settings.items():
            self.b.kernel.sysctl.set(f"net.tcp.{name}", value)

    def forge(self, segment, source, port, to, target=None):
        """A segment with a source that he makes up."""
        target = target or self.b
        mac = target.ip.interfaces.get("eth0").mac
        frame = complete_checksum(emit_segment(segment, port, to, pseudo_sum(source, target.address, PROTOCOL_TCP, 0)))
        data = frame.linear()
        header = emit_ipv4_header(source, target.address, PROTOCOL_TCP, len(data))
        self.send(emit_ethernet(mac, HIS_MAC, ETHERTYPE_IPV4) + header + data)

    def send(self, data):
        self.host.enter()
        try:
            self.port.transmit(Frame(data))
        finally:
            self.host.leave()

    def syn(self, source=None, port=None, to=80, **fields):
        """A SYN from a random address of the cable's network, or as said."""
        source = source or b"\x0a\0\0" + bytes([self.random.randrange(3, 255)])
        segment = Segment(self.random.getrandbits(32), 0, SYN, 65535)
        segment.mss = 1460
        for name, value in fields.items():
            setattr(segment, name, value)
        self.forge(segment, source, port or self.random.randrange(1024, 65536), to)

    def under(self, attack, client, server, size=40_000, steps=100):
        """`client` sends `size` bytes to `server` while `attack(step)` goes on; they must arrive, in simulated time that is no
        more than a few round trips longer.  Returns how many milliseconds it took."""
        data = self.random.randbytes(size)
        got = bytearray()
        sent = 0
        started = self.now
        for step in range(steps):
            attack(step)
            if sent < size:
                sent += self.attempt(client.send, data, sent, 0, None, self.now) or 0
            self.run(0.001)
            part = self.attempt(server.receive, 1 << 20, 0, self.now)
            if part is not None:
                got += part.data
        rest = 0
        while len(got) < size:
            self.run(0.01)
            part = self.attempt(server.receive, 1 << 20, 0, self.now)
            got += part.data if part is not None else b""
            rest += 1
            assert rest < 1000, f"stuck at {len(got)} of {size}"
        assert got == data
        return (self.now - started) // 1_000_000
