"""Guests of kernels with IPv6, and multicast of both versions: what passes between a program, the stack and its peers."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from contextlib import contextmanager

import pytest

from rumpkit import Kernel
from rumpkit.guests.linux import abi, libc
from tests.guests.linux.guest_helpers import (
    HERE,
    HERE6,
    THERE6,
    Output,
    guest,
    python,
    two_kernels,
    two_kernels_with_ipv6,
)
from tests.guests.linux.sandbox_helpers import become_nobody, in_child

pytestmark = [
    pytest.mark.needs("linux", "seccomp", "netns", "ipv6"),
    pytest.mark.once,  # nothing of it is compiled but what other tests run in both forms
]
ECHO = (
    "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(('::', 53))\n"
    "while 1:\n  d, a = s.recvfrom(70000); s.sendto(d, a)\n"
)


@pytest.fixture(params=["self", pytest.param("nobody", marks=pytest.mark.needs("nobody", "userns"))])
def as_user(request):
    if request.param == "self":
        return lambda function: function()
    return lambda function: in_child(function, become_nobody)


def run(code: str, kernels=two_kernels_with_ipv6, beside: str = "", port: int = 53) -> str:
    """What a program on one kernel writes while another runs on the other."""
    output = Output()
    with kernels() as (here, there):
        if not beside:
            with python(here, code, output) as one:
                assert one.wait(60) == 0
            return output.text()
        with python(there, beside) as other:
            other.wait_listening(port, 20)
            with python(here, code, output) as one:
                assert one.wait(60) == 0
    return output.text()


def test_a_stream_between_two_guests(as_user):
    serve = "l = socket.create_server(('::', 80), family=socket.AF_INET6); c, p = l.accept(); c.sendall(p[0].encode() * 9999)\n"
    fetch = (
        "s = socket.create_connection((THERE6, 80), 20); d = b''\nwhile x := s.recv(65536): d += x\n"
        "print(d == HERE6.encode() * 9999, s.getpeername()[0], s.getsockname()[0])\n"
    )
    as_user(lambda: check(run(fetch, beside=serve, port=80), f"True {THERE6} {HERE6}\n"))


def check(got: object, wanted: object) -> None:
    assert got == wanted


def test_datagrams_and_ping_between_kernels(as_user):
    code = (
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.settimeout(20)\n"
        "for n in 0, 5, 1452, 65000: s.sendto(bytes(n), (THERE6, 53)); d, a = s.recvfrom(70000); print(len(d), a[0])\n"
        "s.connect((THERE6, 9)); s.send(b'x')\n"
        "try: s.recv(1)\n"
        "except ConnectionRefusedError: print('refused')\n"
        "p = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM, 58); p.settimeout(20)\n"
        "for h in THERE6, HERE6, '::1':\n"
        "  p.sendto(bytes((128, 0, 0, 0, 0, 0, 0, 7)) + b'payload', (h, 0)); d, a = p.recvfrom(99); print(d[0], d[6:], a[0])\n"
    )
    pings = "".join(f"129 {bytes((0, 7)) + b'payload'!r} {host}\n" for host in (THERE6, HERE6, "::1"))
    sizes = "".join(f"{size} {THERE6}\n" for size in (0, 5, 1452, 65000))
    as_user(lambda: check(run(code, beside=ECHO), f"{sizes}refused\n{pings}"))


def test_what_control_messages_say_of_one_datagram_leaves_the_sockets_options_alone():
    serve = (
        "s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 53))\n"
        "for name in 12, 13: s.setsockopt(0, name, 1)\n"
        "while 1:\n"
        "  d, c, f, a = s.recvmsg(99, 99); s.sendto(repr(sorted((k, v[0]) for _, k, v in c)).encode(), a)\n"
    )
    code = (
        "s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(20); s.setsockopt(0, 1, 0x20); s.setsockopt(0, 2, 50)\n"
        "for c in [], [(0, 2, struct.pack('i', 7))], [(0, 1, b'\\x48')]:\n"
        "  s.sendmsg([b'x'], c, 0, (THERE, 53)); print(s.recv(99).decode())\n"
        "p = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM, 58); p.settimeout(20)\n"
        "for name in 49, 51, 66: p.setsockopt(41, name, 1)\n"
        "p.sendto(bytes((128, 0, 0, 0, 0, 0, 0, 7)), (THERE6, 0)); d, c, f, a = p.recvmsg(99, 99); print(len(d), len(c))\n"
    )
    wanted = "[(1, 32), (2, 50)]\n[(1, 32), (2, 7)]\n[(1, 72), (2, 50)]\n8 3\n"
    assert run(code, beside=serve) == wanted


def test_link_local_peers_have_a_zone():
    serve = (
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(('::', 53)); d, a = s.recvfrom(99)\n"
        "s.sendto(b'%d %s' % (a[3], a[0][:4].encode()), a); time.sleep(60)\n"
    )
    code = (
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.settimeout(20)\n"
        "s.sendto(b'x', ('ff02::1', 53, 0, 1)); d, a = s.recvfrom(99); print(d, a[0][:4], a[3])\n"
        "s.connect(a); print(s.getpeername()[0][:4], s.getpeername()[3] > 0, s.getsockname()[0][:4])\n"
    )
    assert run(code, beside=serve) == "b'2 fe80' fe80 2\nfe80 True fe80\n"


def test_without_ipv6_in_the_kernel_it_is_as_on_a_host_without():
    code = (
        "def t(f, *a):\n"
        "  try: return f(*a)\n"
        "  except OSError as e: return e.errno\n"
        "s = socket.socket(socket.AF_INET6); print(t(s.bind, ('::1', 80)), t(s.connect, (THERE6, 80)))\n"
        "u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); print(t(u.bind, ('fd00::1', 80)), t(u.sendto, b'', (THERE6, 9)))\n"
        "print(t(socket.socket, socket.AF_INET6, socket.SOCK_DGRAM, 58)); u.connect(('::ffff:10.9.0.2', 9)); print(u.getsockname()[0])\n"
    )
    assert run(code, two_kernels) == f"99 101\n99 101\n93\n::ffff:{HERE}\n"


def test_a_datagram_reaches_no_other_socket_of_the_program():
    """The numbers that sockets have in the namespace must not be reachable from the program."""
    code = (
        "s = [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(4)]\n"
        "for one in s: one.setblocking(False)\n"
        "ports = [int(line.split()[1].rsplit(':')[1], 16) for line in list(open('/proc/1/net/udp6'))[1:]]; print(len(ports) >= 4)\n"
        "for port in ports:\n"
        "  for host in (THERE6, '::1', '::ffff:10.9.0.2', '::ffff:10.9.0.255', 'ff02::1'):\n"
        "    s[0].setsockopt(1, 6, 1)\n"
        "    s[0].sendto(b'x', (host, port))\n"
        "time.sleep(0.3)\n"
        "for one in s:\n"
        "  try: print(one.recvfrom(9))\n"
        "  except BlockingIOError: pass\n"
    )
    assert run(code) == "True\n"


@pytest.mark.parametrize(
    ("family", "group", "join"),
    [
        ("AF_INET", "239.1.2.3", "(0, 35, socket.inet_aton('239.1.2.3') + bytes(4))"),
        ("AF_INET6", "ff15::77", "(41, 20, socket.inet_pton(10, 'ff15::77') + struct.pack('i', 0))"),
        ("AF_INET6", "ff02::77", "(41, 20, socket.inet_pton(10, 'ff02::77') + struct.pack('i', 1))"),
    ],
)
def test_groups_between_kernels(family, group, join):
    listen = (
        f"ME = '10.9.0.2'; s = socket.socket(socket.{family}, socket.SOCK_DGRAM); s.setsockopt(*{join}); s.bind(('', 5353))\n"
        f"if {family == 'AF_INET6'}: s.setsockopt(41, 49, 1)  # IPV6_RECVPKTINFO, as servers do\n"
        "while 1: d, a = s.recvfrom(99); s.sendto(b'heard ' + d, a)\n"
    )
    code = (
        f"ME = HERE; s = socket.socket(socket.{family}, socket.SOCK_DGRAM); s.settimeout(20)\n"
        f"me = socket.socket(socket.{family}, socket.SOCK_DGRAM); me.settimeout(0.3); me.setsockopt(*{join}); me.bind(('', 5353))\n"
        f"s.sendto(b'one', ('{group}', 5353)); d, a = s.recvfrom(99); print(d, a[0][:4]); print(me.recvfrom(99)[0])\n"
        f"s.setsockopt{(0, 34, 0) if family == 'AF_INET' else (41, 19, 0)}\n"
        f"s.sendto(b'two', ('{group}', 5353)); print(s.recvfrom(99)[0])\n"
        "try: print(me.recvfrom(99))\n"
        "except TimeoutError: print('not looped')\n"
    )
    host = "10.9" if family == "AF_INET" else "fd00" if group == "ff15::77" else "fe80"
    wanted = f"b'heard one' {host}\nb'one'\nb'heard two'\nnot looped\n"
    assert run(code, beside=listen, port=5353) == wanted


@contextmanager
def two_kernels_on_two_networks():
    name = f"switch:test{os.getpid()}"
    at_once = {"net.ip6.dad_transmits": 0}
    here, there = ([f"10.9.0.{n}/24", f"fd00:8::{n}/64", f"fd00:9::{n}/64"] for n in (1, 2))
    with Kernel(net=name, address=here, sysctl=at_once) as a, Kernel(net=name, address=there, sysctl=at_once) as b:
        yield a, b


def test_a_server_answers_from_the_address_that_was_asked():
    """As DNS and QUIC servers do: the destination that came with the question is the answer's source."""
    serve = (
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.setsockopt(41, 49, 1); s.bind(('::', 53))\n"
        "while 1: d, c, f, a = s.recvmsg(99, 99); s.sendmsg([d], c, 0, a)\n"
    )
    code = (
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.settimeout(20); s.bind(('fd00:9::1', 0))\n"
        "for there in 'fd00:8::2', 'fd00:9::2': s.sendto(b'?', (there, 53)); print(s.recvfrom(9)[1][0])\n"
    )
    assert run(code, two_kernels_on_two_networks, serve) == "fd00:8::2\nfd00:9::2\n"


