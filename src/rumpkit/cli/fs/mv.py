"""`rump fs mv`: rename and move files."""

import argparse
import os
from typing import NamedTuple, final

from ...compose.image.copying import Copier, same
from ...compose.image.node import Node, failure
from ...compose.image.removing import remove_tree
from ...kern.abi.errno import EBUSY, EEXIST, EINVAL, ENOENT, ENOTDIR, EXDEV
from ...kern.abi.fcntl import S_IFDIR
from .common import Complaints, Session, add_in_place, add_paths, changing, parse
from .cp import options_of, tell_losses
from .progress import Watch, expect

DESCRIPTION = """\
Rename files, or move them to another directory.  To another file system, image, or the host they are copied as by cp -a, and removed
where they were: on the host when the copies are committed."""
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
        mover = Mover(arguments, watch)
        return changing(arguments, mover.move, afterwards=mover.remove_sources)


class Moved(NamedTuple):
    """A file of the host that has been copied, and waits for its removal."""

    directory: Node
    name: bytes
    text: str
    identity: tuple[int, int]
    """Device and inode of what was copied."""


@final
class Mover:
    """One move.  Files of the host are removed when their copies are committed, so that whatever ends it leaves one or the other."""

    def __init__(self, arguments: argparse.Namespace, watch: Watch) -> None:
        self._arguments: argparse.Namespace = arguments
        self._watch: Watch = watch
        self._copied: list[Moved] = []

    def move(self, session: Session, complaints: Complaints) -> None:
        """Rename what can be, and copy the rest."""
        arguments = self._arguments
        target = parse(arguments.target)
        into = session.find(target, write=True)
        inside = into if into is not None and into.kind == S_IFDIR and not arguments.exactly else None
        if inside is None and (len(arguments.sources) > 1 or target.path.endswith("/")):
            raise failure(ENOTDIR, "it is no directory to move into", target.text)
        expect(self._watch, session, [parse(text) for text in arguments.sources])
        options = options_of(arguments, target.inside)
        options.durable = True
        copier = Copier(options, watcher=self._watch)
        for text in arguments.sources:
            with complaints.caught(text):
                directory, name = session.place(parse(text), write=True)
                if not name:
                    raise failure(EBUSY, "a root directory stays")
                node = directory.child(name)
                if node is None:
                    raise failure(ENOENT)
                place, new_name = (inside, name) if inside is not None else session.place(target, write=True)
                self._one(node, directory, name, place, new_name, text, copier)
                node.close()
                directory.close()  # there may be more sources than descriptors
        copier.close()
        tell_losses(copier, target)

    def _one(
        self, node: Node, directory: Node, name: bytes, place: Node, new_name: bytes, text: str, copier: Copier
    ) -> None:
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
        path = os.fsencode(text)
        copier.copy(node, place, new_name, path)
        place.sync()
        if node.on_host:
            self._copied.append(Moved(directory, name, text, _identity(node)))
        else:
            remove_tree(node, directory, name, path)

    def remove_sources(self, complaints: Complaints) -> None:
        """All is committed: remove what was copied from the host."""
        for directory, name, text, identity in self._copied:
            with complaints.caught(text):
                node = directory.get(name)
                if _identity(node) != identity:
                    raise failure(EBUSY, "it was copied, and is another file by now, which stays")
                remove_tree(node, directory, name, os.fsencode(text))
                node.close()
            directory.close()


def _identity(node: Node) -> tuple[int, int]:
    status = node.stat()
    return status.st_dev, status.st_ino
