"""The resolver: from the names in a config to an order in which components can be built.

What a component needs is met by a selected component that provides it, else by the first registered one that does
(which is then selected too).  The plan for a set of names is kept, so that a second kernel costs only its factories.
"""

from collections.abc import Sequence

from ..hyper.named import NamedTuple
from .component import Component, Need, find, generation, registered


class Unresolvable(ValueError):
    """A selection that can't be built: a need that nothing provides, two providers, or a cycle."""


class Step(NamedTuple):
    """Build `component`, passing for each parameter what the named interface's provider made."""

    component: Component
    arguments: tuple[tuple[str, str], ...]


Plan = tuple[Step, ...]

_plans: dict[tuple[tuple[str, ...], tuple[str, ...], int], Plan] = {}


def plan(names: Sequence[str], given: Sequence[str]) -> Plan:
    """The build order for the components `names`, where the interfaces `given` are there already.

    Raises UnknownComponent and Unresolvable.
    """
    key = (tuple(names), tuple(given), generation())
    known = _plans.get(key)
    if known is None:
        known = _plans[key] = _Planner(names, given).run()
    return known


class _Planner:
    def __init__(self, names: Sequence[str], given: Sequence[str]) -> None:
        self._given = set(given)
        self._selected: dict[str, Component] = {}
        self._steps: dict[str, Step] = {}
        self._open: list[str] = []
        for name in names:
            self._select(find(name))

    def run(self) -> Plan:
        for chosen in list(self._selected.values()):
            self._visit(chosen)
        return tuple(self._steps.values())

    def _select(self, chosen: Component) -> None:
        other = self._selected.get(chosen.provides)
        if other is not None and other.name != chosen.name:
            raise Unresolvable(f"components {other.name!r} and {chosen.name!r} both provide {chosen.provides}")
        self._selected[chosen.provides] = chosen

    def _visit(self, chosen: Component) -> None:
        if chosen.name in self._steps:
            return
        if chosen.name in self._open:
            raise Unresolvable("components need each other: " + " -> ".join([*self._open, chosen.name]))
        self._open.append(chosen.name)
        met = [need for need in chosen.needs if self._meet(chosen, need)]
        self._open.pop()
        arguments = tuple((need.parameter, need.interface) for need in met)
        self._steps[chosen.name] = Step(chosen, arguments)

    def _meet(self, chosen: Component, need: Need) -> bool:
        """Build what `need` asks for first.  False leaves an optional need out: the factory's default holds."""
        if need.interface in self._given:
            return True
        provider = self._selected.get(need.interface)
        if provider is None and not need.optional:
            provider = next((c for c in registered() if c.provides == need.interface), None)
            if provider is None:
                raise Unresolvable(f"component {chosen.name!r} needs {need.interface}, which nothing provides")
            self._select(provider)
        if provider is None:
            return False
        self._visit(provider)
        return True
