"""Modules that are found by a list: those, and no others, and as `import` would have found them."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from pathlib import Path

import pytest

import build_native
import rumpkit
from rumpkit._finder import LIST, Finder
from tests.house.files import package_sources

LISTED = "top top.sub\ntop.plain top.sub.deep\ntop.sub.fast top.sub._hot__mypyc\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A package and its list."""
    (tmp_path / "top" / "sub").mkdir(parents=True)
    for name in ("__init__", "plain", "unlisted", "sub/__init__", "sub/deep"):
        (tmp_path / "top" / f"{name}.py").write_text(f"name = {name!r}\n")
    (tmp_path / "top" / LIST).write_text(LISTED)
    return tmp_path / "top"


def test_what_is_found_is_what_python_finds(tree):
    finder = Finder(str(tree), LISTED)
    places = {"top": "__init__", "top.plain": "plain", "top.sub": "sub/__init__", "top.sub.deep": "sub/deep"}
    for name, place in places.items():
        parts = name.split(".")
        ours, theirs = finder.find_spec(name), PathFinder.find_spec(name, [str(tree.parent.joinpath(*parts[:-1]))])
        assert ours is not None and theirs is not None and ours.loader is not None
        assert (ours.origin, ours.cached, ours.has_location) == (theirs.origin, theirs.cached, theirs.has_location)
        assert (ours.parent, type(ours.loader)) == (theirs.parent, type(theirs.loader))
        assert ours.submodule_search_locations == theirs.submodule_search_locations
        module = importlib.util.module_from_spec(ours)
        ours.loader.exec_module(module)
        assert module.name == place


def test_compiled_modules_are_in_the_library_of_their_package(tree):
    finder = Finder(str(tree), LISTED)
    for name in ("top.sub.fast", "top.sub._hot__mypyc"):
        spec = finder.find_spec(name)
        assert spec is not None and spec.origin == f"{tree}/sub/_hot__mypyc{EXTENSION_SUFFIXES[0]}"


def test_what_is_not_listed_is_left_to_others(tree):
    finder = Finder(str(tree), LISTED)
    for name in ("top.unlisted", "top.sub.gone", "sys", "other", "plain"):
        assert finder.find_spec(name) is None


def test_the_build_lists_every_module():
    packages, modules, compiled = (line.split() for line in build_native.listed_modules().splitlines())
    assert packages[0] == "rumpkit"
    libraries = {name for name in compiled if name.endswith("__mypyc")}
    assert {*packages, *modules, *compiled} - libraries == {source.module for source in package_sources()}
    assert set(compiled) - libraries == set(build_native.hot_modules())


@pytest.mark.needs("native")
def test_the_native_form_has_its_list_and_goes_by_it():
    (finder,) = (one for one in sys.meta_path if isinstance(one, Finder))
    installed = Path(rumpkit.__path__[0])
    for path in installed.rglob("*.py"):
        name = ".".join(path.relative_to(installed.parent).with_suffix("").parts).removesuffix(".__init__")
        spec = finder.find_spec(name)
        assert spec is not None and Path(str(spec.origin)).is_file()
    from rumpkit.compose import kernel

    assert kernel.__spec__ is not None and kernel.__spec__.origin == str(installed / "compose" / "kernel.py")


@pytest.mark.needs("pure")
def test_a_checkout_has_none():
    assert not [one for one in sys.meta_path if isinstance(one, Finder)]
