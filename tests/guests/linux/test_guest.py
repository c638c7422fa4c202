"""Guests on kernels: that sockets behave as Linux's own do, and what happens between the program, the stack and its peers."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import subprocess
import threading
import time

import pytest

from rumpkit.compose.kernel import Kernel
from rumpkit.guests.linux.calls_option import cuts_datagrams
from rumpkit.guests.linux.factory import BATCH
from rumpkit.guests.linux.network import PAIR
from rumpkit.kern.trace import TraceEvent, TraceSink
from tests.guests.linux.guest_helpers import (
    HERE,
    PROGRAMS,
    THERE,
    THERE6,
    Output,
    guest,
    python,
    two_kernels,
    two_kernels_with_ipv6,
)
from tests.guests.linux.sandbox_helpers import PYTHON, become_nobody, in_child
from tests.house.descriptors import descriptors_before, open_descriptors

pytestmark = pytest.mark.needs("linux", "seccomp", "netns")

ECONNREFUSED = 111


@pytest.fixture(params=["self", pytest.param("nobody", marks=pytest.mark.needs("nobody", "userns"))])
def as_user(request):
    if request.param == "self":
        return lambda function: function()
    return lambda function: in_child(function, become_nobody)


def until(condition, seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize(("name", "cases"), [("names", 22), ("streams", 28), ("datagrams", 11)])
def test_sockets_behave_as_they_do_natively(as_user, name, cases):
    """Some eighty cases, one line each: see programs."""
    check_natively(as_user, name, cases, two_kernels)


@pytest.mark.needs("ipv6")
def test_ipv6_sockets_behave_as_they_do_natively(as_user):
    check_natively(as_user, "six", 19, two_kernels_with_ipv6)


def check_natively(as_user, name, cases, kernels):
    program = [PYTHON, str(PROGRAMS / f"{name}.py")]
    native = subprocess.run(program, capture_output=True, text=True, timeout=100).stdout.splitlines()
    assert len(native) == cases and not [line for line in native if "Error:" in line]

    def check_it():
        output = Output()
        with kernels() as (here, _), guest(here, program, output) as one:
            assert one.wait(100) == 0
        shown = output.text().splitlines()
        assert [line for line in shown if line not in native] == []
        assert len(shown) == len(native)

    as_user(check_it)


class TestStreams:
    def test_a_server(self, as_user):
        def check_it():
            code = (
                "l = socket.create_server(('', 80)); c, peer = l.accept(); print(peer[0], c.getsockname())\n"
                "d = b''\nwhile x := c.recv(65536): d += x\n"
                "c.sendall(d[::-1]); c.shutdown(1); time.sleep(0.2)\n"
            )
            output = Output()
            with two_kernels() as (here, there), python(here, code, output) as one:
                one.wait_listening(80, 10)
                with there.process().connect("tcp", (HERE, 80)) as client:
                    data = os.urandom(3_000_000)

                    def send() -> None:
                        client.sendall(data)
                        client.shutdown(1)

                    threading.Thread(target=send).start()
                    got = b""
                    while part := client.recv(1 << 20):
                        got += part
                assert got == data[::-1]
                assert one.wait(10) == 0
                assert output.text() == f"{THERE} ('{HERE}', 80)\n"

        as_user(check_it)

    def test_a_client(self, as_user):
        def check_it():
            code = (
                "s = socket.create_connection((THERE, 80), 5); peer = s.getpeername(); s.sendall(b'x' * 2000000); s.shutdown(1)\n"
                "n = 0\nwhile d := s.recv(65536): n += len(d)\n"
                "print(n, s.getsockname()[0], peer)\n"
            )
            output = Output()
            with two_kernels() as (here, there):
                server = there.process().listen("tcp", 80)
                with python(here, code, output) as one:
                    connection, _ = server.accept()
                    got = 0
                    while part := connection.recv(1 << 20):
                        got += len(part)
                    connection.sendall(bytes(got))
                    connection.close()
                    assert one.wait(20) == 0
                assert output.text() == f"2000000 {HERE} ('{THERE}', 80)\n"

        as_user(check_it)

    def test_two_guests_with_each_other(self):
        serve = "l = socket.create_server(('', 80)); c, _ = l.accept(); c.sendall(b'from the other'); c.close()\n"
        fetch = "s = socket.create_connection((THERE, 80), 5); print(s.recv(100)); print(s.recv(100))\n"
        output = Output()
        with two_kernels() as (here, there), python(there, serve) as server:
            server.wait_listening(80, 10)
            with python(here, fetch, output) as client:
                assert client.wait(10) == 0
            assert server.wait(10) == 0
        assert output.text() == "b'from the other'\nb''\n"

    def test_connecting_to_nobody(self):
        code = (
            "s = socket.socket(); print(s.connect_ex((THERE, 9)))\n"
            "s = socket.socket(); s.setsockopt(1, 21, struct.pack('ll', 0, 200000)); t = time.monotonic()\n"
            "print(s.connect_ex(('10.9.0.77', 9)), 0.1 < time.monotonic() - t < 2)\n"
        )
        output = Output()
        with two_kernels() as (here, _), python(here, code, output) as one:
            assert one.wait(20) == 0
        assert output.text() == f"{ECONNREFUSED}\n115 True\n"

    @pytest.mark.parametrize("how", ["signal", "close"])
    def test_a_blocked_connect_ends(self, how):
        code = (
            "s = socket.socket(); print('go')\n"
            "class Stop(Exception): pass\n"
            "def stop(*a): raise Stop\n"
            "signal.signal(signal.SIGALRM, stop)\n"
            "if sys.argv[1:] == ['x']: pass\n"
            "signal.setitimer(signal.ITIMER_REAL, 0.2)\n"
            "try: s.connect(('10.9.0.77', 9))\n"
            "except Stop: print('stopped')\n"
        )
        output = Output()
        with two_kernels() as (here, _), python(here, code, output) as one:
            if how == "signal":
                assert one.wait(10) == 0
                assert output.text() == "go\nstopped\n"
            else:
                assert until(lambda: output.text() == "go\n")
                assert one.kill() == -signal.SIGKILL

    def test_a_reset_from_the_peer(self):
        code = (
            "l = socket.create_server(('', 80)); c, _ = l.accept(); print(c.recv(4))\n"
            "try: print(c.recv(4))\n"
            "except OSError as e: print(e.errno)\n"
            "print(c.getsockopt(1, 4))\n"
        )
        output = Output()
        with two_kernels() as (here, there), python(here, code, output) as one:
            one.wait_listening(80, 10)
            client = there.process().connect("tcp", (HERE, 80))
            client.sendall(b"data")
            assert until(lambda: output.text())
            client.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")
            client.close()
            assert one.wait(10) == 0
        assert output.text() == "b'data'\n104\n0\n"

    def test_a_program_killed_in_the_middle(self):
        code = "l = socket.create_server(('', 80)); c, _ = l.accept(); c.recv(10)\nwhile True: c.send(bytes(65536))\n"
        with two_kernels() as (here, there), python(here, code) as one:
            one.wait_listening(80, 10)
            with there.process().connect("tcp", (HERE, 80)) as client:
                client.sendall(b"go")
                assert len(client.recv(1000))
                one.send(signal.SIGKILL)
                assert one.wait(10) == -signal.SIGKILL
                client.settimeout(10)
                while client.recv(1 << 20):
                    pass
            assert until(lambda: not one.ports())

    def test_a_program_that_ends_with_connections_open(self):
        """Their relays end after it; nothing of that may reach what is gone (an exception there is an error of the test)."""
        code = "l = socket.create_server(('', 80)); kept = [l.accept()[0] for _ in range(20)]\n"
        with two_kernels() as (here, there), python(here, code) as one:
            one.wait_listening(80, 10)
            process = there.process()
            clients = [process.connect("tcp", (HERE, 80)) for _ in range(20)]
            assert one.wait(10) == 0
            assert [client.recv(1) for client in clients] == [b""] * 20
            assert until(lambda: not one._context.relays)

    def test_what_was_sent_before_the_end_arrives(self):
        code = "s = socket.create_connection((THERE, 80)); s.sendall(b'x' * 5000000)\n"
        with two_kernels() as (here, there):
            server = there.process().listen("tcp", 80)
            with python(here, code) as one:
                connection, _ = server.accept()
                got = []

                def read() -> None:
                    time.sleep(0.3)
                    while part := connection.recv(1 << 20):
                        got.append(len(part))

                reader = threading.Thread(target=read)
                reader.start()
                assert one.wait(20) == 0
                assert one.settle(20)
                reader.join(20)
            assert sum(got) == 5_000_000

    def test_hundreds_of_connections_leave_nothing(self):
        code = (
            "import socketserver\n"
            "class Echo(socketserver.BaseRequestHandler):\n"
            "  def handle(self):\n"
            "    while d := self.request.recv(1000): self.request.sendall(d)\n"
            "class Server(socketserver.ThreadingTCPServer): request_queue_size = 100\n"
            "Server(('', 80), Echo).serve_forever()\n"
        )
        with two_kernels() as (here, there), python(here, code) as one:
            one.wait_listening(80, 10)
            process = there.process()

            def ask(number: int) -> None:
                with process.connect("tcp", (HERE, 80)) as client:
                    client.sendall(b"%d" % number)
                    assert client.recv(100) == b"%d" % number

            ask(0)
            until(lambda: len(one._context.records) == 1)
            before = len(descriptors_before())
            for number in range(300):
                ask(number)
            assert until(lambda: len(one._context.records) == 1), one._context.records
            stock = 2 * BATCH[PAIR] * 3 // 2  # it comes in batches, of which the next is there before one is used up
            assert until(lambda: len(open_descriptors()) <= before + stock)
            assert not one._context.relays

    @pytest.mark.parametrize(
        "failing",
        [
            "resource.setrlimit(resource.RLIMIT_NOFILE, (l.fileno() + 1, 99))",
            "address = ctypes.c_void_p(8)",
        ],
        ids=["no descriptor", "no address"],
    )
    def test_an_accept_that_fails_loses_nothing(self, failing):
        """What the peer has sent by then was on its way into a socket that the program never got."""
        code = (
            "import ctypes, resource\n"
            "told = {signal.SIGUSR1}; signal.pthread_sigmask(signal.SIG_BLOCK, told)\n"
            "l = socket.create_server(('', 80)); l.setblocking(False); signal.sigwait(told); address = None\n"
            f"{failing}\n"
            "for _ in range(3):\n"
            "  ready, _, _ = select.select([l], [], [], 20)\n"
            "  print(len(ready), ctypes.CDLL(None).accept(l.fileno(), address, ctypes.byref(ctypes.c_uint(16))))\n"
            "resource.setrlimit(resource.RLIMIT_NOFILE, (99, 99)); select.select([l], [], [], 20)\n"
            "c, _ = l.accept(); print(select.select([l], [], [], 0)[0], end=' '); data = b''\n"
            "c.setblocking(True)\n"
            "while part := c.recv(99): data += part\n"
            "print(data.decode())\n"
        )
        output = Output()
        with two_kernels() as (here, there), python(here, code, output) as one:
            one.wait_listening(80, 10)
            with there.process().connect("tcp", (HERE, 80)) as client:
                client.sendall(b"early")
                one.send(signal.SIGUSR1)
                assert until(lambda: output.text().count("\n") == 3), output.text()
                client.sendall(b" and late")
            assert one.wait(20) == 0
        assert output.text() == "1 -1\n" * 3 + "[] early and late\n"

    @pytest.mark.parametrize("spare", [0, 1])
    def test_where_we_may_open_no_more_accept_says_so(self, spare):
        """`spare`: not even a copy of the listener; or only one end of a new connection."""
        code = (
            "told = {signal.SIGUSR1}; signal.pthread_sigmask(signal.SIG_BLOCK, told)\n"
            "l = socket.create_server(('', 80)); l.setblocking(False); signal.sigwait(told)\n"
            "try: l.accept()\n"
            "except OSError as problem: print(problem.errno)\n"
            "signal.sigwait(told)\n"
            "print(len(select.select([l], [], [], 20)[0])); c, _ = l.accept(); c.setblocking(True); print(c.recv(9))\n"
        )

        def check_it():
            output = Output()
            with two_kernels() as (here, there), python(here, code, output) as one:
                one.wait_listening(80, 10)
                with there.process().connect("tcp", (HERE, 80)) as client:
                    client.sendall(b"early")
                    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
                    highest = max(int(number) for number in open_descriptors())
                    while (filling := os.dup(0)) <= highest:
                        pass
                    resource.setrlimit(resource.RLIMIT_NOFILE, (filling + 1 + spare, limits[1]))
                    signal.pidfd_send_signal(one._context.program.pidfd, signal.SIGUSR1)
                    told = until(lambda: "\n" in output.text())
                    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
                    assert told
                    one.send(signal.SIGUSR1)
                    assert one.wait(20) == 0
            assert output.text() == f"{errno.EMFILE}\n1\nb'early'\n"

        in_child(check_it, lambda: None)

    def test_a_connection_that_is_over_is_known_until_it_is_closed(self):
        code = (
            "told = {signal.SIGUSR1}; signal.pthread_sigmask(signal.SIG_BLOCK, told)\n"
            "l = socket.create_server(('', 80)); c, _ = l.accept()\n"
            "assert c.recv(9) == b''; c.shutdown(socket.SHUT_WR); signal.sigwait(told)\n"
            "print(c.getsockname()[1]); c.close(); l.close(); signal.sigwait(told)\n"
        )
        with two_kernels() as (here, there):
            output = Output()
            with python(here, code, output) as one:
                one.wait_listening(80, 10)
                with there.process().connect("tcp", (HERE, 80)) as client:
                    client.shutdown(socket.SHUT_WR)
                    assert client.recv(9) == b""
                context = one._context
                assert until(lambda: len(context.records) == 2 and not context.relays)
                one.send(signal.SIGUSR1)
                assert until(lambda: not context.records), context.records
                one.send(signal.SIGUSR1)
                assert one.wait(20) == 0
            assert output.text() == "80\n"

    def test_one_that_was_shut_down_for_both_directions_is_known_until_it_is_closed(self):
        """The end that hangs up is not closed for that."""
        code = (
            "told = {signal.SIGUSR1}; signal.pthread_sigmask(signal.SIG_BLOCK, told)\n"
            "l = socket.create_server(('', 80)); c, _ = l.accept()\n"
            "c.shutdown(socket.SHUT_RDWR); signal.sigwait(told)\n"
            "print(c.getsockname()[1]); c.close(); l.close(); signal.sigwait(told)\n"
        )
        with two_kernels() as (here, there):
            output = Output()
            with python(here, code, output) as one:
                one.wait_listening(80, 10)
                context = one._context
                with there.process().connect("tcp", (HERE, 80)) as client:
                    assert client.recv(9) == b""
                    assert until(lambda: not context.relays)
                    assert len(context.records) == 2
                one.send(signal.SIGUSR1)
                assert until(lambda: not context.records), context.records
                one.send(signal.SIGUSR1)
                assert one.wait(20) == 0
            assert output.text() == "80\n"


class TestDatagrams:
    def test_a_server_and_a_client(self, as_user):
        def check_it():
            serve = (
                "s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 53))\n"
                "for _ in range(3): d, a = s.recvfrom(70000); s.sendto(d[::-1], a)\n"
            )
            with two_kernels() as (here, there), python(here, serve) as one:
                one.wait_listening(53, 10)
                with there.process().socket("udp") as client:
                    for data in (b"question", b"", bytes(range(256)) * 200):
                        client.sendto(data, (HERE, 53))
                        got, source = client.recvfrom(70000)
                        assert (got, source) == (data[::-1], (HERE, 53))
                assert one.wait(10) == 0

        as_user(check_it)

    def test_a_burst_before_the_end_arrives_whole(self):
        """What was sent before close() is sent, though nobody had time to take it."""
        code = (
            "s = socket.socket(type=socket.SOCK_DGRAM)\n"
            "for i in range(200): s.sendto(b'%d' % i, (THERE, 5500))\n"
            "s.close()\n"
        )
        with two_kernels() as (here, there), there.process().socket("udp") as server:
            server.bind((THERE, 5500))
            server.settimeout(20)
            with python(here, code) as one:
                assert [server.recv(100) for _ in range(200)] == [b"%d" % number for number in range(200)]
                assert one.wait(10) == 0

    @pytest.mark.skipif(not cuts_datagrams(os.uname().release), reason="missing: Linux 6.2 (UDP_SEGMENT)")
    @pytest.mark.parametrize("family", ["AF_INET", "AF_INET6"])
    def test_batches_of_datagrams_arrive_one_by_one(self, family):
        there = THERE if family == "AF_INET" else THERE6
        code = (
            f"s = socket.socket(socket.{family}, socket.SOCK_DGRAM); s.connect(('{there}', 5500)); s.setsockopt(17, 103, 100)\n"
            "s.send(b'a' * 100 + b'b' * 100 + b'c' * 7); s.setsockopt(17, 103, 0)\n"
            "s.sendmsg([b'd' * 40], [(17, 103, struct.pack('H', 30))]); s.send(b'e' * 60)\n"
        )
        with (
            two_kernels_with_ipv6() as (here, peer),
            peer.process().socket(f"udp{'6' * (family == 'AF_INET6')}") as server,
        ):
            server.bind((there, 5500))
            server.settimeout(20)
            with python(here, code) as one:
                got = [server.recv(1000) for _ in range(6)]
                assert one.wait(10) == 0
        assert got == [b"a" * 100, b"b" * 100, b"c" * 7, b"d" * 30, b"d" * 10, b"e" * 60]

    def test_a_server_of_ipv4_answers_from_the_address_that_was_asked(self):
        """As DNS servers do: the destination that came with the question is the answer's source."""
        code = (
            "s = socket.socket(type=socket.SOCK_DGRAM); s.setsockopt(0, 8, 1); s.bind(('', 53))\n"
            "while 1: d, c, f, a = s.recvmsg(99, 99); print(socket.inet_ntoa(c[0][2][8:12]), flush=True); s.sendmsg([d], c, 0, a)\n"
        )
        output = Output()
        name = f"switch:test{os.getpid()}"
        with (
            Kernel(net=name, address=["10.9.0.1/24", "10.9.0.3/24"]) as here,
            Kernel(net=name, address=f"{THERE}/24") as there,
            python(here, code, output) as one,
            there.process().socket("udp") as client,
        ):
            one.wait_listening(53, 10)
            client.settimeout(20)
            for address in ("10.9.0.1", "10.9.0.3"):
                client.sendto(b"?", (address, 53))
                assert client.recvfrom(10)[1] == (address, 53)
        assert output.text() == "10.9.0.1\n10.9.0.3\n"

    def test_errors_by_icmp(self):
        code = (
            "s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(5); s.connect((THERE, 9)); s.send(b'x')\n"
            "try: s.recv(1)\n"
            "except OSError as e: print(e.errno)\n"
            "s.setsockopt(0, 11, 1)  # IP_RECVERR: without it, Linux tells of no unreachable hosts\n"
            "s.connect(('10.9.0.77', 9)); s.send(b'x')\n"
            "try: s.recv(1)\n"
            "except OSError as e: print(e.errno)\n"
            "s.connect(('192.0.2.1', 9)); s.send(b'x')\n"
        )
        output = Output()
        with two_kernels() as (here, _), python(here, code, output) as one:
            assert one.wait(20) in (0, 1)
        assert output.text() == f"{ECONNREFUSED}\n113\n"

    def test_ping(self, as_user):
        def check_it():
            code = (
                "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP); s.settimeout(5)\n"
                "for there in (THERE, HERE, '127.0.0.1'):\n"
                "  s.sendto(bytes((8, 0, 0, 0, 0, 0, 0, 7)) + b'payload', (there, 0))\n"
                "  d, a = s.recvfrom(100); print(d[0], d[6:], a[0])\n"
                "s.connect((THERE, 0)); s.send(bytes((8, 0, 0, 0, 0, 0, 0, 8))); print(s.recv(100)[6:])\n"
                "for protocol in socket.IPPROTO_ICMP, socket.IPPROTO_UDP:\n"
                "  try: print(socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol).type + 0)\n"
                "  except OSError as e: print(e.errno)\n"
            )
            output = Output()
            with two_kernels() as (here, _), python(here, code, output) as one:
                assert one.wait(10) == 0
            answers = "".join(f"0 {bytes((0, 7)) + b'payload'!r} {host}\n" for host in (THERE, HERE, "127.0.0.1"))
            raw = int(socket.SOCK_RAW) if os.geteuid() == 0 else 1  # or EPERM
            assert output.text() == answers + f"b'\\x00\\x08'\n{raw}\n1\n"

        as_user(check_it)

    @pytest.mark.needs("ping")
    def test_the_ping_program(self):
        output = Output()
        with two_kernels() as (here, _), guest(here, ["ping", "-c2", "-i0.2", "-w15", THERE], output) as one:
            assert one.wait(20) == 0
        assert " 2 received" in output.text()

    def test_a_closed_sockets_port_is_free_again(self):
        code = (
            "for _ in range(100):\n"
            "  s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 53)); s.close()\n"
            "  s = socket.socket(); s.bind(('', 53)); s.close()\n"
        )
        with two_kernels() as (here, _), python(here, code) as one:
            assert one.wait(20) == 0


