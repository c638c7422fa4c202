"""TCP: connecting, data, ends, and sharing sockets between processes; dual-stack sockets."""

import array
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

from cases import HERE, attempt, case, events, listening, main, name_of, pair, settle  # type: ignore[import-not-found]

# Connecting -----------------------------------------------------------------------------------------------------------


@case
def refused():
    with socket.socket() as free:
        free.bind((HERE, 0))
        name = free.getsockname()
    one = socket.socket()
    return attempt(lambda: one.connect(name)), one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


@case
def connecting_again_after_a_refusal():
    with socket.socket() as free:
        free.bind((HERE, 0))
        name = free.getsockname()
    one = socket.socket()
    refused = attempt(lambda: one.connect(name))
    with listening() as listener:
        one.connect(listener.getsockname())
        return refused, listener.accept()[1] == one.getsockname()


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
            time.sleep(0.05)
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


main()
