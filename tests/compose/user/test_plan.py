"""The addresses of a `user` link."""

import pytest

from rumpkit.compose.errors import ConfigError
from rumpkit.compose.spec import InterfaceSpec
from rumpkit.compose.user.plan import parse_server, plan


def test_the_default_network() -> None:
    made = plan(InterfaceSpec(link="user"))
    assert made.prefix() == "10.0.2.15/24"
    assert made.gateway == bytes([10, 0, 2, 2])
    assert made.name_server == bytes([10, 0, 2, 3])


def test_a_network_of_ones_own() -> None:
    made = plan(InterfaceSpec(link="user", address=["192.168.7.40/26"], gateway="192.168.7.1", forward=["8080 -> 80"]))
    assert made.gateway == bytes([192, 168, 7, 1])
    assert made.name_server == bytes([192, 168, 7, 3])
    assert made.forwards[0].port == 80


@pytest.mark.parametrize(
    ("address", "gateway", "message"),
    [
        ("10.0.2.15/30", "", "no room"),
        ("10.0.2.2/24", "", "the gateway's address"),
        ("10.0.2.3/24", "", "the name server's address"),
        ("10.0.2.15/24", "10.0.3.1", "not in the network"),
    ],
)
def test_what_does_not_fit(address: str, gateway: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(InterfaceSpec(link="user", address=[address], gateway=gateway))


def test_name_servers() -> None:
    assert parse_server("127.0.0.1:5353") == ("127.0.0.1", 5353)
    assert parse_server("9.9.9.9") == ("9.9.9.9", 53)
    for bad in ("ns.example", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000"):
        with pytest.raises(ConfigError):
            parse_server(bad)
