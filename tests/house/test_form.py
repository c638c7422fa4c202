"""The form under test is one of the two, and everything that should be compiled is."""

from __future__ import annotations

import importlib

import pytest

import build_native
from rumpkit._form import COMPILED, form


def test_form_says_what_compiled_says():
    assert form() == ("native" if COMPILED else "pure")


@pytest.mark.needs("native")
@pytest.mark.parametrize("name", build_native.hot_modules())
def test_a_hot_module_is_compiled(name):
    file = importlib.import_module(name).__file__
    assert file is not None and not file.endswith(".py")


@pytest.mark.needs("pure")
@pytest.mark.parametrize("name", build_native.hot_modules())
def test_the_pure_form_is_python_all_through(name):
    file = importlib.import_module(name).__file__
    assert file is not None and file.endswith(".py")
