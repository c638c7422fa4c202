"""The table of system calls, and its two typed faces held against it and against each other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import rumpkit.clients.local
from rumpkit.clients.table import CALLS, Call
from rumpkit.kern.calls import KernCalls
from rumpkit.kern.pollcalls import PollCalls
from rumpkit.kern.socketcalls import SocketCalls
from rumpkit.vfs.calls import VfsCalls

SERVICES = {"KernCalls": KernCalls, "SocketCalls": SocketCalls, "PollCalls": PollCalls, "VfsCalls": VfsCalls}
NOT_CALLS = {
    "get",
    "paths_of",
    "walk",
    "walk_at",
    "found",
    "changeable",
    "vnode_file",
    "new_name",
    "may_add",
    "create",
    "give_acl",
    "set_attribute",
    "remove_attribute",
    "told",
    "instance",
    "lockable",
}
"""Public methods of call objects that are no system calls but help those."""

FOLDER = Path(rumpkit.clients.local.__file__).parent
Method = ast.FunctionDef | ast.AsyncFunctionDef


def methods(*names: str) -> dict[str, Method]:
    """The public methods that the sources of a face define; of overloads the last, which takes everything."""
    found: dict[str, Method] = {}
    for name in names:
        for statement in ast.parse((FOLDER / f"{name}.py").read_text()).body:
            if isinstance(statement, ast.ClassDef):
                found |= {node.name: node for node in statement.body if isinstance(node, Method)}
    return found


LOCAL = methods("local", "local_files")
AIO = methods("aio", "aio_files")


def ids(call: Call) -> str:
    return call.name


def test_the_table_names_each_call_once():
    names = [call.name for call in CALLS]
    assert len(set(names)) == len(names) > 80


@pytest.mark.parametrize("call", CALLS, ids=ids)
def test_a_faction_answers(call):
    assert callable(getattr(SERVICES[call.service], call.method))


def test_every_method_of_a_call_object_is_in_the_table():
    for service, kind in SERVICES.items():
        public = {name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name))}
        listed = {call.method for call in CALLS if call.service == service}
        assert public - NOT_CALLS == listed


@pytest.mark.parametrize("call", CALLS, ids=ids)
def test_both_faces_have_it_with_the_same_signature(call):
    plain, awaited = LOCAL[call.name], AIO[call.name]
    assert isinstance(plain, ast.FunctionDef) and isinstance(awaited, ast.AsyncFunctionDef)
    assert ast.dump(plain.args) == ast.dump(awaited.args)
    assert plain.returns is not None and awaited.returns is not None
    result = ast.unparse(plain.returns).replace("SocketLike", "AioSocket")
    assert result == ast.unparse(awaited.returns)


@pytest.mark.parametrize("call", CALLS, ids=ids)
def test_both_faces_document_it(call):
    documented = ast.get_docstring(LOCAL[call.name])
    assert documented and len(documented) > 20
    assert documented == ast.get_docstring(AIO[call.name])


@pytest.mark.parametrize("call", CALLS, ids=ids)
def test_both_faces_make_the_call_that_the_table_says(call):
    for face in (LOCAL, AIO):
        attributes = {node.attr for node in ast.walk(face[call.name]) if isinstance(node, ast.Attribute)}
        assert call.method in attributes


def test_the_faces_have_no_calls_beside_the_table():
    names = {call.name for call in CALLS}
    private = {name for name in AIO if name.startswith("_")}
    assert set(AIO) - private - {"vfs_calls"} == names
    conveniences = {"vfs_calls", "aio", "open_file"}
    assert {name for name in LOCAL if not name.startswith("_")} - conveniences == names
