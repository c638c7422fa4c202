"""What an image holds: a partition table and a file system in each partition, or one file system on the whole of it."""

from typing import TYPE_CHECKING, NamedTuple

from ...kern.abi.errno import EINVAL, ENOENT, EUCLEAN
from .address import Address
from .node import failure

if TYPE_CHECKING:
    from ...dev.partition import Partition, PartitionTable
    from ...kern.device import Device
    from ...vfs.types import Recognition
    from .session import Image, Session


class Volume(NamedTuple):
    """A place for a file system."""

    partition: "Partition | None"
    """None for the whole image."""
    device: "Device"
    found: "Recognition | None"
    problem: str = ""
    """Why nobody could tell what is there."""

    def describe(self) -> str:
        """What it is, in a few words: "ext4, ROOT"."""
        kind = self.found.kind if self.found else "nothing known"
        name = (self.found.label if self.found else "") or (self.partition.name if self.partition else "")
        return f"{kind}, {name!r}" if name else kind


class Contents(NamedTuple):
    """All of them."""

    table: "PartitionTable | None"
    volumes: list[Volume]


def contents(session: "Session", image: "Image") -> Contents:
    """Look.  Raises EUCLEAN for a partition table that makes no sense, where there is no file system over it either."""
    from ...dev.partition_table import read_table

    host = session.host
    table: PartitionTable | None = None
    broken: OSError | None = None
    host.unschedule()
    try:
        table = read_table(image.storage.backend)
    except OSError as problem:
        if problem.errno != EUCLEAN:
            raise
        broken = problem
    finally:
        host.schedule()
    if table is not None and table.partitions:
        return Contents(table, [_look(session, session.part(image, one), one) for one in table.partitions])
    whole = _look(session, session.part(image, None), None)
    if broken is not None and whole.found is None:
        raise broken
    return Contents(None, [whole])


def _look(session: "Session", device: "Device", partition: "Partition | None") -> Volume:
    try:
        found = session.recognise(device)
        return Volume(partition, device, found, "" if found is not None else _otherwise(device))
    except OSError as problem:
        return Volume(partition, device, None, problem.strerror or str(problem))


def _otherwise(device: "Device") -> str:
    """What is there that is no file system of ours; "" where nobody knows."""
    from .foreign import FOREIGN_BYTES, foreign

    head = device.read(0, FOREIGN_BYTES)
    return foreign(head) if isinstance(head, bytes) else ""


def choose(session: "Session", image: "Image", address: Address) -> Volume:
    """The volume that an address means.  Raises ENOENT, EINVAL, EUCLEAN, with a text that says what there is."""
    table, volumes = contents(session, image)
    wanted = address.partition
    if not wanted:
        known = [one for one in volumes if one.found is not None] if len(volumes) > 1 else volumes
        if len(known) == 1:
            return known[0]
        if not known:
            raise failure(EINVAL, "none of its partitions holds a file system of a known type", image.path)
        raise failure(EINVAL, f"say which partition is meant: {_offer(address, known)}", image.path)
    matching = [one for one in volumes if _matches(one, wanted)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise failure(EINVAL, f"several partitions are called so; take their numbers: {_offer(address, matching)}")
    if table is None:
        raise failure(ENOENT, "it has no partition table, and its file system is not labelled so")
    raise failure(ENOENT, f"it has no such partition; it has {_offer(address, volumes)}")


def _matches(volume: Volume, wanted: str) -> bool:
    partition, found = volume.partition, volume.found
    if wanted.isdigit():
        return partition is not None and partition.number == int(wanted)
    names = [partition.name, partition.uuid.lower()] if partition else []
    names += [found.label, found.uuid.lower()] if found else []
    return wanted in names or wanted.lower() in names[1::2]


def _offer(address: Address, volumes: list[Volume]) -> str:
    return ", ".join(
        f"{address.image}@{one.partition.number} ({one.describe()})" for one in volumes if one.partition is not None
    )
