"""DHCP from dnsmasq over a TAP: addresses, routes and names, which programs use; renewals, conflicts, releases."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rumpkit import Kernel
from rumpkit.compose.spec import InterfaceSpec, Spec
from rumpkit.net.dhcp.service import Dhcp
from rumpkit.net.ip.service import Ip
from tests.hosts.posix.netns import ip, network_namespace
from tests.system.helpers.user import wait_for
from tests.system.test_net_captures import well_formed

pytestmark = [pytest.mark.needs("root", "tap", "netns", "ip", "dnsmasq"), pytest.mark.timeout(120)]
TAP, THEIRS = "rump0", "10.9.0.1"


class Server:
    def __init__(self, log: Path) -> None:
        self.log = log

    def says(self, what: str) -> int:
        return self.log.read_text().count(what)


@contextlib.contextmanager
def served(folder: Path, *options: str) -> Iterator[Server]:
    """A TAP with dnsmasq behind it."""
    with network_namespace():
        ip(f"tuntap add mode tap name {TAP} vnet_hdr")
        ip(f"addr add {THEIRS}/24 dev {TAP}")
        ip(f"link set {TAP} up")
        server = Server(folder / "dnsmasq.log")
        command = [
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--no-ping", "--no-resolv",
            "--no-hosts", "--log-dhcp", f"--log-facility={server.log}", f"--interface={TAP}", "--bind-interfaces",
            f"--dhcp-leasefile={folder}/leases", f"--pid-file={folder}/pid", "--dhcp-authoritative",
            "--dhcp-range=10.9.0.50,10.9.0.60,255.255.255.0,10m", "--domain=lan", "--host-record=printer.lan,10.9.0.7",
            "--dhcp-option=option:mtu,1400", "--dhcp-option=option:domain-search,lan,example.org",
            "--dhcp-option=option:classless-static-route,0.0.0.0/0,10.9.0.1,10.8.0.0/16,10.9.0.99", *options,
        ]  # fmt: skip
        with subprocess.Popen(command) as process:
            try:
                wait_for(lambda: server.log.exists() and server.says("DHCP, IP range") > 0, "dnsmasq is up")
                yield server
            finally:
                process.kill()


@contextlib.contextmanager
def kernel_on(offload: bool = True) -> Iterator[Kernel]:
    spec = Spec(interface=[InterfaceSpec(f"tap:{TAP}", address=["dhcp"], metric=7, offload=offload)])
    spec.sysctl = {"net.dhcp.probe_milliseconds": 20, "net.dhcp.retry_milliseconds": 1000}
    with Kernel(spec) as kernel:
        yield kernel


def ip_of(kernel: Kernel) -> Ip:
    service = kernel.core.service("Ip")
    assert isinstance(service, Ip)
    return service


@pytest.mark.parametrize("offload", [True, False], ids=["offload", "plain"])
def test_a_lease_and_what_comes_with_it(offload, tmp_path):
    with served(tmp_path) as server, kernel_on(offload) as kernel:
        capture = kernel.capture(tmp_path / "dhcp.pcapng")
        assert kernel.online(30)
        row = ip_of(kernel).interface_rows()[1]
        (prefix,) = row.addresses
        assert prefix.startswith("10.9.0.") and prefix.endswith("/24")
        assert row.mtu == 1400
        routes = {(one.prefix, one.gateway, one.metric) for one in ip_of(kernel).route_rows() if one.metric}
        assert routes == {("0.0.0.0/0", THEIRS, 7), ("10.8.0.0/16", "10.9.0.99", 7)}
        assert ip_of(kernel).names.resolv_conf() == f"nameserver {THEIRS}\nsearch lan example.org\n"
        address = prefix.partition("/")[0]
        assert subprocess.run(["ping", "-c", "1", "-W", "5", address], capture_output=True).returncode == 0
        assert server.says(f"DHCPACK({TAP}) {address}") == 1
        capture.close()
        well_formed(tmp_path / "dhcp.pcapng", capture.frames)


def test_renewals_reach_the_server(tmp_path):
    with served(tmp_path) as server, kernel_on() as kernel:
        assert kernel.online(30)
        dhcp = kernel.core.service("Dhcp")
        assert isinstance(dhcp, Dhcp)
        client = dhcp.clients["vif0"]
        for deadline in range(2):  # as if the half and then seven eighths of the ten minutes were over
            wait_for(client.machine.bound, "a lease")
            lease = client.machine.lease
            assert lease is not None
            kernel.host.enter()
            if deadline == 1:
                client.machine.on_deadline(kernel.host.now)
                client.machine.on_deadline(lease.rebind_at)
            else:
                client.machine.on_deadline(kernel.host.now)
            client.follow()
            kernel.host.leave()
            count = deadline + 2
            wait_for(lambda count=count: kernel.counters()["dhcp.leases"] >= count, "a renewal")  # type: ignore[misc]
        wait_for(lambda: kernel.counters()["dhcp.leases"] >= 2, "a renewal", 30)
        assert server.says("DHCPDISCOVER(") == 1
        assert server.says("DHCPACK(") >= 3


def test_an_address_that_linux_has_is_declined(tmp_path):
    with served(tmp_path, "--dhcp-range=10.9.0.50,10.9.0.50,255.255.255.0,10m") as server:
        ip(f"addr add 10.9.0.50/24 dev {TAP}")
        for number in range(51, 61):
            ip(f"addr add 10.9.0.{number}/24 dev {TAP}")
        with kernel_on() as kernel:
            wait_for(lambda: kernel.counters()["dhcp.declined"] == 1, "a conflict", 30)
            wait_for(lambda: server.says("DHCPDECLINE(") == 1, "dnsmasq hears of it")
            assert ip_of(kernel).interface_rows()[1].addresses == ()


@pytest.mark.needs("seccomp", "userns")
def test_programs_look_names_up_where_the_server_says(tmp_path):
    code = "import socket; print(socket.gethostbyname('printer.lan'), socket.gethostbyname('printer'))"
    with served(tmp_path), kernel_on() as kernel:
        assert kernel.online(30)
        output = tmp_path / "output"
        with open(output, "wb") as file:
            guest = kernel.run(["python3", "-c", code], stdout=file.fileno())
            assert guest.wait(60) == 0
        assert output.read_text() == "10.9.0.7 10.9.0.7\n"
