"""A module with a branch for each form is listed as hot: its compiled branch is the slow one when it runs interpreted."""

from __future__ import annotations

import build_native


def test_modules_with_two_forms_are_compiled():
    branching = [
        path for path in build_native.SOURCE.rglob("*.py") if "if COMPILED or TYPE_CHECKING:" in path.read_text("utf-8")
    ]
    assert branching, "nothing was looked at"
    for path in branching:
        module = ".".join(path.relative_to(build_native.SOURCE).with_suffix("").parts)
        if module != "rumpkit._form":
            assert module in build_native.hot_modules(), f"{module} is not in hot_modules.txt"
