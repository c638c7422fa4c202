"""Finds rumpkit's modules by a list of them, which the native form has.

Below everything.  A start loads two hundred modules.  Python looks for each: it lists the directory, makes a path for each suffix that a
module could have, asks what is there.  In the native form nobody needs to look, as the build knows what it has made.  Compiled modules have
no file of their own: their functions PyInit_NAME are in the library of their package (see build_native.py).

What is not in the list is found as it always was; without a list (the pure form, a checkout) everything is.
"""

import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import EXTENSION_SUFFIXES, ExtensionFileLoader, SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

LIST = "_modules.txt"
"""Three lines of names: packages, the one above all others first; modules that are Python; compiled ones, and their libraries."""
LIBRARY = "_hot__mypyc"
"""The module that is the library of a package."""


class Finder:
    """Of the package whose directory is `directory`; `listed` is what its list says."""

    def __init__(self, directory: str, listed: str) -> None:
        packages, modules, compiled = (line.split() for line in listed.splitlines())
        self._above = directory[: -len(packages[0])]
        self._packages = frozenset(packages)
        self._modules = frozenset(modules)
        self._compiled = frozenset(compiled)

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> ModuleSpec | None:
        """What `import` asks; None for what is not listed."""
        if name in self._modules:
            file = f"{self._above}{name.replace('.', '/')}.py"
            spec = ModuleSpec(name, SourceFileLoader(name, file), origin=file)
        elif name in self._compiled:
            package = name.rpartition(".")[0].replace(".", "/")
            file = f"{self._above}{package}/{LIBRARY}{EXTENSION_SUFFIXES[0]}"
            spec = ModuleSpec(name, ExtensionFileLoader(name, file), origin=file)
        elif name in self._packages:
            place = self._above + name.replace(".", "/")
            file = f"{place}/__init__.py"
            spec = ModuleSpec(name, SourceFileLoader(name, file), origin=file, is_package=True)
            spec.submodule_search_locations = [place]
        else:
            return None
        spec.has_location = True
        return spec


def install(directory: str) -> None:
    """Find the modules of the package in `directory` so from now on, if it has a list."""
    try:
        with open(f"{directory}/{LIST}", encoding="ascii") as file:
            listed = file.read()
    except OSError:
        return
    sys.meta_path.insert(0, Finder(directory, listed))