def test_leaving_a_group():
    listen = (
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); m = socket.inet_aton('239.1.2.3') + bytes(4)\n"
        "s.setsockopt(0, 35, m); s.bind(('', 5353))\n"
        "while 1:\n"
        "  d, a = s.recvfrom(99); s.sendto(b'heard ' + d, a)\n"
        "  if d == b'leave': s.setsockopt(0, 36, m); s.sendto(b'left', a)\n"
    )
    code = (
        "s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(20)\n"
        "s.sendto(b'leave', ('239.1.2.3', 5353)); print(s.recv(99), s.recv(99))\n"
        "s.sendto(b'to nobody', ('239.1.2.3', 5353)); s.sendto(b'alone', ('10.9.0.2', 5353)); print(s.recv(99))\n"
    )
    assert run(code, beside=listen, port=5353) == "b'heard leave' b'left'\nb'heard alone'\n"


def refuse_ipv6() -> None:
    """Have Linux say to this process and its children that it has no IPv6."""
    number = abi.SYSCALLS[libc.machine()]["socket"]
    refused = abi.SECCOMP_RET_ERRNO | errno.EAFNOSUPPORT
    steps = ((0x20, 0, 0, 0), (0x15, 0, 3, number), (0x20, 0, 0, 16), (0x15, 0, 1, socket.AF_INET6), (6, 0, 0, refused))
    code = b"".join(struct.pack("<HBBI", *step) for step in (*steps, (6, 0, 0, abi.SECCOMP_RET_ALLOW)))
    held = ctypes.create_string_buffer(code)
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(held))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    assert prctl(abi.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert prctl(22, 2, program, 0, 0) == 0


def test_where_linux_has_no_ipv6_programs_run_without():
    def check_it() -> None:
        code = (
            "s = socket.create_connection((THERE, 80), 20); print(s.recv(9))\n"
            "u = socket.socket(type=socket.SOCK_DGRAM); u.settimeout(20); u.connect((THERE, 9)); u.send(b'x')\n"
            "try: u.recv(9)\n"
            "except ConnectionRefusedError: print('refused')\n"
        )
        serve = (
            "l = socket.create_server(('', 80)); c, _ = l.accept(); c.sendall(b'hello'); c.close(); time.sleep(60)\n"
        )
        check(run(code, beside=serve, port=80), "b'hello'\nrefused\n")

    in_child(check_it, refuse_ipv6)


# Programs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.needs("curl")
def test_a_web_server_and_curl():
    output = Output()
    serve = ["python3", "-m", "http.server", "-b", "::", "-d", "/usr/share/doc", "80"]
    with two_kernels_with_ipv6() as (here, there), guest(there, serve) as server:
        server.wait_listening(80, 30)
        for option, host in (("-6", f"[{THERE6}]"), ("-4", "10.9.0.2")):
            curl = ["curl", "-sS", option, "-o", "/dev/null", "-w", "%{http_code} %{remote_ip}\n", f"http://{host}/"]
            with guest(here, curl, output) as one:
                assert one.wait(30) == 0
    assert output.text() == f"200 {THERE6}\n200 10.9.0.2\n"


@pytest.mark.long
@pytest.mark.needs("redis-server", "redis-cli")
def test_redis_on_the_loopback_address():
    output = Output()
    server = ["redis-server", "--bind", "::1", "--port", "6379", "--save", "", "--daemonize", "no", "--dir", "/tmp"]
    with two_kernels_with_ipv6() as (here, _), guest(here, server) as redis:
        redis.wait_listening(6379, 30)
        with guest(here, ["redis-cli", "-h", "::1", "ping"], output) as one:
            assert one.wait(30) == 0
    assert output.text().endswith("PONG\n")


@pytest.mark.long
@pytest.mark.needs("nginx", "curl")
def test_nginx(tmp_path):
    tmp_path.chmod(0o755)
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log /dev/null; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {tmp_path}; proxy_temp_path {tmp_path}; fastcgi_temp_path {tmp_path};\n"
        f"uwsgi_temp_path {tmp_path}; scgi_temp_path {tmp_path};\n"
        "server { listen [::]:80; listen 80; return 200 '$remote_addr $server_addr'; } }\n"
    )
    output = Output()
    with two_kernels_with_ipv6() as (here, there), guest(there, ["nginx", "-c", str(config)]) as server:
        server.wait_listening(80, 30)
        for host in (f"[{THERE6}]", "10.9.0.2"):
            with guest(here, ["curl", "-sS", f"http://{host}/"], output) as one:
                assert one.wait(30) == 0
    assert output.text() == f"{HERE6} {THERE6}{HERE} 10.9.0.2"


