"""What there is to see of ping, raw and packet sockets, as plain values like those of TCP and UDP.  Reads, changes nothing.  On
the schedule."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from ...kern.abi.socket import SOCK_RAW
from ..ip.icmp import Pinger
from ..link.interfaces import Interfaces
from ..wire.address import format_address
from .names import split_zone
from .ping import PingInbox

if TYPE_CHECKING:  # most kernels never load them
    from .packet import PacketSocket
    from .rawtable import DirectSocket

_EVERYTHING: Final = 3
"""ETH_P_ALL."""
PAGE = 128
"""Rows that are made at once."""


def pings(name: str, pingers: Iterable[Pinger]) -> Iterator[list[dict[str, Any]]]:
    """The sockets among those who wait for echo replies; `name` is the protocol."""
    owners = [one.owner for one in pingers if isinstance(one, PingInbox) and one.owner is not None]
    for start in range(0, len(owners), PAGE):
        page = []
        for owner in owners[start : start + PAGE]:
            local, identifier = owner.local_address()
            remote = owner.peer_address()[0] if owner.connected() else b""
            mailbox = owner.mailbox
            page.append(_row(name, local, identifier, remote, mailbox.used, mailbox.limit, mailbox.dropped))
        yield page


def raws(name: str, sockets: "Sequence[DirectSocket]") -> Iterator[list[dict[str, Any]]]:
    """Raw sockets: the protocol takes the place of a port."""
    for start in range(0, len(sockets), PAGE):
        page = []
        for one in sockets[start : start + PAGE]:
            box = one.mailbox
            page.append(_row(name, one.local, one.protocol, one.remote, box.used, box.limit, box.dropped))
        yield page


def packets(sockets: "list[PacketSocket]", interfaces: Interfaces) -> Iterator[list[dict[str, Any]]]:
    """Packet sockets: an interface takes the place of the address, an ethertype that of a port (0: all)."""
    names = {one.index: one.name for one in interfaces.all()}
    for start in range(0, len(sockets), PAGE):
        page = []
        for one in sockets[start : start + PAGE]:
            name = "p_raw" if one.kind == SOCK_RAW else "p_dgr"
            kind = 0 if one.ethertype == _EVERYTHING else one.ethertype
            row = _row(name, b"", kind, b"", one.waiting_bytes(), one.receive_buffer, one.dropped)
            row["local"] = names.get(one.bound, "*")
            page.append(row)
        yield page


def _row(name: str, local: bytes, port: int, remote: bytes, used: int, limit: int, dropped: int) -> dict[str, Any]:
    return {
        "protocol": name,
        "state": "ESTABLISHED" if remote else "UNCONN",
        "receive_queue": used,
        "send_queue": 0,
        "local": _text(local),
        "local_port": port,
        "remote": _text(remote),
        "remote_port": 0,
        "receive_buffer": limit,
        "dropped": dropped,
    }


def _text(address: bytes) -> str:
    plain, _ = split_zone(address)
    return format_address(plain) if any(plain) else "*"
