"""Sizes, durations, links and forwards as users write them."""

import pytest

from rumpkit.compose.errors import ConfigError
from rumpkit.compose.values import Forward, Link, parse_duration, parse_forward, parse_link, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("64K", 65536),
        ("64KiB", 65536),
        ("1g", 1 << 30),
        (" 2 MB ", 2 << 20),
        ("10B", 10),
        ("4 kib\n", 4096),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "M", "-1", "1.5M", "64X", "64 MM", "1i", "1K B", "1 K B", "K1", "1BB", "\N{SUPERSCRIPT TWO}"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("20ms", 20_000_000), ("3s", 3_000_000_000), ("1.5s", 1_500_000_000), ("100us", 100_000), ("2m", 120 * 10**9)],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "20", "ms", "-1s", "1 hour", "1 h s", "1.s", ".5s", "1m s", "1.2.3s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a duration"):
        parse_duration(text)


def test_links() -> None:
    assert parse_link("user") == Link("user", "")
    assert parse_link("tap:tap0") == Link("tap", "tap0")
    assert parse_link("switch:lan") == Link("switch", "lan")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tpa:tap0", 'did you mean "tap"'),
        ("tap", 'write "tap:NAME"'),
        ("user:x", 'write "user"'),
        ("", "known: bridge, switch, tap, tun, user, vlan"),
    ],
)
def test_what_is_no_link(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_link(text)


def test_forwards() -> None:
    assert parse_forward("127.0.0.1:6379 -> 6379") == Forward("tcp", "127.0.0.1", 6379, 6379)
    assert parse_forward("8080->80") == Forward("tcp", "127.0.0.1", 8080, 80)
    assert parse_forward("0.0.0.0:0 -> 53/udp") == Forward("udp", "0.0.0.0", 0, 53)
    assert str(parse_forward("8080->53/udp")) == "127.0.0.1:8080 -> 53/udp"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "80",
        "80 -> ",
        "localhost:80 -> 80",
        "127.0.0.1:80 -> 0",
        "1:70000 -> 80",
        "80 -> 80/sctp",
        "300.0.0.1:80 -> 80",
    ],
)
def test_what_is_no_forward(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_forward(text)
