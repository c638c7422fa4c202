"""`rump fs cp`: copy files into, out of and between images."""

import argparse
import os
import stat as modes
import sys
import time

from ...compose.image.address import STREAM
from ...compose.image.copying import Copier, CopyOptions
from ...compose.image.node import Node, failure
from ...compose.image.session import named, source_date_epoch
from ...kern.abi.errno import EEXIST, EINVAL, EISDIR, ENOTDIR
from ...kern.abi.fcntl import S_IFDIR, S_IFREG
from .common import Address, Complaints, Session, add_in_place, add_paths, bad_usage, changing, parse
from .progress import Watch, expect

DESCRIPTION = """\
Copy files and trees into, out of and between images.  Into a directory that is there, each is copied under its own name; else the one
source gets the name of the target.  A file that is in the way is replaced."""
EPILOG = """\
examples:
  rump fs cp hosts disk.img:/etc/hosts
  rump fs cp -a ./tree disk.img@2:/srv             modes, owners, times, xattrs, holes, hard links
  rump fs cp -a disk.img:/home/. ./home
  rump fs cp -a old.img:/. new.img:/
  tar c tree | zstd | rump fs cp - disk.img:/tree.tar.zst

Without -a what is copied into an image belongs to 0:0 (--owner), has the time of the copy and no set-user-ID bits, and links are
followed.  With -a what a file system can't keep (owners and links on FAT) is counted and said, and is no failure but for files that
can't be made at all.  A source that ends in /. means what is in it.  Who is not root keeps the owners in images, too; on the host
files are then their own.

Exits with 1 where something could not be copied; all else is.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_paths(parser, "sources", "SOURCE", "+", "what to copy: IMAGE:PATH or host path, - for the standard input")
    add_paths(parser, "target", "TARGET", None, "where to; - for the standard output")
    parser.add_argument("-r", "-R", dest="recursive", action="store_true", help="directories, with all that is in them")
    parser.add_argument("-a", dest="archive", action="store_true", help="-r, and keep everything; links stay links")
    parser.add_argument("-p", dest="preserve", action="store_true", help="keep modes, owners, times and xattrs")
    parser.add_argument("-P", dest="links", action="store_true", help="copy links as links (-r and -a do)")
    parser.add_argument("-n", dest="keep_old", action="store_true", help="replace nothing")
    parser.add_argument("-f", dest="force", action="store_true", help="replace what is in the way (always done)")
    parser.add_argument("-T", dest="exactly", action="store_true", help="the target is no directory to copy into")
    parser.add_argument("--owner", metavar="UID:GID", type=owner, default=(0, 0), help="owner without -a (0:0)")
    add_in_place(parser)


def owner(text: str) -> tuple[int, int]:
    """An owner on the command line.  Raises ArgumentTypeError."""
    uid, _, gid = text.partition(":")
    if not uid.isdigit() or not gid.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no UID:GID, such as 1000:1000")
    return int(uid), int(gid)


def run(arguments: argparse.Namespace) -> int:
    """Copy."""
    target = parse(arguments.target)
    if target.text == STREAM:
        return _to_stream(arguments)
    if len(arguments.sources) > 1 and arguments.exactly:
        return bad_usage("-T is for one source")
    with Watch("copying") as watch:
        return changing(
            arguments,
            lambda session, complaints: _copy(session, complaints, arguments, target, watch),
            strict=target.inside,  # out of a broken image as much is copied as can be
        )


def _to_stream(arguments: argparse.Namespace) -> int:
    """Files, to the standard output."""
    from .cat import run as cat

    arguments.paths = arguments.sources
    return cat(arguments)


def options_of(arguments: argparse.Namespace, inside: bool) -> CopyOptions:
    """What the options mean."""
    epoch = source_date_epoch()
    options = CopyOptions()
    options.recursive = arguments.recursive or arguments.archive
    options.keep = arguments.archive or arguments.preserve
    options.replace = not arguments.keep_old
    options.now = time.time_ns() if epoch is None else epoch * 10**9
    options.newest = -1 if epoch is None else epoch * 10**9
    if inside:
        options.uid, options.gid = arguments.owner
    else:
        options.uid, options.gid = os.geteuid(), os.getegid()
        options.mask = os.umask(0o077)
        os.umask(options.mask)
    return options


def _copy(
    session: Session, complaints: Complaints, arguments: argparse.Namespace, target: Address, watch: Watch
) -> None:
    # The target's image comes first: it may be a source, too, and has to be open for writing then.
    into = session.find(target, write=True)
    directory: Node | None = into if into is not None and into.kind == S_IFDIR and not arguments.exactly else None
    contents_only = [text for text in arguments.sources if _is_content(text)]
    if directory is None and (len(arguments.sources) > 1 or (target.path.endswith("/") and not contents_only)):
        raise failure(ENOTDIR, "it is no directory to copy into", target.text)
    if directory is None and into is not None and not target.inside and into.kind not in (S_IFREG, modes.S_IFLNK):
        if into.kind != S_IFDIR:
            _into_device(session, arguments, target)
            return
    expect(watch, session, [parse(text) for text in arguments.sources if text != STREAM])
    options = options_of(arguments, target.inside)
    if target.inside:
        image = os.stat(target.image)
        options.left_out = frozenset(((image.st_dev, image.st_ino),))
    copier = Copier(options, complaints, watch)
    follow = not (options.recursive or arguments.links)
    for text in arguments.sources:
        with complaints.caught(text):
            if text == STREAM:
                place, name = (directory, b"stdin") if directory else session.place(target, write=True)
                with named(target.text):
                    _from_stream(place, name, options, watch)
                continue
            address = parse(text)
            source = session.node(address, follow=follow)
            if directory is None:
                place, name = session.place(target, write=True)
            else:
                place, name = directory, os.fsencode(os.path.basename(address.path.rstrip("/")))
            if _is_content(text) or name in (b"", b".", b".."):
                _content(copier, source, into, place, name, text)
            else:
                copier.copy(source, place, name, os.fsencode(text))
            source.close()
    copier.close()
    tell_losses(copier, target)


def _is_content(text: str) -> bool:
    """Whether an argument means what is in a directory: `DIR/.`, or the root of an image."""
    return text.endswith("/.") or parse(text).path in ("/", ".")


def _content(copier: Copier, source: Node, into: Node | None, place: Node, name: bytes, text: str) -> None:
    """Copy what is in a directory into another, which is made where it is not there."""
    if source.kind != S_IFDIR or not copier.options.recursive:
        raise failure(EISDIR if source.kind == S_IFDIR else ENOTDIR, "it is a directory (-r copies it)")
    if into is None:
        copier.copy(source, place, name, os.fsencode(text))
        return
    if into.kind != S_IFDIR:
        raise failure(ENOTDIR, "a directory is copied over it")
    if source.holds(into):
        raise failure(EINVAL, "it is copied into itself")
    copier.copy_content(source, into, os.fsencode(text.removesuffix("/.")))


def _from_stream(directory: Node, name: bytes, options: CopyOptions, watch: Watch) -> None:
    """The standard input, as a file."""
    old = directory.child(name)
    if old is not None:
        if old.kind == S_IFDIR:
            raise failure(EISDIR)
        if not options.replace:
            raise failure(EEXIST)
        directory.remove(name, old)
        old.close()
    mode = 0o666 & ~options.mask
    made = directory.make(name, S_IFREG | mode, options.uid, options.gid)
    offset = 0
    while data := sys.stdin.buffer.read(1 << 20):
        made.write(offset, data)
        offset += len(data)
        watch.copied(name, len(data))
    made.settle(mode, options.now, options.now)
    made.close()


def _into_device(session: Session, arguments: argparse.Namespace, target: Address) -> None:
    """Into a device, FIFO or the like of the host, which is never replaced."""
    with open(target.path, "wb", buffering=0) as stream:
        for text in arguments.sources:
            for piece in session.node(parse(text)).content():
                stream.write(piece)


def tell_losses(copier: Copier, target: Address) -> None:
    """Say on stderr what the target could not keep."""
    losses = (
        (copier.lost_xattrs, "extended attributes"),
        (copier.lost_owners, "mode and owner"),
        (copier.lost_links, "the hard links"),
    )
    for count, what in losses:
        if count:
            files = "a file" if count == 1 else f"{count} files"
            print(f"rump: {target.text}: the file system can't keep {what} of {files}", file=sys.stderr)
