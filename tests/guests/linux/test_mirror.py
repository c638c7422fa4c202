"""What a program is told of interfaces, addresses and routes: what is true of the kernel, by whatever way it asks."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from rumpkit import Kernel
from rumpkit.compose.spec import InterfaceSpec, Spec
from rumpkit.guests.linux import mirror
from rumpkit.net.ip.service import Ip
from tests.guests.linux.guest_helpers import (
    HERE,
    HERE6,
    Output,
    guest,
    python,
    two_kernels,
    two_kernels_with_ipv6,
)
from tests.guests.linux.sandbox_helpers import become_nobody, in_child

pytestmark = [pytest.mark.needs("linux", "seccomp", "netns"), pytest.mark.once]


@pytest.fixture(params=["self", pytest.param("nobody", marks=pytest.mark.needs("nobody", "userns"))])
def as_user(request):
    if request.param == "self":
        return lambda function: function()
    return lambda function: in_child(function, become_nobody)


def says(kernel: Kernel, command: list[str]) -> str:
    """What a command prints on a kernel."""
    output = Output()
    with guest(kernel, command, output) as one:
        assert one.wait(60) == 0
    return output.text()


def on_schedule(kernel: Kernel, function: Callable[[Ip], Any]) -> Any:
    """Do something with a kernel's IP."""
    kernel.host.enter()
    try:
        service = kernel.core.service("Ip")
        assert isinstance(service, Ip)
        return function(service)
    finally:
        kernel.host.leave()


def picture(kernel: Kernel) -> mirror.Picture:
    return on_schedule(kernel, lambda ip: mirror.picture(kernel.core))


@pytest.mark.needs("ip")
class TestIproute2:
    def test_links_and_addresses(self, as_user):
        def check_it():
            with two_kernels_with_ipv6() as (kernel, _):
                links = json.loads(says(kernel, ["ip", "-j", "addr"]))
                assert [(link["ifindex"], link["ifname"]) for link in links] == [(1, "lo"), (2, "vif0")]
                wanted = {(one.address, one.length) for one in picture(kernel).addresses}
                got = {(text(one["local"]), one["prefixlen"]) for link in links for one in link["addr_info"]}
                assert got == wanted
                shown, own = links[1], picture(kernel).links[1]
                assert (bytes.fromhex(shown["address"].replace(":", "")), shown["mtu"]) == (own.mac, own.mtu)
                assert shown["operstate"] == "UP"
                assert {"BROADCAST", "MULTICAST", "UP", "LOWER_UP"} == set(shown["flags"])
                assert shown["addr_info"][0]["broadcast"] == "10.9.0.255"

        as_user(check_it)

    def test_routes(self, as_user):
        def check_it():
            with two_kernels() as (kernel, _):
                on_schedule(kernel, lambda ip: ip.add_route("default", "10.9.0.2"))
                on_schedule(kernel, lambda ip: ip.add_route("10.77.0.0/16", "10.9.0.3", None, 7, HERE))
                on_schedule(kernel, lambda ip: ip.add_route("10.78.0.0/16", None, "vif0"))
                lines = says(kernel, ["ip", "route"]).splitlines()
                assert [line.rstrip() for line in lines] == [
                    "default via 10.9.0.2 dev vif0 proto static",
                    "10.9.0.0/24 dev vif0 proto kernel scope link src 10.9.0.1",
                    "10.77.0.0/16 via 10.9.0.3 dev vif0 proto static src 10.9.0.1 metric 7",
                    "10.78.0.0/16 dev vif0 proto static scope link",
                ]
                assert says(kernel, ["ip", "route", "get", "10.77.1.1"]).startswith("10.77.1.1 via 10.9.0.3 dev vif0")

        as_user(check_it)

    @pytest.mark.needs("ipv6")
    def test_routes_of_ipv6(self, as_user):
        def check_it():
            with two_kernels_with_ipv6() as (kernel, _):
                on_schedule(kernel, lambda ip: ip.add_route("default", "fd00:9::2"))
                lines = says(kernel, ["ip", "-6", "route"]).splitlines()
                assert [line.split(" pref ")[0] for line in lines] == [
                    "fd00:9::/64 dev vif0 proto kernel metric 256",
                    "default via fd00:9::2 dev vif0 proto static metric 1024",
                ]

        as_user(check_it)

    def test_a_program_can_change_nothing(self, as_user):
        def check_it():
            with two_kernels() as (kernel, _):
                for change in ("link set vif0 down", "addr add 10.1.1.1/8 dev vif0", "rule add from all lookup 7"):
                    script = f"ip {change} 2>&1; test $? = 2"
                    assert "Operation not permitted" in says(kernel, ["sh", "-c", script])

        as_user(check_it)