class TestLife:
    def test_exit_codes_and_signals(self):
        with two_kernels() as (here, _):
            for script, code in (("exit 7", 7), ("kill -TERM $$", -15)):
                with guest(here, ["sh", "-c", script]) as one:
                    assert one.wait(10) == code == one.exit_code

    @pytest.mark.parametrize(("handler", "timeout", "code"), [("os._exit(5)", 30, 5), ("0", 0.2, -9)])
    def test_stopping(self, handler, timeout, code):
        program = f"signal.signal(signal.SIGTERM, lambda *a: {handler}); print(1)\nwhile 1: time.sleep(9)"
        output = Output()
        with two_kernels() as (here, _), python(here, program, output) as one:
            assert until(output.text, 20)
            assert one.stop(timeout) == code

    def test_waiting_for_what_does_not_come(self):
        with two_kernels() as (here, _):
            with guest(here, ["sleep", "100"]) as one:
                with pytest.raises(TimeoutError):
                    one.wait_listening(80, 0.1)
                with pytest.raises(TimeoutError):
                    one.wait(0.1)
            with guest(here, ["sh", "-c", "exit 3"]) as one, pytest.raises(ChildProcessError, match="ended with 3"):
                one.wait_listening(80, 10)

    def test_ports_come_and_go(self):
        code = (
            "a = socket.create_server(('', 80)); b = socket.create_server(('', 81)); time.sleep(0.3); a.close()\n"
            "time.sleep(0.3); b.shutdown(2); time.sleep(100)\n"
        )
        with two_kernels() as (here, _), python(here, code) as one:
            one.wait_listening(81, 10)
            assert one.ports() == {80, 81}
            assert until(lambda: one.ports() == {81})
            assert until(lambda: one.ports() == set())

    def test_several_guests_of_one_kernel_share_its_ports_and_loopback(self):
        serve = "l = socket.create_server(('127.0.0.1', 80)); c, _ = l.accept(); c.sendall(b'shared')\n"
        take = "try: socket.create_server(('127.0.0.1', 80))\nexcept OSError as e: print(e.errno)\n"
        fetch = "print(socket.create_connection(('127.0.0.1', 80)).recv(100))\n"
        output = Output()
        with two_kernels() as (here, _), python(here, serve) as server:
            server.wait_listening(80, 10)
            for code in (take, fetch):
                with python(here, code, output) as one:
                    assert one.wait(10) == 0
            assert server.wait(10) == 0
        assert output.text() == "98\nb'shared'\n"

    def test_nothing_is_left(self, as_user):
        def check_it():
            def once() -> None:
                with (
                    two_kernels() as (here, _),
                    python(here, "s = socket.create_server(('', 80)); time.sleep(9)") as one,
                ):
                    one.wait_listening(80, 10)

            once()
            before = len(descriptors_before())
            for _ in range(3):
                once()
            assert len(open_descriptors()) == before
            with pytest.raises(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)

        as_user(check_it)


