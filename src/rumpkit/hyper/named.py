"""`NamedTuple` as of `typing`, made in a tenth of the time.

Below everything.  Python's own compiles a method for each class and looks at each annotation: a tenth of a millisecond, and a start
makes forty classes.  For modules that a start loads and that are not compiled, as mypyc knows Python's own.
"""

from collections.abc import Iterable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

_new: Final = tuple.__new__


class _Maker(type):
    """The type of what such classes name as their base.  They don't inherit from it: they are tuples with fields."""

    def __new__(mcs, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> type:
        """Make the base, which has no bases, or a class."""
        if not bases:
            return super().__new__(mcs, name, bases, body)
        kind: Any = type(name, (tuple,), {"__slots__": (), **_METHODS, **body})
        fields = tuple(kind.__annotations__)
        added: dict[str, object] = {field: property(itemgetter(place)) for place, field in enumerate(fields)}
        added["_fields"] = added["__match_args__"] = fields
        added["_field_defaults"] = {field: body[field] for field in fields if field in body}
        for one, value in added.items():
            setattr(kind, one, value)
        return kind  # type: ignore[no-any-return]


def _make(kind: Any, /, *values: object, **named: object) -> Any:
    if named or len(values) != len(kind._fields):
        values = _complete(kind, values, named)
    return _new(kind, values)


def _complete(kind: Any, values: tuple[object, ...], named: dict[str, object]) -> tuple[object, ...]:
    """All values; raises TypeError for one too many, or too few."""
    fields = kind._fields
    left = fields[len(values) :]
    wrong = [*(name for name in named if name not in left), *values[len(fields) :]]
    given = {**kind._field_defaults, **named}
    lacking = [field for field in left if field not in given]
    if wrong or lacking:
        raise TypeError(f"{kind.__name__} has the fields {', '.join(fields)}: not {wrong or values}, lacking {lacking}")
    return (*values, *(given[field] for field in left))


def _text(self: Any) -> str:
    return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in zip(self._fields, self, strict=True))})"


def _replace(self: Any, /, **changes: object) -> Any:
    unknown = [name for name in changes if name not in self._fields]
    if unknown:
        raise ValueError(f"{type(self).__name__} has no fields {unknown}")
    return _new(type(self), [changes.get(name, value) for name, value in zip(self._fields, self, strict=True)])


def _from(kind: Any, values: Iterable[object]) -> Any:
    return kind(*values)


_METHODS: Final[dict[str, object]] = {
    "__new__": _make,
    "__repr__": _text,
    "__getnewargs__": lambda self: (*self,),
    "__replace__": _replace,
    "_replace": _replace,
    "_asdict": lambda self: dict(zip(self._fields, self, strict=True)),
    "_make": classmethod(_from),
}

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    NamedTuple = _Maker("NamedTuple", (), {})