@pytest.mark.needs("ping")
def test_the_ping_program(as_user):
    def check_it() -> None:
        output = Output()
        with (
            two_kernels_with_ipv6() as (here, _),
            guest(here, ["ping", "-6", "-n", "-c2", "-i0.2", "-w15", THERE6], output) as one,
        ):
            assert one.wait(30) == 0
        lines = output.text().splitlines()
        assert [line for line in lines if line.startswith(f"64 bytes from {THERE6}: icmp_seq=2 ttl=64")], lines

    as_user(check_it)


@pytest.mark.needs("ping")
def test_ping_is_told_of_a_neighbour_that_is_not_there():
    output = Output()
    with (
        two_kernels_with_ipv6() as (here, _),
        guest(here, ["ping", "-6", "-c", "1", "-W", "20", "fd00:9::77"], output) as one,
    ):
        assert one.wait(60) == 1
    assert "Destination unreachable: Address unreachable" in output.text()


@pytest.mark.needs("root")
def test_two_raw_sockets_and_a_ping_socket_keep_apart():
    """Each gets what the kernel's socket behind it gets, once."""
    code = (
        "one, two = (socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58) for _ in range(2))\n"
        "words = [0xFFFFFFFF] * 8; words[4] &= ~2\n"
        "for s in (one, two): s.setsockopt(58, 1, struct.pack('8I', *words)); s.settimeout(10)\n"
        "ping = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM, 58); ping.settimeout(10)\n"
        "for s, number in ((one, 1), (two, 2), (ping, 3)):\n"
        "  s.sendto(struct.pack('!BBHHH', 128, 0, 0, number, number) + b'data', (THERE6, 0))\n"
        "  for each in (one, two): print(each.recv(100)[6:], end=' ')\n"
        "print(ping.recv(100)[6:])\n"
        "for s in (one, two, ping):\n"
        "  s.setblocking(False)\n"
        "  try: s.recv(1)\n"
        "  except BlockingIOError: print('no more')\n"
        "rows = open('/proc/net/raw6').read().splitlines()[1:] if os.path.exists('/dev/fuse') else [0, 0]\n"
        "print(len(rows))\n"
    )
    output = Output()
    with two_kernels_with_ipv6() as (here, _), python(here, code, output) as one:
        assert one.wait(60) == 0
    found = [f"{bytes((0, number)) + b'data'!r} " * 2 for number in (1, 2, 3)]
    last = f"{bytes((0, 3)) + b'data'!r}"
    assert output.text() == f"{''.join(found)}{last}\n" + "no more\n" * 3 + "2\n"


