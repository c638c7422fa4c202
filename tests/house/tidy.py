"""What keeps the sources readable: short files and functions, docstrings, nothing left lying about.

Each check takes what it looks at as an argument and returns findings, so that the tests can give it bad examples.
"""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.house.files import Finding, Source

FILE_LINES = 600
FUNCTION_LINES = 70
MEDIAN_LINES = 200

FACES = ("rumpkit.hyper",)
"""Packages that others implement or call as a whole: every public name in them has a docstring."""

LEFT_OVER = re.compile(r"\b(TODO|FIXME|XXX)\b")
MACHINE_PATH = re.compile(r"(?<![\w.$}\])-])/(?:work/\w|home/(?!(?:u|user|alice|bob)\b)\w)")
"""Paths of the machine that somebody works on; the homes of people who live in examples only are nobody's."""
REGISTRY = re.compile(r"\b(?:pypi[.]org|pythonhosted[.]org|npmjs[.](?:org|com)|deb[.]debian[.]org)\b")

OUTSIDE_OF_THE_MIRROR = ("system", "house", "fuzz")
"""Folders of tests that mirror no folder of the package."""


def check_source(source: Source) -> list[Finding]:
    """Return what is untidy in one file of the package."""
    return [*_length(source), *_module_docstring(source), *_left_over(source), *_print(source), *_functions(source)]


def _length(source: Source) -> Iterator[Finding]:
    lines = len(source.text.splitlines())
    if lines > FILE_LINES:
        yield Finding(source.path, FILE_LINES + 1, f"the file has {lines} lines; at most {FILE_LINES}")


def _module_docstring(source: Source) -> Iterator[Finding]:
    if not ast.get_docstring(source.tree):
        yield Finding(source.path, 1, "the module has no docstring")


def _left_over(source: Source) -> Iterator[Finding]:
    for number, line in enumerate(source.text.splitlines(), 1):
        match = LEFT_OVER.search(line)
        if match:
            yield Finding(source.path, number, f"{match[0]}: do it, or open an issue")


def _print(source: Source) -> Iterator[Finding]:
    if source.path.startswith("src/rumpkit/cli/"):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield Finding(source.path, node.lineno, "print() outside of cli")


def _functions(source: Source) -> Iterator[Finding]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1 - _docstring_lines(node)
            if lines > FUNCTION_LINES:
                yield Finding(
                    source.path,
                    node.lineno,
                    f"{node.name} has {lines} lines without its docstring; at most {FUNCTION_LINES}",
                )


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return (first.end_lineno or first.lineno) - first.lineno + 1
    return 0


def check_median(sources: Iterable[Source]) -> list[Finding]:
    """Return a finding if the package's files are long as a rule."""
    lengths = [len(source.text.splitlines()) for source in sources if not source.is_package]
    median = statistics.median(lengths) if lengths else 0
    if median > MEDIAN_LINES:
        return [Finding("src/rumpkit", 1, f"the median file has {median:.0f} lines; at most {MEDIAN_LINES}")]
    return []


def check_faces(sources: Iterable[Source]) -> list[Finding]:
    """Return the public classes, functions and methods of the public faces that lack a docstring.

    Public faces: the packages of FACES as a whole, and what any package's `__init__.py` names in `__all__` or, as in
    the lazy face, in a table of names and modules.
    """
    by_module = {source.module: source for source in sources}
    findings: list[Finding] = []
    for source in by_module.values():
        if any(source.module == face or source.module.startswith(face + ".") for face in FACES):
            findings += _undocumented(source, None)
        elif source.is_package:
            for module, names in _exports(source, by_module).items():
                findings += _undocumented(by_module[module], names)
    return sorted(set(findings))


def _exports(package: Source, by_module: dict[str, Source]) -> dict[str, set[str]]:
    """Return what the package shows to the outside, as names by defining module of ours."""
    shown = _strings(package.tree, "__all__")
    exports: dict[str, set[str]] = {}
    for node in ast.walk(package.tree):
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.module.split(".")
                base = ".".join([*above[: len(above) - node.level + 1], *([base] if base else [])])
            for alias in node.names:
                if (alias.asname or alias.name) in shown and base in by_module:
                    exports.setdefault(base, set()).add(alias.name)
        elif isinstance(
            node, ast.Dict
        ):  # the lazy face: {"Kernel": "rumpkit.clients.kernel"} or {"Kernel": ".clients.kernel"}
            for key, value in zip(node.keys, node.values, strict=True):
                if not (
                    isinstance(key, ast.Constant) and isinstance(value, ast.Constant) and isinstance(value.value, str)
                ):
                    continue
                module = package.module + value.value if value.value.startswith(".") else value.value
                if module in by_module:
                    exports.setdefault(module, set()).add(str(key.value))
    return exports


def _strings(tree: ast.Module, name: str) -> set[str]:
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                pass
            case ast.AnnAssign(target=ast.Name(id=found), value=ast.expr() as value) if found == name:
                pass
            case _:
                continue
        return {
            item.value for item in ast.walk(value) if isinstance(item, ast.Constant) and isinstance(item.value, str)
        }
    return set()


def _undocumented(source: Source, names: set[str] | None) -> Iterator[Finding]:
    """Yield the public definitions of the module (only those of `names`, if given) that lack a docstring."""
    for node in source.tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name.startswith("_") or (names is not None and node.name not in names):
            continue
        if not ast.get_docstring(node):
            yield Finding(source.path, node.lineno, f"{node.name} is public and has no docstring")
        if isinstance(node, ast.ClassDef):
            yield from _undocumented_methods(source, node)


def _undocumented_methods(source: Source, owner: ast.ClassDef) -> Iterator[Finding]:
    for node in owner.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
        inherits = any(
            name in ("override", "overload") or name.endswith((".setter", ".deleter")) for name in decorators
        )
        if not inherits and not ast.get_docstring(node):
            yield Finding(source.path, node.lineno, f"{owner.name}.{node.name} is public and has no docstring")


def check_text(path: str, text: str) -> list[Finding]:
    """Return the machine paths and hosts of package registries in a tracked file."""
    findings = []
    for number, line in enumerate(text.splitlines(), 1):
        match = MACHINE_PATH.search(line)
        if match:
            findings.append(Finding(path, number, f"{match[0]}... is a path of one machine"))
        match = REGISTRY.search(line)
        if match:
            findings.append(Finding(path, number, f"{match[0]}: name no package registry"))
    return findings


def check_mirror(folders: Iterable[Path], package: Path, tests: Path) -> list[Finding]:
    """Return the folders of tests that mirror no folder of the package."""
    findings = []
    for folder in folders:
        relative = folder.relative_to(tests)
        if relative.parts and relative.parts[0] not in OUTSIDE_OF_THE_MIRROR and not (package / relative).is_dir():
            where = f"tests/{relative.as_posix()}"
            findings.append(Finding(where, 1, f"there is no src/rumpkit/{relative.as_posix()} that it would mirror"))
    return findings
