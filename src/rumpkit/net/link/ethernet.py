"""Ethernet interfaces: between a host's port and the network layer.

Out: one lookup finds the header for a neighbour; a miss goes to ARP, or to IPv6's neighbour discovery, which keeps its
headers in the same table (addresses differ in length).  In: filter by MAC address, demultiplex by type.
"""

from typing import Final, final

from mypy_extensions import mypyc_attr

from ...hyper.frame import Frame
from ...hyper.link import LinkPort, Receiver
from ...hyper.time import Instant
from ...kern.timer import TimerQueue
from ..wire.ethernet import (
    ETHERTYPE_ARP,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_VLAN,
    HEADER_SIZE,
    TAG_SIZE,
    ethertype,
)
from ..wire.field import read_u16
from .arp import ArpCounters, ArpSettings, NeighbourTable
from .interface import LinkInterface
from .tap import INBOUND
from .vlan import VlanPort

_VLAN_ID_MASK: Final = 0x0FFF
_GROUPS_V4: Final = b"\x01\x00\x5e"
_ALL_HOSTS_MAC: Final = b"\x01\x00\x5e\x00\x00\x01"


@mypyc_attr(allow_interpreted_subclasses=True)
class FrameTaker:
    """Who takes every frame of an interface instead of the interface itself: a bridge."""

    def take(self, frame: Frame, now: Instant) -> None:
        """One frame, with at least an Ethernet header."""
        raise NotImplementedError

    def flush(self, now: Instant) -> None:
        """A batch of frames has ended."""
        raise NotImplementedError

    def leave(self) -> None:
        """The interface goes away."""
        raise NotImplementedError


@final
class EthernetInterface(LinkInterface):
    """An interface with a MAC address, on a link with neighbours."""

    def __init__(
        self,
        name: str,
        index: int,
        mac: bytes,
        mtu: int,
        port: LinkPort,
        timers: TimerQueue,
        settings: ArpSettings,
        counters: ArpCounters,
    ) -> None:
        super().__init__(name, index, mac, mtu, port)
        self.neighbours: NeighbourTable = NeighbourTable(self, timers, settings, counters)
        self.headers: dict[bytes, bytes] = self.neighbours.headers
        """The Ethernet header for each neighbour that packets can go to at once."""
        self.vlans: dict[int, VlanPort] = {}
        """By number.  Their frames are theirs even where the interface is a port of a bridge."""
        self.taker: FrameTaker | None = None
        self._ingress: EthernetIngress = EthernetIngress(self)

    def output(self, frame: Frame, next_hop: bytes, now: Instant) -> None:
        header = self.headers.get(next_hop)
        if header is None:
            self._miss(frame, next_hop, now)
            return
        frame.head = header + frame.head
        frame.checksum_start += HEADER_SIZE
        self.transmit(frame, now)

    def _miss(self, frame: Frame, next_hop: bytes, now: Instant) -> None:
        if not self.up:
            self.counters.down_out += 1
        elif len(next_hop) == 4:
            self.neighbours.miss(frame, next_hop, now)
        elif self.resolver is not None:
            self.resolver.miss(frame, next_hop, now)

    def doubt(self, next_hop: bytes, now: Instant) -> None:
        if len(next_hop) == 4:
            self.neighbours.doubt(next_hop, now)
        elif self.resolver is not None:
            self.resolver.doubt(next_hop, now)

    def set_up(self, up: bool, now: Instant) -> None:
        if up == self.up:
            return
        self.up = up
        if up:
            for own in self.addresses:
                self.neighbours.announce(own.address, now)
        else:
            self.neighbours.clear()

    def announce(self, address: bytes, now: Instant) -> None:
        if self.up:
            self.neighbours.announce(address, now)

    def ingress(self) -> Receiver:
        return self._ingress

    def close(self) -> None:
        self.neighbours.clear()
        super().close()


