"""Routes, neighbours and sysctls of a running kernel, over its control socket."""

import pytest

from rumpkit import Kernel
from rumpkit.clients.control.client import connect
from rumpkit.clients.control.protocol import ControlError
from rumpkit.compose.errors import ConfigError
from tests.clients.control.kernels import runtime  # noqa: F401 (a fixture)


@pytest.fixture
def lan():
    with (
        Kernel(net="switch:lan", address="10.0.0.1/24", control=True) as kernel,
        Kernel(net="switch:lan", address="10.0.0.2/24") as peer,
        connect() as control,
    ):
        yield kernel, peer, control


def prefixes(control):
    return [(row["prefix"], row["gateway"], row["metric"]) for row in control.call("routes")]


def test_interfaces(lan):
    kernel, _, control = lan
    rows = {row["name"]: row for row in control.call("interfaces")}
    assert list(rows) == ["lo", "vif0"]
    [own] = rows["vif0"]["addresses"]
    assert (own["address"], own["length"], own["broadcast"]) == ("10.0.0.1", 24, "10.0.0.255")
    assert {"UP", "BROADCAST"} <= set(rows["vif0"]["flags"])
    assert "LOOPBACK" in rows["lo"]["flags"] and "BROADCAST" not in rows["lo"]["flags"]
    assert rows["vif0"]["counters"]["frames_out"] == kernel.counters()["interface.vif0.frames_out"]


def test_routes_come_and_go(lan):
    _, _, control = lan
    before = prefixes(control)
    control.call("route_add", prefix="192.168.7.0/24", gateway="10.0.0.2", metric=5)
    control.call("route_add", prefix="default", gateway="10.0.0.2")
    control.call("route_add", prefix="192.168.8.0/24", interface="vif0")
    added = [one for one in prefixes(control) if one not in before]
    assert sorted(added) == [("0.0.0.0/0", "10.0.0.2", 0), ("192.168.7.0/24", "10.0.0.2", 5), ("192.168.8.0/24", "", 0)]
    with pytest.raises(ControlError, match="no such route"):
        control.call("route_delete", prefix="192.168.7.0/24", metric=6)
    control.call("route_delete", prefix="192.168.7.0/24")
    control.call("route_delete", prefix="default")
    control.call("route_delete", prefix="192.168.8.0/24", interface="vif0")
    assert prefixes(control) == before


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "needs the parameter 'prefix'"),
        ({"prefix": "1.2.3.0/24"}, "needs a gateway or an interface"),
        ({"prefix": "1.2.3.0/24", "gateway": "9.9.9.9"}, "9.9.9.9 is in no network of an interface"),
        ({"prefix": "1.2.3.0/24", "gateway": "hop"}, "'hop' is not"),
        ({"prefix": "1.2.3.0/99", "interface": "vif0"}, "1.2.3.0/99"),
        ({"prefix": "1.2.3.0/24", "interface": "vif7"}, "vif7: No such device"),
        ({"prefix": 7}, "is of type str"),
        ({"prefix": "1.2.3.0/24", "gateway": "10.0.0.2", "metric": True}, "is of type int"),
    ],
)
def test_routes_that_cannot_be(lan, parameters, message):
    _, _, control = lan
    before = prefixes(control)
    with pytest.raises(ControlError, match=message):
        control.call("route_add", **parameters)
    assert prefixes(control) == before


def test_connected_routes_stay(lan):
    _, _, control = lan
    with pytest.raises(ControlError, match="follow from addresses"):
        control.call("route_delete", prefix="10.0.0.0/24")


def test_neighbours_are_shown_and_forgotten(lan):
    kernel, _, control = lan
    with kernel.process() as process, process.socket("udp") as socket:
        socket.sendto(b"x", ("10.0.0.2", 9))
        [row] = control.call("neighbours")
        assert (row["address"], row["interface"], row["state"]) == ("10.0.0.2", "vif0", "reachable")
        assert row["mac"].count(":") == 5 and row["expires"] > 50_000
        assert control.call("neighbour_delete", address="10.0.0.2") == {"interfaces": ["vif0"]}
        assert control.call("neighbours") == []
        with pytest.raises(ControlError, match=r"no neighbour 10.0.0.2 is known on vif0"):
            control.call("neighbour_delete", address="10.0.0.2", interface="vif0")
        socket.sendto(b"x", ("10.0.0.2", 9))
        assert len(control.call("neighbours")) == 1


def test_sysctls(lan):
    kernel, _, control = lan
    assert control.call("sysctls", name="net.inet.ip.ttl")[0]["value"] == 64
    assert control.call("sysctl_set", name="net.inet.ip.ttl", value=9) == {"before": 64, "value": 9}
    assert kernel.sysctl("net.ip.ttl") == kernel.sysctl("net.ipv4.ip_default_ttl") == 9
    [row] = control.call("sysctls", name="net.ip.ttl")
    assert (row["value"], row["default"], row["low"], row["high"]) == (9, 64, 1, 255)
    assert len(control.call("sysctls")) > 40
    with pytest.raises(ControlError, match=r"must be from 1 to 255, not 256"):
        control.call("sysctl_set", name="net.ip.ttl", value=256)
    with pytest.raises(ControlError, match=r"no sysctl 'net.ip.tll'.*did you mean net.ip.ttl"):
        control.call("sysctl_set", name="net.ip.tll", value=1)
    with pytest.raises(ControlError, match=r"no sysctl 'net.tpc'.*did you mean net.tcp"):
        control.call("sysctls", name="net.tpc")


def test_a_config_may_use_other_spellings_too():
    with Kernel(net="switch:lan", address="10.0.0.1/24", sysctl={"net.inet.ip.ttl": 7}) as kernel:
        assert kernel.sysctl("net.ip.ttl") == 7
    with pytest.raises(ConfigError, match="must be from 1 to 255"):
        Kernel(net="switch:lan", address="10.0.0.1/24", sysctl={"net.inet.ip.ttl": 0})
    with pytest.raises(ConfigError, match=r"no such sysctl .*net.ip.ttl"):
        Kernel(net="switch:lan", address="10.0.0.1/24", sysctl={"net.inet.ip.tll": 7})
