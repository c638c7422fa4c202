"""`rump net capture`: the frames of a running kernel as a pcapng file, live."""

import argparse
import os
import sys
from typing import Any, BinaryIO

from ...hosts.posix.private_file import create_private
from .. import exit as code
from .common import add_kernel, control, stoppable

DESCRIPTION = """\
Record the frames that go through a running kernel's interfaces until Ctrl-C, as pcapng.  Each packet of a TCP
connection bears, as its comment, the state of that connection: state, cwnd, ssthresh, flight, rtt, rto.
FILTER is any of: tcp udp icmp icmp6 arp ip ip6, host ADDRESS, port NUMBER (all of which must hold)."""
EPILOG = """\
examples:
  rump net capture -o web.pcapng
  rump net capture -o web.pcapng -c 100 tcp port 80
  rump net capture -o - | tshark -r - -T fields -e frame.number -e frame.comment
  rump net capture -o - -i vif0 host 10.0.2.2 | wireshark -k -i -

A file is yours alone (mode 0600).
"""
PROTOCOLS = ("tcp", "udp", "icmp", "icmp6", "arp", "ip", "ip6")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.usage = "rump net capture [options] -o FILE [FILTER ...]"
    output = parser.add_argument(
        "-o", "--output", "-w", metavar="FILE", required=True, help="the file; - is standard output"
    )
    output.complete = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}  # type: ignore[attr-defined]
    parser.add_argument("filter", metavar="FILTER", nargs="*", help="which packets; default: all")
    parser.add_argument("-i", "--interface", metavar="INTERFACE", default="", help="of this interface; default: all")
    parser.add_argument("-c", "--count", metavar="N", type=int, default=0, help="end after so many packets")
    parser.add_argument("-s", "--snaplen", metavar="BYTES", type=int, help="keep so much of each packet; default: all")
    parser.add_argument("--no-comments", action="store_true", help="no states of TCP connections")
    parser.add_argument("--quiet", "-q", action="store_true", help="don't say at the end how many packets there were")
    add_kernel(parser, json=False)


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    try:
        parameters = parse(arguments.filter)
    except ValueError as problem:
        print(f"rump net capture: {problem}", file=sys.stderr)
        return code.USAGE
    if arguments.output == "-" and sys.stdout.isatty():
        print("rump net capture: a capture is nothing for a terminal; write: -o FILE, or pipe it on", file=sys.stderr)
        return code.USAGE
    if arguments.snaplen is not None:
        parameters["snaplen"] = arguments.snaplen
    parameters |= {
        "interface": arguments.interface,
        "count": arguments.count,
        "comments": not arguments.no_comments,
    }
    with control(arguments) as kernel:
        parts = kernel.stream("capture", **parameters)
        first = next(parts)  # a refusal comes before the file is made
        kernel.patience(None)
        with _open(arguments.output) as file, stoppable(kernel):
            result = _copy(parts, first, file)
    if not arguments.quiet:
        left_out = f", {result['skipped']} were left out" if result["skipped"] else ""
        print(f"{result['frames']} packets captured{left_out}", file=sys.stderr)
    return code.OK


def _copy(parts: Any, data: bytes, file: BinaryIO) -> dict[str, Any]:
    """Write what comes until the end."""
    while True:
        # Unbuffered: a block is in the file, or in the pipe, as soon as it is here.
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]
        try:
            data = next(parts)
        except StopIteration as end:
            result: dict[str, Any] = end.value
            return result


def _open(name: str) -> BinaryIO:
    if name == "-":
        return os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    return os.fdopen(create_private(name), "wb", buffering=0)


def parse(words: list[str]) -> dict[str, Any]:
    """What `tcp and host 10.0.2.2 and port 80` says.  Raises ValueError."""
    found: dict[str, Any] = {}
    rest = [word for word in words if word != "and"]
    while rest:
        word = rest.pop(0)
        if word in PROTOCOLS:
            key, value = "protocol", word
        elif word in ("host", "port"):
            if not rest:
                raise ValueError(f"{word} needs a value")
            key, value = word, rest.pop(0)
        else:
            raise ValueError(f"cannot filter by {word!r}; known: {', '.join(PROTOCOLS)}, host ADDRESS, port NUMBER")
        if key in found:
            raise ValueError(f"{key} is there twice: all of a filter must hold, and both can't")
        found[key] = value
    if "port" in found:
        if not found["port"].isdecimal() or not 0 < int(found["port"]) < 65536:
            raise ValueError(f"{found['port']!r} is not a port: a number from 1 to 65535")
        found["port"] = int(found["port"])
    return found
