"""Components and the order they are built in."""

from __future__ import annotations

import pytest

from rumpkit.kern import component as registry
from rumpkit.kern.component import UnknownComponent, component, find, registered
from rumpkit.kern.resolver import Unresolvable, plan

GIVEN = ("RumpKernel", "Hypercalls")


@pytest.fixture(autouse=True)
def only_ours():
    """A registry with nothing in it but what the test registers."""
    saved, late = dict(registry._registry), list(registry._late_sources)
    registry._registry.clear()
    yield
    registry._registry.clear()
    registry._registry.update(saved)
    registry._late_sources[:] = late


def provide(name: str, provides: str, **needs: str) -> None:
    def factory(**arguments: object) -> object:
        return (name, arguments)

    factory.__annotations__ = {**needs, "return": provides}
    factory.__doc__ = f"What {name} is.\n\nMore."
    component(name, faction="test")(factory)


def names(*wanted: str) -> list[str]:
    return [step.component.name for step in plan(wanted, GIVEN)]


def test_a_component_says_what_it_needs_by_annotation():
    @component("tcp", faction="net")
    def tcp(kernel: RumpKernel, ip: Ip | None, other: "Quoted") -> Tcp:  # type: ignore[name-defined]  # noqa: F821, UP037
        """Streams."""

    found = find("tcp")
    assert (found.name, found.faction, found.provides, found.help) == ("tcp", "net", "Tcp", "Streams.")
    assert [tuple(need) for need in found.needs] == [
        ("kernel", "RumpKernel", False),
        ("ip", "Ip", True),
        ("other", "Quoted", False),
    ]
    assert registered() == [found]


def test_what_is_needed_comes_first_and_is_passed_by_parameter():
    provide("http", "Http", transport="Tcp", kernel="RumpKernel")
    provide("tcp", "Tcp", ip="Ip")
    provide("ip", "Ip")
    steps = plan(["http"], GIVEN)
    assert [step.component.name for step in steps] == ["ip", "tcp", "http"]
    assert steps[2].arguments == (("transport", "Tcp"), ("kernel", "RumpKernel"))


def test_a_selected_provider_goes_before_a_registered_one():
    provide("newreno", "Congestion")
    provide("cubic", "Congestion")
    provide("tcp", "Tcp", congestion="Congestion")
    assert names("tcp") == ["newreno", "tcp"]
    assert names("tcp", "cubic") == ["cubic", "tcp"]
    assert names("cubic", "tcp") == ["cubic", "tcp"]


def test_optional_needs_are_met_only_if_selected():
    provide("dns", "Dns")
    provide("tcp", "Tcp", dns="Dns | None")
    assert names("tcp") == ["tcp"]
    assert plan(["tcp"], GIVEN)[0].arguments == ()
    assert names("tcp", "dns") == ["dns", "tcp"]


def test_what_cannot_be_built():
    provide("a", "A", b="B")
    with pytest.raises(Unresolvable, match="'a' needs B, which nothing provides"):
        plan(["a"], GIVEN)
    provide("b", "B", a="A")
    with pytest.raises(Unresolvable, match="need each other: a -> b -> a"):
        plan(["a"], GIVEN)
    provide("c", "A")
    with pytest.raises(Unresolvable, match="'a' and 'c' both provide A"):
        plan(["a", "c"], GIVEN)


def test_unknown_names():
    provide("tcp", "Tcp")
    with pytest.raises(UnknownComponent) as caught:
        find("tpc")
    assert caught.value.name == "tpc" and caught.value.known == ["tcp"]


def test_a_late_source_is_asked_for_unknown_names_only():
    asked = []

    def source(name: str) -> None:
        asked.append(name)
        if name == "quic":
            provide("quic", "Quic")

    registry.add_late_source(source)
    provide("tcp", "Tcp")
    find("tcp")
    assert asked == []
    assert find("quic").provides == "Quic"
    with pytest.raises(UnknownComponent):
        find("sctp")
    assert asked == ["quic", "sctp"]


def test_a_plan_is_made_once():
    provide("tcp", "Tcp")
    assert plan(["tcp"], GIVEN) is plan(["tcp"], GIVEN)
    first = plan(["tcp"], GIVEN)
    provide("udp", "Udp")
    assert plan(["tcp"], GIVEN) == first
