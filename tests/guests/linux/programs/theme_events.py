"""What poll, select and epoll say of TCP sockets in each state, and when they say it again."""

import select
import socket

from cases import attempt  # type: ignore[import-not-found]
from checks import FAMILIES, becomes, listener, now, pair, readable, shown, theme, until  # type: ignore[import-not-found]

GONE = "IN OUT ERR HUP RDHUP"
"""How a unix socket shows what on a TCP socket is OUT and HUP."""


def _states(family):
    client, server = pair(family)
    yield "connected", now(client)
    client.send(b"x")
    yield "with data", becomes(server, "IN OUT")
    server.recv(1)
    yield "read", now(server)
    client.shutdown(socket.SHUT_WR)
    yield "the peer ended its sending", becomes(server, "IN OUT RDHUP")
    yield "who ended it", now(client)
    server.send(b"y")
    yield "with data the other way", becomes(client, "IN OUT")
    client.recv(1)
    server.shutdown(socket.SHUT_WR)
    yield "both ended", becomes(server, "IN OUT HUP RDHUP")
    yield "both ended, the other", becomes(client, "IN OUT HUP RDHUP")
    client, server = pair(family)
    client.shutdown(socket.SHUT_RD)
    yield "ended its reading", becomes(client, "IN OUT RDHUP")
    yield "the peer of that", now(server)
    client.shutdown(socket.SHUT_RDWR)
    yield "ended all", becomes(client, "IN OUT HUP RDHUP")
    yield "its peer", becomes(server, "IN OUT RDHUP")
    client, server = pair(family)
    client.close()
    yield "the peer closed", becomes(server, "IN OUT RDHUP")
    server.send(b"x")
    yield "and was sent to", becomes(server, "IN OUT ERR HUP RDHUP")
    client, server = pair(family)
    server.send(b"x")
    readable(client)
    client.close()
    yield "reset", becomes(server, "IN OUT ERR HUP RDHUP")
    attempt(lambda: server.recv(1))
    yield "reset, and told of it", becomes(server, "IN OUT HUP RDHUP")
    with listener(family) as door:
        yield "listening", now(door)
        one = socket.create_connection(door.getsockname()[:2])
        yield "somebody waits", becomes(door, "IN")
        door.accept()
        yield "accepted", becomes(door, "none")
        door.shutdown(socket.SHUT_RD)
        yield "listens no more", becomes(door, "OUT HUP", GONE)
        one.close()


for _label, _family in FAMILIES.items():

    def _theme(family=_family):
        yield from _states(family)

    _theme.__name__ = f"poll_{_label}"
    theme(_theme)


class _Watch:
    """One socket in an epoll set, and what that reports."""

    def __init__(self, one, mask):
        self.epoll = select.epoll()
        self.one = one
        self.epoll.register(one, mask)

    def next(self, timeout=5.0):
        found = self.epoll.poll(timeout)
        return shown(found[0][1]) if found else "nothing"


EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET


@theme
def edges():
    client, server = pair()
    watch = _Watch(server, EDGES)
    yield "at first", watch.next()
    yield "and then", watch.next(0)
    client.send(b"1")
    yield "data", watch.next()
    yield "data not read", watch.next(0)
    client.send(b"2")
    yield "more data", watch.next()
    server.recv(1)
    yield "read a part", watch.next(0)
    client.shutdown(socket.SHUT_WR)
    yield "an end", watch.next()
    watch.epoll.modify(server, EDGES)
    yield "asked again", watch.next()


@theme
def one_shot():
    client, server = pair()
    watch = _Watch(server, select.EPOLLIN | select.EPOLLONESHOT)
    client.send(b"1")
    yield "data", watch.next()
    client.send(b"2")
    yield "more data", watch.next(0)
    watch.epoll.modify(server, select.EPOLLIN | select.EPOLLONESHOT)
    yield "armed again", watch.next()
    watch.epoll.modify(server, select.EPOLLIN)
    yield "level", (watch.next(), watch.next())


@theme
def only_what_is_asked():
    client, server = pair()
    client.shutdown(socket.SHUT_WR)
    becomes(server, "IN OUT RDHUP")
    for name, mask in {"IN": 1, "OUT": 4, "PRI": 2, "RDHUP": 0x2000, "nothing": 0}.items():
        yield name, _Watch(server, mask).next(0)
    client, server = pair()
    server.send(b"x")
    readable(client)
    client.close()
    becomes(server, "IN OUT ERR HUP RDHUP")
    yield "nothing, when reset", _Watch(server, 0).next(0)


@theme
def select_and_poll():
    client, server = pair()
    yield "select", [bool(found) for found in select.select([server], [server], [server], 0)]
    client.send(b"x")
    readable(server)
    yield "select with data", [bool(found) for found in select.select([server], [server], [server], 0)]
    poller = select.poll()
    poller.register(server, select.POLLIN | select.POLLOUT | select.POLLPRI)
    yield "poll", [shown(mask) for _, mask in poller.poll(0)]
    server.close()
    yield "poll of what is closed", [mask for _, mask in poller.poll(0)]


@theme
def an_edge_for_each_connection():
    with listener() as door, select.epoll() as epoll:
        epoll.register(door, select.EPOLLIN | select.EPOLLET)
        kept = [socket.create_connection(door.getsockname())]
        yield "the first", len(epoll.poll(5))
        yield "nothing more", len(epoll.poll(0))
        kept.append(socket.create_connection(door.getsockname()))
        yield "the second", len(epoll.poll(5))
        door.setblocking(False)
        yield "both are there", [bool(door.accept()) for _ in kept]
        yield "no third", attempt(door.accept)


@theme
def room():
    client, server = pair()
    client.setblocking(False)
    sent = 0

    def stuffed():
        nonlocal sent
        try:
            sent += client.send(bytes(65536))
        except BlockingIOError:
            return now(client) == "none"
        return False

    until(stuffed)
    for _ in range(20):  # what is under way makes room again
        until(stuffed)
    yield "full", now(client)
    got = 0
    while got < sent:
        got += len(server.recv(1 << 20))
    yield "empty again", becomes(client, "OUT")
    yield "all came", got == sent
