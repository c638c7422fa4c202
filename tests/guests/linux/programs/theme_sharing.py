"""Sockets that several processes have: dup, fork, exec, passing over unix sockets; and what is no Internet socket."""

import array
import fcntl
import os
import signal
import socket
import struct
import sys
import tempfile

from cases import attempt  # type: ignore[import-not-found]
from checks import DGRAM, becomes, listener, now, pair, readable, theme  # type: ignore[import-not-found]


def _passed(one):
    left, right = socket.socketpair()
    left.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [one.fileno()]))])
    _, control, _, _ = right.recvmsg(1, 100)
    return socket.socket(fileno=array.array("i", control[0][2])[0])


@theme
def copies():
    client, server = pair()
    twin = server.dup()
    yield "names of a copy", (twin.getpeername() == client.getsockname(), twin.getsockname() == server.getsockname())
    server.close()
    twin.send(b"x")
    yield "the other still works", readable(client).recv(1)
    yield "its peer sees no end", now(client)
    twin.close()
    yield "an end with the last one", becomes(client, "IN OUT RDHUP")
    one = socket.socket()
    two = one.dup()
    with listener() as door:
        one.connect(door.getsockname())
        kept = door.accept()[0]
        yield "connected through the other", attempt(lambda: two.getpeername() == door.getsockname())
        yield "options of both", (one.setsockopt(6, 1, 1), two.getsockopt(6, 1))[1]
    numbers = []
    for _ in range(2):
        with socket.socket() as each:
            numbers.append(each.fileno())
    yield "the lowest number", numbers[0] == numbers[1]
    high = fcntl.fcntl(one, fcntl.F_DUPFD, 200)
    yield "a high number", socket.socket(fileno=high).getpeername() == two.getpeername()
    os.dup2(one.fileno(), 150)
    kept.send(b"x")
    yield "dup2", socket.socket(fileno=150).getpeername() == two.getpeername()


@theme
def flags_of_descriptors():
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    yield "not blocking", fcntl.fcntl(one, fcntl.F_GETFL)
    yield "close on exec", fcntl.fcntl(one, fcntl.F_GETFD)
    fcntl.ioctl(one, 0x5421, struct.pack("i", 0))
    yield "FIONBIO", fcntl.fcntl(one, fcntl.F_GETFL)
    yield "fstat", oct(os.fstat(one.fileno()).st_mode)
    yield "a terminal", os.isatty(one.fileno())
    yield "its link", os.readlink(f"/proc/self/fd/{one.fileno()}").startswith("socket:[")


@theme
def other_processes():
    client, server = pair()
    child = os.fork()
    if not child:
        ok = server.getpeername() == client.getsockname() and server.send(b"from the child") == 14
        os._exit(0 if ok else 1)
    yield "a child", (os.waitpid(child, 0)[1], readable(client).recv(20))
    with _passed(server) as passed:
        yield "passed", (passed.getpeername() == client.getsockname(), passed.send(b"y"), readable(client).recv(1))
    fresh = socket.socket()
    with _passed(fresh) as passed, listener() as door:
        passed.connect(door.getsockname())
        yield "connected after it was passed", fresh.getpeername() == door.getsockname()
    with listener() as door, _passed(door) as passed:
        other = socket.create_connection(door.getsockname())
        yield "a listener", passed.accept()[1] == other.getsockname()
    udp = socket.socket(type=DGRAM)
    with _passed(udp) as passed:
        passed.bind(("127.0.0.1", 0))
        yield "datagrams", udp.getsockname() == passed.getsockname()
    with listener() as door:
        other = socket.create_connection(door.getsockname())
        os.set_inheritable(door.fileno(), True)
        code = f"import socket; socket.socket(fileno={door.fileno()}).accept()[0].send(b'executed')"
        child = os.fork()
        if not child:
            os.execv(sys.executable, [sys.executable, "-S", "-c", code])
        yield "inherited over exec", (os.waitpid(child, 0)[1], other.recv(20))
    kept = os.fork()
    if not kept:
        signal.pause()
    client.close()
    yield "a child keeps it open", now(server)
    os.kill(kept, signal.SIGKILL)
    os.waitpid(kept, 0)
    yield "until it is killed", "IN" in becomes(server, "IN OUT RDHUP")


@theme
def unix_sockets():
    with tempfile.TemporaryDirectory() as folder:
        one, two = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        yield "nobody there", attempt(lambda: two.connect(f"{folder}/s"))
        one.bind(f"{folder}/s")
        yield "not listening", attempt(lambda: two.connect(f"{folder}/s"))
        one.listen()
        two.connect(f"{folder}/s")
        three, peer = one.accept()
        three.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        two.send(b"native")
        yield "data", three.recv(10)
        yield "names", (three.getsockname() == f"{folder}/s", peer, two.getpeername() == f"{folder}/s")
        yield "the family", three.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN)
        yield (
            "who it is",
            struct.unpack("3i", two.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0] == os.getpid(),
        )
        yield "options of TCP", attempt(lambda: two.getsockopt(6, 4))
    left, right = socket.socketpair(socket.AF_UNIX, DGRAM)
    left.send(b"one")
    left.send(b"two")
    yield "datagrams", (right.recv(9), right.recv(9))
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    left.send(b"one")
    yield "packets", (right.recv(9), left.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\0some name of a test")
    yield "an abstract name", abstract.getsockname()
    yield "SIOCOUTQ", (left.send(b"x"), attempt(lambda: struct.unpack("i", fcntl.ioctl(left, 0x5411, bytes(4)))[0]) > 0)
