"""Rule 1, "the kernel touches no world", and the arrows: a checker that reads them out of the syntax tree.

import-linter follows chains of imports between our own modules; this checker looks at what each file says itself, so
that it can name file and line, and at what import-linter does not see: the standard library, builtins, and the order
of sets.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.house.files import Finding, Source

KERNEL = ("hyper", "kern", "net", "vfs", "fs", "dev")

MAY_IMPORT: dict[str, set[str]] = {
    "hyper": set(),
    "kern": {"hyper"},
    "net": {"kern", "hyper"},
    "vfs": {"kern", "hyper"},
    "fs": {"vfs", "kern", "hyper"},
    "dev": {"kern", "hyper"},
    "hosts": {"hyper"},
    "clients": {"hosts", "net", "vfs", "kern", "hyper"},
    "guests": {"clients", "hosts", "net", "vfs", "kern", "hyper"},
    "compose": {"guests", "clients", "hosts", "net", "vfs", "fs", "dev", "kern", "hyper"},
    "lab": {"compose", "guests", "clients", "hosts", "net", "vfs", "fs", "dev", "kern", "hyper"},
    "bake": {"compose", "guests", "clients", "hosts", "net", "vfs", "fs", "dev", "kern", "hyper"},
    "cli": {"lab", "bake", "compose", "guests", "clients", "hosts", "net", "vfs", "fs", "dev", "kern", "hyper"},
}
"""The arrows: what each folder of src/rumpkit may import besides itself."""

ALLOWED = frozenset(
    "__future__ abc bisect collections dataclasses enum functools hashlib heapq ipaddress itertools mypy_extensions"
    " operator struct typing zlib".split()
)
"""What the kernel may import of the world: modules that compute and do nothing else."""

ALLOWED_IN = {
    "librt": ("rumpkit.net.wire",),
    "rumpkit._form": ("rumpkit.net.wire", "rumpkit.fs.ext.crc"),
    "lzma": ("rumpkit.fs.unpack.xz",),
    "compression": ("rumpkit.fs.unpack.zstd",),
    "zstandard": ("rumpkit.fs.unpack.zstd",),
}
"""What only some packages of the kernel may import."""

FORBIDDEN_BUILTINS = {
    **dict.fromkeys(["open", "print", "input"], "the kernel touches no world: use a hypercall"),
    **dict.fromkeys(["exec", "eval", "compile", "__import__"], "the kernel runs no code that it makes itself"),
    "breakpoint": "left from debugging",
    **dict.fromkeys(["id", "hash"], "no decision depends on id() or a hash: they differ from run to run"),
}

ORDER_FREE = frozenset(["all", "any", "bool", "frozenset", "isinstance", "len", "max", "min", "set", "sorted", "sum"])
"""Calls whose result does not depend on the order in which a set is gone through."""

IN_ORDER = frozenset(
    ["bytes", "deque", "dict", "enumerate", "iter", "list", "map", "next", "filter", "reversed", "tuple", "zip"]
)
"""Calls that go through what they are given in its order."""


def check(source: Source) -> list[Finding]:
    """Return what in this file breaks rule 1 or the arrows, by line."""
    folder = _folder(source.module)
    findings = list(_arrows(source, folder))
    if folder in KERNEL:
        findings += _world(source)
        findings += _builtins(source)
        findings += _set_order(source)
    return sorted(findings, key=lambda finding: finding.line)


def _folder(module: str) -> str:
    """Return the folder of src/rumpkit that the module is in, or "" for the top."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in MAY_IMPORT else ""


def _imports(source: Source) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything that is imported; of `from x import y`, x.y."""
    package = source.module if source.is_package else source.module.rpartition(".")[0]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")
                above = above[: len(above) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def _arrows(source: Source, folder: str) -> Iterator[Finding]:
    """Check imports of rumpkit's own modules."""
    if source.module == "rumpkit":
        return
    for line, name in _imports(source):
        if not _within(name, "rumpkit") or _within(name, "rumpkit._form"):
            continue
        target = _folder(name)
        if not folder:
            yield Finding(source.path, line, f"imports {name}: only rumpkit/__init__.py stands outside of the arrows")
        elif not target:
            if folder != "cli":
                yield Finding(source.path, line, f"imports {name}: nothing but cli imports the package's face")
        elif target != folder and target not in MAY_IMPORT[folder]:
            may = ", ".join(sorted(MAY_IMPORT[folder])) or "nothing"
            yield Finding(source.path, line, f"imports {name}: {folder} may import {may}, not {target}")


