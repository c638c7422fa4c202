"""Fixtures for the tests of control sockets: a runtime directory of the test's own."""

import tempfile
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def runtime(monkeypatch):
    """Where the test's sockets are; short, and not below a directory that pytest watches over."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        sockets = Path(folder, "rumpkit")
        sockets.mkdir(mode=0o700)
        monkeypatch.setenv("RUMPKIT_RUNTIME_DIR", str(sockets))
        yield Path(folder)
