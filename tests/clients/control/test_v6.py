"""Addresses, neighbours, routes and pings of IPv6, over the control socket."""

import pytest

from rumpkit import AF_INET6, SOCK_DGRAM, SOCK_STREAM, Kernel
from rumpkit.clients.control.client import connect
from rumpkit.clients.control.protocol import ControlError
from rumpkit.hosts.posix.host import PosixHost
from tests.clients.control.kernels import runtime  # noqa: F401 (a fixture)
from tests.clients.control.test_pinging import collect
from tests.system.helpers.rump import eventually


@pytest.fixture(scope="module")
def kernels():
    """Two kernels, whose addresses have become valid."""
    with (
        Kernel(net="switch:lan", address=["fd00::1/64", "10.0.0.1/24"], thread=True) as kernel,
        Kernel(net="switch:lan", address=["fd00::2/64"]) as peer,
    ):
        assert isinstance(kernel.host, PosixHost)
        kernel.host.start_thread()
        yield kernel, peer


@pytest.fixture
def lan(kernels):
    kernel, peer = kernels
    if kernel._control is not None:  # its socket was in another test's directory
        kernel._control.close()
        kernel._control = None
    kernel.listen()
    with connect() as control:

        def valid():
            rows = {row["name"]: row for row in control.call("interfaces")}
            return all(own["state"] == "valid" for own in rows["vif0"]["addresses"])

        eventually(valid)
        yield kernel, peer, control


def test_addresses_with_their_states(lan):
    _, _, control = lan
    [row] = [row for row in control.call("interfaces") if row["name"] == "vif0"]
    found = {own["address"]: own for own in row["addresses"]}
    assert found["fd00::1"]["length"] == 64
    assert found["10.0.0.1"]["broadcast"] == "10.0.0.255"
    assert [own["origin"] for address, own in found.items() if address.startswith("fe80::")] == ["link-local"]


def test_ping_neighbours_and_routes(lan):
    _, _, control = lan
    for _ in range(100):  # until the peer's address is valid, too
        parts, result = collect(control.stream("ping", destination="fd00::2", count=1, timeout=500))
        if result["received"]:
            break
    assert parts[0]["from"] == "fd00::2" and parts[0]["intact"]
    [row] = [row for row in control.call("neighbours") if row["address"] == "fd00::2"]
    assert row["state"] == "reachable" and row["mac"]
    assert control.call("neighbour_delete", address="fd00::2") == {"interfaces": ["vif0"]}
    with pytest.raises(ControlError, match="no neighbour fd00::2"):
        control.call("neighbour_delete", address="fd00::2")
    control.call("route_add", prefix="2001:db8::/32", gateway="fd00::2")
    assert any(row["prefix"] == "2001:db8::/32" and row["gateway"] == "fd00::2" for row in control.call("routes"))
    control.call("route_delete", prefix="2001:db8::/32")


def test_ping_of_ourselves(lan):
    _, _, control = lan
    _, result = collect(control.stream("ping", destination="::1", count=2, interval=10))
    assert result["received"] == 2


def test_sockets_of_both_versions(lan):
    kernel, _, control = lan
    with kernel.process() as process:
        listening = process.socket(AF_INET6, SOCK_STREAM)
        process.bind(listening, ("::", 80))
        process.listen(listening, 5)
        client = process.socket(AF_INET6, SOCK_STREAM)
        process.connect(client, ("::1", 80))
        datagrams = process.socket(AF_INET6, SOCK_DGRAM)
        process.bind(datagrams, ("::", 53))
        rows = [(row["protocol"], row["state"], row["local"], row["remote"]) for row in control.rows("sockets")]
    assert sorted(rows) == [
        ("tcp", "ESTABLISHED", "::1", "::1"),
        ("tcp", "ESTABLISHED", "::1", "::1"),
        ("tcp", "LISTEN", "*", ""),
        ("udp", "UNCONN", "*", "*"),
    ]
