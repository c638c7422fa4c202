"""Hash trees whose nodes are full on several levels."""

from __future__ import annotations

import struct

import pytest

from rumpkit.fs.ext import htreewrite
from rumpkit.fs.ext.htree import ENTRY
from rumpkit.fs.ext.state import InodeState
from rumpkit.kern.abi.errno import ENOSPC
from tests.fs.ext.test_mounted import Disk


@pytest.mark.once
def test_nodes_on_all_levels_are_split_for_one_name(monkeypatch: pytest.MonkeyPatch):
    start = htreewrite._start_node

    def start_small(state: InodeState, data: bytearray, count_at: int, first: int) -> None:
        start(state, data, count_at, first)
        assert count_at + 5 * ENTRY < len(data)
        struct.pack_into("<H", data, count_at, 4)

    monkeypatch.setattr(htreewrite, "_start_node", start_small)
    disk = Disk("ext4", {"block_size": 1024, "features": "large_dir"})
    client = disk.mount()
    client.put("/mnt/f")
    client.mkdir("/mnt/d")
    names = [f"{number:03}" + "n" * 240 for number in range(400)]
    made = 0
    with pytest.raises(OSError, match=r"No space|full|room") as caught:
        for name in names:
            client.link("/mnt/f", f"/mnt/d/{name}")
            made += 1
    assert caught.value.errno == ENOSPC, caught.value
    assert made > 64
    assert sorted(client.names("/mnt/d")) == names[:made]
    for name in names[:made]:
        client.lstat(f"/mnt/d/{name}")
    client.put("/mnt/g", b"it can be written still")
    client.sync()
