"""What the texts of /proc/net are made of: the kernel, and who its sockets belong to."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, cast, final

from ...kern.abi.socket import AF_INET, AF_INET6
from ...kern.kernel import RumpKernel

if TYPE_CHECKING:
    from ..ip.icmp import Icmp
    from ..ip.service import Ip
    from ..ip6.service import Ip6
    from ..socket.privileged import PrivilegedSockets
    from ..transport.tcp.layer import Tcp
    from ..transport.udp import Udp


class Owner(NamedTuple):
    """Whose a socket is, as far as that is known outside of the kernel."""

    inode: int
    """By which the descriptors of a program show it: socket:[inode]."""
    family: int
    """As the program asked for; 0 if only the address tells."""
    uid: int


NOBODY = Owner(0, 0, 0)


@final
class View:
    """One reading.  On the schedule."""

    def __init__(self, kernel: RumpKernel, owners: Mapping[object, Owner] | None = None) -> None:
        """`owners` are by what a socket is to its transport: a listener, channel or endpoint, or a ping socket."""
        self.kernel = kernel
        self._owners: Mapping[object, Owner] = owners or {}
        service = kernel.service
        self.ip = cast("Ip | None", service("Ip"))
        self.ip6 = cast("Ip6 | None", service("Ip6"))
        self.tcp = cast("Tcp | None", service("Tcp"))
        self.udp = cast("Udp | None", service("Udp"))
        self.icmp = cast("Icmp | None", service("Icmp"))
        self.privileged = cast("PrivilegedSockets | None", service("PrivilegedSockets"))

    def owner(self, one: object) -> Owner:
        """Whose `one` is."""
        return self._owners.get(one, NOBODY)

    def is_six(self, one: object, address: bytes) -> bool:
        """Whether a socket with this address of its own is one of AF_INET6."""
        family = self.owner(one).family or (AF_INET if len(address) == 4 else AF_INET6)
        return family == AF_INET6
