"""Mounting: the superblock is read and checked, the journal replayed and opened or read through, the mount made."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...hyper.time import SECOND
from ...kern.device import Device
from ...vfs.types import OptionValue
from .blockmap import find
from .features import HAS_JOURNAL, RECOVER
from .geometry import Geometry, check_magic, corrupt
from .mount import ExtMount
from .superblock import STATE_ERROR, Superblock
from .type import check_writable
from .volume import Volume, read_superblock

if TYPE_CHECKING:
    from ...vfs.vfs import Vfs


def open_volume(vfs: "Vfs", device: Device) -> Volume:
    """The file system on a device, as it lies there, without its journal.  Raises EINVAL, EUCLEAN, EIO."""
    raw = read_superblock(device)
    check_magic(raw)
    geometry = Geometry(raw, device.size())
    return Volume(vfs.buffer_cache(device, geometry.block_size), geometry)


def journal_runs(volume: Volume) -> list[tuple[int, int]]:
    """Where the journal's blocks lie, in order: first block and count.  Raises EUCLEAN, ENOTSUP for one that is elsewhere."""
    from .journal.mount import check_external

    check_external(volume.fields)
    state = volume.read_inode(volume.fields.journal_inum)
    blocks = state.inode.size >> volume.block_bits
    if not state.inode.links or not 0 < blocks <= volume.geometry.blocks:
        raise corrupt(f"{state.where}: a journal of {state.inode.size} bytes")
    runs: list[tuple[int, int]] = []
    block = 0
    while block < blocks:
        run = find(state, block, blocks - block)
        if not run.block:
            raise corrupt(f"{state.where}: the journal has a hole")
        if runs and runs[-1][0] + runs[-1][1] == run.block:
            runs[-1] = (runs[-1][0], runs[-1][1] + run.length)
        else:
            runs.append((run.block, run.length))
        block += run.length
    return runs


def open_mount(vfs: "Vfs", kind: str, source: str, device: Device, options: Mapping[str, OptionValue]) -> ExtMount:
    """Mount an open device.  Raises EINVAL, EUCLEAN, EIO."""
    raw = read_superblock(device)
    check_magic(raw)
    read_only = bool(options["read_only"])
    if not read_only:
        check_writable(Superblock(raw))
    volume = open_volume(vfs, device)
    journal = volume.fields.feature_compat & HAS_JOURNAL != 0
    if journal and not read_only:
        volume = _with_journal(vfs, volume, options)
    elif journal and volume.fields.feature_incompat & RECOVER:
        volume = _read_through(vfs, volume)
    volume.names = vfs.name_cache()
    mount = ExtMount(vfs.hyper, kind, source, device, volume, int(options["vnodes"]))
    if journal:
        mount.commit_interval = int(options["commit"]) * SECOND
    mount.delayed_bytes = int(options["delayed_bytes"])
    mount.delayed_file_bytes = int(options["delayed_file_bytes"])
    if not read_only:
        mount.start_writing(journal)
    return mount


def _with_journal(vfs: "Vfs", volume: Volume, options: Mapping[str, OptionValue]) -> Volume:
    """The file system after its journal was replayed for good, with the journal as its transactions."""
    from .journal.counters import JournalCounters
    from .journal.mount import open_journal

    # The mount commits when it is time. An operation that finds a transaction old does so, too, and keeps others waiting: rather not.
    interval, limit = 2 * int(options["commit"]) * SECOND, int(options["transaction_blocks"])
    transaction, made = open_journal(vfs.hyper, volume.cache, journal_runs(volume), interval, limit)
    counters = vfs.kernel.counters.group("ext.journal")
    if isinstance(counters, JournalCounters):
        transaction.counters = counters
    raw = read_superblock(volume.cache.device)
    check_magic(raw)
    fresh = Volume(volume.cache, Geometry(raw, volume.cache.device.size()))
    if made.error:
        fresh.fields.state |= STATE_ERROR
    fresh.transaction = transaction
    transaction.attach(fresh)
    return fresh


def _read_through(vfs: "Vfs", volume: Volume) -> Volume:
    """The file system as it will be after its journal is replayed, without a write."""
    from .journal.mount import replayed

    device, made = replayed(volume.cache.device, volume.cache, journal_runs(volume))
    if made.damaged:
        vfs.hyper.console_write(f"{device.name}: journal: {made.damaged}; what follows is left out\n".encode())
    return open_volume(vfs, device)
