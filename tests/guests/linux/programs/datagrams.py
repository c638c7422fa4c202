"""UDP, and what is left to the host."""

import socket
import tempfile
import threading

from cases import HERE, attempt, case, events, libc, main, settle  # type: ignore[import-not-found]

# UDP ------------------------------------------------------------------------------------------------------------------


def datagram(family=socket.AF_INET, host=HERE):
    one = socket.socket(family, socket.SOCK_DGRAM)
    one.settimeout(2)
    if host is not None:
        one.bind((host, 0))
    return one


@case
def datagrams():
    one, two = datagram(), datagram(host=None)
    two.sendto(b"question", one.getsockname())
    data, source = one.recvfrom(100)
    one.sendto(b"answer", source)
    return data, source[0], source[1] == two.getsockname()[1] > 0, two.recvfrom(100) == (b"answer", one.getsockname())


@case
def connected_datagrams():
    one, two, stranger = datagram(), datagram(host=None), datagram()
    two.connect(one.getsockname())
    two.send(b"question")
    data, source = one.recvfrom(100)
    stranger.sendto(b"not for you", source)
    one.sendto(b"answer", source)
    names = source == two.getsockname(), two.getpeername() == one.getsockname()
    received = two.recv(100)
    two.settimeout(0.1)
    return data, names, received, attempt(lambda: two.recv(100)), attempt(lambda: one.getpeername())


@case
def datagrams_refused_and_disconnected():
    with datagram() as free:
        name = free.getsockname()
    settle()  # as a guest, that the socket is closed shows after a moment
    one = datagram(host=None)
    one.connect(name)
    one.send(b"x")
    settle()
    refused = attempt(lambda: one.recv(1)), attempt(lambda: one.send(b"y"))
    nobody = bytes(16)
    gone = libc.connect(one.fileno(), nobody, 16)
    return refused[0], gone, attempt(one.getpeername), attempt(lambda: one.send(b"z"))


@case
def datagram_sizes():
    one, two = datagram(), datagram(host=None)
    sizes = [0, 1, 1472, 9000, 65507]
    for size in sizes:
        two.sendto(bytes(size), one.getsockname())
    got = [len(one.recv(70000)) for _ in sizes]
    return got, attempt(lambda: two.sendto(bytes(65508), one.getsockname()))


@case
def datagram_truncation_peek_and_message():
    one, two = datagram(), datagram(host=None)
    two.sendto(b"0123456789", one.getsockname())
    data, _, flags, source = one.recvmsg(4, 0, socket.MSG_PEEK)
    cut = data, bool(flags & socket.MSG_TRUNC), source == two.getsockname()[:0] or source[0]
    libc_size = one.recv_into(bytearray(4), 4, socket.MSG_TRUNC)
    two.sendmsg([b"a", b"b"], [], 0, one.getsockname())
    return cut, libc_size, one.recv(10)


@case
def datagram_readiness_and_timeouts():
    one, two = datagram(), datagram(host=None)
    idle = events(one)
    two.sendto(b"x", one.getsockname())
    settle()
    ready = events(one)
    one.recv(1)
    one.setblocking(False)
    return idle, ready, attempt(lambda: one.recv(1))


@case
def dual_stack_datagrams():
    one, two = datagram(socket.AF_INET6, "::"), datagram(host=None)
    two.sendto(b"x", (HERE, one.getsockname()[1]))
    data, source = one.recvfrom(10)
    one.sendto(b"y", source)
    return data, source[0], two.recvfrom(10)[0], one.getsockname()[0]


@case
def names_of_dual_stack_datagrams():
    """glibc's getaddrinfo asks for the source address in this way."""
    one = datagram(socket.AF_INET6, None)
    one.connect((f"::ffff:{HERE}", 53))
    return one.getsockname()[0], one.getpeername()[0]


@case
def a_hundred_threads_of_datagrams():
    one = datagram()

    def serve():
        for _ in range(200):
            data, source = one.recvfrom(100)
            one.sendto(data[::-1], source)

    def ask(results, number):
        with datagram(host=None) as two:
            for step in range(10):
                text = b"%d.%d" % (number, step)
                two.sendto(text, one.getsockname())
                results.append(two.recv(100) == text[::-1])

    results: list[bool] = []
    server = threading.Thread(target=serve)
    askers = [threading.Thread(target=ask, args=(results, number)) for number in range(20)]
    for thread in (server, *askers):
        thread.start()
    for thread in (server, *askers):
        thread.join(10)
    return len(results), all(results)


# The rest of the machine ----------------------------------------------------------------------------------------------


@case
def unix_sockets_are_native():
    with tempfile.TemporaryDirectory() as folder:
        one, two = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        one.bind(f"{folder}/s")
        one.listen()
        two.connect(f"{folder}/s")
        three, _ = one.accept()
        three.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        two.send(b"native")
        return (
            three.recv(10),
            three.getsockname() == f"{folder}/s",
            three.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN),
        )


@case
def names_are_looked_up():
    found = socket.getaddrinfo("localhost", 80, socket.AF_INET, socket.SOCK_STREAM)
    return found[0][4], socket.getaddrinfo(HERE, "80", 0, socket.SOCK_STREAM)[0][4]


main()
