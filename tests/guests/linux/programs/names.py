"""Names, options, binding and listening."""

import ctypes
import fcntl
import os
import select
import signal
import socket
import struct
import threading
import time

from cases import HERE, Alarm, attempt, case, events, libc, listening, main, name_of, settle  # type: ignore[import-not-found]

# Fresh sockets, names, options --------------------------------------------------------------------------------------


@case
def fresh():
    one = socket.socket()
    return events(one), one.getsockname(), attempt(one.getpeername)


@case
def kinds_and_protocols():
    def kind(*arguments):
        return attempt(lambda: socket.socket(*arguments).type.name)

    return [
        kind(socket.AF_INET, socket.SOCK_STREAM, 6),
        kind(socket.AF_INET, socket.SOCK_DGRAM, 17),
        kind(socket.AF_INET, socket.SOCK_STREAM, 17),
        kind(socket.AF_INET, socket.SOCK_DGRAM, 6),
        kind(socket.AF_INET, socket.SOCK_SEQPACKET),
        kind(socket.AF_UNIX, socket.SOCK_STREAM),
        kind(socket.AF_NETLINK, socket.SOCK_RAW),
        kind(socket.AF_INET, 99),
    ]


@case
def flags_of_socket():
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    two = libc.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
    shown = fcntl.fcntl(one, fcntl.F_GETFL), fcntl.fcntl(one, fcntl.F_GETFD), fcntl.fcntl(two, fcntl.F_GETFD)
    os.close(two)
    return shown


@case
def lowest_descriptor():
    first, second = socket.socket(), socket.socket()
    numbers = first.fileno(), second.fileno()
    first.close()
    third = socket.socket()
    return third.fileno() == numbers[0] < numbers[1]


@case
def what_a_socket_is():
    with listening() as listener:
        one = socket.socket()
        options = socket.SO_TYPE, socket.SO_DOMAIN, socket.SO_PROTOCOL, socket.SO_ACCEPTCONN
        return [[s.getsockopt(socket.SOL_SOCKET, o) for o in options] for s in (one, listener)]


@case
def options_read_back():
    one = socket.socket()
    result = []
    for level, option, value in (
        (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 7),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
        (socket.IPPROTO_IP, socket.IP_TTL, 33),
        (socket.SOL_SOCKET, socket.SO_PRIORITY, 3),
    ):
        before = one.getsockopt(level, option)
        one.setsockopt(level, option, value)
        result.append((before, one.getsockopt(level, option)))
    return result


@case
def linger_and_timeouts_read_back():
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 5))
    one.settimeout(None)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 2, 500000))
    return (
        struct.unpack("ii", one.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)),
        struct.unpack("ll", one.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)),
    )


@case
def bad_option_arguments():
    one = socket.socket()
    return (
        attempt(lambda: one.getsockopt(socket.IPPROTO_TCP, 200)),
        attempt(lambda: one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, b"x")),
        attempt(lambda: one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 0)),
    )


@case
def bad_pointers_and_descriptors():
    one = socket.socket()
    results = []
    for fd, pointer, size in (
        (one.fileno(), 1, 16),
        (999, None, 16),
        (one.fileno(), b"\2\0", 2),
        (one.fileno(), b"x" * 200, 200),
    ):
        libc.connect(fd, ctypes.c_void_p(pointer) if isinstance(pointer, int) else pointer, size)
        results.append(name_of(ctypes.get_errno()))
    with open("/dev/null") as null:
        libc.bind(null.fileno(), b"\2\0" + bytes(14), 16)
        results.append(name_of(ctypes.get_errno()))
        libc.listen(null.fileno(), 1)
        results.append(name_of(ctypes.get_errno()))
    return results


@case
def names_are_cut_to_the_room():
    with listening() as listener:
        buffer, length = ctypes.create_string_buffer(b"\xff" * 16, 16), ctypes.c_uint(5)
        code = libc.getsockname(listener.fileno(), buffer, ctypes.byref(length))
        return code, length.value, buffer.raw[:2], buffer.raw[5:8]


# Binding and listening ----------------------------------------------------------------------------------------------


