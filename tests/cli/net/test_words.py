"""What the verbs of `rump net` make of their words, and of what a kernel says."""

import argparse

import pytest

from rumpkit.cli.main import parser
from rumpkit.cli.net import TOOLS, capture, common, module, ping, route, ss, stat
from rumpkit.cli.net.ifconfig import lines


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("default 10.0.0.1", {"prefix": "default", "gateway": "10.0.0.1"}),
        ("default via 10.0.0.1 dev vif0", {"prefix": "default", "gateway": "10.0.0.1", "interface": "vif0"}),
        ("-net 10.0.0.0/8 gw 1.2.3.4 metric 7", {"prefix": "10.0.0.0/8", "gateway": "1.2.3.4", "metric": 7}),
        ("10.0.0.0/8 dev vif0 src 10.1.1.1", {"prefix": "10.0.0.0/8", "interface": "vif0", "source": "10.1.1.1"}),
    ],
)
def test_routes(words, meant):
    assert route.parse(words.split()) == meant


@pytest.mark.parametrize("words", ["", "default 1.2.3.4 5.6.7.8", "default via", "default dev vif0 metric x", "-net"])
def test_routes_that_make_no_sense(words):
    with pytest.raises(ValueError):
        route.parse(words.split())


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("", {}),
        ("tcp", {"protocol": "tcp"}),
        ("tcp and host ::1 and port 80", {"protocol": "tcp", "host": "::1", "port": 80}),
        ("port 53 udp", {"protocol": "udp", "port": 53}),
    ],
)
def test_filters(words, meant):
    assert capture.parse(words.split()) == meant


@pytest.mark.parametrize("words", ["or", "host", "port 0", "port 65536", "port 1 port 2", "tcp arp", "src 1.2.3.4"])
def test_filters_that_make_no_sense(words):
    with pytest.raises(ValueError):
        capture.parse(words.split())


@pytest.mark.parametrize(("text", "value"), [("1", 1.0), ("0.2", 0.2), ("86400", 86400.0)])
def test_seconds(text, value):
    assert common.seconds(text) == value


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "nan", "inf", "1e9"])
def test_what_are_no_seconds(text):
    with pytest.raises(argparse.ArgumentTypeError):
        common.seconds(text)


def test_endpoints():
    assert common.endpoint("10.0.0.1", 80) == "10.0.0.1:80"
    assert common.endpoint("fd00::1", 80) == "[fd00::1]:80"
    assert common.endpoint("*", 0) == common.endpoint("", 0) == "*:*"


def test_which_counters_a_pattern_means():
    assert stat._chosen("tcp.timeouts", [])
    assert stat._chosen("tcp.timeouts", ["TCP"])
    assert stat._chosen("tcp.timeouts", ["*time*"])
    assert not stat._chosen("tcp.timeouts", ["udp", "timeouts"])
    assert not stat._chosen("", ["*"])


def test_a_connection_that_has_only_begun():
    info = {
        "congestion": "cubic", "options": [], "rto": 1_000_000, "rtt": None, "rttvar": 0, "min_rtt": None, "mss": 0,
        "path_mtu": 1500, "cwnd": 14600, "ssthresh": None, "flight": 1, "recovering": True, "last_sent": None,
        "last_received": None, "timer": {"name": "on", "in": 900, "count": 2},
    }  # fmt: skip
    text = ss.inside(info, True, True)
    assert "timer:(on,900ms,2)" in text and "rto:1000" in text and "recovering" in text
    assert "rtt:" not in text and "ssthresh" not in text
    assert ss.inside(info, False, False) == ""
    assert ss.inside(None, True, True) == ss.inside({"timer": None}, True, True) == ""


def test_ping_lines():
    answer = {"bytes": 64, "from": "10.0.0.2", "sequence": 3, "ttl": 64}
    assert (
        ping._line({**answer, "time": 1234, "intact": True})
        == "64 bytes from 10.0.0.2: icmp_seq=3 ttl=64 time=1.234 ms"
    )
    assert ping._line({**answer, "time": 5, "intact": False}).endswith("time=0.005 ms (damaged)")
    assert ping._line({**answer, "duplicate": True}).endswith("(DUP!)")
    assert ping._line({"sequence": 3, "error": "No route to host"}) == "ping: icmp_seq=3: No route to host"


def test_an_interface_with_addresses_of_both_versions():
    counters = {"frames_in": 1, "bytes_in": 2, "frames_out": 3, "bytes_out": 4, "down_in": 5, "news": 6}
    v4 = {"address": "10.0.0.1", "length": 24, "broadcast": "10.0.0.255", "state": "valid", "origin": "manual"}
    v6 = {
        "address": "fe80::1",
        "length": 64,
        "broadcast": "",
        "state": "tentative",
        "origin": "link-local",
        "deprecated": True,
    }
    row = {
        "name": "vif0",
        "flags": ["UP"],
        "mtu": 1500,
        "mac": "",
        "kind": "tun",
        "addresses": [v4, v6],
        "counters": counters,
    }
    text = "\n".join(lines(row))
    assert "inet 10.0.0.1/24  broadcast 10.0.0.255\n" in text
    assert "inet6 fe80::1/64  tentative  link-local  deprecated\n" in text
    assert "down_in 5  news 6" in text


def test_every_verb_has_help_with_examples():
    top = parser("net")
    names = [name for one in TOOLS for name in one.names]
    assert len(names) == len(set(names))
    needed = {"ping": ["10.0.0.1"], "capture": ["-o", "x"]}
    for one in TOOLS:
        assert "examples:" in module(one).EPILOG
        options = top.parse_args(["net", one.names[-1], *needed.get(one.names[0], ())])
        assert options.tool in one.names
