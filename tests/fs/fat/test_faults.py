"""A disk that fails now and then: calls say EIO, nothing that was there before is harmed, and what failed is written later."""

from __future__ import annotations

from random import Random

import pytest

from rumpkit.dev.fault import FLUSH, READ, WRITE, Fault, FaultBackend
from rumpkit.dev.ramdisk import RamDisk
from rumpkit.kern.abi import errno as abi
from rumpkit.kern.abi.fcntl import O_APPEND, O_CREAT, O_WRONLY
from tests.fs.fat.fatcrash import HARMLESS, TWINS
from tests.fs.fat.fatlab import Lab, tree
from tests.fs.fat.test_hostile import sample
from tests.vfs.helpers import Client


def some_calls(client: Client, random: Random) -> int:
    """Change files; how many calls failed."""
    failed = 0
    for number in range(60):
        name, other = (f"file {random.randrange(12)}" for _ in range(2))
        try:
            match random.randrange(6):
                case 0 | 1:
                    client.put(name, bytes([number + 1]) * random.choice((10, 3000, 20000)))
                case 2:
                    fd = client.open(name, O_WRONLY | O_CREAT | O_APPEND)
                    try:
                        client.write(fd, b"more" * 400)
                        client.fsync(fd)
                    finally:
                        client.close(fd)
                case 3:
                    client.unlink(name)
                case 4:
                    client.rename(name, f"directory/{other}")
                case 5:
                    client.truncate(name, 100)
        except OSError as problem:
            assert problem.errno in (abi.EIO, abi.ENOENT, abi.ENOSPC), problem
            failed += problem.errno == abi.EIO
    return failed


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_a_failing_disk_harms_no_other_file(bits: int):
    image = sample(bits)
    before = {name: data for name, data in tree(Lab.of(image).up()).items() if data is not None}
    failures = 0
    for seed in range(6):
        disk = RamDisk(len(image))
        disk.write(0, image)
        faulty = FaultBackend(disk, seed)
        lab = Lab(faulty)
        client = lab.up()
        for fault in (Fault(READ, 0.02), Fault(WRITE, 0.1), Fault(FLUSH, 0.1)):
            faulty.add(fault)
        failures += some_calls(client, Random(seed))
        faulty.heal()
        now = tree(client)
        lab.down(client)
        faulty.close()
        lab = Lab.of(disk.read(0, disk.size))
        assert tree(lab.up(read_only=True)) == now
        lab = Lab.of(disk.read(0, disk.size))
        for finding in lab.check(repair=True)[1]:
            assert any(text in finding.text for text in (*HARMLESS, TWINS)), finding
        assert lab.check() == (True, [])
        after = tree(lab.up())
        assert before.items() <= after.items()
    assert failures > 5
