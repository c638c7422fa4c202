"""What /proc/net says to a program, and what Linux's tools make of it."""

from __future__ import annotations

import errno
import importlib.abc
import os
import socket
import sys
from typing import cast

import pytest

from rumpkit import Kernel
from rumpkit.clients.fuse import wire
from rumpkit.compose.spec import InterfaceSpec, Spec
from rumpkit.guests.linux import mounts, procnet
from rumpkit.hosts.posix.host import PosixHost
from rumpkit.net.ip.names import CONFIG
from rumpkit.net.ip.service import Ip
from tests.guests.linux.guest_helpers import HERE, Output, python, two_kernels, two_kernels_with_ipv6
from tests.guests.linux.sandbox_helpers import become_nobody, in_child

pytestmark = [pytest.mark.needs("linux", "seccomp", "netns", "fuse"), pytest.mark.once]

SOCKETS = """
listener = socket.create_server(('', 80)); datagram = socket.socket(type=socket.SOCK_DGRAM); datagram.bind(('', 53))
both = socket.create_server(('::', 81), family=socket.AF_INET6, dualstack_ipv6=True)
client = socket.create_connection((HERE, 80)); server = listener.accept()[0]; client.send(b'abc'); select.select([server], [], [])
def inode(s): return os.readlink(f'/proc/self/fd/{s.fileno()}')[8:-1]
def table(name): return [line.split() for line in open('/proc/net/' + name)][1:]
"""


@pytest.fixture(params=["self", pytest.param("nobody", marks=pytest.mark.needs("nobody", "userns"))])
def as_user(request):
    if request.param == "self":
        return lambda function: function()
    return lambda function: in_child(function, become_nobody)


def says(code: str, kernels=two_kernels_with_ipv6) -> str:
    output = Output()
    with kernels() as (kernel, _), python(kernel, code, output) as one:
        assert one.wait(60) == 0, output.text()
    return output.text()


def test_sockets_are_the_kernels_and_have_the_programs_inodes(as_user):
    code = (
        "rows = {row[9]: row for row in table('tcp') + table('tcp6')}\n"
        "for s, state in (listener, '0A'), (both, '0A'), (client, '01'), (server, '01'): print(rows[inode(s)][3] == state)\n"
        "print(rows[inode(listener)][1], rows[inode(both)][1][-5:], rows[inode(client)][2])\n"
        "print({row[9]: row[1] for row in table('udp')}[inode(datagram)])\n"
    )

    def check_it():
        assert says(SOCKETS + code) == "True\n" * 4 + "00000000:0050 :0051 0100090A:0050\n00000000:0035\n"

    as_user(check_it)


def test_linux_s_own_files_are_there_too(as_user):
    code = (
        "names = os.listdir('/proc/net'); print({'tcp', 'route', 'if_inet6', 'unix', 'dev'} <= set(names), len(names) == len(set(names)))\n"
        "print([n for n in names if not os.path.islink('/proc/net/' + n) and not os.path.isfile('/proc/net/' + n)])\n"
        "print('vif0' in open('/proc/net/route').read(), os.path.getsize('/proc/net/tcp'))\n"
        "try: open('/proc/net/tcp', 'w')\n"
        "except OSError as e: print(e.errno)\n"
        "try: open('/proc/net/nothing')\n"
        "except OSError as e: print(e.errno)\n"
    )

    def check_it():
        assert says(code) == "True True\n[]\nTrue 0\n30\n2\n"

    as_user(check_it)


OWN = """
listener = socket.create_server(('', 80))
me = os.getpid()
def ports(place): return [line.split()[1].rsplit(':')[1] for line in list(open(place + '/net/tcp'))[1:]]
places = ['/proc/self', '/proc/thread-self', f'/proc/{me}', f'/proc/self/task/{me}']
print([ports(place) for place in places])
print({tuple(sorted(os.listdir(place + '/net'))) for place in places} == {tuple(sorted(os.listdir('/proc/net')))})
print('vif0' in open('/proc/self/net/route').read(), flush=True)
child = os.fork()
if not child:
    print('a child', ports('/proc/self'), ports('/proc'), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print('still', ports('/proc/self'), flush=True)
os.execv('/bin/cat', ['cat', '/proc/self/net/icmp'])
"""


