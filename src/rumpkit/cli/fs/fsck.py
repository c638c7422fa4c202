"""`rump fs fsck`: check and repair file systems."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from ...compose.image.contents import choose, contents
from ...compose.image.node import failure
from ...compose.image.session import named
from ...kern.abi.errno import EINVAL
from ..table import show_json
from .common import Session, add_in_place, add_json, add_paths, clear_progress, parse_image, printable
from .progress import Watch

if TYPE_CHECKING:
    from ...compose.image.address import Address
    from ...compose.image.contents import Volume
    from ...vfs.types import Finding

DESCRIPTION = """\
Check the file systems of images; with -y mend what can be mended.  Without, nothing is written.  Repairs are committed in one step, so
one that is interrupted has not happened."""
EPILOG = """\
examples:
  rump fs fsck disk.img
  rump fs fsck -y disk.img@2

Without a partition, all that hold a file system are checked.

exit codes, as fsck(8) has them, added up over several: 0 no errors; 1 errors corrected; 4 errors left; 8 it could not be checked;
16 bad usage
"""

CORRECTED = 1
LEFT = 4
FAILED = 8


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_paths(parser, "images", "IMAGE", "+", "images")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("-n", dest="repair", action="store_false", help="change nothing (the default)")
    what.add_argument("-y", "-p", "-a", dest="repair", action="store_true", help="repair")
    parser.add_argument("-f", dest="force", action="store_true", help="check what looks clean, too (always done)")
    parser.add_argument("-q", dest="quiet", action="store_true", help="say nothing: the exit code does")
    add_in_place(parser)
    add_json(parser)
    parser.set_defaults(repair=False)


def run(arguments: argparse.Namespace) -> int:
    """Check."""
    result = 0
    rows: list[dict[str, Any]] = []
    for text in arguments.images:
        try:
            with Session(arguments.in_place) as session, named(text):
                one, found = _check_image(session, parse_image(text), arguments)
                result |= one
                rows += found
                if one & CORRECTED:
                    session.commit()
        except OSError as problem:
            print(f"rump: {printable(str(problem.filename or text))}: {problem.strerror or problem}", file=sys.stderr)
            result |= FAILED
    if arguments.json:
        show_json(rows)
    return result


def _check_image(
    session: Session, address: "Address", arguments: argparse.Namespace
) -> tuple[int, list[dict[str, Any]]]:
    image = session.image(address.image, arguments.repair)
    if address.partition:
        volumes = [choose(session, image, address)]
    else:
        found = contents(session, image).volumes
        volumes = [one for one in found if one.found is not None] or found[:1]
    result = 0
    rows = []
    for volume in volumes:
        one, row = _check(session, address, volume, arguments)
        result |= one
        rows.append(row)
    return result, rows


def _check(
    session: Session, address: "Address", volume: "Volume", arguments: argparse.Namespace
) -> tuple[int, dict[str, Any]]:
    """Check one file system: its part of the exit code, and what JSON says of it."""
    number = volume.partition.number if volume.partition else 0
    name = f"{address.image}@{number}" if number else address.image
    row: dict[str, Any] = {"image": name, "type": volume.found.kind if volume.found else None, "findings": []}
    said = not (arguments.quiet or arguments.json)

    def report(finding: "Finding") -> None:
        row["findings"].append(finding._asdict())
        if said:
            clear_progress()
            where = f"{finding.where}: " if finding.where else ""
            end = " (mended)" if finding.fixed else " (nothing behind it can be checked)" if finding.fatal else ""
            print(printable(f"{name}: {where}{finding.text}{end}"))

    if volume.found is None:
        raise failure(EINVAL, volume.problem or "it holds no file system of a known type", name)
    kind = session.vfs().types.find(volume.found.kind)
    with Watch("checking", at_once=True):
        good = kind.check(session.vfs(), volume.device, arguments.repair, report)
    fixed = sum(finding["fixed"] for finding in row["findings"])
    row["clean"] = good
    row["code"] = (CORRECTED if fixed else 0) | (0 if good else LEFT)
    if said:
        left = len(row["findings"]) - fixed
        state = "clean" if good and not fixed else f"{fixed} mended, {left} left"
        print(f"{name}: {volume.found.kind}, {state}")
    return row["code"], row
