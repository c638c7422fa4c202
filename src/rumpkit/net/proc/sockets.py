"""/proc/net/tcp, udp, raw, icmp and the same of IPv6, sockstat: proc_net(5), tcp_ipv4.c and udp.c of Linux for the columns.

Addresses are words of 32 bits in the byte order of x86-64 and aarch64, as everybody takes them apart.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from ...hyper.time import FOREVER, MILLISECOND, Instant
from ...kern.abi.socket import AF_INET, AF_INET6
from ..socket.ping import PingInbox
from ..transport.tcp.channel import Channel
from ..transport.tcp.states import CLOSED, LISTEN, TIME_WAIT
from ..wire.address import ANY_V6
from .view import NOBODY, Owner, View

if TYPE_CHECKING:
    from ..socket.rawtable import DirectSocket

PAGE: Final = 64
"""Rows that are made at once."""
_MAPPED: Final = bytes(10) + b"\xff\xff"
_TICK: Final = 10 * MILLISECOND
"""Times are in hundredths of a second (USER_HZ)."""
_ESTABLISHED: Final = 1
_UNCONNECTED: Final = 7
_WIDTHS: Final = {False: (149, 127), True: (0, 0)}
"""What Linux fills rows of TCP and the others up to."""
_HEAD4: Final = "sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
_HEAD6: Final = (
    "sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when"
    " retrnsmt   uid  timeout inode"
)
_RETRANSMIT: Final = 1
_OTHER: Final = 2
_WAITING: Final = 3
_PROBE: Final = 4


def _end(address: bytes, port: int, six: bool) -> str:
    if six and len(address) != 16:
        address = _MAPPED + address if any(address) else ANY_V6
    elif not address:
        address = bytes(4)
    words = [f"{int.from_bytes(address[at : at + 4], 'little'):08X}" for at in range(0, 16 if six else 4, 4)]
    return f"{''.join(words)}:{port:04X}"


def _row(
    number: int,
    six: bool,
    ends: tuple[bytes, int, bytes, int],
    state: int,
    queues: tuple[int, int],
    timer: tuple[int, int, int],
    owner: Owner,
    rest: str,
) -> str:
    local, port, remote, remote_port = ends
    kind, ticks, count = timer
    return (
        f"{number:4d}: {_end(local, port, six)} {_end(remote, remote_port, six)} {state:02X}"
        f" {queues[0]:08X}:{queues[1]:08X} {kind:02X}:{ticks:08X} {count:08X} {owner.uid:5d} {0:8d} {owner.inode} {rest}"
    )


def tcp4(view: View) -> Iterator[str]:
    """/proc/net/tcp."""
    return _tcp(view, False)


def tcp6(view: View) -> Iterator[str]:
    """/proc/net/tcp6."""
    return _tcp(view, True)


def _tcp(view: View, six: bool) -> Iterator[str]:
    width = _WIDTHS[six][0]
    yield f"  {_HEAD6 if six else _HEAD4}".ljust(width) + "\n"
    tcp = view.tcp
    if tcp is None:
        return
    number = 0
    text = []
    for listener in tcp.listeners():
        address, port = listener.local
        if view.is_six(listener, address) == six:
            ends = (address, port, b"", 0)
            queues = (0, len(listener.ready))
            rest = "1 0000000000000000 100 0 0 10 0"
            text.append(_row(number, six, ends, LISTEN, queues, (0, 0, 0), view.owner(listener), rest).ljust(width))
            number += 1
    yield "".join(f"{line}\n" for line in text)
    channels = list(tcp.channels.values())
    for start in range(0, len(channels), PAGE):
        now = tcp.now()
        text = []
        for channel in channels[start : start + PAGE]:
            if channel.connection.block.state != CLOSED and view.is_six(channel, channel.local[0]) == six:
                text.append(_connection(number, six, channel, view.owner(channel), now).ljust(width) + "\n")
                number += 1
        yield "".join(text)
    now = tcp.now()
    text = []
    for record in tcp.waits.records():
        key = record.key
        size = (len(key) - 4) // 2
        if record.until > now and (size == 16) == six:
            ends = key[size : 2 * size], int.from_bytes(key[-2:], "big"), key[:size], int.from_bytes(key[-4:-2], "big")
            timer = (_WAITING, (record.until - now) // _TICK, 0)
            text.append(_row(number, six, ends, TIME_WAIT, (0, 0), timer, NOBODY, "3 0000000000000000").ljust(width))
            number += 1
    yield "".join(f"{line}\n" for line in text)


def _connection(number: int, six: bool, channel: Channel, owner: Owner, now: Instant) -> str:
    block = channel.connection.block
    queues = block.send_queue.end - block.send_queue.start, block.receive_queue.size()
    deadlines = (
        (block.retransmit_at, _PROBE if block.persisting else _RETRANSMIT),
        (block.linger_at, _WAITING if block.state == TIME_WAIT else _OTHER),
        (block.keepalive_at, _OTHER),
    )
    deadline, kind = min(deadlines)
    timer = (0, 0, 0) if deadline >= FOREVER else (kind, max(deadline - now, 0) // _TICK, block.retries)
    mss = max(block.snd_mss, 1)
    threshold = block.congestion.threshold // mss
    rest = (
        f"2 0000000000000000 {block.rtt.timeout // _TICK} 4 0 {max(block.congestion.window // mss, 1)}"
        f" {threshold if threshold < 1 << 30 else -1}"
    )
    return _row(number, six, (*channel.local, *channel.remote), block.state, queues, timer, owner, rest)


def udp4(view: View) -> Iterator[str]:
    """/proc/net/udp."""
    return _udp(view, False)


def udp6(view: View) -> Iterator[str]:
    """/proc/net/udp6."""
    return _udp(view, True)


def _plain_head(six: bool) -> str:
    return f"  {_HEAD6 if six else ' ' + _HEAD4} ref pointer drops".ljust(_WIDTHS[six][1]) + "\n"


def _udp(view: View, six: bool) -> Iterator[str]:
    yield _plain_head(six)
    if view.udp is None:
        return
    endpoints = [one for one in dict.fromkeys(view.udp.endpoints()) if one.port]
    for start in range(0, len(endpoints), PAGE):
        text = []
        for number, one in enumerate(endpoints[start : start + PAGE], start):
            if view.is_six(one, one.wildcard) == six:
                ends = (one.local, one.port, one.remote, one.remote_port)
                state = _ESTABLISHED if one.remote else _UNCONNECTED
                queues, rest = (0, one.mailbox.used), f"2 0000000000000000 {one.mailbox.dropped}"
                row = _row(number, six, ends, state, queues, (0, 0, 0), view.owner(one), rest)
                text.append(row.ljust(_WIDTHS[six][1]) + "\n")
        yield "".join(text)


def icmp4(view: View) -> Iterator[str]:
    """/proc/net/icmp: ping sockets."""
    return _pings(view, False)


def icmp6(view: View) -> Iterator[str]:
    """/proc/net/icmp6."""
    return _pings(view, True)


def _pings(view: View, six: bool) -> Iterator[str]:
    yield _plain_head(six)
    pingers: list[Any] = []
    if six and view.ip6 is not None:
        pingers = list(view.ip6.icmp.pingers.values())
    elif not six and view.icmp is not None:
        pingers = list(view.icmp.pingers.values())
    for number, one in enumerate(pingers):
        owner = one.owner if isinstance(one, PingInbox) else None
        if owner is not None:
            local, identifier = owner.local_address()
            remote = owner.peer_address()[0] if owner.connected() else b""
            ends = (local[:16], identifier, remote[:16], 0)
            state = _ESTABLISHED if remote else _UNCONNECTED
            queues, rest = (0, owner.mailbox.used), f"2 0000000000000000 {owner.mailbox.dropped}"
            yield _row(number, six, ends, state, queues, (0, 0, 0), view.owner(owner), rest) + "\n"


def raw4(view: View) -> Iterator[str]:
    """/proc/net/raw."""
    return _raw(view, False)


def raw6(view: View) -> Iterator[str]:
    """/proc/net/raw6."""
    return _raw(view, True)


def _raw(view: View, six: bool) -> Iterator[str]:
    yield _plain_head(six)
    sockets = _raws(view, six)
    for start in range(0, len(sockets), PAGE):
        text = []
        for number, one in enumerate(sockets[start : start + PAGE], start):
            ends = (one.local, one.protocol, one.remote, 0)
            state = _ESTABLISHED if one.remote else _UNCONNECTED
            queues, rest = (0, one.mailbox.used), f"2 0000000000000000 {one.mailbox.dropped}"
            text.append(_row(number, six, ends, state, queues, (0, 0, 0), view.owner(one), rest) + "\n")
        yield "".join(text)


def _raws(view: View, six: bool) -> "Sequence[DirectSocket]":
    return () if view.privileged is None else view.privileged.raws(AF_INET6 if six else AF_INET)


def packet(view: View) -> Iterator[str]:
    """/proc/net/packet: what Linux has there is the supervisor's."""
    yield "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n"


