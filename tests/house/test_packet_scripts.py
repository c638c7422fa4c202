"""How many packet scripts there are: tests that drive a connection through `tests.net.transport.tcp.script`."""

from __future__ import annotations

import ast

import pytest

from tests.house.files import ROOT

pytestmark = pytest.mark.once

MODULE = "tests.net.transport.tcp.script"
STARTERS = {"Script", "established", "accepted"}


def scripts(text: str) -> list[str]:
    """The test functions of a file that start a script, themselves or through helpers of the same file."""
    tree = ast.parse(text)
    imported = {
        name.asname or name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == MODULE
        for name in node.names
    }
    starters = imported & STARTERS
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    grown = True
    while grown:
        users = {
            name
            for name, node in functions.items()
            if any(isinstance(part, ast.Name) and part.id in starters for part in ast.walk(node))
        }
        grown = not users <= starters
        starters |= users
    return sorted(name for name in functions if name.startswith("test_") and name in starters)


def test_there_are_many():
    count = sum(len(scripts(path.read_text("utf-8"))) for path in (ROOT / "tests" / "net").rglob("test_*.py"))
    assert count >= 150, count


def test_scripts_are_found_through_helpers():
    text = f"from {MODULE} import Ack, established\ndef a():\n    return established()\ndef b():\n    return a()\n"
    text += "def test_x():\n    b()\ndef test_y():\n    Ack()\n"
    assert scripts(text) == ["test_x"]
