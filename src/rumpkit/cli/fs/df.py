"""`rump fs df`: how full file systems are."""

import argparse

from ...compose.image.contents import contents
from ...vfs.stat import StatVfs
from ..table import show, show_json
from .common import Complaints, Session, add_json, add_paths, parse_image, sized
from .show import add_human

DESCRIPTION = "Show size and use of the file systems of images, in units of 1024 bytes."
EPILOG = """\
examples:
  rump fs df -h disk.img
  rump fs df -i disk.img@2

Without a partition, of all that hold a file system.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_paths(parser, "images", "IMAGE", "+", "images")
    parser.add_argument("-i", dest="inodes", action="store_true", help="inodes instead of bytes")
    add_human(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show."""
    complaints = Complaints()
    rows: list[tuple[str, str, StatVfs]] = []
    with Session() as session:
        for text in arguments.images:
            with complaints.caught(text):
                address = parse_image(text)
                wanted = [address]
                if not address.partition:
                    found = contents(session, session.image(address.image))
                    numbers = [one.partition.number for one in found.volumes if one.partition and one.found]
                    wanted = [address._replace(partition=str(number)) for number in numbers] or wanted
                for one in wanted:
                    mount = session.mount(one)
                    rows.append((one.whole(), mount.kind, mount.statvfs()))
    if arguments.json:
        show_json([_record(*row) for row in rows])
    else:
        unit = "inodes" if arguments.inodes else "size" if arguments.human else "1K"
        cells = [(name, kind, *_cells(values, arguments)) for name, kind, values in rows]
        show("", ("image", "type", unit, "used", "free", "use"), cells, right=(2, 3, 4, 5))
    return complaints.code()


def _cells(values: StatVfs, arguments: argparse.Namespace) -> tuple[str, ...]:
    if arguments.inodes:
        total, free, used = values.f_files, values.f_ffree, values.f_files - values.f_ffree
        texts: tuple[str, ...] = (str(total), str(used), str(free))
    else:
        unit = values.f_frsize
        total, used, free = values.f_blocks * unit, (values.f_blocks - values.f_bfree) * unit, values.f_bavail * unit
        texts = (*(sized(value if arguments.human else -(-value // 1024), arguments) for value in (total, used, free)),)
    share = f"{-(-100 * used // (used + free))}%" if used + free else "-"
    return (*texts, share)


def _record(name: str, kind: str, values: StatVfs) -> dict[str, object]:
    unit = values.f_frsize
    return {
        "image": name,
        "type": kind,
        "size": values.f_blocks * unit,
        "used": (values.f_blocks - values.f_bfree) * unit,
        "free": values.f_bfree * unit,
        "available": values.f_bavail * unit,
        "inodes": values.f_files,
        "inodes_free": values.f_ffree,
    }
