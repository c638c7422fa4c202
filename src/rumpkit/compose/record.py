"""`dataclass`, `field` and `replace` as of `dataclasses`, as far as a config's data needs them, without what that module loads and does:
`inspect`, the parser of Python, and compiling methods for each class are an eighth of the time that `rump run` takes to start.

Below everything in this package.  Who asks a class of these for its fields as Python's own dataclasses have them (msgspec,
`dataclasses.fields`) finds them: it becomes one at that moment.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast, dataclass_transform, final

Kind = TypeVar("Kind", bound=type)
Value = TypeVar("Value")
_FIELDS: Final = "__dataclass_fields__"


@final
class _Made:
    """The default of a field that each object makes anew."""

    def __init__(self, factory: Callable[[], object]) -> None:
        self.factory = factory


@final
class _Shape:
    """What a class of them has."""

    def __init__(self, kind: type) -> None:
        self.names = tuple(kind.__annotations__)
        given = {name: kind.__dict__[name] for name in self.names if name in kind.__dict__}
        self.factories = {name: one.factory for name, one in given.items() if isinstance(one, _Made)}
        self.defaults = {name: one for name, one in given.items() if name not in self.factories}


class _Record(type):
    """The type of the classes."""

    __record__: "_Shape"

    def __getattr__(cls, name: str) -> Any:
        if name != _FIELDS:
            raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")
        import dataclasses

        for one, factory in cls.__record__.factories.items():
            setattr(cls, one, dataclasses.field(default_factory=factory))
        dataclasses.dataclass(init=False, repr=False, eq=False)(cast(Any, cls))
        return cls.__dict__[_FIELDS]


def field(*, default_factory: Callable[[], Value]) -> Value:
    """A field whose default is made for each object."""
    return cast(Value, _Made(default_factory))


@dataclass_transform(field_specifiers=(field,))
def dataclass(*, slots: bool = True) -> Callable[[Kind], Kind]:
    """A class whose fields are its annotations, in order, those with defaults last.  `slots` says how it is meant."""
    return _made


def _made(kind: Kind) -> Kind:
    shape = _Shape(kind)
    left = {
        name: one for name, one in kind.__dict__.items() if name not in ("__dict__", "__weakref__", *shape.factories)
    }
    return cast(Kind, _Record(kind.__name__, kind.__bases__, {**left, **_METHODS, "__record__": shape}))


def _initialize(self: Any, *values: object, **named: object) -> None:
    shape: _Shape = self.__record__
    if len(values) > len(shape.names):
        raise TypeError(f"{type(self).__name__} has {len(shape.names)} fields")
    given = dict(zip(shape.names, values, strict=False))
    for name, value in named.items():
        if name in given or name not in shape.names:
            raise TypeError(f"{type(self).__name__} has no field {name!r} left")
        given[name] = value
    for name in shape.names:
        if name in given:
            value = given[name]
        elif name in shape.factories:
            value = shape.factories[name]()
        elif name in shape.defaults:
            value = shape.defaults[name]
        else:
            raise TypeError(f"{type(self).__name__} lacks {name!r}")
        setattr(self, name, value)


def as_dict(one: Any) -> dict[str, Any]:
    """Its fields' values by name."""
    return {name: getattr(one, name) for name in one.__record__.names}


def _equal(self: Any, other: object) -> bool:
    return as_dict(self) == as_dict(other) if type(other) is type(self) else NotImplemented


def _text(self: Any) -> str:
    return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in as_dict(self).items())})"


_METHODS: Final[dict[str, object]] = {
    "__init__": _initialize,
    "__eq__": _equal,
    "__hash__": None,
    "__repr__": _text,
}


def replace(one: Value, **changes: object) -> Value:
    """Another one, but for `changes`."""
    return type(one)(**{**as_dict(one), **changes})