@case
def binding():
    with listening() as listener:
        one = socket.socket()
        taken = attempt(lambda: one.bind(listener.getsockname()))
        one.bind((HERE, 0))
        return (
            taken,
            one.getsockname()[0],
            one.getsockname()[1] > 0,
            attempt(lambda: one.bind((HERE, 0))),
            attempt(lambda: socket.socket().bind(("192.0.2.77", 0))),
            attempt(lambda: socket.socket().accept()),
            attempt(lambda: socket.socket(type=socket.SOCK_DGRAM).listen()),
            attempt(lambda: socket.socket(type=socket.SOCK_DGRAM).accept()),
        )


@case
def a_port_is_free_after_close():
    one = listening()
    name = one.getsockname()
    one.close()
    two = socket.socket()
    two.bind(name)
    two.close()
    three = socket.socket(type=socket.SOCK_DGRAM)
    three.bind((HERE, 0))
    name = three.getsockname()
    three.close()
    four = socket.socket(type=socket.SOCK_DGRAM)
    four.bind(name)
    return four.getsockname() == name


@case
def listening_without_binding():
    one = socket.socket()
    one.listen()
    return one.getsockname()[0], one.getsockname()[1] > 0


@case
def listener_events():
    with listening() as listener:
        idle = events(listener, timeout=0.05)
        first = socket.create_connection(listener.getsockname())
        second = socket.create_connection(listener.getsockname())
        waiting = events(listener)
        a, _ = listener.accept()
        still = events(listener)
        b, _ = listener.accept()
        after = events(listener, timeout=0.05)
        listener.setblocking(False)
        return (
            idle,
            waiting,
            still,
            after,
            attempt(listener.accept),
            first.getsockname() == a.getpeername(),
            b and second and 1,
        )


@case
def edge_triggered_listener():
    with listening() as listener, select.epoll() as epoll:
        epoll.register(listener, select.EPOLLIN | select.EPOLLET)
        kept = [socket.create_connection(listener.getsockname())]
        first = len(epoll.poll(0.3))
        none = len(epoll.poll(0.05))
        kept.append(socket.create_connection(listener.getsockname()))
        return first, none, len(epoll.poll(0.3))


@case
def accepted_flags():
    with listening() as listener:
        listener.setblocking(False)
        client = socket.create_connection(listener.getsockname())
        events(listener)
        fd, _ = listener._accept()
        with socket.socket(fileno=fd) as one:
            return fcntl.fcntl(one, fcntl.F_GETFL), fcntl.fcntl(one, fcntl.F_GETFD), client and 1


@case
def accept_ends_by_signal():
    def stop(*_):
        raise Alarm

    with listening() as listener:
        signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        try:
            listener.accept()
        except Alarm:
            pass
        # The call that was given up must not swallow the connection.
        client = socket.create_connection(listener.getsockname())
        return listener.accept()[1] == client.getsockname()


@case
def accept_ends_by_timeout():
    with listening() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 100000))
        start = time.monotonic()
        return attempt(listener.accept), 0.05 < time.monotonic() - start < 1


@case
def accept_ends_by_shutdown():
    listener = listening()
    result = []
    thread = threading.Thread(target=lambda: result.append(attempt(listener.accept)))
    thread.start()
    time.sleep(0.1)
    listener.shutdown(socket.SHUT_RDWR)
    thread.join(2)
    return result, attempt(listener.accept)


@case
def many_threads_accept():
    with listening(50) as listener:
        got = []
        threads = [threading.Thread(target=lambda: got.append(listener.accept())) for _ in range(8)]
        for thread in threads:
            thread.start()
        clients = [socket.create_connection(listener.getsockname()) for _ in range(8)]
        for thread in threads:
            thread.join(5)
        return sorted(peer for _, peer in got) == sorted(client.getsockname() for client in clients)


@case
def accept_without_room():
    import resource

    with listening() as listener:
        client = socket.create_connection(listener.getsockname())
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, hard))
        failed = attempt(listener.accept)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return failed, listener.accept()[1] == client.getsockname()


@case
def reuseport():
    one, two = socket.socket(), socket.socket()
    for each in (one, two):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind((HERE, 0))
    two.bind(one.getsockname())
    one.listen(50)
    two.listen(50)
    clients = [socket.create_connection(one.getsockname()) for _ in range(30)]
    one.setblocking(False)
    two.setblocking(False)
    counts = [0, 0]
    settle()
    for index, each in enumerate((one, two)):
        while attempt(lambda: each.accept()) != "EAGAIN":  # noqa: B023
            counts[index] += 1
    return sum(counts), counts[0] > 0 and counts[1] > 0, len(clients)


main()