def _world(source: Source) -> Iterator[Finding]:
    """Check imports of everything else against the allow-list."""
    for line, name in _imports(source):
        special = next((key for key in ALLOWED_IN if _within(name, key)), None)
        if special is not None:
            if not any(_within(source.module, package) for package in ALLOWED_IN[special]):
                where = ", ".join(ALLOWED_IN[special])
                yield Finding(source.path, line, f"imports {special}, which only {where} may import")
        elif not _within(name, "rumpkit") and name.partition(".")[0] not in ALLOWED:
            module = name.partition(".")[0]
            yield Finding(source.path, line, f"imports {module}, which is not on the allow-list of the kernel (rule 1)")


def _builtins(source: Source) -> Iterator[Finding]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in FORBIDDEN_BUILTINS:
            yield Finding(source.path, node.lineno, f"uses {node.id}: {FORBIDDEN_BUILTINS[node.id]}")


def _set_order(source: Source) -> Iterator[Finding]:
    """Find the places that go through a set in its order, where that is plain to see.

    Known as sets: literals, comprehensions, calls of set() and frozenset(), unions and the like of them, and names and
    attributes that the same file annotates as sets or only ever assigns sets to.
    """
    names = _set_names(source.tree)

    def is_set(node: ast.expr) -> bool:
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Call(func=ast.Name(id="set" | "frozenset")):
                return True
            case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor(), right=right):
                return is_set(left) or is_set(right)
            case ast.Name(id=name) | ast.Attribute(attr=name):
                return name in names
        return False

    text = "goes through a set in its order, which differs from run to run: use a dict, or sorted()"
    parents = {child: node for node in ast.walk(source.tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(source.tree):
        match node:
            case ast.For(iter=target) | ast.Starred(value=target) if is_set(target):
                yield Finding(source.path, target.lineno, text)
            case ast.comprehension(iter=target) if is_set(target):
                if not _order_free(parents[node], parents):
                    yield Finding(source.path, target.lineno, text)
            case ast.Call(func=ast.Name(id=name), args=arguments) if name in IN_ORDER:
                if any(is_set(argument) for argument in arguments):
                    yield Finding(source.path, node.lineno, text)
            case ast.Call(func=ast.Attribute(attr="join" | "extend"), args=[target]) if is_set(target):
                yield Finding(source.path, node.lineno, text)
            case ast.Call(func=ast.Attribute(value=target, attr="pop"), args=[]) if is_set(target):
                yield Finding(source.path, node.lineno, "takes any element of a set: which one differs from run to run")


def _order_free(comprehension: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Return whether the comprehension's order is lost again: it makes a set, or stands in a call such as sorted()."""
    if isinstance(comprehension, ast.SetComp):
        return True
    match parents.get(comprehension):
        case ast.Call(func=ast.Name(id=name)):
            return name in ORDER_FREE
    return False


def _set_names(tree: ast.Module) -> set[str]:
    """Return the names and attributes that are sets wherever the file annotates or assigns them."""
    sets: set[str] = set()
    others: set[str] = set()

    def note(target: ast.expr, found: bool) -> None:
        match target:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                (sets if found else others).add(name)

    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign(target=target, annotation=annotation):
                note(target, _is_set_annotation(annotation))
            case ast.arg(arg=name, annotation=ast.expr() as annotation):
                (sets if _is_set_annotation(annotation) else others).add(name)
            case ast.Assign(targets=[target], value=value):
                literal = isinstance(value, ast.Set | ast.SetComp)
                match value:
                    case ast.Call(func=ast.Name(id="set" | "frozenset")):
                        literal = True
                note(target, literal)
            case ast.For(target=target):
                note(target, False)
    return sets - others


def _is_set_annotation(annotation: ast.expr) -> bool:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return annotation.value.partition("[")[0] in ("set", "frozenset", "Set", "AbstractSet")
    base = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return isinstance(base, ast.Name) and base.id in ("set", "frozenset", "Set", "AbstractSet")
