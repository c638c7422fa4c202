"""VLANs (IEEE 802.1Q): what stands between an interface with a number behind its name, such as vif0.10, and the
Ethernet interface that carries its frames with a tag.

The tagged interface is an Ethernet interface like any other, over a port that puts the tag in; the carrying interface's
way in takes it out (`ethernet.EthernetIngress`).
"""

from typing import TYPE_CHECKING, Final, final

from ...hyper.calls import Hypercalls
from ...hyper.frame import Frame
from ...hyper.link import LinkPort, Receiver
from ..wire.ethernet import emit_tag

if TYPE_CHECKING:
    from .ethernet import EthernetInterface

MIN_ID: Final = 1
MAX_ID: Final = 4094
"""0 says only how urgent a frame is; 4095 is reserved."""


@final
class VlanPort(LinkPort):
    """One VLAN of an Ethernet interface.  It carries packets as large as the interface does: the tag comes on top, as on
    every link that is made for VLANs."""

    def __init__(self, carrier: "EthernetInterface", number: int, hyper: Hypercalls) -> None:
        super().__init__(carrier.mtu, carrier.features)
        self.carrier: EthernetInterface = carrier
        self.number: int = number
        self.receiver: Receiver | None = None
        """Takes the VLAN's frames, without their tag."""
        self._hyper: Hypercalls = hyper
        self._tag: bytes = emit_tag(number)

    def attach(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def transmit(self, frame: Frame) -> None:
        head = frame.head
        self.carrier.transmit(frame.like(head[:12] + self._tag + head[12:]), self._hyper.now)

    def close(self) -> None:
        self.receiver = None
        if self.carrier.vlans.get(self.number) is self:
            del self.carrier.vlans[self.number]