@final
class EthernetIngress(Receiver):
    """The way in."""

    def __init__(self, interface: EthernetInterface) -> None:
        self.interface: EthernetInterface = interface
        self._got_ipv6: bool = False
        """Whether this batch has brought IPv6 packets."""
        self._got_vlans: list[VlanPort] = []
        """The VLANs of which this batch has brought frames."""

    def receive(self, frame: Frame, now: Instant) -> None:
        interface = self.interface
        counters = interface.counters
        head = frame.head
        if not interface.up:
            counters.down_in += 1
            return
        counters.frames_in += 1
        counters.bytes_in += len(head) + frame.size
        if interface.tapped:
            interface.tell_taps(frame, INBOUND, now)
        kind = ethertype(head)
        if kind >= 0 and head[0] & 1:
            counters.group_in += 1
        if kind < 0:
            counters.short_in += 1
        elif kind == ETHERTYPE_VLAN and interface.vlans and self._to_vlan(frame, now):
            return
        elif interface.taker is not None:
            interface.taker.take(frame, now)
        elif head[0:6] != interface.mac and not self._wanted(head):
            return
        elif kind == ETHERTYPE_IPV4:
            network = interface.ipv4
            if network is not None:
                network.input(frame, HEADER_SIZE, interface, now)
        elif kind == ETHERTYPE_IPV6:
            self._input6(frame, now)
        elif kind == ETHERTYPE_ARP:
            interface.neighbours.input(frame.linear(), HEADER_SIZE, now)
        elif kind == ETHERTYPE_VLAN:
            self._tagged(frame, now)
        else:
            counters.unknown_type_in += 1

    def flush(self, now: Instant) -> None:
        taker = self.interface.taker
        if taker is not None:
            taker.flush(now)
        network = self.interface.ipv4
        if network is not None:
            network.flush(now)
        if self._got_vlans:
            self._flush_vlans(now)
        if self._got_ipv6:
            self._got_ipv6 = False
            network = self.interface.ipv6
            if network is not None:
                network.flush(now)

    def _input6(self, frame: Frame, now: Instant) -> None:
        network = self.interface.ipv6
        if network is None:
            self.interface.counters.unknown_type_in += 1
            return
        self._got_ipv6 = True
        network.input(frame, HEADER_SIZE, self.interface, now)

    def _wanted(self, head: bytes) -> bool:
        """Whether a frame that isn't plainly ours is for us: broadcasts are, and groups that we are in; those of IPv4 are
        looked up here (RFC 1112 section 6.4), others by whom they are for."""
        interface = self.interface
        if head[0] & 1 == 0:
            if not interface.promiscuous:
                interface.counters.other_host_in += 1
            return interface.promiscuous
        if head[0:3] != _GROUPS_V4 or head[0:6] == _ALL_HOSTS_MAC or head[0:6] in interface.group_macs:
            return True
        interface.counters.other_group_in += 1
        return False

    def _to_vlan(self, frame: Frame, now: Instant) -> bool:
        """Hand a frame without its tag to its VLAN's interface, whose filter decides; False where there is none."""
        head = frame.head
        at = HEADER_SIZE + TAG_SIZE
        vlan = self.interface.vlans.get(int(read_u16(head, HEADER_SIZE)) & _VLAN_ID_MASK) if len(head) >= at else None
        if vlan is None or vlan.receiver is None:
            return False
        if vlan not in self._got_vlans:
            self._got_vlans.append(vlan)
        vlan.receiver.receive(frame.like(head[:12] + head[at - 2 :]), now)
        return True

    def _flush_vlans(self, now: Instant) -> None:
        vlans = self._got_vlans
        self._got_vlans = []
        for vlan in vlans:
            if vlan.receiver is not None:
                vlan.receiver.flush(now)

    def _tagged(self, frame: Frame, now: Instant) -> None:
        """VLAN 0 says only how urgent the frame is (IEEE 802.1Q section 6.9); frames of other VLANs are not ours."""
        head = frame.head
        at = HEADER_SIZE + TAG_SIZE
        if len(head) < at or read_u16(head, HEADER_SIZE) & _VLAN_ID_MASK:
            self.interface.counters.tagged_in += 1
            return
        untagged = frame.like(head[:12] + head[at - 2 :])
        kind = read_u16(head, at - 2)
        network = self.interface.ipv4
        if kind == ETHERTYPE_IPV4 and network is not None:
            network.input(untagged, HEADER_SIZE, self.interface, now)
        elif kind == ETHERTYPE_IPV6:
            self._input6(untagged, now)
        elif kind == ETHERTYPE_ARP:
            self.interface.neighbours.input(untagged.linear(), HEADER_SIZE, now)
        else:
            self.interface.counters.unknown_type_in += 1
