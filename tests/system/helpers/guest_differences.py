"""What of sockets is different for a program on a kernel than on Linux, and meant: the reference page says the same.

A row is a subject, which lines of the transcript it is about (a regular expression), and the reason.
"""

from __future__ import annotations

from typing import NamedTuple


class Difference(NamedTuple):
    """One difference."""

    subject: str
    lines: str
    """Of `tests/guests/linux/programs/transcript.py`: theme and name of the checks."""
    reason: str


FRESH = "A TCP socket is a unix socket in the program, and answers for itself where no kernel is asked"
DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "Reading, writing or shutting down (SHUT_WR) a TCP socket that has no connection fails with another errno, or not",
        r"fresh v[46]: (read|write|shutdown)|accepting v[46]: (read|write)|sending urgently: not connected"
        r"|a named peer: of one that is not connected",
        FRESH + ": EINVAL for ENOTCONN, ENOTCONN for EPIPE, EAGAIN of a listener",
    ),
    Difference(
        "The first write to a connection that was reset fails with EPIPE, and not with ECONNRESET; reading still tells of the reset",
        r"reset v[46]: (writing first of all|reading)",
        "A unix socket whose peer is gone takes nothing more, whatever error it has",
    ),
    Difference(
        "A read tells ECONNRESET where it is the first call after a connection was refused; SO_ERROR and connect say ECONNREFUSED",
        r"not waiting v[46]: a read tells",
        "Closing its peer is the one error that can be given to a unix socket",
    ),
    Difference(
        "A listener that was shut down polls as IN OUT ERR HUP RDHUP, and not as OUT HUP; what was disconnected has no ERR",
        r"poll v[46]: listens no more|ends of listeners v[46]: poll|disconnecting v[46]: poll",
        "The unix socket has lost its peer, and a disconnected one is new",
    ),
    Difference(
        "A connected TCP socket refuses sendto and sendmsg with an address (EISCONN)",
        r"a named peer: sendto where it is connected to|a named peer: send(to|msg) elsewhere",
        "Unix sockets do. Asking about each sendto would cost every UDP datagram a notification",
    ),
    Difference(
        "sendto with MSG_FASTOPEN is refused (EOPNOTSUPP); TCP_FASTOPEN_CONNECT connects without data in the handshake",
        r"data with the handshake: sendto with MSG_FASTOPEN",
        "As on a host whose net.ipv4.tcp_fastopen lets no client: programs connect in the usual way then",
    ),
    Difference(
        "An urgent byte alone polls as IN, too; no urgent byte at all (an empty send with MSG_OOB) is EOPNOTSUPP",
        r"urgent v[46]: poll( after it)?|sending urgently: (nothing|poll)",
        "Unix sockets count the urgent byte among those that can be read",
    ),
    Difference(
        "SO_ZEROCOPY of TCP is refused",
        r"SO of streams v[46]: ZEROCOPY set",
        "A unix socket never tells when the memory is free",
    ),
    Difference(
        "TCP_CORK and TCP_QUICKACK are taken, whatever their value, and change nothing",
        r"TCP of streams v[46]: (CORK|QUICKACK) set|options of connections: (CORK|QUICKACK) while connected",
        "They are answered within the filter: web servers set TCP_CORK twice a request",
    ),
    Difference(
        "IP options (IP_OPTIONS) and a fixed MTU (IPV6_MTU) can't be set",
        r"IP of streams v[46]: OPTIONS set|IPV6 of (streams|datagrams) v6: MTU set",
        "rumpkit sends no IP options, and finds the path's MTU",
    ),
    Difference(
        "A datagram or raw message to nowhere or from an address of others, or a broadcast without SO_BROADCAST, is taken, and lost;"
        " connect says what is wrong",
        r"datagrams names v[46]: nowhere|broadcasts: not allowed|raw v6 messages: nowhere|raw v6 control: from one of others",
        "Datagrams leave the program without asking the kernel",
    ),
    Difference(
        "A ping or raw socket over IPv4 is told of an address of 240.0.0.0/8 as destination (IP_PKTINFO)",
        r"control of pings: destination v4",
        "That is what it is known by in the program's namespace",
    ),
)
