"""The form under test is one of the two, and everything that should be compiled is."""

from __future__ import annotations

import ast
import importlib

import pytest

import build_native
from rumpkit._form import COMPILED, form
from tests.house.files import Finding, Source, package_sources, parse


def test_form_says_what_compiled_says():
    assert form() == ("native" if COMPILED else "pure")


def files_of_hot_modules() -> dict[str, str]:
    return {name: str(importlib.import_module(name).__file__) for name in build_native.hot_modules()}


@pytest.mark.needs("native")
def test_in_the_native_form_every_hot_module_is_compiled():
    assert not [name for name, file in files_of_hot_modules().items() if file.endswith(".py")]


@pytest.mark.needs("pure")
def test_the_pure_form_is_python_all_through():
    assert not [name for name, file in files_of_hot_modules().items() if not file.endswith(".py")]


def what_mypyc_gets_wrong(source: Source) -> list[Finding]:
    """Return what mypyc compiles into something else than it says, without a word (seen with mypy 2.4.1)."""
    findings = []
    for node in ast.walk(source.tree):
        if not (isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "NamedTuple" for base in node.bases)):
            continue
        for field in node.body:
            if isinstance(field, ast.AnnAssign) and ast.unparse(field.annotation).strip("'") == "object":
                text = (
                    "a NamedTuple's field annotated `object` is a KeyError at import: say Any, or keep it interpreted"
                )
                findings.append(Finding(source.path, field.lineno, text))
    return findings


@pytest.mark.once
def test_hot_modules_keep_clear_of_what_mypyc_gets_wrong():
    hot = set(build_native.hot_modules())
    findings = [
        finding for source in package_sources() if source.module in hot for finding in what_mypyc_gets_wrong(source)
    ]
    assert not findings, "".join(f"\n{finding}" for finding in findings)


def test_what_mypyc_gets_wrong_is_found():
    text = "class Event(NamedTuple):\n    when: int\n    result: object\n"
    (found,) = what_mypyc_gets_wrong(parse(text, "src/rumpkit/kern/x.py"))
    assert found.line == 3
