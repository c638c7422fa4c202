"""Which form of rumpkit runs: the native one (compiled with mypyc) or the pure one.

Both forms come from the same sources. Only a handful of leaf functions in `rumpkit.net.wire` may ask, where the fast
way of the one form is the slow way of the other; they guard as `if COMPILED or TYPE_CHECKING` (mypyc refuses the other
order). This module imports nothing of rumpkit.
"""

from typing import Final, Literal


def form() -> Literal["native", "pure"]:
    """Return the form that runs: "native" if this module was compiled, else "pure"."""
    return "native" if COMPILED else "pure"


# A function of a compiled module is a builtin; one of an interpreted module is a Python function.
COMPILED: Final[bool] = type(form).__name__ != "function"
