"""Counters of a kernel: plain integer attributes of small classes, listed here by name.

Hot code does `self.counters.segments_in += 1` on its own class and knows nothing of this registry.
"""

from collections.abc import Iterator
from typing import Final, final

from mypy_extensions import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class Counters:
    """Base of a protocol's counters: subclass with int attributes and name them in `names`."""

    def names(self) -> tuple[str, ...]:
        """The attributes that are counters, in the order to show them."""
        raise NotImplementedError

    def value(self, name: str) -> int:
        """One of them."""
        return int(getattr(self, name))


_KINDS: Final = 256


@mypyc_attr(allow_interpreted_subclasses=True)
class KindCounters(Counters):
    """Counters of messages by their types beside others: `received[8] += 1` is listed as `type_8_in`."""

    def __init__(self) -> None:
        self.received: list[int] = [0] * _KINDS
        self.sent: list[int] = [0] * _KINDS

    def value(self, name: str) -> int:
        if name.startswith("type_"):
            _, kind, way = name.split("_")
            return self.received[int(kind)] if way == "in" else self.sent[int(kind)]
        return int(getattr(self, name))


def kind_names(received: tuple[int, ...], sent: tuple[int, ...]) -> tuple[str, ...]:
    """What `KindCounters.names` lists for these types."""
    return tuple([f"type_{kind}_in" for kind in received] + [f"type_{kind}_out" for kind in sent])


@final
class CounterRegistry:
    """All counters of a kernel, under dotted names such as `tcp.segments_in`."""

    def __init__(self) -> None:
        self._groups: dict[str, Counters] = {}

    def register(self, group: str, counters: Counters) -> None:
        """List `counters` under `group`, which must be new."""
        if group in self._groups:
            raise ValueError(f"counters of {group!r} are registered already")
        self._groups[group] = counters

    def unregister(self, group: str) -> None:
        """List the counters of `group` no more: what they count is gone, such as an interface."""
        self._groups.pop(group, None)

    def group(self, group: str) -> Counters | None:
        """What is listed under `group`, if anything is."""
        return self._groups.get(group)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        for group, counters in self._groups.items():
            for name in counters.names():
                yield f"{group}.{name}", counters.value(name)

    def get(self, name: str) -> int:
        """One counter's value.  Raises KeyError."""
        group, _, attribute = name.rpartition(".")
        counters = self._groups[group]
        if attribute not in counters.names():
            raise KeyError(name)
        return counters.value(attribute)
