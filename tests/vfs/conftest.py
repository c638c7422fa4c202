"""Each test of path calls runs on a file system that never sleeps and on one with a lock; the long run has those of disks, too."""

import pytest

from tests.vfs.helpers import Files

OF_TMPFS = {
    "test_stat": "storage is counted in pages",
    "test_statvfs": "a disk is not empty when it is new",
    "test_holes": "files are larger than ext2 has them",
    "test_readdir_while_names_come_and_go": "names come in the order in which they were made",
    "test_a_reader_that_renames_comes_to_an_end": "a directory's block may have a new name behind the reader's place",
    "test_counters": "calls are counted from the first one on",
    "test_names_and_values": "values are longer than a block",
}
"""Tests that say more than POSIX does, and what."""
KINDS = ["tmpfs", "locked", pytest.param("ext2", marks=pytest.mark.long), pytest.param("ext4", marks=pytest.mark.long)]


@pytest.fixture(params=KINDS)
def files(request: pytest.FixtureRequest) -> Files:
    kind = request.param
    if kind.startswith("ext"):
        test = getattr(request.node, "originalname", "")
        if test in OF_TMPFS:
            pytest.skip(f"on {kind}: {OF_TMPFS[test]}")
        if "test_unmount" in request.node.nodeid:
            pytest.skip(f"on {kind}: it mounts a second file system without a disk")
    return Files(root=kind)
