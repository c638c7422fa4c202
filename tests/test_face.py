"""The lazy public face."""

from __future__ import annotations

import subprocess
import sys

import pytest

import rumpkit
from rumpkit.clients.local import LocalProcess
from rumpkit.kern.abi import errno, fcntl, poll, socket


def test_names_are_what_they_stand_for():
    assert rumpkit.LocalProcess is LocalProcess
    assert rumpkit.O_CREAT == fcntl.O_CREAT
    assert rumpkit.AF_INET6 == socket.AF_INET6
    assert rumpkit.EPOLLET == poll.EPOLLET
    assert rumpkit.ECONNRESET == errno.ECONNRESET


@pytest.mark.parametrize("name", rumpkit._NAMES)
def test_every_public_name_is_there(name):
    assert getattr(rumpkit, name).__module__.startswith("rumpkit.")


def test_everything_listed_can_be_had():
    for name in dir(rumpkit):
        assert getattr(rumpkit, name) is not None or name == "__cached__"


@pytest.mark.parametrize("module", [fcntl, socket, poll, errno])
def test_every_constant_is_public(module):
    for name, value in vars(module).items():
        if name.isupper() and not name.startswith("_") and isinstance(value, int):
            assert getattr(rumpkit, name) == value


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("O_CRAET", "O_CREAT"), ("Kernell", "Kernel"), ("EPOLLETT", "EPOLLET"), ("simulat", "simulate")],
)
def test_what_is_near_is_suggested(wrong, right):
    with pytest.raises(AttributeError, match=f"did you mean '{right}'"):
        getattr(rumpkit, wrong)


def test_what_is_not_there_is_not_there():
    with pytest.raises(AttributeError, match=r"no attribute 'xyzzy'$"):
        rumpkit.xyzzy
    assert not hasattr(rumpkit, "__wrapped__")


def test_importing_costs_nothing():
    code = "import sys, rumpkit; print(*[name for name in sys.modules if name.startswith('rumpkit.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"rumpkit._finder"}