def test_the_programs_first_process_has_it_as_its_own(as_user):
    """The directories of the others are Linux's: none can be mounted upon before they are there."""

    def check_it():
        lines = says(OWN, two_kernels).splitlines()
        assert lines[:5] == [str([["0050"]] * 4), "True", "True", "a child [] ['0050']", "still ['0050']"]
        assert lines[5].split()[:2] == ["sl", "local_address"]  # after an exec, too

    as_user(check_it)


def test_a_file_that_is_kept_open_says_what_is_new_when_it_is_read_again():
    code = (
        "f = open('/proc/net/tcp', 'rb', buffering=0); print(len(f.read(50)), len(f.readall().splitlines()))\n"
        "s = socket.create_server(('', 82)); print(f.read(1)); f.seek(0); print(b':0052' in f.readall())\n"
        "d = os.dup(f.fileno()); f.close(); print(len(os.pread(d, 1 << 20, 0)) > 200)\n"
    )
    assert says(code, two_kernels) == "50 1\nb''\nTrue\nTrue\n"


def test_a_text_is_not_kept_once_it_has_been_read_and_made_again_for_who_goes_back() -> None:
    """As Linux asks for it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with two_kernels() as (kernel, _), ours:
        server = procnet.ProcNet(kernel.core, cast(PosixHost, kernel.host))
        server.serve(theirs.detach())

        def ask(operation: int, node: int, body: bytes) -> bytes:
            ours.send(wire.IN_HEADER.pack(wire.IN_SIZE + len(body), operation, 1, node, 0, 0, 1, 0, 0) + body)
            answer = ours.recv(1 << 20)
            assert wire.OUT_HEADER.unpack_from(answer)[1] == 0
            return answer[wire.OUT_SIZE :]

        def read(offset: int, size: int) -> bytes:
            return ask(wire.READ, node, wire.READ_IN.pack(handle, offset, size, 0, 0, 0, 0))

        try:
            node = wire.ENTRY.unpack(ask(wire.LOOKUP, wire.ROOT_ID, b"dev\0"))[0]
            handle = int.from_bytes(ask(wire.OPEN, node, bytes(8))[:8], sys.byteorder)
            text = read(0, 50)
            while piece := read(len(text), 50):
                assert server.kept() > len(text)
                text += piece
            assert b"vif0" in text and server.kept() == 0
            assert (read(len(text), 9), server.kept()) == (b"", 0)
            assert (read(50, 50), server.kept()) == (text[50:100], len(text))
            assert (read(len(text) + 9, 9), server.kept()) == (b"", 0)
            assert read(0, 1 << 16) == text
            handle = int.from_bytes(ask(wire.OPEN, node, bytes(8))[:8], sys.byteorder)
            assert read(50, 50) == text[50:100]  # of a file of which nobody has read the beginning
        finally:
            server.close()


def test_many_sockets_and_readers_at_once():
    code = (
        "many = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(300)]\n"
        "for one in many: one.bind(('', 0))\n"
        "def read(): counts.append(len(open('/proc/net/udp').readlines()))\n"
        "counts = []; threads = [threading.Thread(target=read) for _ in range(20)]\n"
        "for one in threads: one.start()\n"
        "for one in threads: one.join()\n"
        "print(set(counts))\n"
    )
    assert says(code, two_kernels) == "{301}\n"


@pytest.mark.needs("ss")
def test_ss(as_user):
    code = "print(os.popen('ss -Htanp 2>/dev/null; ss -Huanp 2>/dev/null').read().replace('  ', ''))\n"

    def check_it():
        text = says(SOCKETS + code)
        lines = [" ".join(line.split()) for line in text.splitlines()]
        listening = next(line for line in lines if ":80 " in line and "LISTEN" in line)
        assert "python3" in listening
        assert any(f"{HERE}:80" in line and "ESTAB" in line and "python3" in line for line in lines)
        assert any("*:81" in line for line in lines) and any(":53 " in line and "UNCONN" in line for line in lines)

    as_user(check_it)


def test_the_program_cannot_hang_its_kernel_by_a_file_in_its_memory():
    """A system call's argument may lie in a page that only the server of /proc/net can bring."""
    code = (
        "import ctypes, mmap\n"
        "f = open('/proc/net/tcp', 'rb'); libc = ctypes.CDLL(None, use_errno=True); libc.mmap.restype = ctypes.c_void_p\n"
        "at = libc.mmap(None, 4096, 1, 2, f.fileno(), 0); s = socket.socket()\n"
        "print(libc.bind(s.fileno(), ctypes.c_void_p(at), 16)); print(len(open('/proc/net/tcp').read()) > 100)\n"
    )
    assert says(code, two_kernels) == "-1\nTrue\n"


