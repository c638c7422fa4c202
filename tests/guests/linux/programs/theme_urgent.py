"""Urgent data of TCP: MSG_OOB, SO_OOBINLINE, SIOCATMARK, EPOLLPRI, SIGURG (tcp(7), RFC 6093)."""

import fcntl
import os
import select
import signal
import socket

from cases import attempt  # type: ignore[import-not-found]
from checks import FAMILIES, becomes, count, counts, now, pair, readable, theme, until  # type: ignore[import-not-found]

OOB, SIOCATMARK = socket.MSG_OOB, 0x8905


def _urgent(family):
    client, server = pair(family)
    yield "none", attempt(lambda: server.recv(1, OOB))
    yield "no mark", count(server, SIOCATMARK)
    yield "one byte", client.send(b"!", OOB)
    yield "poll", becomes(server, "PRI OUT", "IN PRI OUT")
    yield "at the mark", count(server, SIOCATMARK)
    yield "a look", server.recv(1, OOB | socket.MSG_PEEK)
    yield "the byte", server.recv(1, OOB)
    yield "twice", attempt(lambda: server.recv(1, OOB))
    yield "poll after it", becomes(server, "OUT", "IN OUT")
    yield "what is left", attempt(lambda: server.recv(9, socket.MSG_DONTWAIT))


def _amid_data(family):
    client, server = pair(family)
    client.send(b"before")
    client.send(b"xy!", OOB)
    client.send(b"after")
    yield "poll", becomes(server, "IN PRI OUT")
    until(lambda: server.recv(20, socket.MSG_PEEK) == b"beforexy")
    yield "a read stops before it", server.recv(20)
    yield "at the mark", counts(server, 1, SIOCATMARK)
    yield "the byte", attempt(lambda: server.recv(1, OOB))
    yield "a read goes on behind it", server.recv(20)
    yield "no more mark", counts(server, 0, SIOCATMARK)
    client.send(b"1!", OOB)
    client.send(b"2?", OOB)
    client.send(b"3")
    until(lambda: attempt(lambda: server.recv(1, OOB | socket.MSG_PEEK)) == b"?")
    yield "the latest counts", attempt(lambda: server.recv(1, OOB))
    got = b""
    while not got.endswith(b"3"):
        got += server.recv(20)
    yield "the earlier ones are data", got


def _in_line(family):
    client, server = pair(family)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    client.send(b"before")
    client.send(b"!", OOB)
    client.send(b"after")
    yield "poll", becomes(server, "IN PRI OUT")
    yield "asked for by itself", attempt(lambda: server.recv(1, OOB))
    yield "a read stops before it", server.recv(6, socket.MSG_WAITALL)
    yield "at the mark", counts(server, 1, SIOCATMARK)
    yield "it and the rest", server.recv(6, socket.MSG_WAITALL)
    yield "no more mark", counts(server, 0, SIOCATMARK)


for _label, _family in FAMILIES.items():
    for _function in (_urgent, _amid_data, _in_line):

        def _theme(function=_function, family=_family):
            yield from function(family)

        _theme.__name__ = f"{_function.__name__[1:]}_{_label}"
        theme(_theme)


@theme
def urgent_news():
    client, server = pair()
    told = []
    signal.signal(signal.SIGURG, lambda *_: told.append("SIGURG"))
    fcntl.fcntl(server, fcntl.F_SETOWN, os.getpid())
    yield "an owner", fcntl.fcntl(server, fcntl.F_GETOWN) == os.getpid()
    client.send(b"x", OOB)
    yield "a signal", (until(lambda: told), told[:1])
    signal.signal(signal.SIGURG, signal.SIG_DFL)
    yield "select", [bool(found) for found in select.select([], [], [server], 5)]
    client.shutdown(socket.SHUT_WR)
    readable(server)
    yield "read to the end", server.recv(5)
    yield "urgent data after the end", attempt(lambda: client.send(b"x", OOB))


@theme
def sending_urgently():
    with socket.socket() as one:
        yield "not connected", attempt(lambda: one.send(b"x", OOB))
    client, server = pair()
    yield "nothing", attempt(lambda: client.send(b"", OOB))
    yield "by a message", client.sendmsg([b"a", b"b"], [], OOB)
    yield "what came", (becomes(server, "IN PRI OUT"), server.recv(9), attempt(lambda: server.recv(1, OOB)))
    yield "poll", now(server)
