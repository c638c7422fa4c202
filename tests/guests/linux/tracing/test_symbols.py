"""Names for addresses: of this process, and of files that aren't what they should be."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

from rumpkit.guests.linux.tracing.symbols import describe, function_at, mappings

pytestmark = pytest.mark.needs("linux")


def test_a_function_of_the_c_library() -> None:
    import ctypes

    library = ctypes.CDLL(None)
    address = ctypes.cast(library.getpid, ctypes.c_void_p).value
    assert address is not None
    there = mappings(os.getpid())
    assert "getpid+0x0 (" in describe(os.getpid(), address, there)
    assert describe(os.getpid(), 8, there) == "nothing is mapped there"


@pytest.mark.once
def test_files_that_are_damaged(tmp_path: Path) -> None:
    whole = Path(os.path.realpath(sys.executable)).read_bytes()[:65536]
    chance = random.Random(7)
    for _ in range(50):
        data = bytearray(whole)
        for _ in range(20):
            data[chance.randrange(8, 2048)] = chance.randrange(256)
        (tmp_path / "file").write_bytes(data)
        assert isinstance(function_at(str(tmp_path / "file"), 0x1000), str)
    (tmp_path / "file").write_bytes(b"\x7fELF\2\1")
    assert function_at(str(tmp_path / "file"), 0) == "" and function_at("/nowhere", 0) == ""
