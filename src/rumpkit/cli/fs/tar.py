"""`rump fs tar`: trees as tar archives, out of images and into them."""

import argparse
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from ...compose.image.node import failure
from ...compose.image.session import named, source_date_epoch
from ...kern.abi.errno import ENOENT, ENOTDIR
from .common import Complaints, Output, Session, add_in_place, add_paths, bad_usage, changing, output_error, parse_tree
from .progress import Watch, expect

if TYPE_CHECKING:
    import tarfile

    from ...compose.image.unpacking import Reader, Selection

DESCRIPTION = """\
Write a tree as a tar archive (-c), unpack one (-x), or list one (-t).  Archives are POSIX (pax): times to the nanosecond, extended
attributes, hard links, and holes as GNU tar has them."""
EPILOG = """\
examples:
  rump fs tar -c disk.img:/etc > etc.tar
  rump fs tar -c -f root.tar.xz disk.img@2         compressed as the name says
  rump fs tar -c disk.img@2 | zstd > root.tar.zst
  docker export box | rump fs tar -x disk.img:/
  rump fs tar -x -f root.tar.gz disk.img@ROOT:/srv
  rump fs tar -x -f root.tar.gz disk.img@ROOT:/ etc/passwd usr/share/doc
  rump fs tar -tv -f root.tar.gz
  rump fs tar -t -f root.tar.gz etc

Names in the archive are relative to the directory that is written (./passwd); of several, and of a file, they begin with its own
(etc/passwd).  Members are named as -t lists them; with a directory comes what is below it.  With SOURCE_DATE_EPOCH later times become
that one.  Exits with 1 where something could not be written or unpacked, or is not in the archive.
"""

