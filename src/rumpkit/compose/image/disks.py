"""Whole disks: a partition table, and in each partition a file system with its content, or raw bytes."""

import os
from typing import TYPE_CHECKING, Final, final

from ...kern.abi.errno import EFBIG, ENOSPC
from ..errors import ConfigError
from .counting import Amount
from .diskspec import AUTO, REST, DiskPartition, DiskSpec
from .filling import Source, fitted, format_options, kind_of, make_file_system, rounded, size_of
from .fresh import FreshImage
from .node import PIECE, failure
from .session import Session, named

if TYPE_CHECKING:
    from ...dev.partition import PartitionTable
    from ...hyper.block import BlockBackend
    from .copying import CopyWatcher
    from .trees import Complaint

TRIES: Final = 12
ALIGNMENT: Final = 1 << 20


@final
class DiskMaker:
    """Makes one disk."""

    def __init__(self, spec: DiskSpec, newest: int, complain: "Complaint", watcher: "CopyWatcher") -> None:
        """Opens all content.  Raises OSError."""
        self._spec: DiskSpec = spec
        self._complain: Complaint = complain
        self._watcher: CopyWatcher = watcher
        self._sources: list[Source | None] = []
        for one in spec.partition:
            self._sources.append(Source(one.content, newest) if one.content else None)
        self._sizes: list[int] = []

    def make(self, fresh: FreshImage) -> None:
        """Make the image; partitions of size "auto" grow until their content fits.  Raises OSError, ConfigError."""
        self._leave_out(fresh)
        with Session() as session:
            self._sizes = [self._first_size(session, index) for index in range(len(self._spec.partition))]
        for _ in range(TRIES):
            full = self._attempt(fresh)
            if full < 0:
                fresh.finish()
                return
            if self._spec.partition[full].size != AUTO:
                break
            self._watcher.restart()
            self._sizes[full] = rounded(self._sizes[full] + self._sizes[full] // 8)
        raise failure(ENOSPC, f"the content of partition {full + 1} does not fit")

    def amount(self) -> Amount | None:
        """About how much goes into all partitions, where that can be known soon."""
        found = [source.amount() for source in self._sources if source is not None]
        known = [one for one in found if one is not None and one.bytes >= 0]
        if len(known) < len(found):
            return None
        return Amount(sum(one.files for one in known), sum(one.bytes for one in known))

    def _leave_out(self, fresh: FreshImage) -> None:
        """The image may lie in the tree that goes into it."""
        for source in self._sources:
            if source is not None:
                source.left_out = fresh.identities()

    def close(self) -> None:
        """Let go of the content."""
        for source in self._sources:
            if source is not None:
                source.close()

    def _first_size(self, session: Session, index: int) -> int:
        one = self._spec.partition[index]
        if one.filesystem:
            try:
                kind_of(session, one.filesystem)
            except OSError as problem:
                raise ConfigError(str(problem.strerror), key=f"partition[{index}].filesystem") from None
        if one.size == REST:
            return 0
        if one.size != AUTO:
            return size_of(one.size)
        if one.raw:
            with named(one.raw):
                return rounded(os.path.getsize(one.raw))
        source = self._sources[index]
        assert source is not None
        return rounded(kind_of(session, one.filesystem).estimate(source.measure()))

    def _attempt(self, fresh: FreshImage) -> int:
        """Make the whole disk; the index of a partition that is too small, or -1."""
        from ...dev.partition_table import PartitionSpec, plan, write_table

        spec = self._spec
        wanted = [
            PartitionSpec(size, one.type, one.name, one.uuid, one.bootable)
            for one, size in zip(spec.partition, self._sizes, strict=True)
        ]
        size = size_of(spec.size) if spec.size != AUTO else self._whole_size()
        with Session(in_place=True) as session:
            host = session.host
            session.kernel()
            table = plan(spec.table, size, wanted, host.random, spec.id)
            image = session.image(fresh.create(size).image, write=True)
            self._leave_out(fresh)
            host.unschedule()
            try:
                write_table(image.storage.backend, table)
            finally:
                host.schedule()
            places = [one for one in table.partitions if not _is_container(table, one.number, len(wanted))]
            for index, (one, place) in enumerate(zip(spec.partition, places, strict=True)):
                try:
                    device = session.part(image, place)
                    if one.raw:
                        self._copy_raw(one, session, image.storage.backend, place.start, place.size)
                    elif one.filesystem:
                        kind = kind_of(session, one.filesystem)
                        given = {name: str(value) for name, value in one.options.items()}
                        chosen = format_options(kind, given, one.label, one.filesystem_uuid)
                        options = fitted(kind, chosen, self._sources[index], one.size == AUTO)
                        make_file_system(
                            session, kind, device, options, self._sources[index], self._complain, self._watcher
                        )
                except OSError as problem:
                    if problem.errno == ENOSPC:
                        return index
                    raise ConfigError(
                        f"{one.filesystem or one.raw}: {problem.strerror or problem}", key=f"partition[{index}]"
                    ) from None
            session.commit()
        return -1

    def _whole_size(self) -> int:
        logical = max(len(self._sizes) - 3, 0) if self._spec.table == "dos" and len(self._sizes) > 4 else 0
        return sum(rounded(size) for size in self._sizes) + (2 + logical) * ALIGNMENT

    def _copy_raw(self, one: DiskPartition, session: Session, backend: "BlockBackend", start: int, size: int) -> None:
        """A file's bytes into a partition."""
        with named(one.raw):
            if os.path.getsize(one.raw) > size:
                raise failure(EFBIG, f"it is larger than its partition of {size} bytes")
            with open(one.raw, "rb") as stream:
                session.host.unschedule()
                try:
                    at = start
                    while data := stream.read(PIECE):
                        backend.write(at, data)
                        at += len(data)
                finally:
                    session.host.schedule()


def _is_container(table: "PartitionTable", number: int, wanted: int) -> bool:
    """Whether it is the extended partition, which nobody has asked for."""
    return table.kind == "dos" and wanted > 4 and number == 4
