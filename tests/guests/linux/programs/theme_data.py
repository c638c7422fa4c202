"""Bytes of TCP: flags of sending and receiving, counts, files, messages."""

import os
import socket
import struct
import tempfile
import threading

from cases import attempt  # type: ignore[import-not-found]
from checks import FAMILIES, count, counts, pair, readable, theme, until  # type: ignore[import-not-found]

FIONREAD, SIOCOUTQ = 0x541B, 0x5411


def _flags(family):
    client, server = pair(family)
    yield "nothing is sent", client.send(b"")
    yield "nothing is read", attempt(lambda: server.recv(1, socket.MSG_DONTWAIT))
    client.send(b"abcdef")
    yield "how much", counts(server, 6)
    yield "looking", server.recv(3, socket.MSG_PEEK)
    yield "looking again", server.recv(10, socket.MSG_PEEK)
    yield "room for none", server.recv(0)
    yield "a part", server.recv(2)
    yield "how much is left", count(server)
    yield "the rest", server.recv(10)
    client.send(b"dropped")
    counts(server, 7)
    yield "dropping (MSG_TRUNC)", server.recv_into(bytearray(b"......."), 5, socket.MSG_TRUNC)
    yield "after that", server.recv(10)
    yield "no more", attempt(lambda: server.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK))
    client.send(b"abc", socket.MSG_MORE)
    client.send(b"def")
    yield "all (MSG_WAITALL)", server.recv(6, socket.MSG_WAITALL)
    threading.Timer(0.05, lambda: client.send(b"456")).start()
    client.send(b"123")
    yield "all that comes later", server.recv(6, socket.MSG_WAITALL)
    client.send(b"ab")
    readable(server)
    yield "all, not waiting", server.recv(6, socket.MSG_WAITALL | socket.MSG_DONTWAIT)
    client.send(b"ab")
    client.shutdown(socket.SHUT_WR)
    yield "all there is before an end", server.recv(6, socket.MSG_WAITALL)
    yield "the end", server.recv(6, socket.MSG_WAITALL)
    yield "the end again", server.recv(6, socket.MSG_PEEK)


def _messages(family):
    client, server = pair(family)
    yield "parts", client.sendmsg([b"one", b"", b"two"])
    counts(server, 6)
    first, second = bytearray(4), bytearray(10)
    yield "into parts", (server.recvmsg_into([first, second]), bytes(first), bytes(second[:2]))
    yield "a message without parts", client.sendmsg([])
    client.send(b"x" * 10)
    counts(server, 10)
    data, control, flags, address = server.recvmsg(5, 100)
    yield "its flags", (data, control, flags, address)
    yield "with a source", server.recvfrom(5)
    yield "writev", os.writev(client.fileno(), [b"a", b"bc"])
    yield "readv", (readable(server) and counts(server, 3), os.readv(server.fileno(), [first, second]))
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456789" * 1000)
        file.flush()
        yield "sendfile", os.sendfile(client.fileno(), file.fileno(), 10, 5000)
    yield "what it sent", server.recv(5000, socket.MSG_WAITALL) == b"0123456789" * 500
    reader, writer = os.pipe()
    os.write(writer, b"through a pipe")
    yield "splice out", os.splice(reader, client.fileno(), 100)
    counts(server, 14)
    yield "splice in", os.splice(server.fileno(), writer, 100)
    yield "spliced", os.read(reader, 100)
    yield "pread", attempt(lambda: os.pread(server.fileno(), 1, 0))
    yield "lseek", attempt(lambda: os.lseek(server.fileno(), 0, 0))
    yield "errors there are none", attempt(lambda: server.recvmsg(1, 100, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT))


def _counted(family):
    client, server = pair(family)
    yield "nothing to read", count(server)
    yield "nothing unsent", counts(client, 0, SIOCOUTQ)
    client.send(b"x" * 1000)
    yield "something to read", counts(server, 1000)
    yield "all acknowledged", counts(client, 0, SIOCOUTQ)
    yield "of what is read", count(server)
    client.setblocking(False)
    sent = 1000

    def stuffed():
        nonlocal sent
        try:
            sent += client.send(bytes(100_000))
        except BlockingIOError:
            return True
        return False

    for _ in range(10):
        until(stuffed)
    unsent = count(client, SIOCOUTQ)
    yield "something unsent", 0 < unsent <= sent
    client.shutdown(socket.SHUT_WR)
    got = 0
    while part := server.recv(1 << 20):
        got += len(part)
    yield "all read", (got == sent, count(server), counts(client, 0, SIOCOUTQ))
    yield "after the end", (counts(client, 0, SIOCOUTQ), count(server))


for _label, _family in FAMILIES.items():
    for _function in (_flags, _messages, _counted):

        def _theme(function=_function, family=_family):
            yield from function(family)

        _theme.__name__ = f"{_function.__name__[1:]}_{_label}"
        theme(_theme)


@theme
def time_limits():
    client, server = pair()
    short = struct.pack("ll", 0, 20_000)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, short)
    yield "of a read", attempt(lambda: server.recv(1))
    yield "of a read of all", (client.send(b"xy"), attempt(lambda: server.recv(6, socket.MSG_WAITALL)))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, short)

    def stuffed():
        try:
            return client.send(bytes(1 << 20)) == 0
        except BlockingIOError:
            return True

    yield "of a write", until(stuffed)
    yield "read back", server.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16) == short
    none = struct.pack("ll", 0, 0)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, none)
    yield "for ever", server.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16) == none
    wrong = struct.pack("ll", 0, 2_000_000)
    yield "that is none", attempt(lambda: server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wrong)) or "kept"
    yield "too short", attempt(lambda: server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, bytes(8)))


@theme
def a_named_peer():
    client, server = pair()
    yield "sendto where it is connected to", attempt(lambda: client.sendto(b"x", server.getsockname()))
    yield "sendto elsewhere", attempt(lambda: client.sendto(b"x", ("127.0.0.9", 9)))
    yield "sendmsg elsewhere", attempt(lambda: client.sendmsg([b"x"], [], 0, ("127.0.0.9", 9)))
    yield "of one that is not connected", attempt(lambda: socket.socket().sendto(b"x", ("127.0.0.1", 9)))


@theme
def much_data():
    client, server = pair()
    sent = [os.urandom(1 << 20), os.urandom(1 << 20)]
    got = [bytearray(), bytearray()]

    def write(one, data):
        one.sendall(data)
        one.shutdown(socket.SHUT_WR)

    def read(one, into):
        while data := one.recv(65536):
            into += data

    jobs = [(write, client, sent[0]), (write, server, sent[1]), (read, server, got[0]), (read, client, got[1])]
    threads = [threading.Thread(target=job[0], args=job[1:]) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    yield "both ways at once", [bytes(one) for one in got] == sent