class TestTrace:
    def test_calls_are_shown_with_what_came_of_them(self):
        class Sink(TraceSink):
            def __init__(self) -> None:
                self.lines: list[str] = []

            def event(self, event: TraceEvent) -> None:
                result = errno.errorcode[event.result.errno or 0] if isinstance(event.result, OSError) else event.result
                self.lines.append(f"{event.call}{event.arguments!r} = {result}")

        code = (
            "l = socket.socket(); l.bind(('', 80)); l.listen(5)\n"
            "threading.Timer(0.2, lambda: socket.create_connection(('127.0.0.1', 80))).start()\n"
            "c, _ = l.accept(); socket.socket(socket.AF_UNIX).getsockname()\n"
            "socket.socket().connect_ex(('127.0.0.1', 9))\n"
        )
        with two_kernels() as (here, _):
            sink = here.core.trace.sink = Sink()
            with python(here, code) as one:
                assert one.wait(10) == 0
        for line in (
            "socket(AF_INET, 524289, 0) = 3",
            "bind(3, 0.0.0.0:80) = 0",
            "listen(3, 5) = 0",
            "connect(4, 127.0.0.1:80) = 0",
            "accept4(3,) = 5",
        ):
            assert line in sink.lines, sink.lines
        assert [line for line in sink.lines if line.endswith("127.0.0.1:9) = ECONNREFUSED")]
        assert sink.lines.index("accept4(3,) = 5") > sink.lines.index("bind(3, 0.0.0.0:80) = 0")