def text(address: str) -> bytes:
    from rumpkit.net.wire.address import parse_address

    return parse_address(address)


ASK = """
import fcntl
names = sorted(os.listdir('/sys/class/net')); print(socket.if_nameindex(), names)
s = socket.socket(type=socket.SOCK_DGRAM)
def ask(number): return fcntl.ioctl(s, number, struct.pack('16s24x', b'vif0'))[16:]
print(socket.inet_ntoa(ask(0x8915)[4:8]), socket.inet_ntoa(ask(0x891B)[4:8]), ask(0x8927)[2:8].hex(), struct.unpack_from('i', ask(0x8921)))
print(open('/sys/class/net/vif0/address').read().strip(), [l.split(':')[0].strip() for l in open('/proc/net/dev')][2:])
"""


def test_ioctls_and_files(as_user):
    def check_it():
        with two_kernels() as (kernel, _):
            output = Output()
            with python(kernel, ASK, output) as one:
                assert one.wait(60) == 0
            mac = picture(kernel).links[1].mac
            assert output.text().splitlines() == [
                "[(1, 'lo'), (2, 'vif0')] ['lo', 'vif0']",
                f"{HERE} 255.255.255.0 {mac.hex()} (1500,)",
                f"{mac.hex(':')} ['lo', 'vif0']",
            ]

    as_user(check_it)


WATCH = """
def list(): return os.popen(sys.argv[1]).read()
print('ready'); sys.stdout.flush()
while sys.argv[2] not in list(): time.sleep(0.01)
while sys.argv[3] and sys.argv[3] in list(): time.sleep(0.01)
"""


@pytest.mark.needs("ip")
@pytest.mark.parametrize(
    ("command", "appears", "goes", "change"),
    [
        ("ip addr", "10.9.0.99", "", lambda ip: ip.add_address("vif0", "10.9.0.99/24")),
        ("ip addr", "vif0", "10.9.0.1/24", lambda ip: ip.remove_address("vif0", "10.9.0.1")),
        ("ip route", "via 10.9.0.2", "", lambda ip: ip.add_route("default", "10.9.0.2")),
        ("ip link", "state DOWN", "LOWER_UP", lambda ip: ip.set_up("vif0", False)),
        ("ip link show vif0", "", "vif0", lambda ip: ip.remove_interface("vif0")),
    ],
)
def test_changes_are_followed(command, appears, goes, change):
    with two_kernels() as (kernel, _):
        code = WATCH.replace("sys.argv[1]", repr(command)).replace("sys.argv[2]", repr(appears))
        # lo stays up
        code = code.replace("sys.argv[3]", repr("vif0: <BROADCAST,MULTICAST,UP" if goes == "LOWER_UP" else goes))
        output = Output()
        with python(kernel, code, output) as one:
            while "ready" not in output.text():
                assert one.exit_code is None
            on_schedule(kernel, change)
            assert one.wait(60) == 0


