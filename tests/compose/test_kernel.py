"""The public Kernel: keywords and files, all or nothing, what it lets one see."""

import asyncio
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from rumpkit import ConfigError, Kernel
from rumpkit.compose.describe import describe
from rumpkit.compose.hosts import SHARED
from rumpkit.compose.spec import InterfaceSpec, RouteSpec, Spec
from rumpkit.hosts.posix.host import PosixHost
from rumpkit.hosts.sim.host import SimHost
from rumpkit.net.ip.service import Ip
from rumpkit.net.wire.address import parse_address
from tests.house.descriptors import descriptors_before, open_descriptors


def test_keywords_and_a_file_make_the_same_kernel(tmp_path: Path) -> None:
    config = tmp_path / "k.toml"
    config.write_text(
        '[kernel]\nhostname = "h"\n[[interface]]\nlink = "switch:one"\naddress = ["10.1.0.1/24"]\n'
        '[[mount]]\npath = "/"\n[sysctl]\n"kern.max_processes" = 7\n'
    )
    keywords = Kernel(
        net="switch:one", address="10.1.0.1/24", mounts={"/": "tmpfs"}, hostname="h", sysctl={"kern.max_processes": 7}
    )
    with keywords, Kernel(config) as from_file:
        assert keywords.graph() == from_file.graph()
        assert keywords.spec == from_file.spec
        assert from_file.sysctl("kern.max_processes") == 7
        assert "net/tcp: Tcp <- RumpKernel, Ip" in from_file.graph()


def test_kernels_on_one_switch_talk_and_others_do_not() -> None:
    with (
        Kernel(net="switch:x", address="10.0.0.1/24") as a,
        Kernel(net="switch:x", address="10.0.0.2/24") as b,
        Kernel(net="switch:y", address="10.0.0.3/24") as c,
    ):
        server = b.process().listen("tcp", 7)
        client = a.process().connect("tcp", ("10.0.0.2", 7))
        session, _ = server.accept()
        client.sendall(b"hello")
        assert session.recv(10) == b"hello"
        udp = c.process().socket("udp")
        udp.settimeout(0.05)
        udp.sendto(b"?", ("10.0.0.2", 7))
        with pytest.raises(OSError):
            udp.recv(10)


def test_mounts_in_any_order_and_devices() -> None:
    with Kernel(mounts={"/a/b": "tmpfs", "/a": "tmpfs", "/": "tmpfs"}) as kernel:
        p = kernel.process()
        assert len({p.stat(path).st_dev for path in ("/", "/a", "/a/b", "/dev")}) == 4
        fd = p.open("/dev/zero", 0)
        assert p.read(fd, 4) == bytes(4)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"net": "usr"}, "there is no link 'usr'"),
        ({"net": "user", "address": "10.0.2.2/24"}, "the gateway's address"),
        ({"net": "switch:a", "forward": ["80 -> 80"]}, 'only a "user" link forwards'),
        ({"mounts": {"data": "tmpfs"}}, "is not an absolute path"),
        ({"mounts": {"/data": "tmpsf"}}, 'did you mean "tmpfs"'),
        ({"components": ["tpc"]}, 'did you mean "tcp"'),
        ({"hostname": "a b"}, "is not a host name"),
        ({"sysctl": {"kern.max_proceses": 1}}, "kern.max_processes"),
    ],
)
def test_what_cannot_be_built_leaves_nothing_behind(keywords: dict, message: str) -> None:
    before = descriptors_before()
    with pytest.raises(ConfigError, match=message):
        Kernel(**keywords)
    assert SHARED._users == 0
    assert open_descriptors() <= before


def test_closing_twice_and_the_shared_host() -> None:
    first, second = Kernel(), Kernel()
    assert first.host is second.host
    first.close()
    first.close()
    second.process().mkdir("/still", 0o755)
    second.close()
    assert SHARED._users == 0
    assert threading.active_count() == 1


