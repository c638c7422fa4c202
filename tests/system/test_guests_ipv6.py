"""Programs on kernels with IPv6, against Linux and its programs over a TAP; multicast between a program and Linux."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rumpkit import Kernel
from rumpkit.compose.spec import InterfaceSpec, Spec
from rumpkit.guests.linux.guest import Guest
from tests.hosts.posix.netns import ip, network_namespace
from tests.system.helpers.user import wait_for

pytestmark = [
    pytest.mark.needs("root", "tap", "netns", "ip", "seccomp", "ipv6", "linux"),
    pytest.mark.timeout(120),
    pytest.mark.once,
]
TAP, OURS, THEIRS, OURS4, THEIRS4 = "rump0", "fd00:9::2", "fd00:9::1", "10.9.0.2", "10.9.0.1"
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable


@contextlib.contextmanager
def wired() -> Iterator[Kernel]:
    """A kernel on a TAP, whose other end has Linux."""
    with network_namespace():
        ip(f"tuntap add mode tap name {TAP} vnet_hdr")
        ip(f"addr add {THEIRS}/64 dev {TAP} nodad")
        ip(f"addr add {THEIRS4}/24 dev {TAP}")
        ip(f"link set {TAP} up")
        spec = Spec(interface=[InterfaceSpec(f"tap:{TAP}", address=[f"{OURS}/64", f"{OURS4}/24"], gateway=THEIRS)])
        spec.sysctl = {"net.ip6.dad_transmits": 0}
        with Kernel(spec) as kernel:
            wait_for(lambda: "state UP" in ip(f"link show {TAP}"), "the TAP is up")
            yield kernel


class Program:
    """A guest whose output is kept."""

    def __init__(self, kernel: Kernel, *command: str, folder: Path | None = None) -> None:
        """It may write to `folder`."""
        self._fd = os.memfd_create("output")
        self.guest: Guest = kernel.run(list(command), stdout=self._fd, writable=[folder] if folder else [])

    def text(self) -> str:
        """What it has written so far."""
        return os.pread(self._fd, 1 << 20, 0).decode()

    def output(self) -> str:
        """All that it writes; it must succeed."""
        assert self.guest.wait(60) == 0, self.text()
        return self.text()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exception: object) -> None:
        self.guest.close()
        os.close(self._fd)


def code(*lines: str) -> list[str]:
    return [PYTHON, "-S", "-u", "-c", "\n".join(("import socket, struct", *lines))]


@pytest.mark.needs("curl")
def test_web_servers_of_either_side(tmp_path: Path) -> None:
    body = os.urandom(1_000_000)
    (tmp_path / "file").write_bytes(body)
    serve = ["-m", "http.server", "-b", "::", "-d", str(tmp_path)]
    with wired() as kernel, Program(kernel, PYTHON, *serve, "80") as program:
        program.guest.wait_listening(80, 30)
        for host in (f"[{OURS}]", OURS4):
            assert subprocess.run(["curl", "-sS", f"http://{host}/file"], capture_output=True).stdout == body
        with subprocess.Popen([PYTHON, *serve, "8080"], stderr=subprocess.DEVNULL) as theirs:
            try:
                curl = ["curl", "-6", "-sS", "--retry", "20", "--retry-connrefused", "--retry-delay", "1"]
                words = [*curl, "-o", str(tmp_path / "got"), f"http://[{THEIRS}]:8080/file"]
                with Program(kernel, *words, folder=tmp_path) as one:
                    one.output()
            finally:
                theirs.kill()
        assert (tmp_path / "got").read_bytes() == body


@pytest.mark.needs("ping")
def test_ping_both_ways() -> None:
    with wired() as kernel, Program(kernel, "ping", "-6", "-n", "-c3", "-i0.01", "-w15", "-s3000", THEIRS) as one:
        assert " 3 received" in one.output()
        there = subprocess.run(["ping", "-6", "-n", "-c1", "-W10", OURS], capture_output=True, text=True).stdout
        assert " 1 received" in there


def test_datagrams_and_what_comes_with_them() -> None:
    echo = code(
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
        "for name in 49, 51, 66: s.setsockopt(41, name, 1)",
        "s.bind(('::', 7))",
        "while 1:",
        "  d, c, f, a = s.recvmsg(70000, 500); info = [(k, v[:16]) for l, k, v in c]",
        "  s.sendmsg([b'%d %r' % (len(d), info)], [(41, 67, struct.pack('i', 0x20)), (41, 52, struct.pack('i', 77))], 0, a)",
    )
    with (
        wired() as kernel,
        Program(kernel, *echo) as program,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as theirs,
    ):
        program.guest.wait_listening(7, 30)
        theirs.settimeout(20)
        for name in (51, 66):
            theirs.setsockopt(41, name, 1)
        theirs.setsockopt(41, 16, 41)
        for size in (0, 1452, 1453, 60_000):
            theirs.sendto(bytes(size), (OURS, 7))
            data, control, _, peer = theirs.recvmsg(2000, 500)
            info = [(50, socket.inet_pton(socket.AF_INET6, OURS)), (52, struct.pack("i", 41)), (67, bytes(4))]
            assert data == b"%d %r" % (size, info)
            assert peer[:2] == (OURS, 7)
            assert {kind: value[0] for _, kind, value in control} == {52: 77, 67: 0x20}


def test_groups_with_linux() -> None:
    listen = code(
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(('::', 7))",
        "s.setsockopt(41, 20, socket.inet_pton(socket.AF_INET6, 'ff15::77') + bytes(4))",
        "t = socket.socket(type=socket.SOCK_DGRAM); t.bind(('', 8))",
        "t.setsockopt(0, 35, socket.inet_aton('239.1.2.3') + bytes(4))",
        "print('joined')",
        "for one, port, group in (s, 7, 'ff15::77'), (t, 8, '239.1.2.3'):",
        "  one.sendto(b'from the program', (group, port)); d, a = one.recvfrom(99)",
        "  while d == b'from the program': d, a = one.recvfrom(99)",
        "  print(d, a[0])",
    )
    with wired() as kernel:
        index = socket.if_nametoindex(TAP)
        with (
            socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four,
        ):
            six.setsockopt(41, 20, socket.inet_pton(socket.AF_INET6, "ff15::77") + struct.pack("i", index))
            six.setsockopt(41, 17, index)
            four.setsockopt(0, 35, socket.inet_aton("239.1.2.3") + socket.inet_aton(THEIRS4))
            four.setsockopt(0, 32, socket.inet_aton(THEIRS4))
            with Program(kernel, *listen) as program:
                for one, port, group, ours, size in (
                    (six, 7, "ff15::77", OURS, 19),
                    (four, 8, "239.1.2.3", OURS4, 34),
                ):
                    one.settimeout(20)
                    one.setsockopt(41 if one is six else 0, size, 0)  # what Linux sends need not come back to it
                    one.bind(("", port))
                    data, source = one.recvfrom(99)
                    assert (data, source[0]) == (b"from the program", ours)
                    one.sendto(b"from Linux", (group, port))
                assert program.output() == f"joined\nb'from Linux' {THEIRS}\nb'from Linux' {THEIRS4}\n"


def test_one_source_of_a_group() -> None:
    listen = code(
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(('::', 7))",
        "name = lambda t: struct.pack('<H6x', 10) + socket.inet_pton(socket.AF_INET6, t) + bytes(104)",
        f"s.setsockopt(41, 46, struct.pack('<i4x', 1) + name('ff35::77') + name('{THEIRS}'))",
        "print('joined')",
        "for _ in range(2): print(*s.recvfrom(99)[:1])",
    )
    with wired() as kernel:
        ip(f"addr add fd00:9::77/64 dev {TAP} nodad")
        index = socket.if_nametoindex(TAP)
        with contextlib.ExitStack() as stack:
            wanted, other = (stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) for _ in range(2))
            for one, address in ((wanted, THEIRS), (other, "fd00:9::77")):
                one.bind((address, 0))
                one.setsockopt(41, 17, index)
            with Program(kernel, *listen) as program:
                wait_for(lambda: program.text() == "joined\n", "it has joined")
                for one, data in ((other, b"unwanted"), (wanted, b"first"), (other, b"unwanted"), (wanted, b"second")):
                    one.sendto(data, ("ff35::77", 7))
                assert program.output() == "joined\nb'first'\nb'second'\n"
