"""How TCP connections end: in order, by reset, lingering; and what calls say then."""

import os
import signal
import socket
import struct

from cases import attempt  # type: ignore[import-not-found]
from checks import FAMILIES, becomes, error_of, pair, readable, theme, until  # type: ignore[import-not-found]

RESET = "IN OUT ERR HUP RDHUP"


def _linger(one, on, seconds):
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", on, seconds))


def _ended(family):
    client, server = pair(family)
    client.send(b"last")
    client.shutdown(socket.SHUT_WR)
    yield "what was sent before", (readable(server).recv(10), server.recv(10))
    yield "sending after it", attempt(lambda: client.send(b"x"))
    yield "the other way", (server.send(b"still"), readable(client).recv(10))
    yield "ending twice", attempt(lambda: client.shutdown(socket.SHUT_WR)) or "quiet"
    server.close()
    yield "the end of that", (readable(client).recv(1), client.recv(1))
    becomes(client, "IN OUT HUP RDHUP")
    yield "peer's name after it", attempt(client.getpeername)
    yield "own name after it", client.getsockname()[0]
    client, server = pair(family)
    server.send(b"unread")
    readable(client)
    client.shutdown(socket.SHUT_RD)
    yield "what came before reading ended", client.recv(10)
    yield "after that", client.recv(10)
    yield "the peer goes on", server.send(b"for nobody")
    yield "and is not told", error_of(server)
    client, server = pair(family)
    client.shutdown(socket.SHUT_RDWR)
    yield "reading after ending both", client.recv(1)
    yield "writing after ending both", attempt(lambda: client.send(b"x"))
    yield "ending no way", attempt(lambda: server.shutdown(3))


def _reset(family):
    client, server = pair(family)
    server.send(b"unread")
    readable(client)
    client.close()
    yield "closed with unread data", becomes(server, RESET)
    yield "read", attempt(lambda: server.recv(1))
    yield "read again", attempt(lambda: server.recv(1))
    yield "SO_ERROR", error_of(server)
    yield "write", attempt(lambda: server.send(b"x"))
    becomes(server, "IN OUT HUP RDHUP")
    yield "peer's name", attempt(server.getpeername)
    yield "shutdown", attempt(lambda: server.shutdown(socket.SHUT_RDWR))
    client, server = pair(family)
    _linger(client, 1, 0)
    client.close()
    yield "lingering for no time", becomes(server, RESET)
    yield "SO_ERROR of it", error_of(server)
    yield "SO_ERROR again", error_of(server)
    yield "read then", attempt(lambda: server.recv(1))
    client, server = pair(family)
    client.send(b"first")
    readable(server)
    _linger(client, 1, 0)
    client.close()
    becomes(server, RESET)
    yield "data and then a reset", attempt(lambda: server.recv(10))
    yield "then", attempt(lambda: server.recv(10))
    client, server = pair(family)
    _linger(client, 1, 0)
    client.close()
    becomes(server, RESET)
    yield "writing first of all", attempt(lambda: server.send(b"x"))
    yield "writing again", attempt(lambda: server.send(b"x"))
    client, server = pair(family)
    client.close()
    becomes(server, "IN OUT RDHUP")
    yield "a first write to a closed peer", server.send(b"a")
    becomes(server, RESET)
    yield "a second one", attempt(lambda: server.send(b"b"))
    yield "a third one", attempt(lambda: server.send(b"b"))
    yield "reading", attempt(lambda: server.recv(1))
    client, server = pair(family)
    client.close()
    becomes(server, "IN OUT RDHUP")
    server.send(b"a")
    becomes(server, RESET)
    yield "SO_ERROR of a broken pipe", error_of(server)
    client, server = pair(family)
    _linger(client, 1, 2)
    client.send(b"x" * 1000)
    yield "lingering", attempt(client.close) or "closed"
    yield "all came", (len(server.recv(1000, socket.MSG_WAITALL)), server.recv(1))


for _label, _family in FAMILIES.items():
    for _function in (_ended, _reset):

        def _theme(function=_function, family=_family):
            yield from function(family)

        _theme.__name__ = f"{_function.__name__[1:]}_{_label}"
        theme(_theme)


@theme
def signals_of_a_broken_pipe():
    def in_child(function):
        """The signal that ends a child that sends to a peer that is gone."""
        client, server = pair()
        server.close()
        child = os.fork()
        if not child:
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            becomes(client, "IN OUT RDHUP")
            function(client)
            becomes(client, RESET)
            try:
                function(client)
            except BrokenPipeError:
                os._exit(7)
            os._exit(0)
        client.close()
        status = os.waitpid(child, 0)[1]
        return os.waitstatus_to_exitcode(status)

    yield "send", in_child(lambda one: one.send(b"x"))
    yield "write", in_child(lambda one: os.write(one.fileno(), b"x"))
    yield "send with MSG_NOSIGNAL", in_child(lambda one: one.send(b"x", socket.MSG_NOSIGNAL))
    yield "sendmsg", in_child(lambda one: one.sendmsg([b"x"]))


@theme
def many_short_ones():
    good = 0
    for step in range(50):
        client, server = pair()
        (client if step % 2 else server).close()
        other = server if step % 2 else client
        good += readable(other).recv(1) == b""
        other.close()
    yield "ended in order", good


@theme
def who_is_killed():
    client, server = pair()
    child = os.fork()
    if not child:
        server.close()
        signal.pause()
    client.close()
    server.send(b"alive")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    yield "data that nobody read becomes a reset", until(lambda: "ERR" in becomes(server, RESET))