def test_a_host_of_ones_own() -> None:
    host = PosixHost()
    with Kernel(host=host) as kernel:
        assert kernel.host is host
    host.close()


def test_async_with() -> None:
    async def main() -> bytes:
        async with Kernel(net="switch:aio", address="10.0.0.1/24") as kernel:
            p = kernel.process().aio
            server = await p.listen("tcp", 80)
            client = await p.connect("tcp", ("10.0.0.1", 80))
            session, _ = await server.accept()
            await client.sendall(b"awaited")
            return await session.recv(100)

    assert asyncio.run(main()) == b"awaited"


def test_a_component_of_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "plug.py"
    package.write_text(
        "from rumpkit.kern.component import component\n"
        "class Plug: pass\n"
        '@component("plug", faction="base")\n'
        'def plug(kernel: "RumpKernel") -> "Plug":\n    "A plug."\n    return Plug()\n'
    )
    info = tmp_path / "plug-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[rumpkit.components]\nplug = plug\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with Kernel(components=["plug"]) as kernel:
        assert "base/plug: Plug <- RumpKernel" in kernel.graph()
    assert "plug" in sys.modules


def test_a_link_to_the_outside_is_answered_while_nobody_calls() -> None:
    with Kernel(net="user", forward=["0 -> 80"]) as kernel:
        listener = kernel.process().listen("tcp", 80)
        port = int(kernel.forwards()[0].split(" ")[0].split(":")[1])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(b"hello")
            deadline = time.monotonic() + 20
            while kernel.counters()["tcp.passive_opens"] == 0:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            session, _ = listener.accept()
            assert session.recv(5) == b"hello"
    assert threading.active_count() == 1
    with Kernel(net="user", thread=False):
        assert threading.active_count() == 1