@pytest.mark.long
@pytest.mark.needs("dig")
def test_dig_asks_over_ipv6():
    answer = (
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(('::', 53))\n"
        "while 1:\n"
        "  q, a = s.recvfrom(999); name = q[12:q.index(0, 12) + 5]\n"
        "  flags, record = b'\\x81\\x80\\0\\1\\0\\1\\0\\0\\0\\0', b'\\xc0\\x0c\\0\\x1c\\0\\1\\0\\0\\0\\x09\\0\\x10'\n"
        "  s.sendto(q[:2] + flags + name + record + bytes(15) + b'\\7', a)\n"
    )
    output = Output()
    with two_kernels_with_ipv6() as (here, there), python(there, answer) as server:
        server.wait_listening(53, 20)
        dig = ["dig", "-6", "+short", "+tries=1", f"@{THERE6}", "name.example", "AAAA"]
        with guest(here, dig, output) as one:
            assert one.wait(30) == 0
    assert output.text() == "::7\n"


@pytest.mark.needs("ip")
def test_listings_of_interfaces_show_an_address_of_either_version():
    """getaddrinfo's AI_ADDRCONFIG looks for one."""
    output = Output()
    with two_kernels_with_ipv6() as (here, _), guest(here, ["ip", "-o", "addr"], output) as one:
        assert one.wait(30) == 0
    assert f"inet {HERE}/" in output.text() and f"inet6 {HERE6}/" in output.text()
