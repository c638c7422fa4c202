"""`rump fs chown`: set owners."""

import argparse
from typing import Final, NamedTuple

from ...compose.image.node import Node, failure
from ...kern.abi.errno import EINVAL
from ...kern.abi.fcntl import S_IFREG
from .chmod import Changer, change_all
from .common import Address, Session, add_in_place, add_paths

PASSWD_LIMIT: Final = 16 << 20
"""Bytes of an image's /etc/passwd."""

DESCRIPTION = """\
Set owner and group of files: numbers, or names that the image's own /etc/passwd and /etc/group have.  No privileges are needed."""
EPILOG = """\
examples:
  rump fs chown 1000:1000 disk.img:/home/user
  rump fs chown -R www-data: disk.img:/srv        and the group of that user
  rump fs chown -R :100 disk.img:/srv             the group only
  rump fs chown -Rh 0 disk.img:/etc               of links themselves
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("owner", metavar="OWNER[:GROUP]", type=owner, help="the owner, :GROUP for the group only")
    add_paths(parser, "paths", "IMAGE:PATH", "+", "the files")
    parser.add_argument("-R", dest="recursive", action="store_true", help="and all that is in directories")
    parser.add_argument("-h", dest="links", action="store_true", help="of links themselves (-R always does)")
    add_in_place(parser)


class Owner(NamedTuple):
    """An owner as it was given: numbers or names, "" for what is not given."""

    user: str
    group: str
    own_group: bool
    """OWNER: stands for the user's own group."""


def owner(text: str) -> Owner:
    """OWNER, OWNER:GROUP, OWNER: or :GROUP.  Raises ArgumentTypeError."""
    user, colon, group = text.partition(":")
    for name in (user, group):
        if (name.isdecimal() and int(name) >= 1 << 32) or ":" in name or "/" in name:
            raise argparse.ArgumentTypeError(f"{text!r} is no owner such as 1000, 1000:100, www-data: or :100")
    if not user and not group:
        raise argparse.ArgumentTypeError(f"{text!r} is no owner such as 1000, 1000:100, www-data: or :100")
    return Owner(user, group, bool(colon) and not group)


def run(arguments: argparse.Namespace) -> int:
    """Set them."""
    wanted: Owner = arguments.owner

    def changer(session: Session, address: Address) -> Changer:
        uid, gid = numbers(session, address, wanted)

        def change(node: Node) -> None:
            status = node.stat()
            node.set_owner(status.st_uid if uid < 0 else uid, status.st_gid if gid < 0 else gid)

        return change

    return change_all(arguments, changer, not (arguments.links or arguments.recursive))


def numbers(session: Session, address: Address, wanted: Owner) -> tuple[int, int]:
    """User and group as numbers, -1 for what is not given.  Raises EINVAL for a name that the image doesn't have."""
    users = _rows(session, address, "/etc/passwd") if wanted.own_group or _is_name(wanted.user) else {}
    groups = _rows(session, address, "/etc/group") if _is_name(wanted.group) else {}
    uid, gid = _number(wanted.user, users, "user"), _number(wanted.group, groups, "group")
    if wanted.own_group:
        found = [row for row in users.values() if row[2] == str(uid)]
        if not found:
            raise failure(EINVAL, f"its /etc/passwd doesn't say which group user {wanted.user} has")
        gid = int(found[0][3])
    return uid, gid


def _is_name(text: str) -> bool:
    return bool(text) and not text.isdecimal()


def _number(text: str, rows: dict[str, list[str]], what: str) -> int:
    if not _is_name(text):
        return int(text) if text else -1
    if text not in rows:
        raise failure(EINVAL, f"its /etc has no {what} {text!r}")
    return int(rows[text][2])


def _rows(session: Session, address: Address, path: str) -> dict[str, list[str]]:
    """The rows of a file such as /etc/passwd of the same image, by name; none where there is no such file."""
    node = session.find(address._replace(path=path, text=f"{address.whole()}:{path}"), write=True)
    if node is None or node.kind != S_IFREG or node.stat().st_size > PASSWD_LIMIT:
        return {}
    found: dict[str, list[str]] = {}
    for line in b"".join(node.content()).decode("utf-8", "surrogateescape").splitlines():
        fields = line.split(":")
        if len(fields) > 3 and fields[2].isdecimal() and (fields[3].isdecimal() or path == "/etc/group"):
            found.setdefault(fields[0], fields)
    node.close()
    return found
