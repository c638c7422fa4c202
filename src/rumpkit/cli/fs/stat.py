"""`rump fs stat`: the attributes of files."""

import argparse
import os
import stat as modes
from typing import Any

from ...compose.image.node import Node
from ..table import show_json
from .common import Complaints, Session, add_json, add_paths, parse, printable
from .show import record

DESCRIPTION = "Show all attributes of files, extended ones included."
EPILOG = """\
examples:
  rump fs stat disk.img:/etc/shadow
  rump fs stat --json disk.img:/bin/ping | jq '.[0].xattrs'
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_paths(parser, "paths", "IMAGE:PATH", "+", "the files")
    parser.add_argument("-L", dest="follow", action="store_true", help="of what links point to")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show them."""
    complaints = Complaints()
    rows = []
    with Session() as session:
        for text in arguments.paths:
            with complaints.caught(text):
                node = session.node(parse(text), follow=arguments.follow)
                row = record(os.fsencode(text), node, node.stat())
                row["xattrs"] = {_text(name): _value(value) for name, value in node.xattrs()}
                if arguments.json:
                    rows.append(row)
                else:
                    _show(row, node)
                node.close()
    if arguments.json:
        show_json(rows)
    return complaints.code()


def _show(row: dict[str, Any], node: Node) -> None:
    target = f" -> {printable(row['target'])}" if "target" in row else ""
    number = ", device {}:{}".format(*row["device"]) if "device" in row else ""
    print(f"{printable(row['path'])}{target}")
    print(f"  {row['type']}{number}, inode {row['inode']}, {row['links']} link{'s' if row['links'] != 1 else ''}")
    print(f"  mode  {row['mode']} ({modes.filemode(node.stat().st_mode)})")
    print(f"  owner {row['uid']}, group {row['gid']}")
    print(f"  size  {row['size']} bytes, {row['blocks'] * 512} of storage")
    for name in ("atime", "mtime", "ctime"):
        print(f"  {name} {row[name]}")
    for name, value in row["xattrs"].items():
        print(f"  xattr {printable(name)} = {printable(value)}")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _value(data: bytes) -> str:
    """An attribute's value: text where it is text, else as getfattr shows it."""
    text = data.removesuffix(b"\0").decode("utf-8", "replace")
    return text if text.isprintable() and "\ufffd" not in text else f"0x{data.hex()}"
