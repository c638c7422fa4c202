"""Partition tables against sfdisk, both ways."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rumpkit.dev.partition import PartitionTable
from rumpkit.dev.partition_table import PartitionSpec, plan, read_table, write_table
from rumpkit.hosts.posix.block import FileBackend
from rumpkit.hosts.posix.host import PosixHost

pytestmark = [pytest.mark.needs("sfdisk"), pytest.mark.once]
MIB = 1 << 20


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    with open(path, "wb") as file:
        file.truncate(200 * MIB)
    return path


def sfdisk(image: Path, *options: str, script: str = "") -> str:
    command = ["sfdisk", *options, str(image)]
    ran = subprocess.run(command, input=script, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout + ran.stderr


def backend(image: Path) -> FileBackend:
    return FileBackend(PosixHost(console=-1), str(image))


def read(image: Path) -> PartitionTable:
    disk = backend(image)
    table = read_table(disk)
    disk.close()
    assert table is not None
    return table


def agree(image: Path) -> dict[str, Any]:
    """Assert that sfdisk and we say the same of a disk, and that sfdisk finds nothing wrong."""
    theirs = json.loads(sfdisk(image, "--json"))["partitiontable"]
    ours = read(image)
    assert ours.kind == theirs["label"] and ours.identifier.lower() == theirs["id"].lower()
    rows = [(one.start // 512, one.size // 512, one.type.lower()) for one in ours.partitions]
    assert rows == [(row["start"], row["size"], row["type"].lower().zfill(2)) for row in theirs["partitions"]]
    for one, row in zip(ours.partitions, theirs["partitions"], strict=True):
        assert row["node"] == f"{image}{one.number}"
        assert one.name == row.get("name", "") and one.uuid == row.get("uuid", one.uuid)
        assert one.bootable == (row.get("bootable", False) or "LegacyBIOSBootable" in row.get("attrs", ""))
    said = sfdisk(image, "--verify")
    assert "No errors detected" in said, said
    return dict(theirs)


@pytest.mark.parametrize("kind", ["gpt", "dos"])
@pytest.mark.parametrize("count", [1, 4, 7])
def test_ours_is_read_by_sfdisk(image: Path, kind: str, count: int) -> None:
    gpt = kind == "gpt"
    wanted = [
        PartitionSpec(
            (index + 1) * MIB, ("linux", "efi", "swap")[index % 3], f"part {index}" if gpt else "", bootable=not index
        )
        for index in range(count - 1)
    ]
    disk = backend(image)
    write_table(disk, plan(kind, disk.size, [*wanted, PartitionSpec()], lambda size: bytes(range(7, 7 + size))))
    disk.close()
    agree(image)


SCRIPTS = {
    "gpt": "label: gpt\nsize=1M, type=U, name=boot\nsize=5M, type=L, attrs=LegacyBIOSBootable\n,,L\n",
    "gpt small": "label: gpt\ntable-length: 8\nfirst-lba: 34\nstart=34, size=100\n,,L\n",
    "dos": "label: dos\nsize=10M, type=c, bootable\nsize=20M, type=83\n",
    "logical": "label: dos\nsize=10M, type=83\nsize=100M, type=f\nsize=5M, type=83\nsize=6M, type=82\nsize=7M, type=83\n",
    "logical first": "label: dos\nsize=100M, type=5\nsize=10M, type=83\nsize=5M, type=83, start=4096\n",
    "gaps": "label: dos\nstart=100M, size=1M, type=83\nstart=10M, size=1M, type=83\n",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_theirs_is_read_by_us(image: Path, name: str) -> None:
    sfdisk(image, script=SCRIPTS[name])
    agree(image)


def test_a_primary_that_we_mend(image: Path) -> None:
    sfdisk(image, script=SCRIPTS["gpt"])
    before = sfdisk(image, "--dump")
    with open(image, "r+b") as file:
        file.seek(512)
        file.write(bytes(20_000))
    disk = backend(image)
    table = read_table(disk)
    assert table is not None
    write_table(disk, table)
    disk.close()
    agree(image)
    assert [line for line in sfdisk(image, "--dump").splitlines() if line.startswith("/")] == [
        line for line in before.splitlines() if line.startswith("/")
    ]
