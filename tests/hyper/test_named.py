"""Our named tuples beside those of `typing`: what holds of the one holds of the other."""

from __future__ import annotations

import copy
import pickle
import typing

import pytest

from rumpkit.hyper import named


class Theirs(typing.NamedTuple):
    """A place."""

    x: int
    y: int = 2
    name: str = "here"

    def sum(self) -> int:
        return self.x + self.y

    @property
    def upper(self) -> str:
        return self.name.upper()


class Ours(named.NamedTuple):
    """A place."""

    x: int
    y: int = 2
    name: str = "here"

    def sum(self) -> int:
        return self.x + self.y

    @property
    def upper(self) -> str:
        return self.name.upper()


BOTH = pytest.mark.parametrize("kind", [Theirs, Ours])


@BOTH
def test_made_and_read(kind):
    one = kind(1, name="there")
    assert (one.x, one.y, one.name, one.sum(), one.upper) == (1, 2, "there", 3, "THERE")
    assert one == (1, 2, "there") and hash(one) == hash((1, 2, "there")) and len(one) == 3
    assert one == kind(x=1, y=2, name="there") == kind._make([1, 2, "there"])
    x, _, name = one
    assert (x, name) == (1, "there")
    assert isinstance(one, tuple) and one < (2,)
    assert kind._fields == kind.__match_args__ == ("x", "y", "name") and kind._field_defaults == {
        "y": 2,
        "name": "here",
    }
    assert kind.__doc__ == "A place." and kind.__module__ == __name__ and not hasattr(one, "__dict__")


@BOTH
def test_told_changed_and_copied(kind):
    one = kind(1)
    assert repr(one) == f"{kind.__name__}(x=1, y=2, name='here')"
    assert one._asdict() == {"x": 1, "y": 2, "name": "here"}
    other = one._replace(y=5)
    assert other == (1, 5, "here") and type(other) is kind
    for copied in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert copied == one and type(copied) is kind
    match one:
        case (first, _, _):
            assert first == 1


@BOTH
def test_what_does_not_fit_is_refused(kind):
    for values, names in [((), {}), ((1, 2, "a", 4), {}), ((1,), {"x": 2}), ((1,), {"z": 2}), ((), {"y": 2})]:
        with pytest.raises(TypeError):
            kind(*values, **names)
    with pytest.raises((TypeError, ValueError)):  # which of the two depends on Python's version
        kind(1)._replace(z=1)
    with pytest.raises(AttributeError):
        kind(1).x = 2


@BOTH
def test_inherited(kind):
    child_kind = type("Child", (kind,), {"twice": lambda self: 2 * self.x})
    child = child_kind(4)
    assert child.twice() == 8 and type(child._replace(x=1)) is child_kind and repr(child).startswith("Child(")


class Selves(named.NamedTuple):
    kind: int
    self: int


def test_fields_with_names_that_methods_have_for_themselves():
    assert Selves(kind=1, self=2)._replace(self=3, kind=4) == (4, 3)
