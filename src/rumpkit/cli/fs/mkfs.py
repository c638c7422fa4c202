"""`rump fs mkfs`: make a file system, and fill it."""

import argparse
import os
from typing import TYPE_CHECKING

from ...compose.image.fresh import FreshImage
from ...compose.image.node import failure
from ...compose.image.session import named, source_date_epoch
from ...kern.abi.errno import EEXIST, EINVAL, ENOSPC
from .. import exit as code
from ..table import show
from .common import Address, Complaints, Session, add_in_place, add_paths, bad_usage, human, parse_image
from .progress import Watch

if TYPE_CHECKING:
    from ...compose.image.filling import Source

DESCRIPTION = """\
Make a file system in a new image, or in a partition of one that is there; with -d fill it.  A new image is put in its place when it is
whole.  The same input makes the same bytes where SOURCE_DATE_EPOCH is set: it is the time of everything that has none of its own, no
time is later, and what would be random follows from it."""
EPILOG = """\
examples:
  rump fs mkfs -t ext4 --size 2G disk.img
  rump fs mkfs -t ext4 -L ROOT -d ./tree root.img            as large as it has to be
  rump fs mkfs -t vfat -L EFI --size 64M -o bits=32 esp.img
  rump fs mkfs -t ext4 -d root.tar.gz --size 1G root.img     filled from a tar archive
  rump fs mkfs -t ext4 disk.img@2                            in a partition
  rump fs mkfs -t ext4 -o help                               the options that the type has

Exits with 1 where some file could not be kept (FAT has no links), and was left out.
"""

TRIES = 12
"""Sizes that are tried with --size auto."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_paths(parser, "image", "IMAGE", "?", "the new image, or IMAGE@PARTITION")
    parser.add_argument("-t", "--type", default="ext4", metavar="TYPE", help="ext2, ext3, ext4, vfat, ... (ext4)")
    parser.add_argument(
        "-s",
        "--size",
        type=size_text,
        default="",
        metavar="SIZE",
        help="512M, 2G, ...; auto: what -d needs (default with -d)",
    )
    source = parser.add_argument(
        "-d", dest="source", metavar="DIR", help="fill it: a directory, IMAGE:DIR, a tar archive, or -"
    )
    source.complete = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}  # type: ignore[attr-defined]
    parser.add_argument("-L", "--label", default="", help="the volume's name")
    parser.add_argument("-U", "--uuid", default="", help="its UUID (FAT: its serial number, 1A2B-3C4D)")
    parser.add_argument(
        "-o",
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the type; help lists them",
    )
    parser.add_argument("--force", action="store_true", help="replace what the image holds")
    add_in_place(parser)


def size_text(text: str) -> str:
    """A size on the command line, or auto.  Raises ArgumentTypeError."""
    from ...compose.image.filling import size_of

    try:
        if text not in ("", "auto") and size_of(text) == 0:
            raise ValueError("nothing fits into 0 bytes")
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None
    return text


def run(arguments: argparse.Namespace) -> int:
    """Make it."""
    if "help" in arguments.option:
        return _show_options(arguments.type)
    if arguments.image is None:
        return bad_usage("rump fs mkfs wants an image")
    from ...compose.image.filling import Source

    epoch = source_date_epoch()
    newest = -1 if epoch is None else epoch * 10**9
    complaints = Complaints()
    address = parse_image(arguments.image)
    with Watch("making") as watch:
        source = Source(arguments.source, newest) if arguments.source else None
        try:
            with named(arguments.image):
                if address.partition or not _is_file_or_new(address.image):
                    _in_partition(arguments, address, source, complaints, watch)
                else:
                    _new(arguments, address, source, complaints, watch)
        finally:
            if source is not None:
                source.close()
    return complaints.code()


def _is_file_or_new(path: str) -> bool:
    return os.path.isfile(path) or not os.path.exists(path)


def _given(arguments: argparse.Namespace) -> dict[str, str]:
    """The options NAME=VALUE."""
    given = {}
    for text in (part for option in arguments.option for part in _split(option)):
        name, equals, value = text.partition("=")
        given[name] = value if equals else "yes"
    return given


def _split(text: str) -> list[str]:
    """NAME=VALUE,NAME=VALUE; a comma within a value belongs to it."""
    parts: list[str] = []
    for part in text.split(","):
        if parts and "=" not in part and "=" in parts[-1]:
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    return parts


def _in_partition(
    arguments: argparse.Namespace, address: Address, source: "Source | None", complaints: Complaints, watch: Watch
) -> None:
    from ...compose.image.filling import fitted, format_options, kind_of, make_file_system

    if arguments.size:
        raise failure(EINVAL, "a partition has its size; --size is for new images")
    with Session(arguments.in_place) as session:
        device = session.device(address, write=True)
        found = session.recognise(device)
        if found is not None and not arguments.force:
            raise failure(EEXIST, f"it holds {found.kind} already (--force replaces it)")
        kind = kind_of(session, arguments.type)
        options = format_options(kind, _given(arguments), arguments.label, arguments.uuid)
        if source is not None:
            status = os.stat(address.image)
            source.left_out = frozenset(((status.st_dev, status.st_ino),))
        make_file_system(session, kind, device, fitted(kind, options, source, False), source, complaints, watch)
        session.commit()


def _new(
    arguments: argparse.Namespace, address: Address, source: "Source | None", complaints: Complaints, watch: Watch
) -> None:
    from ...compose.image.filling import fitted, format_options, kind_of, make_file_system, rounded, size_of

    size = size_of(arguments.size) if arguments.size not in ("", "auto") else 0
    if not size and arguments.size != "auto" and source is None and os.path.exists(address.image):
        size = os.path.getsize(address.image)
    if not size and source is None:
        raise failure(EINVAL, "say how large it shall be (--size 512M), or what it shall hold (-d DIR)")
    growing = not size
    with FreshImage(address.image, arguments.force) as fresh:
        for attempt in range(TRIES):
            with Session(in_place=True) as session:
                kind = kind_of(session, arguments.type)
                options = format_options(kind, _given(arguments), arguments.label, arguments.uuid)
                if source is not None:
                    source.left_out = fresh.identities()
                if not size and source is not None:
                    size = rounded(kind.estimate(source.measure()))
                options = dict(fitted(kind, options, source, growing))
                place = fresh.create(size)
                if source is not None:
                    source.left_out = fresh.identities()
                    watch.count = source.amount
                try:
                    device = session.device(place, write=True)
                    make_file_system(session, kind, device, options, source, complaints, watch)
                    session.commit()
                    break
                except OSError as problem:
                    if problem.errno != ENOSPC:
                        raise
                    if not growing or attempt == TRIES - 1:
                        what = f"a file system of type {kind.name}" if source is None else "what is to go in"
                        raise failure(ENOSPC, f"{what} does not fit into {human(size)}") from None
                    watch.restart()
                    size = rounded(size + size // 8)
        fresh.finish()


def _show_options(name: str) -> int:
    from ...compose.image.filling import kind_of

    with Session() as session:
        kind = kind_of(session, name)
        rows = [(one.name, str(one.default) or '""', one.help) for one in kind.format_options]
    show(f"options of {name}", ("name", "default", "meaning"), rows)
    return code.OK