ROUTES = """
[[interface]]
link = "switch:routes"
address = ["10.0.0.2/24"]
"""


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ('to = "defualt"', "routes.toml:6: route[0].to: 'defualt' is not an IPv4 address"),
        ('to = "10.8.0.1/16"\ngateway = "10.0.0.1"', 'has bits behind its prefix (write "10.8.0.0/16")'),
        ('to = "default"', "routes.toml:5: route[0]: leads nowhere"),
        ('to = "default"\ngateway = "10.1.0.1"', "routes.toml:7: route[0].gateway: no interface's network has this"),
        ('to = "default"\ninterface = "vif1"', "there is no interface 'vif1' (did you mean \"vif0\"?)"),
        ('to = "default"\ninterface = "vif0"\nsource = "10.0.0.3"', "route[0].source: no interface has this address"),
        ('to = "default"\ngateway = "10.0.0.1"\nmetrics = 3', 'did you mean "metric"?'),
    ],
)
def test_routes_that_cannot_be(route: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "routes.toml"
    file.write_text(f"{ROUTES}[[route]]\n{route}\n")
    with pytest.raises(ConfigError) as caught:
        Kernel(file)
    assert message in str(caught.value)


def test_routes_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "routes.toml"
    file.write_text(f'{ROUTES}gateway = "10.0.0.1"\nmetric = 7\n[[route]]\nto = "10.8.0.0/16"\ngateway = "10.0.0.9"\n')
    with Kernel(file) as kernel:
        ip = kernel.core.service("Ip")
        assert isinstance(ip, Ip)
        rows = [(row.prefix, row.gateway, row.metric) for row in ip.route_rows() if row.origin == "static"]
        assert rows == [("10.8.0.0/16", "10.0.0.9", 0), ("0.0.0.0/0", "10.0.0.1", 7)]


def test_names_of_a_config_come_before_others() -> None:
    spec = Spec(
        interface=[InterfaceSpec("switch:n", address=["10.0.0.2/24"], dns=["10.0.0.1"], search=["example.org"])]
    )
    with Kernel(spec) as kernel:
        ip = kernel.core.service("Ip")
        assert isinstance(ip, Ip)
        assert ip.names.resolv_conf() == "nameserver 10.0.0.1\nsearch example.org\n"


@pytest.mark.parametrize(
    ("interface", "message"),
    [
        ('link = "user"\naddress = "dhcp"', "k.toml:3: interface[0].address[0]: there is no DHCP server behind 'user'"),
        ('link = "tun:t"\naddress = ["dhcp"]', "there is no DHCP server behind 'tun:t'"),
        ('link = "switch:n"\naddress = ["dhcp", "dhcp"]', "'dhcp' stands here twice"),
        ('link = "switch:n"\naddress = "dchp"', "'dchp' is not an IPv4 address"),
        ('link = "switch:n"\ndns = ["10.0.0.1:53"]', "interface[0].dns[0]: '10.0.0.1:53' is not an IPv6 address"),
        ('link = "switch:n"\nsearch = ["a b"]', "interface[0].search[0]: 'a b' is not a domain name"),
    ],
)
def test_addresses_and_names_that_cannot_be(interface: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "k.toml"
    file.write_text(f"[[interface]]\n{interface}\n")
    with pytest.raises(ConfigError) as caught:
        Kernel(file)
    assert message in str(caught.value)


def test_a_kernel_waits_for_dhcp_only_as_long_as_it_is_told() -> None:
    with Kernel(net="switch:nobody", address="dhcp") as kernel:
        assert not kernel.online(0.05)
        assert kernel.counters()["dhcp.messages_out"] == 1
    with Kernel() as kernel:
        assert kernel.online()


IPV6 = 'link = "switch:six"\naddress = ["10.0.0.2/24", "fd00::2/64"]\ngateway = ["10.0.0.1", "fe80::1"]\n'


def test_addresses_of_both_versions_can_be_used_at_once() -> None:
    spec = Spec(
        interface=[InterfaceSpec("switch:six", address=["10.0.0.2/24", "fd00::2/64"], gateway=["10.0.0.1", "fe80::1"])],
        route=[RouteSpec("fd07::/16", gateway="fd00::9")],
    )
    with Kernel(spec, host=SimHost(seed=1)) as kernel:
        ip = kernel.core.service("Ip")
        assert isinstance(ip, Ip) and ip.v6 is not None
        assert not ip.v6.is_detecting() and ip.v6.is_local(parse_address("fd00::2"))
        routes = [(row.prefix, row.gateway) for row in ip.route_rows() if row.origin == "static"]
        assert routes == [("0.0.0.0/0", "10.0.0.1"), ("fd07::/16", "fd00::9"), ("::/0", "fe80::1")]


@pytest.mark.parametrize(
    ("interface", "there"),
    [
        (InterfaceSpec("switch:six", address=["10.0.0.2/24"]), False),
        (InterfaceSpec("switch:six", address=["10.0.0.2/24"], autoconf=False), False),
        (InterfaceSpec("switch:six", autoconf=True), True),
        (InterfaceSpec("switch:six", address=["fd00::2/64"]), True),
    ],
)
def test_a_kernel_has_ipv6_where_its_config_says_anything_of_it(interface: InterfaceSpec, there: bool) -> None:
    with Kernel(Spec(interface=[interface]), host=SimHost(seed=1)) as kernel:
        ip = kernel.core.service("Ip")
        assert isinstance(ip, Ip)
        assert (ip.v6 is not None) == there


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (IPV6.replace("fe80::1", "fd01::1"), "interface[0].gateway[1]: fd01::1 is in no network of this interface"),
        (IPV6.replace("fe80::1", "10.0.0.9"), "gateway[0]: there is another gateway of this version of IP"),
        (IPV6.replace("fd00::2/64", "fd00::2/129"), "has no prefix length from 0 to 128"),
        (IPV6 + '[[route]]\nto = "fd07::/16"\ngateway = "10.0.0.9"', "route[0].gateway: 10.0.0.9 is no IPv6 address"),
        (IPV6 + "mtu = 1279", "interface[0].mtu: 1279 is outside 1280 to 65535"),
        ('link = "user"\naddress = ["fd00::2/64"]', 'fd00::2/64 leaves a "user" link no room'),
        ('link = "user"\ngateway = "fd00::1"', "'fd00::1' is not an IPv4 address"),
    ],
)
def test_ipv6_that_cannot_be(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "six.toml"
    file.write_text(f"[[interface]]\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        Kernel(file)
    assert message in str(caught.value)


TWO = '[[interface]]\nlink = "switch:one"\n[[interface]]\nlink = "switch:two"\n'


@pytest.mark.parametrize(
    ("interface", "message"),
    [
        ('link = "vlan:vif0"', "k.toml:7: interface[2].link: 'vif0' is no VLAN (write \"vlan:vif0.10\""),
        ('link = "vlan:vif0.4095"', "'vif0.4095' is no VLAN"),
        ('link = "vlan:vif5.10"', "there is no earlier interface 'vif5'"),
        ('link = "vlan:lo.10"', "interface[2]: lo is no Ethernet interface"),
        ('link = "vlan:vif0.10"\nmac = "02:00:00:00:00:01"', "a VLAN has the MAC address of the interface"),
        ('link = "bridge"', "interface[2].ports: a bridge needs ports"),
        ('link = "bridge"\nports = ["vif0", "vif7"]', "interface[2].ports[1]: there is no earlier interface 'vif7'"),
        ('link = "bridge"\nports = ["vif0", "vif0"]', "'vif0' stands here twice"),
        ('link = "switch:x"\nports = ["vif0"]', 'only a "bridge" has ports'),
        (
            'link = "bridge"\nports = ["vif0"]\n[[interface]]\nlink = "bridge"\nports = ["vif0"]',
            "two bridges cannot join the same interface",
        ),
        (
            'link = "switch:x"\naddress = "10.0.0.1/8"\n[[interface]]\nlink = "bridge"\nports = ["vif2"]',
            "interface[3].ports: 'vif2' has an address of its own (give it to the bridge)",
        ),
    ],
)
def test_vlans_and_bridges_that_cannot_be(interface: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "k.toml"
    file.write_text(f"{TWO}\n[[interface]]\n{interface}\n")
    with pytest.raises(ConfigError) as caught:
        Kernel(file)
    assert message in str(caught.value)


def test_vlans_and_a_bridge_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "k.toml"
    file.write_text(
        f'{TWO}[[interface]]\nname = "br0"\nlink = "bridge"\nports = ["vif0", "vif1"]\naddress = "10.0.0.1/24"\n'
        '[[interface]]\nlink = "vlan:br0.7"\naddress = ["10.7.0.1/24"]\nmtu = 1400\n'
    )
    with Kernel(file) as kernel:
        ip = kernel.core.service("Ip")
        assert isinstance(ip, Ip)
        rows = [(row.name, row.kind, row.mtu, row.addresses[:1]) for row in ip.interface_rows()[3:]]
        assert rows == [("br0", "bridge", 1500, ("10.0.0.1/24",)), ("br0.7", "vlan", 1400, ("10.7.0.1/24",))]
        assert kernel.sysctl("net.bridge.ageing_seconds") == 300
    assert describe(file)[0].tables()[1].rows[2][:3] == ("br0", "bridge of vif0, vif1", "10.0.0.1/24")


def test_descriptions_know_of_ipv6(tmp_path: Path) -> None:
    file = tmp_path / "six.toml"
    file.write_text(f"[[interface]]\n{IPV6}autoconf = false\n")
    made = describe(file)[0].as_json()
    assert made["interfaces"][0]["address"] == "10.0.0.2/24, fd00::2/64"
    assert made["interfaces"][0]["gateway"] == "10.0.0.1, fe80::1"
    assert "net/ipv6" in [row["component"] for row in made["components"]]
