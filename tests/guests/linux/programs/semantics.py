"""What sockets do, case by case, one line each: run natively and as a guest, and the lines are compared.

Runs on the system's own Python, without the standard library's socket module where that would hide something.
"""

import array
import ctypes
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import tempfile
import termios
import threading
import time

HERE = "127.0.0.1"
NATIVE_ONLY = 0x200  # EPOLLWRBAND, which unix sockets show beside EPOLLOUT
libc = ctypes.CDLL(None, use_errno=True)
cases = []


def case(function):
    cases.append(function)
    return function


class Alarm(Exception):
    pass


def name_of(number):
    return errno.errorcode.get(number, number)


def attempt(function):
    try:
        return function()
    except OSError as problem:
        return name_of(problem.errno) if problem.errno else type(problem).__name__


def events(one, mask=0x3FFF, timeout=0.3):
    with select.epoll() as epoll:
        epoll.register(one, mask)
        found = epoll.poll(timeout)
        return hex(found[0][1] & ~NATIVE_ONLY) if found else None


def listening(backlog=5, family=socket.AF_INET, host=HERE):
    one = socket.socket(family)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((host, 0))
    one.listen(backlog)
    return one


def pair():
    with listening() as listener:
        client = socket.create_connection(listener.getsockname())
        return client, listener.accept()[0]


def settle():
    time.sleep(0.05)


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


# Connecting -----------------------------------------------------------------------------------------------------------


@case
def refused():
    with socket.socket() as free:
        free.bind((HERE, 0))
        name = free.getsockname()
    one = socket.socket()
    return attempt(lambda: one.connect(name)), one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


@case
def refused_without_blocking():
    with socket.socket() as free:
        free.bind((HERE, 0))
        name = free.getsockname()
    one = socket.socket()
    one.setblocking(False)
    first = name_of(one.connect_ex(name))
    shown = events(one)
    return (
        first,
        shown,
        name_of(one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)),
        one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
    )


@case
def connecting_without_blocking():
    with listening() as listener:
        one = socket.socket()
        one.setblocking(False)
        first = name_of(one.connect_ex(listener.getsockname()))
        shown = events(one)
        error = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        again = one.connect_ex(listener.getsockname()), name_of(one.connect_ex(listener.getsockname()))
        two, peer = listener.accept()
        return first, shown, error, again, peer == one.getsockname(), one.getpeername() == two.getsockname()


@case
def unreachable():
    one = socket.socket(socket.AF_INET6)
    return attempt(lambda: one.connect(("2001:db8::1", 80))) in (
        "ENETUNREACH",
        "EADDRNOTAVAIL",
        "EHOSTUNREACH",
        "EACCES",
    )


@case
def connect_to_the_unspecified_address():
    with listening(host="") as listener:
        one = socket.socket()
        one.connect(("0.0.0.0", listener.getsockname()[1]))
        return one.getpeername()[0]


@case
def bound_before_connecting():
    with listening() as listener:
        one = socket.socket()
        one.bind((HERE, 0))
        name = one.getsockname()
        one.connect(listener.getsockname())
        return one.getsockname() == name == listener.accept()[1]


# Data -----------------------------------------------------------------------------------------------------------------


@case
def peek_count_and_truncate():
    client, server = pair()
    client.send(b"abcdef")
    settle()
    count = struct.unpack("i", fcntl.ioctl(server, termios.FIONREAD, bytes(4)))[0]
    return count, server.recv(3, socket.MSG_PEEK), server.recv(6), attempt(lambda: server.recv(1, socket.MSG_DONTWAIT))


@case
def half_close():
    client, server = pair()
    client.send(b"xy")
    client.shutdown(socket.SHUT_WR)
    settle()
    first = events(server)
    read = server.recv(10), server.recv(10)
    server.send(b"back")
    settle()
    return first, read, events(server), client.recv(10), events(client), attempt(lambda: client.send(b"x"))


@case
def both_ends_close():
    client, server = pair()
    client.shutdown(socket.SHUT_WR)
    server.shutdown(socket.SHUT_WR)
    settle()
    return events(client), events(server), client.recv(1), attempt(client.getpeername)[0] if False else 0


@case
def edge_triggered_end():
    client, server = pair()
    with select.epoll() as epoll:
        epoll.register(server, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET | select.EPOLLOUT)

        def next_event():
            found = epoll.poll(0.2)
            return hex(found[0][1]) if found else None

        seen = [next_event()]
        for step in (lambda: client.send(b"1"), lambda: client.send(b"2"), lambda: client.shutdown(1)):
            step()
            seen.append(next_event())
        return seen


@case
def sending_to_a_closed_peer():
    client, server = pair()
    client.close()
    settle()
    end = events(server), server.recv(1)
    first = server.send(b"a")
    settle()
    return end, first, events(server), attempt(lambda: server.send(b"b"))


@case
def closing_with_unread_data_resets():
    client, server = pair()
    server.send(b"unread")
    settle()
    client.close()
    settle()
    return events(server), attempt(lambda: server.recv(1)), attempt(lambda: server.recv(1))


@case
def lingering_for_no_time_resets():
    client, server = pair()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    settle()
    return attempt(lambda: server.recv(1)), server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


@case
def reset_is_an_error_of_the_socket():
    client, server = pair()
    server.send(b"unread")
    settle()
    client.close()
    settle()
    return name_of(server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)), server.getsockopt(
        socket.SOL_SOCKET, socket.SO_ERROR
    )


