"""`rump fs mv`: rename and move files."""

import argparse
import os

from ...compose.image.copying import Copier, same
from ...compose.image.node import Node, failure
from ...compose.image.removing import remove_tree
from ...kern.abi.errno import EBUSY, EEXIST, EINVAL, ENOENT, ENOTDIR, EXDEV
from ...kern.abi.fcntl import S_IFDIR
from .common import Complaints, Session, add_in_place, add_paths, changing, parse
from .cp import options_of
from .progress import Watch

DESCRIPTION = """\
Rename files, or move them to another directory.  To another file system, image, or the host they are copied as by cp -a, and removed
where they were."""
EPILOG = """\
examples:
  rump fs mv disk.img:/etc/motd disk.img:/etc/motd.old
  rump fs mv disk.img@1:/a disk.img@1:/b disk.img@2:/
  rump fs mv disk.img:/var/log/messages .

Exits with 1 where something could not be moved.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_paths(parser, "sources", "SOURCE", "+", "what to move")
    add_paths(parser, "target", "TARGET", None, "the new name, or the directory to move into")
    parser.add_argument("-n", dest="keep_old", action="store_true", help="replace nothing")
    parser.add_argument("-f", dest="force", action="store_true", help="replace what is in the way (always done)")
    parser.add_argument("-T", dest="exactly", action="store_true", help="the target is no directory to move into")
    add_in_place(parser)
    parser.set_defaults(archive=True, recursive=True, preserve=True, owner=(0, 0))


def run(arguments: argparse.Namespace) -> int:
    """Move."""
    with Watch("moving") as watch:
        return changing(arguments, lambda session, complaints: _move(session, complaints, arguments, watch))


def _move(session: Session, complaints: Complaints, arguments: argparse.Namespace, watch: Watch) -> None:
    target = parse(arguments.target)
    into = session.find(target, write=True)
    inside = into if into is not None and into.kind == S_IFDIR and not arguments.exactly else None
    if inside is None and (len(arguments.sources) > 1 or target.path.endswith("/")):
        raise failure(ENOTDIR, "it is no directory to move into", target.text)
    copier = Copier(options_of(arguments, target.inside), watcher=watch)
    for text in arguments.sources:
        with complaints.caught(text):
            directory, name = session.place(parse(text), write=True)
            if not name:
                raise failure(EBUSY, "a root directory stays")
            node = directory.child(name)
            if node is None:
                raise failure(ENOENT)
            place, new_name = (inside, name) if inside is not None else session.place(target, write=True)
            _one(node, directory, name, place, new_name, os.fsencode(text), copier)
            node.close()
    copier.close()


def _one(node: Node, directory: Node, name: bytes, place: Node, new_name: bytes, path: bytes, copier: Copier) -> None:
    old = place.child(new_name)
    if old is not None:
        if same(old, node):
            raise failure(EINVAL, "it is moved to itself")
        if not copier.options.replace:
            raise failure(EEXIST)
        old.close()
    try:
        directory.rename(name, place, new_name)
        return
    except OSError as problem:
        if problem.errno != EXDEV:
            raise
    # The copier raises what goes wrong, so nothing is removed that has not been copied.
    copier.copy(node, place, new_name, path)
    remove_tree(node, directory, name, path)
