"""The raw sockets of one version of IP, by protocol: between IP, which gives packets and errors here, and `raw` and `raw6`."""

from typing import Final

from ...hyper.frame import Frame
from ...hyper.time import Instant
from ...kern.abi.errno import EINVAL, EPROTONOSUPPORT, error
from ..ip.contract import RawInput
from ..ip.ipv4 import Ipv4
from ..ip6.ipv6 import Ipv6
from ..transport.mailbox import Complaint, Letter
from ..transport.udp_endpoint import complaint_of, heed
from ..wire.offload import finish
from .datagram import DatagramSocket

PROTOCOL_RAW: Final = 255
"""Only sends, and whole packets."""


class DirectSocket(DatagramSocket):
    """What speaks right over IP, without ports: raw sockets, and IPv6's ping sockets."""

    local: bytes
    """b"" or the wildcard for any."""
    remote: bytes
    report_all: bool
    """IP_RECVERR or IPV6_RECVERR: hear of every error, in full."""
    discover: int
    """IP_MTU_DISCOVER or IPV6_MTU_DISCOVER."""

    def wants(self, letter: Letter, data: bytes) -> bool:
        """Whether a message is for this socket, if that is a raw one of its protocol; `data` starts with the protocol's header."""
        raise NotImplementedError

    def heed(self, errno: int, complaint: Complaint) -> None:
        """Something that may be of ours came to nothing."""
        heed(self.mailbox, errno, len(self.remote) > 0, complaint, self.report_all, self.discover)


class RawTable(RawInput):
    """All raw sockets of one kernel and one version of IP."""

    def __init__(self, network: Ipv4 | Ipv6) -> None:
        self.network: Ipv4 | Ipv6 = network
        self._sockets: dict[int, list[DirectSocket]] = {}

    def made(self, family: int, kind: int, protocol: int) -> DirectSocket:
        """A socket that nobody knows yet."""
        raise NotImplementedError

    def letters(self, packet: bytes, network: int, transport: int) -> tuple[Letter, bytes] | None:
        """What sockets are given of a packet, and where its protocol's header and the rest is; None for what is malformed."""
        raise NotImplementedError

    def make(self, family: int, kind: int, protocol: int) -> DirectSocket:
        """A new socket.  Raises EPROTONOSUPPORT for protocol 0, EINVAL for what is none."""
        if protocol == 0:
            raise error(EPROTONOSUPPORT)
        if not 0 < protocol <= PROTOCOL_RAW:
            raise error(EINVAL)
        made = self.made(family, kind, protocol)
        self._sockets.setdefault(protocol, []).append(made)
        self.network.raw = self
        return made

    def forget(self, socket: DirectSocket) -> None:
        """A socket is closed."""
        sockets = self._sockets.get(socket.protocol, [])
        if socket in sockets:
            sockets.remove(socket)
        if not sockets:
            self._sockets.pop(socket.protocol, None)
        if not self._sockets:
            self.network.raw = None

    def all(self) -> list[DirectSocket]:
        """Every one that is open."""
        return [socket for sockets in self._sockets.values() for socket in sockets]

    def knows(self, protocol: int) -> bool:
        return protocol in self._sockets

    def take(self, frame: Frame, network: int, transport: int, protocol: int, now: Instant) -> bool:
        sockets = self._sockets.get(protocol)
        if sockets is None:
            return False
        taken = False
        for piece in finish(frame, 0):  # as on a wire: no super-segments, no missing checksums
            found = self.letters(piece.linear(), network, transport)
            if found is None:
                continue
            letter, data = found
            letter.interface = self.network.incoming
            letter.arrived = now
            for socket in list(sockets):
                if socket.wants(letter, data):
                    socket.mailbox.put(letter)
                    taken = True
        return taken

    def error(
        self, protocol: int, source: bytes, destination: bytes, quoted: bytes, errno: int, mtu: int, now: Instant
    ) -> None:
        report = self.network.reported
        for socket in list(self._sockets.get(protocol, ())):
            if any(socket.local) and socket.local != source:
                continue
            if not socket.remote or socket.remote == destination:
                socket.heed(errno, complaint_of(report, source, destination, errno, mtu, 0, quoted))
