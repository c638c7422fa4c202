"""A learning Ethernet switch between kernels of one host.  It stands between interfaces (above) and `Hypercalls.post`.

Frames stay in memory, so every offload is on: super-segments and unfinished checksums go through untouched, and all
ports may be given the same frame object. A transmit only posts; the host delivers once the sender has left its kernel.
"""

from typing import Final, final

from ..hyper.calls import Hypercalls
from ..hyper.frame import FEATURES_ALL, GSO_NONE, Frame
from ..hyper.link import LinkPort, Receiver
from ..hyper.time import Duration

ETHERNET_HEADER: Final = 14
VLAN_TAG: Final = 4

MAX_ADDRESSES: Final = 4096
"""Addresses that a switch remembers unless told otherwise; the one learned first is forgotten first."""


@final
class Switch:
    """Ports with a table of which address was last seen behind which (IEEE 802.1D 7.8, without ageing)."""

    def __init__(
        self,
        hyper: Hypercalls,
        mtu: int = 1500,
        features: int = FEATURES_ALL,
        delay: Duration = 0,
        max_addresses: int = MAX_ADDRESSES,
    ) -> None:
        self.hyper: Hypercalls = hyper
        self.mtu: int = mtu
        self.features: int = features
        self.delay: Duration = delay
        """Nanoseconds from a transmit to the delivery, unless a port has its own."""
        self.max_addresses: int = max_addresses
        self.connected: bool = True
        """False: the cable is cut, and every frame is dropped."""
        self.frames: int = 0
        self.floods: int = 0
        self.drops: int = 0
        """Frames dropped: malformed, longer than the MTU allows, sent to their own port, or while the cable was cut."""
        self._ports: list[SwitchPort] = []
        self._addresses: dict[bytes, SwitchPort] = {}

    def port(self, delay: Duration = -1) -> "SwitchPort":
        """A new port, whose frames take `delay` nanoseconds to their receivers (default: the switch's delay)."""
        port = SwitchPort(self, delay)
        self._ports.append(port)
        return port

    def ports(self) -> int:
        """How many ports are open."""
        return len(self._ports)

    def addresses(self) -> list[bytes]:
        """The addresses it knows, in the order they were learned."""
        return list(self._addresses)

    def forward(self, source: "SwitchPort", frame: Frame) -> None:
        """Take `frame` from the port `source` to where it belongs."""
        head = frame.head
        if not self.connected or len(head) < ETHERNET_HEADER:
            self.drops += 1
            return
        if frame.gso_type == GSO_NONE and len(head) + frame.size > self.mtu + ETHERNET_HEADER + VLAN_TAG:
            self.drops += 1
            return
        self.frames += 1
        sender = head[6:12]
        if self._addresses.get(sender) is not source:
            self._learn(sender, source)
        delay = source.delay if source.delay >= 0 else self.delay
        target = None if head[0] & 1 else self._addresses.get(head[:6])
        if target is None:
            self._flood(source, frame, delay)
        elif target is source:
            self.drops += 1
        elif target.receiver is not None:
            self.hyper.post(target.receiver, frame, delay)

    def forget(self, port: "SwitchPort") -> None:
        """Remove `port` and what was learned behind it."""
        if port in self._ports:
            self._ports.remove(port)
            self._addresses = {address: behind for address, behind in self._addresses.items() if behind is not port}

    def _learn(self, sender: bytes, source: "SwitchPort") -> None:
        if sender[0] & 1:
            return
        addresses = self._addresses
        if sender not in addresses and len(addresses) >= self.max_addresses:
            del addresses[next(iter(addresses))]
        addresses[sender] = source

    def _flood(self, source: "SwitchPort", frame: Frame, delay: Duration) -> None:
        self.floods += 1
        for port in self._ports:
            if port is not source and port.receiver is not None:
                self.hyper.post(port.receiver, frame, delay)


@final
class SwitchPort(LinkPort):
    """One socket of a switch."""

    def __init__(self, switch: Switch, delay: Duration) -> None:
        super().__init__(switch.mtu, switch.features)
        self.delay: Duration = delay
        self.receiver: Receiver | None = None
        self._switch: Switch | None = switch

    def attach(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def transmit(self, frame: Frame) -> None:
        switch = self._switch
        if switch is not None:
            switch.forward(self, frame)

    def close(self) -> None:
        switch = self._switch
        self._switch = None
        self.receiver = None
        if switch is not None:
            switch.forget(self)


@final
class SwitchBoard:
    """The switches of a host by name: `switch:lan` in two configs means one switch."""

    def __init__(self, hyper: Hypercalls) -> None:
        self._hyper: Hypercalls = hyper
        self._switches: dict[str, Switch] = {}

    def named(self, name: str) -> Switch:
        """The switch called `name`; made when first asked for."""
        switch = self._switches.get(name)
        if switch is None:
            switch = self._switches[name] = Switch(self._hyper)
        return switch

    def names(self) -> list[str]:
        """The switches that exist."""
        return list(self._switches)