COMPRESSIONS = {".gz": "gz", ".tgz": "gz", ".bz2": "bz2", ".tbz2": "bz2", ".xz": "xz", ".txz": "xz"}
ELSEWHERE = {".zst": "zstd", ".tzst": "zstd", ".lz4": "lz4", ".lzo": "lzop", ".lz": "lzip", ".Z": "compress"}
"""Compressions that programs of these names do."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-c", dest="create", action="store_true", help="write an archive of what is named")
    what.add_argument("-x", dest="extract", action="store_true", help="unpack an archive into a directory")
    what.add_argument("-t", dest="list", action="store_true", help="list an archive")
    add_paths(
        parser,
        "paths",
        "IMAGE[:PATH]",
        "*",
        "with -c: trees to write; with -x: the directory to unpack into, and members to unpack; with -t: members to list",
    )
    parser.add_argument("-f", dest="file", default="-", metavar="FILE", help="the archive (a host path; -: a stream)")
    parser.add_argument("-v", dest="verbose", action="store_true", help="say the names; with -t: and what ls -l says")
    parser.add_argument("-z", dest="gzip", action="store_true", help="with -c: compress by gzip")
    parser.add_argument("-J", dest="xz", action="store_true", help="with -c: compress by xz")
    parser.add_argument("--no-same-owner", dest="owners", action="store_false", help="with -x: files belong to 0:0")
    add_in_place(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    if arguments.list:
        return _list(arguments)
    if arguments.create and not arguments.paths:
        return bad_usage("rump fs tar -c wants what to write")
    if arguments.extract and not arguments.paths:
        return bad_usage(
            "rump fs tar -x wants the directory to unpack into (and members, where not all shall be unpacked)"
        )
    suffix = os.path.splitext(arguments.file)[1]
    if arguments.create and suffix in ELSEWHERE and not (arguments.gzip or arguments.xz):
        return bad_usage(
            f"{suffix} is for {ELSEWHERE[suffix]}: rump fs tar -c ... | {ELSEWHERE[suffix]} > {arguments.file}"
        )
    name = _teller(arguments) if arguments.verbose else None
    with Watch("archiving" if arguments.create else "unpacking", name=name) as watch:
        if arguments.create:
            return _create(arguments, watch, COMPRESSIONS.get(suffix, ""))
        return changing(arguments, lambda session, complaints: _extract(session, complaints, arguments, watch))


def _teller(arguments: argparse.Namespace) -> Callable[[bytes], None]:
    """Says names: on stderr where the archive goes to stdout."""
    if arguments.create and arguments.file == "-":
        return lambda path: print(os.fsdecode(path), file=sys.stderr)
    output = Output()
    return lambda path: output.line(output.name(path))


@contextmanager
def _opened(path: str, write: bool) -> Iterator[IO[bytes]]:
    """The archive.  One that is not finished does not stay."""
    if path == "-":
        stream: IO[bytes] = sys.stdout.buffer if write else sys.stdin.buffer
        yield stream
        if write:
            stream.flush()
        return
    if write and (os.path.isfile(path) or not os.path.exists(path)):
        from ...compose.image.replace import replacing

        with named(path), replacing(path) as stream:
            yield stream
        return
    # Nor is a FIFO or a device replaced by a file.
    with open(path, "wb" if write else "rb") as stream:
        yield stream


def _create(arguments: argparse.Namespace, watch: Watch, compression: str) -> int:
    from ...compose.image.archive import Writer

    complaints = Complaints()
    epoch = source_date_epoch()
    compression = "gz" if arguments.gzip else "xz" if arguments.xz else compression
    addresses = [parse_tree(text) for text in arguments.paths]
    with Session() as session, _opened(arguments.file, True) as stream:
        expect(watch, session, addresses)
        writer = Writer(stream, complaints, watch, -1 if epoch is None else epoch * 10**9, compression)
        for address in addresses:
            try:
                node = session.node(address)
            except OSError as problem:
                complaints.say(address.text, problem)
                continue
            own = os.fsencode(os.path.basename(address.path.rstrip("/")))
            alone = node.is_directory() and len(addresses) == 1
            try:
                writer.add(node, b"." if alone or own in (b"", b".", b"..") else own)
            except BrokenPipeError:
                raise
            except OSError as problem:
                raise (output_error(problem) if arguments.file == "-" else _named(problem, arguments.file)) from None
        with named("standard output" if arguments.file == "-" else arguments.file):
            writer.close()
    return complaints.code()


def _named(problem: OSError, place: str) -> OSError:
    return failure(problem.errno or 0, problem.strerror or str(problem), place)


def _extract(session: Session, complaints: Complaints, arguments: argparse.Namespace, watch: Watch) -> None:
    from ...compose.image.unpacking import Reader

    epoch = source_date_epoch()
    text = arguments.paths[0]
    node = session.node(parse_tree(text), write=True)
    if not node.is_directory():
        raise failure(ENOTDIR, place=text)
    with _opened(arguments.file, False) as stream, named("standard input" if arguments.file == "-" else arguments.file):
        _follow(watch, stream)
        reader = Reader(stream, node, complaints, watch, -1 if epoch is None else epoch * 10**9, arguments.owners)
        reader.selection = _selection(arguments.paths[1:])
        reader.unpack()
    _say_missing(reader, complaints)
    if reader.lost_xattrs:
        print(f"rump: {text}: {reader.lost_xattrs} extended attributes could not be kept", file=sys.stderr)
    if reader.lost_owners:
        print(f"rump: {text}: mode and owner of {reader.lost_owners} files could not be kept", file=sys.stderr)


def _follow(watch: Watch, stream: IO[bytes]) -> None:
    """What has been read of a file says how far it is."""
    try:
        descriptor = stream.fileno()
        status = os.fstat(descriptor)
    except OSError:
        return  # no file at all
    if stat.S_ISREG(status.st_mode):
        watch.place = lambda: (os.lseek(descriptor, 0, os.SEEK_CUR), status.st_size)


def _list(arguments: argparse.Namespace) -> int:
    from ...compose.image.outside import outside
    from ...compose.image.unpacking import Reader

    output = Output()
    complaints = Complaints()
    with _opened(arguments.file, False) as stream, named("standard input" if arguments.file == "-" else arguments.file):
        reader = Reader(stream, outside(b"/"))
        reader.selection = _selection(arguments.paths)
        for info in reader.names():
            name = output.name(info.name.encode("utf-8", "surrogateescape")) + (b"/" if info.isdir() else b"")
            output.line(_details(output, info) + name + _target(output, info) if arguments.verbose else name)
    output.flush()
    _say_missing(reader, complaints)
    return complaints.code()


def _selection(names: list[str]) -> "Selection | None":
    from ...compose.image.unpacking import Selection

    return Selection([os.fsencode(name) for name in names]) if names else None


def _say_missing(reader: "Reader", complaints: Complaints) -> None:
    """Name the members that were asked for and are not in the archive."""
    for name in reader.selection.missing() if reader.selection is not None else ():
        complaints(name, failure(ENOENT, "the archive has no such member"))


def _details(output: Output, info: "tarfile.TarInfo") -> bytes:
    """What ls -l says in front of the name."""
    from .show import date

    kinds = ((info.isdir(), "d"), (info.issym(), "l"), (info.islnk(), "h"), (info.ischr(), "c"), (info.isblk(), "b"))
    letter = next((letter for it_is, letter in kinds if it_is), "p" if info.isfifo() else "-")
    mode = letter + stat.filemode(info.mode)[1:]
    size = f"{info.devmajor}, {info.devminor}" if info.ischr() or info.isblk() else str(info.size)
    owner = f"{info.uid}/{info.gid}"
    return f"{mode} {owner:>11} {size:>10} {date(int(info.mtime * 10**9))} ".encode()


def _target(output: Output, info: "tarfile.TarInfo") -> bytes:
    if not (info.issym() or info.islnk()):
        return b""
    return (b" -> " if info.issym() else b" = ") + output.name(info.linkname.encode("utf-8", "surrogateescape"))
