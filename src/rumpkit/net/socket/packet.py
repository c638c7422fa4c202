"""Packet sockets: AF_PACKET (Linux packet(7)), for root: frames of interfaces as they come and go, and frames to send.

SOCK_RAW has frames with their Ethernet header, SOCK_DGRAM without.  They see frames through the interfaces' taps: before
anything judges them, finished as on a wire.  Between taps below and the socket calls above.
"""

from typing import TYPE_CHECKING, Final, NamedTuple, final

from ...hyper.calls import Hypercalls
from ...hyper.frame import Frame
from ...hyper.time import Instant
from ...kern.abi.errno import EINVAL, EMSGSIZE, ENETDOWN, ENODEV, ENOPROTOOPT, ENXIO, EOPNOTSUPP, error
from ...kern.abi.socket import MSG_OOB, SOCK_DGRAM
from ...kern.socket import SocketAddress
from ...kern.wait import Blocked
from ..link.interface import Interface, LinkInterface
from ..link.tap import OUTBOUND, FrameTap
from ..wire.address import BROADCAST_MAC
from ..wire.ethernet import ETHERTYPE_VLAN, HEADER_SIZE, TAG_SIZE, emit_ethernet, ethertype
from ..wire.offload import finish
from .inbox import InboxSocket
from .options import option_int

if TYPE_CHECKING:
    from ..link.interfaces import Interfaces

ETH_P_ALL: Final = 3
SOL_PACKET: Final = 263
PACKET_ADD_MEMBERSHIP: Final = 1
PACKET_DROP_MEMBERSHIP: Final = 2
PACKET_STATISTICS: Final = 6
PACKET_MR_MULTICAST: Final = 0
PACKET_MR_PROMISC: Final = 1
PACKET_MR_ALLMULTI: Final = 2

PACKET_HOST: Final = 0
PACKET_BROADCAST: Final = 1
PACKET_MULTICAST: Final = 2
PACKET_OTHERHOST: Final = 3
PACKET_OUTGOING: Final = 4
ARPHRD_ETHER: Final = 1
ARPHRD_LOOPBACK: Final = 772
ARPHRD_NONE: Final = 0xFFFE
_HARDWARE: Final = {"loopback": ARPHRD_LOOPBACK, "point-to-point": ARPHRD_NONE}
_SIZE: Final = 18
"""Of struct sockaddr_ll without its family."""


class LinkAddress(NamedTuple):
    """struct sockaddr_ll.  As a socket address it is its 18 bytes behind the family, and port 0."""

    interface: int
    """Index; 0 for all."""
    protocol: int = 0
    """Ethertype."""
    mac: bytes = b""
    kind: int = 0
    """PACKET_*: to whom the frame was addressed."""
    hardware: int = ARPHRD_ETHER

    def emit(self) -> bytes:
        """The bytes behind the family."""
        return (
            self.protocol.to_bytes(2, "big")
            + self.interface.to_bytes(4, "little")
            + self.hardware.to_bytes(2, "little")
            + bytes((self.kind, len(self.mac)))
            + self.mac.ljust(8, b"\0")
        )


def parse_link_address(data: bytes) -> LinkAddress:
    """What `emit` gave.  Raises EINVAL for another size."""
    if len(data) != _SIZE or data[9] > 8:
        raise error(EINVAL)
    number = int.from_bytes(data[2:6], "little")
    return LinkAddress(
        number, data[0] << 8 | data[1], data[10 : 10 + data[9]], data[8], int.from_bytes(data[6:8], "little")
    )


@final
class PacketSockets(FrameTap):
    """All packet sockets of one kernel; it watches interfaces while there are any."""

    def __init__(self, interfaces: "Interfaces", hyper: Hypercalls) -> None:
        self.interfaces: Interfaces = interfaces
        self.hyper: Hypercalls = hyper
        self.sending: PacketSocket | None = None
        """Whose frame is on its way out: it doesn't get it back."""
        self._sockets: list[PacketSocket] = []
        interfaces.watchers.append(self.watch)

    def make(self, family: int, kind: int, protocol: int) -> "PacketSocket":
        """A new socket; `protocol` is an ethertype in network byte order, as in C.  0 receives nothing."""
        made = PacketSocket(self, family, kind, (protocol & 0xFF) << 8 | (protocol >> 8 & 0xFF))
        self._sockets.append(made)
        if len(self._sockets) == 1:
            for interface in self.interfaces.all():
                interface.add_tap(self)
        return made

    def all(self) -> "list[PacketSocket]":
        """Every one that is open."""
        return list(self._sockets)

    def watch(self, interface: Interface) -> None:
        """An interface was made."""
        if self._sockets:
            interface.add_tap(self)

    def forget(self, socket: "PacketSocket") -> None:
        """A socket is closed."""
        self._sockets.remove(socket)
        if not self._sockets:
            for interface in self.interfaces.all():
                interface.remove_tap(self)

    def frame(self, interface: str, frame: Frame, direction: int, now: Instant) -> None:
        try:
            found = self.interfaces.get(interface)
        except OSError:
            return
        index = found.index
        listening = [
            one for one in self._sockets if one.bound in (0, index) and one.ethertype and one is not self.sending
        ]
        if not listening or len(frame.head) < HEADER_SIZE:
            return
        if found.loopback:
            # What goes out there is what comes in: seen twice, as on Linux.
            self._show(found, frame, PACKET_OUTGOING, listening)
            self._show(found, frame, PACKET_HOST, listening)
        elif direction == OUTBOUND:
            self._show(found, frame, PACKET_OUTGOING, listening)
        else:
            self._show(found, frame, _kind(frame.head, found.mac), listening)

    def _show(self, interface: Interface, frame: Frame, kind: int, listening: "list[PacketSocket]") -> None:
        if kind == PACKET_OTHERHOST and not self._promiscuous(interface.index):
            return
        number = int(ethertype(frame.head))
        wanting = [
            one
            for one in listening
            if one.ethertype == ETH_P_ALL or (one.ethertype == number and kind != PACKET_OUTGOING)
        ]
        if not wanting:
            return
        hardware = _HARDWARE.get(interface.kind, ARPHRD_ETHER)
        for piece in finish(frame, 0):
            data = piece.linear()
            source = LinkAddress(interface.index, number, data[6:12], kind, hardware).emit()
            for socket in wanting:
                socket.put(data[HEADER_SIZE:] if socket.kind == SOCK_DGRAM else data, (source, 0))

    def _promiscuous(self, index: int) -> bool:
        return any((index, PACKET_MR_PROMISC, b"") in one.memberships for one in self._sockets)