def sockstat(view: View) -> Iterator[str]:
    """/proc/net/sockstat."""
    connections, datagrams = _counts(view, False), 0
    orphans = waits = memory = 0
    if view.tcp is not None:
        orphans, waits = view.tcp.orphans, view.tcp.time_waits
        memory = len(view.tcp.channels)
    if view.udp is not None:
        datagrams = sum(1 for one in set(view.udp.endpoints()) if one.port and len(one.wildcard) == 4)
    raws = len(_raws(view, False))
    yield (
        f"sockets: used {connections + datagrams + raws}\n"
        f"TCP: inuse {connections} orphan {orphans} tw {waits} alloc {connections + orphans} mem {memory}\n"
        f"UDP: inuse {datagrams} mem 0\nUDPLITE: inuse 0\nRAW: inuse {raws}\nFRAG: inuse 0 memory 0\n"
    )


def sockstat6(view: View) -> Iterator[str]:
    """/proc/net/sockstat6."""
    datagrams = 0
    if view.udp is not None:
        datagrams = sum(1 for one in set(view.udp.endpoints()) if one.port and len(one.wildcard) == 16)
    yield (
        f"TCP6: inuse {_counts(view, True)}\nUDP6: inuse {datagrams}\n"
        f"UDPLITE6: inuse 0\nRAW6: inuse {len(_raws(view, True))}\nFRAG6: inuse 0 memory 0\n"
    )


def _counts(view: View, six: bool) -> int:
    if view.tcp is None:
        return 0
    size = 16 if six else 4
    listening = sum(len(one.local[0]) == size for one in view.tcp.listeners())
    return listening + sum(len(one.local[0]) == size for one in list(view.tcp.channels.values()))