@case
def broken_pipe_is_a_signal():
    client, server = pair()
    server.close()
    child = os.fork()
    if not child:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        for _ in range(3):
            client.send(b"x")
            settle()
        os._exit(0)
    return os.waitpid(child, 0)[1]


@case
def receive_timeout():
    client, server = pair()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 100000))
    start = time.monotonic()
    return attempt(lambda: server.recv(1)), 0.05 < time.monotonic() - start < 1, client and 1


@case
def wait_for_all():
    client, server = pair()
    threading.Timer(0.1, lambda: client.send(b"def")).start()
    client.send(b"abc")
    return server.recv(6, socket.MSG_WAITALL)


@case
def a_megabyte_each_way_at_once():
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
        thread.join(30)
    return [bytes(one) for one in got] == sent


@case
def back_pressure():
    client, server = pair()
    client.setblocking(False)
    size = 0
    stalled = 0
    while stalled < 10:
        try:
            size += client.send(bytes(65536))
            stalled = 0
        except BlockingIOError:
            stalled += 1
            time.sleep(0.02)
    full = events(client, select.EPOLLOUT, 0.05)
    left = size
    while left:
        left -= len(server.recv(1 << 20))
    return size > 100000, full, events(client, select.EPOLLOUT)


@case
def sendfile_splice_writev_sendmsg():
    client, server = pair()
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456789" * 1000)
        file.flush()
        sent = os.sendfile(client.fileno(), file.fileno(), 10, 5000)
    total = len(server.recv(5000, socket.MSG_WAITALL))
    os.writev(client.fileno(), [b"one", b"two"])
    client.sendmsg([b"three", b"four"])
    reader, writer = os.pipe()
    settle()
    moved = os.splice(server.fileno(), writer, 100)
    return sent, total, os.read(reader, moved), server.recvmsg(10, 100, socket.MSG_DONTWAIT) if False else 0


@case
def asynchronous_signal():
    client, server = pair()
    got = []
    signal.signal(signal.SIGIO, lambda *_: got.append(1))
    fcntl.fcntl(server, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(server, fcntl.F_SETFL, fcntl.fcntl(server, fcntl.F_GETFL) | os.O_ASYNC)
    client.send(b"x")
    time.sleep(0.1)
    return bool(got)


# Sharing --------------------------------------------------------------------------------------------------------------


@case
def dup_fork_and_passing():
    client, server = pair()
    twin = server.dup()
    server.close()
    child = os.fork()
    if not child:
        os._exit(0 if twin.getpeername() == client.getsockname() else 1)
    status = os.waitpid(child, 0)[1]
    left, right = socket.socketpair()
    left.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [twin.fileno()]))])
    twin.close()
    _, control, _, _ = right.recvmsg(1, 100)
    fd = array.array("i", control[0][2])[0]
    with socket.socket(fileno=fd) as passed:
        passed.send(b"passed")
        return status, client.recv(10), passed.getpeername() == client.getsockname()


@case
def a_socket_closes_with_its_last_copy():
    client, server = pair()
    twin = server.dup()
    server.close()
    settle()
    still = events(client, select.EPOLLIN, 0.05)
    twin.close()
    settle()
    return still, client.recv(1)


@case
def inherited_over_exec():
    with listening() as listener:
        client = socket.create_connection(listener.getsockname())
        os.set_inheritable(listener.fileno(), True)
        code = f"import socket; print(socket.socket(fileno={listener.fileno()}).accept()[0].send(b'from the child'))"
        child = os.fork()
        if not child:
            os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
            os.execv(sys.executable, [sys.executable, "-S", "-c", code])
        return os.waitpid(child, 0)[1], client.recv(100)


@case
def a_killed_process_lets_go():
    with listening() as listener:
        child = os.fork()
        if not child:
            one = socket.create_connection(listener.getsockname())
            one.send(b"x")
            time.sleep(100)
        server, _ = listener.accept()
        first = server.recv(1)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return first, server.recv(1)


# AF_INET6 -------------------------------------------------------------------------------------------------------------


@case
def dual_stack():
    with listening(family=socket.AF_INET6, host="::") as listener:
        one = socket.socket()
        one.connect((HERE, listener.getsockname()[1]))
        server, peer = listener.accept()
        two = socket.socket(socket.AF_INET6)
        two.connect((f"::ffff:{HERE}", listener.getsockname()[1]))
        return listener.getsockname()[0], peer[0], server.getsockname()[0], two.getpeername()[0], two.getsockname()[0]


@case
def v6only_beside_ipv4():
    one = socket.socket(socket.AF_INET6)
    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    one.bind(("::", 0))
    one.listen()
    with socket.socket() as two:
        two.bind(("", one.getsockname()[1] or 0))
        two.listen()
        one.settimeout(0.05)
        return one.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY), attempt(one.accept), two.getsockname()[0]


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

    results = []
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


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    only = sys.argv[1:]
    for function in cases:
        if only and function.__name__ not in only:
            continue

        def hang(*_):
            raise TimeoutError("it hangs")

        signal.signal(signal.SIGALRM, hang)
        signal.setitimer(signal.ITIMER_REAL, 20)
        try:
            result = function()
        except Exception as problem:
            result = f"{type(problem).__name__}: {problem}"
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(f"{function.__name__}: {result}", flush=True)


main()