@final
class PacketSocket(InboxSocket):
    """One packet socket."""

    def __init__(self, sockets: PacketSockets, family: int, kind: int, number: int) -> None:
        super().__init__(family, kind, (number & 0xFF) << 8 | number >> 8)
        self.ethertype: int = number
        """What it receives; 0 for nothing, ETH_P_ALL for everything, and what goes out as well."""
        self.bound: int = 0
        """The index of its interface; 0 for all."""
        self.memberships: list[tuple[int, int, bytes]] = []
        """Interface, PACKET_MR_* and address."""
        self._sockets: PacketSockets = sockets

    def close(self, now: Instant) -> None:
        self._sockets.forget(self)
        self.clear()

    def bind(self, address: SocketAddress) -> None:
        """Receive from one interface only, and of one protocol.  Raises ENODEV, EINVAL."""
        wanted = parse_link_address(address[0])
        if wanted.interface:
            self._interface(wanted.interface, ENODEV)
        self.bound = wanted.interface
        if wanted.protocol:
            self.ethertype = wanted.protocol

    def send(
        self, data: bytes, start: int, flags: int, destination: SocketAddress | None, now: Instant
    ) -> int | Blocked:
        if flags & MSG_OOB:
            raise error(EOPNOTSUPP)
        target = LinkAddress(self.bound, self.ethertype) if destination is None else parse_link_address(destination[0])
        interface = self._interface(target.interface, ENXIO)
        payload = data[start:]
        if self.kind == SOCK_DGRAM:
            if len(target.mac) != 6 and not interface.loopback:
                raise error(EINVAL)
            frame = emit_ethernet(target.mac[:6].ljust(6, b"\0"), interface.mac, target.protocol) + payload
        else:
            frame = payload
        if len(frame) < HEADER_SIZE:
            raise error(EINVAL)
        tag = TAG_SIZE if ethertype(frame) == ETHERTYPE_VLAN else 0
        if len(frame) > interface.mtu + HEADER_SIZE + tag:
            raise error(EMSGSIZE)
        if not interface.up:
            raise error(ENETDOWN)
        self._sockets.sending = self
        try:
            if isinstance(interface, LinkInterface):
                interface.transmit(Frame(frame), now)
            else:
                self._sockets.hyper.post(interface.ingress(), Frame(frame))
        finally:
            self._sockets.sending = None
        return len(payload)

    def _interface(self, index: int, number: int) -> Interface:
        for interface in self._sockets.interfaces.all():
            if interface.index == index:
                return interface
        raise error(number)

    def local_address(self) -> SocketAddress:
        mac, hardware = b"", ARPHRD_ETHER
        for interface in self._sockets.interfaces.all():
            if interface.index == self.bound:
                mac, hardware = interface.mac, _HARDWARE.get(interface.kind, ARPHRD_ETHER)
        return LinkAddress(self.bound, self.ethertype, mac, 0, hardware).emit(), 0

    def peer_address(self) -> SocketAddress:
        raise error(EOPNOTSUPP)

    def get_option(self, level: int, name: int) -> bytes:
        if level != SOL_PACKET:
            return super().get_option(level, name)
        if name != PACKET_STATISTICS:
            raise error(ENOPROTOOPT)
        counts = self.received.to_bytes(4, "little") + self.dropped.to_bytes(4, "little")
        self.received = self.dropped = 0
        return counts

    def set_option(self, level: int, name: int, value: bytes) -> None:
        if level != SOL_PACKET:
            super().set_option(level, name, value)
            return
        if name not in (PACKET_ADD_MEMBERSHIP, PACKET_DROP_MEMBERSHIP):
            raise error(ENOPROTOOPT)
        if len(value) < 16:  # struct packet_mreq
            raise error(EINVAL)
        index = option_int(value)
        kind = int.from_bytes(value[4:6], "little")
        address = value[8 : 8 + min(int.from_bytes(value[6:8], "little"), 8)] if kind == PACKET_MR_MULTICAST else b""
        self._interface(index, ENODEV)
        if kind not in (PACKET_MR_MULTICAST, PACKET_MR_PROMISC, PACKET_MR_ALLMULTI):
            raise error(EINVAL)
        if name == PACKET_ADD_MEMBERSHIP:
            self.memberships.append((index, kind, address))
        elif (index, kind, address) in self.memberships:
            self.memberships.remove((index, kind, address))

    def describe(self) -> str:
        return f"packet {self.ethertype:04x} {self.bound}"


def _kind(head: bytes, mac: bytes) -> int:
    if head[0] & 1:
        return PACKET_BROADCAST if head[0:6] == BROADCAST_MAC else PACKET_MULTICAST
    return PACKET_HOST if head[0:6] == mac else PACKET_OTHERHOST
