"""A null mount shows the same files: whatever is changed at one place, Linux hears of it for the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rumpkit.clients import fuse
from rumpkit.hosts.posix.host import PosixHost
from rumpkit.kern.abi.fcntl import O_CREAT, O_WRONLY
from tests.vfs.helpers import Files

pytestmark = pytest.mark.needs("fuse", "root")


def eventually(found: Callable[[], object], wanted: object) -> None:
    deadline = time.monotonic() + 30
    while (now := found()) != wanted:
        assert time.monotonic() < deadline, (now, wanted)
        time.sleep(0.005)


def mode_of(path: Path) -> Callable[[], int]:
    return lambda: path.stat().st_mode & 0o777


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_both_places_show_every_change(tmp_path: Path, kind: str) -> None:
    host = PosixHost(console=-1)
    files = Files(root=kind, host=host)
    client = files.root
    for directory in ("/plain", "/plain/d", "/null"):
        client.mkdir(directory)
    client.mount("null", "/null", {}, "/plain")
    with fuse.mount(files.kernel, "/", str(tmp_path), fuse.SOLE):
        for change, look in (("plain", "null"), ("null", "plain")):
            there = tmp_path / look / "d" / "file"
            here = tmp_path / change / "d" / "file"
            assert not there.exists()
            # Past the mount.
            fd = client.open(f"/{change}/d/file", O_WRONLY | O_CREAT)
            eventually(there.exists, True)
            client.write(fd, b"one")
            eventually(there.read_bytes, b"one")
            client.close(fd)
            # By the mount, at the other place.
            here.write_bytes(b"another")
            eventually(there.read_bytes, b"another")
            here.chmod(0o600)
            eventually(mode_of(there), 0o600)
            here.rename(here.with_name("moved"))
            eventually(there.exists, False)
            eventually(there.with_name("moved").exists, True)
            there.with_name("moved").unlink()
            eventually(here.with_name("moved").exists, False)
    host.close()
