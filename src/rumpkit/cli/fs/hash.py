"""`rump fs hash`: SHA-256 of files, and the manifest of a tree."""

import argparse
import os

from ...compose.image.manifest import digest_of, lines, summary
from .common import Complaints, Output, Session, add_json, add_paths, parse, stream_json
from .progress import Watch, expect

DESCRIPTION = """\
Print the SHA-256 of files, as sha256sum does.  Of a directory: a manifest, a line for each file with type, mode, owner, size, time of
modification and what is in it, in the order of names, so that equal trees have equal manifests, whatever file system holds them."""
EPILOG = """\
examples:
  rump fs hash disk.img:/boot/vmlinuz
  rump fs hash disk.img:/etc > etc.manifest
  rump fs hash -s disk.img:/ ./tree             one line each: the hash of the manifest
  rump fs hash --content disk.img@1:/           names and contents only: what FAT can keep
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_paths(parser, "paths", "IMAGE:PATH", "+", "files and directories")
    parser.add_argument("-s", dest="summary", action="store_true", help="of a tree, the hash of its manifest only")
    parser.add_argument("--content", action="store_true", help="leave out mode, owner, time and extended attributes")
    parser.add_argument("--no-times", action="store_true", help="leave out times of modification")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read and print."""
    complaints = Complaints()
    output = Output()
    rows: list[object] = []
    with Watch("hashing", at_once=True) as watch, Session() as session:
        expect(watch, session, [parse(text) for text in arguments.paths])
        for text in arguments.paths:
            with complaints.caught(text):
                node = session.node(parse(text))
                whole = node.is_directory()
                if whole and not arguments.summary:
                    for line in lines(node, arguments.content, not arguments.no_times, complaints, watch):
                        if arguments.json:
                            rows.append(line.decode("utf-8", "backslashreplace"))
                        else:
                            output.line(line)
                    continue
                if whole:
                    value = summary(node, arguments.content, not arguments.no_times, complaints, watch)
                else:
                    value = digest_of(node, os.fsencode(text), watch)
                node.close()
                rows.append({"path": text, "sha256": value})
                if not arguments.json:
                    output.line(value.encode() + b"  " + os.fsencode(text))
    if arguments.json:
        stream_json(iter(rows))
    output.flush()
    return complaints.code()
