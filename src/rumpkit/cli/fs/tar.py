"""`rump fs tar`: trees as tar archives, out of images and into them."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from ...compose.image.node import failure
from ...compose.image.session import source_date_epoch
from ...kern.abi.errno import ENOTDIR
from .common import Complaints, Output, Session, add_in_place, add_paths, bad_usage, changing, parse_tree
from .progress import Watch

DESCRIPTION = """\
Write a tree as a tar archive (-c), unpack one (-x), or list one (-t).  Archives are POSIX (pax): times to the nanosecond, extended
attributes, hard links, and holes as GNU tar has them."""
EPILOG = """\
examples:
  rump fs tar -c disk.img:/etc > etc.tar
  rump fs tar -c -f root.tar.xz disk.img@2         compressed as the name says
  docker export box | rump fs tar -x disk.img:/
  rump fs tar -x -f root.tar.gz disk.img@ROOT:/srv
  rump fs tar -t -f root.tar.gz

Names in the archive are relative to the directory that is written (./passwd), or of a file its own.  With SOURCE_DATE_EPOCH later
times become that one.  Exits with 1 where something could not be written or unpacked.
"""

COMPRESSIONS = {".gz": "gz", ".tgz": "gz", ".bz2": "bz2", ".xz": "xz"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-c", dest="create", action="store_true", help="write an archive of what is named")
    what.add_argument("-x", dest="extract", action="store_true", help="unpack an archive into a directory")
    what.add_argument("-t", dest="list", action="store_true", help="list an archive")
    add_paths(parser, "paths", "IMAGE[:PATH]", "*", "trees to write, or the directory to unpack into")
    parser.add_argument("-f", dest="file", default="-", metavar="FILE", help="the archive (a host path; -: a stream)")
    parser.add_argument("-v", dest="verbose", action="store_true", help="say the names")
    parser.add_argument("-z", dest="gzip", action="store_true", help="with -c: compress by gzip")
    parser.add_argument("-J", dest="xz", action="store_true", help="with -c: compress by xz")
    parser.add_argument("--no-same-owner", dest="owners", action="store_false", help="with -x: files belong to 0:0")
    add_in_place(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    if arguments.list:
        return _list(arguments)
    if not arguments.paths or (arguments.extract and len(arguments.paths) > 1):
        return bad_usage("rump fs tar -c wants what to write, -x the one directory to unpack into")
    with Watch("archiving" if arguments.create else "unpacking") as watch:
        if arguments.create:
            return _create(arguments, watch)
        return changing(arguments, lambda session, complaints: _extract(session, complaints, arguments, watch))


@contextmanager
def _opened(path: str, write: bool) -> Iterator[IO[bytes]]:
    """The archive.  One that is not finished does not stay."""
    if path == "-":
        stream: IO[bytes] = sys.stdout.buffer if write else sys.stdin.buffer
        yield stream
        stream.flush()
        return
    if write and (os.path.isfile(path) or not os.path.exists(path)):
        from ...compose.image.replace import replacing

        with replacing(path) as stream:
            yield stream
        return
    # Nor is a FIFO or a device replaced by a file.
    with open(path, "wb" if write else "rb") as stream:
        yield stream


def _create(arguments: argparse.Namespace, watch: Watch) -> int:
    from ...compose.image.archive import Writer

    complaints = Complaints()
    epoch = source_date_epoch()
    suffix = os.path.splitext(arguments.file)[1]
    compression = "gz" if arguments.gzip else "xz" if arguments.xz else COMPRESSIONS.get(suffix, "")
    with Session() as session, _opened(arguments.file, True) as stream:
        writer = Writer(stream, complaints, watch, -1 if epoch is None else epoch * 10**9, compression)
        for text in arguments.paths:
            with complaints.caught(text):
                address = parse_tree(text)
                node = session.node(address)
                name = b"." if node.is_directory() else os.fsencode(os.path.basename(address.path))
                writer.add(node, name)
        writer.close()
    return complaints.code()


def _extract(session: Session, complaints: Complaints, arguments: argparse.Namespace, watch: Watch) -> None:
    from ...compose.image.unpacking import Reader

    epoch = source_date_epoch()
    text = arguments.paths[0]
    node = session.node(parse_tree(text), write=True)
    if not node.is_directory():
        raise failure(ENOTDIR, place=text)
    with _opened(arguments.file, False) as stream:
        reader = Reader(stream, node, complaints, watch, -1 if epoch is None else epoch * 10**9, arguments.owners)
        reader.unpack()
    if reader.lost_xattrs:
        print(f"rump: {text}: {reader.lost_xattrs} extended attributes could not be kept", file=sys.stderr)
    if reader.lost_owners:
        print(f"rump: {text}: mode and owner of {reader.lost_owners} files could not be kept", file=sys.stderr)


def _list(arguments: argparse.Namespace) -> int:
    from ...compose.image.outside import outside
    from ...compose.image.unpacking import Reader

    output = Output()
    with _opened(arguments.file, False) as stream:
        for info in Reader(stream, outside(b"/")).names():
            name = info.name.encode("utf-8", "surrogateescape")
            output.line(output.name(name) + (b"/" if info.isdir() else b""))
    output.flush()
    return 0
