"""Rule 1 and the arrows, held against every file of the package; and the checker, held against what it must catch."""

from __future__ import annotations

import pytest

from tests.house.files import package_sources, parse
from tests.house.imports import KERNEL, MAY_IMPORT, check

pytestmark = pytest.mark.once


def test_the_package_keeps_rule_1_and_the_arrows():
    findings = [str(finding) for source in package_sources() for finding in check(source)]
    assert not findings, "\n" + "\n".join(findings)


def test_every_folder_of_the_package_is_in_the_picture():
    folders = {source.module.split(".")[1] for source in package_sources() if source.path.count("/") > 2}
    assert folders <= set(MAY_IMPORT)


def test_the_arrows_have_no_circle():
    for folder, below in MAY_IMPORT.items():
        for lower in below:
            assert folder not in MAY_IMPORT[lower]
            # What may be imported may be imported with all that is below it.
            assert MAY_IMPORT[lower] <= below


def complaints(path: str, text: str) -> list[str]:
    return [f"{finding.line}: {finding.text}" for finding in check(parse(text, path))]


@pytest.mark.parametrize("folder", KERNEL)
@pytest.mark.parametrize(
    "line",
    [
        "import os",
        "import time as clock",
        "from socket import AF_INET",
        "import asyncio.queues",
        "from random import random",
        "import msgspec",
    ],
)
def test_the_kernel_imports_no_world(folder, line):
    found = complaints(f"src/rumpkit/{folder}/x.py", f"import struct\n{line}\n")
    assert len(found) == 1 and found[0].startswith("2: imports ") and "allow-list" in found[0]


@pytest.mark.parametrize("folder", ["hosts/posix", "clients", "guests/linux", "cli"])
def test_the_edges_may_import_the_world(folder):
    assert not complaints(f"src/rumpkit/{folder}/x.py", "import os, socket\nprint(hash(1))\nfor x in {1, 2}: pass\n")


@pytest.mark.parametrize(
    "line", ["import collections.abc", "from typing import Final", "import hashlib", "from mypy_extensions import i64"]
)
def test_the_allow_list_allows(line):
    assert not complaints("src/rumpkit/net/x.py", line)


def test_an_import_inside_of_a_function_counts():
    found = complaints("src/rumpkit/kern/x.py", "def f() -> None:\n    import threading\n")
    assert found == ["2: imports threading, which is not on the allow-list of the kernel (rule 1)"]


def test_librt_and_the_form_stay_in_leaves():
    text = "from librt.strings import read_i16_be\nfrom rumpkit._form import COMPILED\n"
    assert not complaints("src/rumpkit/net/wire/bytes.py", text)
    assert complaints("src/rumpkit/net/ip/input.py", text) == [
        "1: imports librt, which only rumpkit.net.wire may import",
        "2: imports rumpkit._form, which only rumpkit.net.wire, rumpkit.fs.ext.crc may import",
    ]
    assert not complaints("src/rumpkit/fs/ext/crc.py", "from rumpkit._form import COMPILED\n")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("kern/x.py", "from rumpkit.vfs.vnode import Vnode"),
        ("kern/x.py", "from ..net import wire"),
        ("kern/x.py", "from .. import net"),
        ("net/ip/x.py", "from ...vfs import vnode"),
        ("net/x.py", "import rumpkit.hosts.posix"),
        ("net/__init__.py", "from ..clients import local"),
        ("vfs/x.py", "from rumpkit.fs.tmpfs import Tmpfs"),
        ("fs/tmpfs/x.py", "from rumpkit.dev import null"),
        ("dev/x.py", "from rumpkit.vfs import vnode"),
        ("hyper/x.py", "from rumpkit.kern import wait"),
        ("hosts/sim/x.py", "from rumpkit.kern.kernel import Kernel"),
        ("clients/x.py", "from rumpkit.fs import tmpfs"),
        ("guests/linux/x.py", "from rumpkit.compose import boot"),
        ("compose/x.py", "from rumpkit.cli.main import main"),
        ("lab/x.py", "from rumpkit.bake import image"),
        ("net/x.py", "from rumpkit import Kernel"),
        ("compose/x.py", "import rumpkit"),
        ("stray.py", "from rumpkit.kern import wait"),
    ],
)
def test_no_arrow_points_up(path, line):
    (found,) = complaints(f"src/rumpkit/{path}", line)
    assert found.startswith("1: imports rumpkit")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("net/ip/x.py", "from ..wire import ipv4"),
        ("net/__init__.py", "from .wire import ipv4"),
        ("fs/tmpfs/x.py", "from ...vfs.vnode import Vnode"),
        ("clients/x.py", "from rumpkit.net.socket import x"),
        ("compose/x.py", "from rumpkit.fs.components import tmpfs"),
        ("cli/run.py", "from rumpkit import Kernel"),
        ("__init__.py", "from rumpkit.compose import boot"),
    ],
)
def test_arrows_may_point_down(path, line):
    assert not complaints(f"src/rumpkit/{path}", line)


@pytest.mark.parametrize(
    "call",
    [
        "open('x')",
        "print(1)",
        "input()",
        "exec('')",
        "eval('1')",
        "compile('', '', 'exec')",
        "__import__('os')",
        "breakpoint()",
        "id(x)",
        "hash(x)",
    ],
)
def test_builtins_of_the_world_are_forbidden(call):
    (found,) = complaints("src/rumpkit/vfs/x.py", f"x = 1\n\ny = {call}\n")
    assert found.startswith(f"3: uses {call.partition('(')[0]}: ")


def test_a_builtin_is_not_handed_on_either():
    assert complaints("src/rumpkit/vfs/x.py", "x = sorted(y, key=id)\n")


def test_methods_of_those_names_are_fine():
    text = "class File:\n    def open(self) -> None: ...\n    def id(self) -> int: ...\nFile().open()\n"
    assert not complaints("src/rumpkit/vfs/x.py", text)


@pytest.mark.parametrize(
    "text",
    [
        "for x in {1, 2}: pass",
        "for x in set(y): pass",
        "z = [x for x in frozenset(y)]",
        "z = list({a for a in y})",
        "z = [*set(y)]",
        "z = next(iter(set(y)))",
        "z = set(y)\nfor x in z: pass",
        "class A:\n    def f(self) -> None:\n        self.all: set[int] = set()\n        for x in self.all: pass",
        "class A:\n    all: 'set[int]'\n    def f(self) -> int:\n        return self.all.pop()",
        "def f(z: frozenset[int]) -> list[int]:\n    return list(z)",
        "for x in a | {1}: pass",
        "z = b''.join({b'a', b'b'})",
    ],
)
def test_the_order_of_a_set_decides_nothing(text):
    (found,) = complaints("src/rumpkit/kern/x.py", text)
    assert "set" in found


@pytest.mark.parametrize(
    "text",
    [
        "for x in sorted({1, 2}): pass",
        "z = len(set(y)) + sum({1, 2})",
        "z = {x + 1 for x in set(y)}",
        "z = any(x > 1 for x in set(y))",
        "z = x in {1, 2}",
        "z = {1: 2}\nfor x in z: pass",
        "def f(z: set[int]) -> None:\n    z.add(1)\ndef g(z: list[int]) -> None:\n    for x in z: pass",
    ],
)
def test_sets_without_order_are_fine(text):
    assert not complaints("src/rumpkit/kern/x.py", text)
