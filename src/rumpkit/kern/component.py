"""Components: the units that a config can name, as factories that say what they need and provide.

Each faction has an interpreted `components.py` whose functions are decorated here.  The parameters' annotations
name what the component needs, the return annotation names what it provides; both are compared by name only, so the
modules behind them are imported when the component is built and not before::

    @component("tcp", faction="net")
    def tcp(kernel: RumpKernel, ip: Ip) -> Tcp:
        from .transport.tcp.layer import Tcp

        return Tcp(kernel, ip)

`X | None` marks a need as optional: it is met if something selected provides X.
"""

from collections.abc import Callable
from typing import TypeVar

from ..hyper.named import NamedTuple

Factory = TypeVar("Factory", bound=Callable[..., object])


class Need(NamedTuple):
    """One parameter of a factory: its name and the interface it wants."""

    parameter: str
    interface: str
    optional: bool


class Component(NamedTuple):
    """One registered component."""

    name: str
    faction: str
    provides: str
    needs: tuple[Need, ...]
    factory: Callable[..., object]
    help: str


class UnknownComponent(ValueError):
    """A name that nothing registered; `name` and `known` help to say what was meant."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"there is no component {name!r}")
        self.name = name
        self.known = known


_registry: dict[str, Component] = {}
_changes: list[str] = []
"""Names in the order they were registered, again and again if they were: its length tells one registry from another."""
_late_sources: list[Callable[[str], None]] = []


def component(name: str, *, faction: str) -> Callable[[Factory], Factory]:
    """Register the decorated factory under `name`.  Its docstring's first line is the component's help."""

    def register(factory: Factory) -> Factory:
        annotations = dict(factory.__annotations__)
        provides = _text(annotations.pop("return"))
        needs = tuple(_need(parameter, _text(annotation)) for parameter, annotation in annotations.items())
        summary = (factory.__doc__ or "").strip().partition("\n")[0]
        _changes.append(name)
        _registry[name] = Component(name, faction, provides, needs, factory, summary)
        return factory

    return register


def _text(annotation: object) -> str:
    """The annotation as written, whether quoted, postponed, both, or a class."""
    return annotation.strip("'\"") if isinstance(annotation, str) else str(getattr(annotation, "__name__", annotation))


def _need(parameter: str, annotation: str) -> Need:
    interface, bar, rest = annotation.partition("|")
    return Need(parameter, interface.strip(), bool(bar) and rest.strip() == "None")


def add_late_source(source: Callable[[str], None]) -> None:
    """Ask `source(name)` to register components from elsewhere when a name is unknown."""
    _late_sources.append(source)


def find(name: str) -> Component:
    """The component called `name`.  Raises UnknownComponent."""
    if name not in _registry:
        for source in _late_sources:
            source(name)
    if name not in _registry:
        raise UnknownComponent(name, sorted(_registry))
    return _registry[name]


def generation() -> int:
    """Moves on with each registration: what was worked out from the registry holds as long as it doesn't."""
    return len(_changes)


def registered() -> list[Component]:
    """All components known so far, in the order they were registered."""
    return list(_registry.values())
