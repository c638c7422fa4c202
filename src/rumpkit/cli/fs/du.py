"""`rump fs du`: how much storage files take."""

import argparse
from typing import Any

from ...compose.image.trees import Walk
from ...kern.abi.fcntl import S_IFDIR
from .common import Address, Complaints, Output, Session, add_json, add_paths, human, stream_json, trees
from .progress import Watch, expect
from .show import add_human

DESCRIPTION = "Show how much storage directories take, with all that is in them, in units of 1024 bytes."
EPILOG = """\
examples:
  rump fs du -sh disk.img:/usr
  rump fs du -d 1 disk.img
  rump fs du -b disk.img:/var       sizes as files have them, in bytes

A file with several names counts once.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_paths(parser, "paths", "IMAGE[:PATH]", "+", "what to measure")
    parser.add_argument("-a", dest="all", action="store_true", help="files, too")
    parser.add_argument("-s", dest="summary", action="store_true", help="the sum of each argument only")
    parser.add_argument("-d", dest="depth", type=int, default=1 << 30, metavar="N", help="show N levels")
    parser.add_argument("-b", dest="apparent", action="store_true", help="bytes that files have, not storage")
    parser.add_argument("-c", dest="total", action="store_true", help="the sum of all")
    add_human(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure."""
    complaints = Complaints()
    output = Output()
    rows: list[dict[str, Any]] = []
    total = 0
    addresses = trees(arguments.paths)
    with Watch("measuring", at_once=True) as watch, Session() as session:
        expect(watch, session, addresses)
        for address in addresses:
            with complaints.caught(address.text):
                total += _measure(session, address, arguments, complaints, output, rows, watch)
    if arguments.total:
        _tell(b"total", total, arguments, output, rows)
    if arguments.json:
        stream_json(iter(rows))
    output.flush()
    return complaints.code()


def _measure(
    session: Session,
    address: Address,
    arguments: argparse.Namespace,
    complaints: Complaints,
    output: Output,
    rows: list[dict[str, Any]],
    watch: Watch,
) -> int:
    """Show one tree; its sum in bytes."""
    seen: set[tuple[int, int]] = set()
    sums: list[int] = []
    depth = 0 if arguments.summary else arguments.depth
    taken = 0
    for visit in Walk(session.node(address, follow=False), address.shown(), complaints):
        if not visit.leaving:
            watch.copied(visit.path, 0)
            status = visit.node.stat()
            taken = status.st_size if arguments.apparent else status.st_blocks * 512
            if visit.node.kind == S_IFDIR:
                sums.append(taken)
                continue
            if status.st_nlink > 1:
                identity = (status.st_dev, status.st_ino)
                taken = 0 if identity in seen else taken
                seen.add(identity)
            if sums:
                sums[-1] += taken
            if (arguments.all and visit.depth <= depth) or visit.depth == 0:
                _tell(visit.path, taken, arguments, output, rows)
            continue
        taken = sums.pop()
        if sums:
            sums[-1] += taken
        if visit.depth <= depth:
            _tell(visit.path, taken, arguments, output, rows)
    return taken


def _tell(path: bytes, size: int, arguments: argparse.Namespace, output: Output, rows: list[dict[str, Any]]) -> None:
    if arguments.json:
        rows.append({"path": path.decode("utf-8", "backslashreplace"), "bytes": size})
        return
    text = human(size) if arguments.human else str(size if arguments.apparent else -(-size // 1024))
    output.line(text.encode() + b"\t" + output.name(path))
