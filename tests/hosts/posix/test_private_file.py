"""Files that nobody else may read."""

import os
import stat
from pathlib import Path

import pytest

from rumpkit.hosts.posix.private_file import create_private


@pytest.mark.parametrize("mode", [0, 0o644])
def test_a_file_is_its_owner_s_alone_also_one_that_was_not(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    if mode:
        path.write_text("old")
        path.chmod(mode)
    fd = create_private(path)
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_bytes() == b""
    finally:
        os.close(fd)


def test_a_device_stays_as_it_is() -> None:
    before = os.stat("/dev/null").st_mode
    os.close(create_private("/dev/null"))
    assert os.stat("/dev/null").st_mode == before