def test_routes_come_back_with_their_link():
    with two_kernels() as (kernel, _):
        on_schedule(kernel, lambda ip: ip.add_route("default", "10.9.0.2"))
        code = (
            "def routes(): return open('/proc/net/route').read().count('vif0')\n"
            "for wanted in 2, 0, 2:\n"
            "  while routes() != wanted: time.sleep(0.01)\n"
            "  print(wanted)\n"
        )
        output = Output()
        with python(kernel, code, output) as one:
            for lines, up in ((1, False), (2, True)):
                while output.text().count("\n") < lines:
                    assert one.exit_code is None
                on_schedule(kernel, partial(Ip.set_up, name="vif0", up=up))
            assert one.wait(60) == 0


def test_interfaces_in_numbers_and_orders_of_their_own():
    links = [InterfaceSpec(f"switch:several{n}", address=[f"10.{n}.0.1/24"]) for n in range(3)]
    with Kernel(Spec(interface=links)) as kernel:
        on_schedule(kernel, lambda ip: ip.remove_interface("vif1"))
        output = Output()
        with python(kernel, "print(socket.if_nameindex())\n", output) as one:
            assert one.wait(60) == 0
        assert output.text() == "[(1, 'lo'), (2, 'vif0'), (4, 'vif2')]\n"


def test_where_taps_cannot_be_made_something_else_shows_the_addresses(monkeypatch):
    monkeypatch.setattr(mirror.Mirror, "devices", lambda self: 0)
    with two_kernels_with_ipv6() as (kernel, there):
        output = Output()
        code = (
            "text = open('/proc/net/fib_trie').read(); print(HERE in text)\n"
            "print('vif0' in open('/proc/net/route').read(), open('/sys/class/net/vif0/address').read().strip())\n"
            "print('fd0000090000000000000000000000' in open('/proc/net/if_inet6').read())\n"
            "s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(20); s.sendto(b'x', (THERE, 53)); print(s.recv(9))\n"
        )
        echo = "s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 53)); s.sendto(*s.recvfrom(9)); time.sleep(60)"
        with python(there, echo) as other:
            other.wait_listening(53, 20)
            with python(kernel, code, output) as one:
                assert one.wait(60) == 0
        mac = picture(kernel).links[1].mac.hex(":")
        assert output.text() == f"True\nTrue {mac}\nTrue\nb'x'\n"


@pytest.mark.needs("ipv6")
def test_zones_are_the_kernels_interfaces():
    serve = (
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(('::', 53))\n"
        "while 1: d, a = s.recvfrom(99); s.sendto(repr(a[3]).encode(), a)\n"
    )
    code = (
        "two = socket.if_nametoindex('vif0')\n"
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.settimeout(20)\n"
        "s.sendto(b'x', ('ff02::1', 53, 0, two)); d, a = s.recvfrom(99); print(d, a[3])\n"
        "s.sendto(b'x', a); d, b = s.recvfrom(99); print(d, a == b)\n"
        "s.connect(a); s.send(b'x'); print(*s.recvmsg(9)[:1], s.getpeername() == a)\n"
        "c = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); c.settimeout(20); c.connect((a[0], 9, 0, two)); c.send(b'x')\n"
        "try: c.recv(1)\n"
        "except ConnectionRefusedError: print('refused')\n"
    )
    with two_kernels_with_ipv6() as (kernel, there):
        output = Output()
        with python(there, serve) as other:
            other.wait_listening(53, 20)
            with python(kernel, code, output) as one:
                assert one.wait(60) == 0
        assert output.text() == "b'2' 2\nb'2' True\nb'2' True\nrefused\n"


def test_a_picture_has_what_can_be_used_alone():
    with two_kernels_with_ipv6() as (kernel, _):
        before = picture(kernel)
        assert before == picture(kernel) != mirror.NOTHING
        assert {HERE6, HERE} <= {_shown(one.address) for one in before.addresses}
        on_schedule(kernel, lambda ip: ip.set_up("vif0", False))
        assert [way for way in picture(kernel).ways if way.number == 2] == []


def _shown(address: bytes) -> str:
    from rumpkit.net.wire.address import format_address

    return format_address(address)
