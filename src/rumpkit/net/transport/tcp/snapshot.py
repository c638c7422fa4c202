"""What there is to see of TCP: its connections and listeners as plain values, for `ss`, captures and the like.

Reads, changes nothing, and knows nobody who asks.  On the schedule.
"""

from collections.abc import Generator, Iterator
from typing import Any

from ....hyper.time import FOREVER, MICROSECOND, MILLISECOND, Instant
from ...wire.address import format_address
from .block import ControlBlock
from .channel import Channel, Listener
from .congestion import UNLIMITED
from .core import HEADERS, headers_size
from .episode import OPEN
from .layer import Tcp
from .states import CLOSE_WAIT, CLOSED, ESTABLISHED, LISTEN, STATE_NAMES, SYN_SENT, TIME_WAIT
from .timewait import TimeWait

Row = dict[str, Any]
PAGE = 32
"""Rows that are made at once."""
COUNTED = 2048
"""Connections that are counted at once."""


def sockets(tcp: Tcp) -> Iterator[list[Row]]:
    """All listeners, then all connections that were there at the first call, some rows a time; between two calls others may
    have the schedule.  Connections that end meanwhile are left out."""
    yield [listener_row(listener) for listener in tcp.listeners()]
    channels = list(tcp.channels.values())
    for start in range(0, len(channels), PAGE):
        moment = tcp.now()
        page = channels[start : start + PAGE]
        yield [row(one, moment) for one in page if one.connection.block.state != CLOSED]
    records = tcp.waits.records()
    for start in range(0, len(records), PAGE):
        moment = tcp.now()
        yield [waiting_row(one, moment) for one in records[start : start + PAGE] if one.until > moment]


def established(tcp: Tcp) -> Generator[None, None, int]:
    """How many connections are in ESTABLISHED or CLOSE-WAIT (tcpCurrEstab of RFC 4022), counted some at a time."""
    channels = list(tcp.channels.values())
    count = 0
    for start in range(0, len(channels), COUNTED):
        if start:
            yield None
        for one in channels[start : start + COUNTED]:
            state = one.connection.block.state
            if state == ESTABLISHED or state == CLOSE_WAIT:
                count += 1
    return count


def listener_row(listener: Listener) -> Row:
    """A listening port; its queues are the connections that wait for accept, and how many may."""
    return {
        "protocol": "tcp",
        "state": STATE_NAMES[LISTEN],
        "receive_queue": len(listener.ready),
        "send_queue": listener.backlog,
        "local": text(listener.local[0]),
        "local_port": listener.local[1],
        "remote": "",
        "remote_port": 0,
        "half_open": len(listener.half_open),
    }


def row(channel: Channel, now: Instant) -> Row:
    """A connection: what it has not read and not had acknowledged, and `info`, what goes on inside."""
    block = channel.connection.block
    return {
        "protocol": "tcp",
        "state": STATE_NAMES[block.state],
        "receive_queue": block.receive_queue.size(),
        "send_queue": block.send_queue.end - block.send_queue.start,
        "local": text(channel.local[0]),
        "local_port": channel.local[1],
        "remote": text(channel.remote[0]),
        "remote_port": channel.remote[1],
        "orphan": channel.orphan,
        "info": info(block, now, headers_size(channel.key)),
    }


def waiting_row(record: TimeWait, now: Instant) -> Row:
    """A connection in TIME-WAIT that no socket holds."""
    key = record.key
    size = (len(key) - 4) // 2
    return {
        "protocol": "tcp",
        "state": STATE_NAMES[TIME_WAIT],
        "receive_queue": 0,
        "send_queue": 0,
        "local": text(key[size : 2 * size]),
        "local_port": int.from_bytes(key[-2:], "big"),
        "remote": text(key[:size]),
        "remote_port": int.from_bytes(key[-4:-2], "big"),
        "orphan": True,
        "info": {"timer": {"name": "timewait", "in": max(record.until - now, 0) // MILLISECOND, "count": 0}},
    }


def info(block: ControlBlock, now: Instant, headers: int = HEADERS) -> Row:
    """The inside of a connection.  Times are in microseconds, sizes in bytes; what is not known yet is None."""
    congestion = block.congestion
    return {
        "congestion": block.options.congestion_name(block.settings),
        "cwnd": congestion.window,
        "ssthresh": None if congestion.threshold >= UNLIMITED else congestion.threshold,
        "flight": block.flight(),
        "mss": block.snd_mss,
        "path_mtu": block.path_mss + headers,
        "rtt": block.rtt.smoothed // MICROSECOND or None,
        "rttvar": block.rtt.variation // MICROSECOND,
        "min_rtt": block.rtt.minimum // MICROSECOND or None,
        "rto": block.rtt.timeout // MICROSECOND,
        "backoffs": block.rtt.backoffs,
        "retries": block.retries,
        "retransmits": block.episode.retransmits if block.episode is not None else 0,
        "recovering": block.episode is not None and block.episode.phase != OPEN,
        "sacked": block.scoreboard.sacked if block.scoreboard is not None else 0,
        "lost": block.scoreboard.lost if block.scoreboard is not None else 0,
        "send_window": block.snd_wnd,
        "receive_window": block.rcv_edge - block.rcv_nxt,
        "send_buffer": block.send_buffer,
        "receive_buffer": block.receive_buffer,
        "bytes_acked": max(block.snd_una - block.iss - 1, 0) if block.state not in (SYN_SENT, LISTEN) else 0,
        "bytes_received": max(block.rcv_nxt - block.irs - 1, 0) if block.state not in (SYN_SENT, LISTEN) else 0,
        "last_sent": max(now - block.last_sent, 0) // MILLISECOND if block.last_sent else None,
        "last_received": max(now - block.last_received, 0) // MILLISECOND if block.last_received else None,
        "options": options(block),
        "timer": timer(block, now),
    }


def options(block: ControlBlock) -> list[str]:
    """What was agreed on in the handshake, as `ss` writes it."""
    found = ["ts"] if block.timestamps else []
    if block.sack:
        found.append("sack")
    if block.ecn:
        found.append("ecn")
    if block.peer_scales:
        found.append(f"wscale:{block.snd_scale},{block.rcv_scale}")
    return found


def timer(block: ControlBlock, now: Instant) -> Row | None:
    """The deadline that comes next: its name, the milliseconds until then, and how often it has come before."""
    named = (
        ("persist" if block.persisting else "on", block.retransmit_at, block.retries),
        ("timewait" if block.state == TIME_WAIT else "finwait2", block.linger_at, 0),
        ("keepalive", block.keepalive_at, block.probes if block.state == ESTABLISHED else 0),
    )
    name, deadline, count = min(named, key=lambda one: one[1])
    if deadline >= FOREVER:
        return None
    return {"name": name, "in": max(deadline - now, 0) // MILLISECOND, "count": count}


def text(address: bytes) -> str:
    """An address as people write it; "*" where it is any."""
    if not any(address):
        return "*"
    return format_address(address)
