"""Sysctls, counters, traces, errors: what a kernel lists by name."""

from __future__ import annotations

import pytest

from rumpkit.kern.abi.errno import EINVAL, ENOENT, MESSAGES, NAMES, error
from rumpkit.kern.counters import CounterRegistry, Counters
from rumpkit.kern.kernel import KERNEL_SYSCTLS, KernelSettings
from rumpkit.kern.sysctl import SYNONYMS, Setting, Sysctl, SysctlRegistry, canonical
from rumpkit.kern.trace import Trace, TraceEvent, TraceSink
from tests.kern.helpers import Raises


class Settings:
    def __init__(self) -> None:
        self.backlog = 5
        self.ttl = 64


TABLE = (Sysctl("backlog", 1, 9, "connections that wait"), Sysctl("ttl", 1, 255, "hops"))


@pytest.fixture
def sysctl():
    registry = SysctlRegistry()
    registry.register("net.tcp", Settings(), TABLE)
    return registry


def test_a_sysctl_is_an_attribute_within_bounds(sysctl):
    assert sysctl.get("net.tcp.backlog") == 5
    for value in (1, 9):
        sysctl.set("net.tcp.backlog", value)
        assert sysctl.get("net.tcp.backlog") == value
    for value in (0, 10, -1):
        with pytest.raises(OSError, match=r"net.tcp.backlog must be from 1 to 9"):
            sysctl.set("net.tcp.backlog", value)
    assert sysctl.get("net.tcp.backlog") == 9


@pytest.mark.parametrize("name", ["net.tcp.nothing", "net.udp.backlog", "backlog", "", "net.tcp."])
def test_unknown_sysctls(sysctl, name):
    with Raises(ENOENT):
        sysctl.get(name)
    with Raises(ENOENT):
        sysctl.set(name, 1)


def test_sysctls_are_listed_with_their_bounds(sysctl):
    assert list(sysctl) == [
        Setting("net.tcp.backlog", 5, 1, 9, "connections that wait", 5),
        Setting("net.tcp.ttl", 64, 1, 255, "hops", 64),
    ]
    sysctl.set("net.tcp.ttl", 9)
    assert [(row.value, row.default) for row in sysctl] == [(5, 5), (9, 64)]
    with pytest.raises(ValueError, match="registered already"):
        sysctl.register("net.tcp", Settings(), TABLE)


@pytest.mark.parametrize("name", ["net.tcp.ttl", "net.inet.tcp.ttl", "net.inet6.tcp6.ttl", "net.inet6.tcp.ttl"])
def test_a_sysctl_in_other_spellings(sysctl, name):
    sysctl.set(name, 9)
    assert sysctl.get(name) == sysctl.get("net.tcp.ttl") == 9
    assert [row.name for row in sysctl.under(name)] == ["net.tcp.ttl"]


def test_synonyms_lead_to_one_name():
    assert canonical("net.inet.tcp.sendspace") == "net.tcp.send_buffer"
    assert canonical("net.ipv4.tcp_timestamps") == "net.tcp.timestamps"
    for name, meant in SYNONYMS.items():
        assert canonical(name) == canonical(meant) == meant


@pytest.mark.parametrize("name", ["", "net", "net.inet", "net.tcp", "net.inet.tcp"])
def test_sysctls_below_a_name(sysctl, name):
    assert [row.name for row in sysctl.under(name)] == ["net.tcp.backlog", "net.tcp.ttl"]
    assert sysctl.under(name + "x") == sysctl.under("net.tc") == []


def test_the_kernels_own_defaults_are_within_their_bounds():
    settings = KernelSettings()
    for row in KERNEL_SYSCTLS:
        assert row.low <= getattr(settings, row.attribute) <= row.high
    assert {row.attribute for row in KERNEL_SYSCTLS} == {name for name in dir(settings) if name[0] != "_"}


class Segments(Counters):
    def __init__(self) -> None:
        self.segments_in = 3
        self.secret = 1

    def names(self) -> tuple[str, ...]:
        return ("segments_in",)


def test_counters_are_attributes_with_a_name():
    registry = CounterRegistry()
    counters = Segments()
    registry.register("tcp", counters)
    counters.segments_in += 4
    assert list(registry) == [("tcp.segments_in", 7)]
    assert registry.get("tcp.segments_in") == 7
    for name in ("tcp.secret", "tcp.nothing", "udp.segments_in", "tcp"):
        with pytest.raises(KeyError):
            registry.get(name)
    with pytest.raises(ValueError, match="registered already"):
        registry.register("tcp", counters)


def test_a_trace_goes_to_its_sink_and_nowhere_without_one():
    seen: list[TraceEvent] = []

    class Sink(TraceSink):
        def event(self, event: TraceEvent) -> None:
            seen.append(event)

    trace = Trace()
    trace.emit(1, 2, "read", (3,), b"")
    trace.sink = Sink()
    trace.emit(1, 2, "read", (3,), b"x")
    assert seen == [TraceEvent(1, 2, "read", (3,), b"x")]


def test_errors_have_number_text_and_subject():
    plain, named = error(ENOENT), error(EINVAL, "/x")
    assert (plain.errno, plain.strerror, plain.filename) == (ENOENT, "No such file or directory", None)
    assert (named.errno, named.filename) == (EINVAL, "/x")
    assert error(9999).strerror == "Error 9999"


def test_every_number_has_a_name_and_a_text():
    assert set(NAMES) == set(MESSAGES)
