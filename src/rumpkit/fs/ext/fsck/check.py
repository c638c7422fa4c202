"""A whole check of an ext2, ext3 or ext4 file system: the passes in order, and repair where that was asked for.

What a log holds counts: a check that doesn't repair reads through it, one that does replays it first.  Nothing is
repaired unless everything that is wrong can be, and nothing without a finding.
"""

from collections.abc import Callable

from ....hyper.calls import Hypercalls
from ....kern.abi.errno import ENOSPC, ENOTSUP, EUCLEAN
from ....kern.device import Device
from ....vfs.types import Finding
from ..checksum import superblock_checksum
from ..features import HAS_JOURNAL, RECOVER
from ..inode import Inode
from ..journal.mount import check_external, recover, view
from ..journal.overlay import ReplayedDevice
from ..journal.replay import load, scan, write_superblock
from ..journal.space import LogSpace
from ..superblock import OFFSET, SIZE, Superblock
from .attributes import check_references
from .bitmaps import check_bitmaps
from .context import Check
from .directories import check_directories
from .inodes import check_inodes, read_orphans
from .maps import FileMap
from .start import check_groups, check_superblock, open_check
from .tree import check_links, check_tree


def check_file_system(hyper: Hypercalls, device: Device, repair: bool, report: Callable[[Finding], None]) -> bool:
    """What `FileSystemType.check` of this family does.  Raises EUCLEAN where there is no superblock to start from, EIO, EROFS."""
    if not repair:
        check, _ = _first_check(hyper, device, False, report)
        check.finish()
        return not check.findings
    found: list[Finding] = []
    check, lost = _first_check(hyper, device, True, found.append)
    if not check.findings:
        return True
    if check.beyond:
        check.finish()
        found.append(Finding("more is wrong than can be repaired here; use e2fsck", "", False, True))
        clean = False
    else:
        from .repair import Repair

        clean = Repair(hyper, device, found).run(check, lost)
    for finding in found:
        report(finding._replace(fixed=clean))
    return clean


def _first_check(
    hyper: Hypercalls, device: Device, repair: bool, report: Callable[[Finding], None]
) -> tuple[Check, list[int]]:
    """Look at the log, and check; what was found, and what is in no directory."""
    early: list[Finding] = []
    check = open_check(hyper, device, early.append)
    through = _journal(check, device, repair)
    for finding in early:
        report(finding)
    beyond = check.beyond
    # The superblock may be another one after the replay.
    check = open_check(hyper, through, report if not early else _ignore)
    check.set_report(report)
    check.findings = max(check.findings, len(early))
    check.beyond = max(check.beyond, beyond)
    return check, run_passes(check)


def _ignore(finding: Finding) -> None:
    """It was reported before."""


def run_passes(check: Check) -> list[int]:
    """All passes but the journal's.  Returns what is in no directory."""
    check_superblock(check)
    if not check_groups(check):
        return []
    read_orphans(check)
    check_inodes(check)
    check_references(check)
    check_directories(check)
    lost = check_tree(check)
    lost += check_links(check)
    check_bitmaps(check)
    return lost


def _journal(check: Check, device: Device, repair: bool) -> Device:
    """Replay the log if that is allowed; the device to check."""
    fields = check.fields
    if not fields.feature_compat & HAS_JOURNAL:
        if fields.feature_incompat & RECOVER:
            check.find("it needs recovery and has no journal", "superblock")
        return device
    try:
        check_external(fields)
        runs = journal_runs(check)
        space = LogSpace(check.cache, runs)
        journal = load(space)
        if repair:
            return _replay(check, space, device)
        made = scan(space, journal)
    except OSError as problem:
        if problem.errno not in (EUCLEAN, ENOTSUP, ENOSPC):
            raise
        check.find(str(problem.strerror), "journal")
        return device
    if made.damaged:
        check.find(made.damaged, "journal")
    if journal.error:
        check.find(f"an earlier mount gave it up with error {journal.error}", "journal")
    if made.transactions and not fields.feature_incompat & RECOVER:
        check.find("its log is not empty, though the superblock says so", "journal")
    try:
        return view(device, space, made)
    except OSError as problem:
        if problem.errno not in (EUCLEAN, ENOSPC):
            raise
        check.find(str(problem.strerror), "journal")
        return ReplayedDevice(device, space, made) if made.blocks else device


def _replay(check: Check, space: LogSpace, device: Device) -> Device:
    """Replay the log for good; then neither the superblock nor the journal says that something is to be done."""
    journal = recover(space).journal
    if journal.error:
        check.find(f"an earlier mount gave it up with error {journal.error}", "journal", True)
        journal.error = 0
        write_superblock(space, journal)
    buffer = check.cache.get(OFFSET // check.block_size)
    at = OFFSET % check.block_size
    fields = Superblock(bytes(buffer.data[at : at + SIZE]))
    if fields.feature_incompat & RECOVER:
        fields.feature_incompat &= ~RECOVER
        if fields.has_checksums:
            fields.checksum = superblock_checksum(fields.emit())
        buffer.data[at : at + SIZE] = fields.emit()
        check.cache.mark(buffer)
        check.cache.sync()
    return device


def journal_runs(check: Check) -> list[tuple[int, int]]:
    """Where the journal's blocks lie.  Raises EUCLEAN where its inode can't be believed."""
    number = check.fields.journal_inum
    if not 0 < number <= check.geometry.inodes:
        raise OSError(EUCLEAN, f"the journal is inode {number}")
    if not check.descriptors:
        from .start import read_descriptors

        read_descriptors(check)
    raw = check.raw_inode(number)
    inode = Inode(raw, len(raw))
    made = FileMap(check, number, inode, False, 0)
    wanted = inode.size // check.block_size
    runs: list[tuple[int, int]] = []
    at = 0
    for logical, start, count, written in made.runs:
        if logical != at or not written:
            break
        runs.append((start, min(count, wanted - at)))
        at += count
        if at >= wanted:
            return runs
    raise OSError(EUCLEAN, f"the journal has {at} of {wanted} blocks")
