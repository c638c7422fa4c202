"""Rows of results: what was measured, against whom, and whether the bar was met."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

RESULTS = Path(__file__).resolve().parent / "results.json"


class Result(NamedTuple):
    """One row.  `bar` is a bound on `value`, or on `ratio` where `of_peer`: at most for times and sizes, else at least."""

    name: str
    value: float
    unit: str
    peer: str
    peer_value: float
    bar: float | None
    """None: the row is shown beside another one and has no bar of its own."""
    at_most: bool = False
    of_peer: bool = False

    @property
    def ratio(self) -> float:
        """How many times the peer's value this is."""
        return self.value / self.peer_value if self.peer_value else 0.0

    @property
    def ok(self) -> bool:
        """Whether the bar is met."""
        if self.bar is None:
            return True
        judged = self.ratio if self.of_peer else self.value
        return judged <= self.bar if self.at_most else judged >= self.bar

    def bar_text(self) -> str:
        """The bar for people."""
        if self.bar is None:
            return "none"
        sign = "≤" if self.at_most else "≥"
        return f"{sign} {self.bar:g}" + (" of peer" if self.of_peer else f" {self.unit}")

    def as_json(self) -> dict[str, object]:
        """The row as the results file has it."""
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "peer": self.peer,
            "peer_value": round(self.peer_value, 4),
            "ratio": round(self.ratio, 4),
            "bar": self.bar_text(),
            "ok": self.ok,
        }


def write(results: list[Result]) -> None:
    """Write the results file, keeping rows of earlier runs that were not measured now."""
    rows: dict[str, dict[str, object]] = {}
    if RESULTS.exists():
        rows = {str(row["name"]): row for row in json.loads(RESULTS.read_text("utf-8"))}
    rows |= {result.name: result.as_json() for result in results}
    RESULTS.write_text(json.dumps(list(rows.values()), indent=1) + "\n", "utf-8")


def median(measure: Callable[[], float], rounds: int) -> float:
    """The median of several measurements."""
    return statistics.median(measure() for _ in range(rounds))


def best(measure: Callable[[], float], rounds: int) -> float:
    """The least of several measurements of a time."""
    return min(measure() for _ in range(rounds))


def gbits(count: int, seconds: float) -> float:
    """Gbit/s of `count` bytes."""
    return count * 8 / seconds / 1e9