def test_the_greeting_is_of_the_format_that_the_server_speaks():
    assert (mounts.FUSE_MAJOR, mounts.FUSE_MINOR, mounts.FUSE_OLDEST) == (wire.MAJOR, wire.MINOR, wire.OLDEST)
    assert mounts.GREETING.format == wire.INIT_OUT.format


def test_unix_sockets_are_the_programs_own_alone(as_user):
    code = (
        "mine = socket.socket(socket.AF_UNIX); mine.bind('\\0rumpkit test'); mine.listen()\n"
        "rows = [line.split() for line in open('/proc/net/unix')][1:]; print([row[6] for row in rows] == [inode(mine)], rows[0][7])\n"
    )

    def check_it():
        assert says(SOCKETS + code) == "True @rumpkit\n"

    as_user(check_it)


@pytest.mark.needs("lsof")
def test_lsof():
    code = "print(os.popen('lsof -i -n -P 2>/dev/null').read())\n"
    lines = [line.split() for line in says(SOCKETS + code).splitlines()]
    assert ["TCP", "*:80", "(LISTEN)"] in [line[-3:] for line in lines] and ["UDP", "*:53"] in [
        line[-2:] for line in lines
    ]


def test_settings_are_the_kernels():
    code = (
        "for name in 'core/somaxconn', 'ipv4/tcp_syn_retries', 'ipv4/tcp_rmem', 'ipv4/tcp_keepalive_time':\n"
        "  print(*open('/proc/sys/net/' + name).read().split())\n"
    )
    output = Output()
    set_here = {"net.tcp.max_backlog": 777, "net.tcp.keepalive_time": 60_000}
    with (
        Kernel(net=f"switch:test{os.getpid()}", address="10.0.0.1/24", sysctl=set_here) as kernel,
        python(kernel, code, output) as one,
    ):
        assert one.wait(60) == 0
    assert output.text() == f"777\n7\n4096 {1 << 20} {64 << 20}\n60\n"


def test_name_servers_are_followed():
    code = (
        "print('ready', open('/etc/resolv.conf').read())\n"
        "while '10.0.0.99' not in open('/etc/resolv.conf').read(): time.sleep(0.01)\n"
        "print(open('/etc/resolv.conf').read())\n"
    )
    output = Output()
    spec = Spec(interface=[InterfaceSpec(f"switch:test{os.getpid()}", address=["10.0.0.1/24"], dns=["10.0.0.53"])])
    with Kernel(spec) as kernel, python(kernel, code, output) as one:
        while "10.0.0.53" not in output.text():
            assert one.exit_code is None
        kernel.host.enter()
        service = kernel.core.service("Ip")
        assert isinstance(service, Ip)
        service.names.tell("vif0", CONFIG, [bytes((10, 0, 0, 99))], ["example.org"])
        kernel.host.leave()
        assert one.wait(60) == 0
    assert "nameserver 10.0.0.99\n" in output.text() and "search example.org\n" in output.text()


def test_what_cannot_be_loaded_yet_is_an_error_and_no_silence():
    """The server's tree is loaded when the first looks, and there may be no descriptors for that."""

    class Exhausted(importlib.abc.MetaPathFinder):
        tries = 0

        def find_spec(self, name, path, target=None):
            if name.endswith(".proctree"):
                self.tries += 1
                if self.tries == 1:
                    raise OSError(errno.EMFILE, "too many open files")

    code = (
        "try: open('/proc/net/tcp')\n"
        "except OSError as problem: print(problem.errno)\n"
        "print(open('/proc/net/tcp').read().split()[0])\n"
    )

    def check_it():
        sys.modules.pop("rumpkit.guests.linux.proctree", None)
        sys.meta_path.insert(0, Exhausted())
        assert says(code, two_kernels) == f"{errno.EMFILE}\nsl\n"

    in_child(check_it, lambda: None)
