"""`rump net ping`: echo requests from inside a running kernel, as ping(8) sends them."""

import argparse
import sys
from typing import Any

from .. import exit as code
from ..table import show_json
from .common import add_kernel, control, seconds, stoppable

DESCRIPTION = "Ping from inside a running kernel: by its routes, over its links."
EPILOG = """\
examples:
  rump net ping 10.0.2.2
  rump net ping -c 3 -i 0.2 -s 1400 10.0.2.2
  rump net ping -c 1 -W 1 -q 10.0.2.2 && echo there

A name is looked up by this machine.  Exits with 0 if anybody has answered, with 1 if nobody, as ping(8) does.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("destination", metavar="ADDRESS", help="whom")
    parser.add_argument(
        "-c", "--count", metavar="N", type=int, default=0, help="end after so many requests; default: at Ctrl-C"
    )
    parser.add_argument("-i", "--interval", metavar="SECONDS", type=seconds, default=1.0, help="time between two (1)")
    parser.add_argument("-s", "--size", metavar="BYTES", type=int, default=56, help="payload of a request (56)")
    parser.add_argument(
        "-W", "--timeout", metavar="SECONDS", type=seconds, default=2.0, help="wait for the last answers (2)"
    )
    parser.add_argument("-t", "--ttl", metavar="N", type=int, default=64, help="time to live (64)")
    parser.add_argument("-q", "--quiet", action="store_true", help="statistics only")
    parser.add_argument("-n", "--numeric", action="store_true", help="numbers (they always are; for habit)")
    parser.add_argument("-4", "--ipv4", action="store_true", help="look a name up for IPv4 only")
    parser.add_argument("-6", "--ipv6", action="store_true", help="look a name up for IPv6 only")
    add_kernel(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    address = _address(arguments)
    with control(arguments) as kernel:
        parts = kernel.stream(
            "ping",
            destination=address,
            count=arguments.count,
            interval=round(arguments.interval * 1000),
            size=arguments.size,
            timeout=round(arguments.timeout * 1000),
            ttl=arguments.ttl,
        )
        patience = max(arguments.interval, arguments.timeout) + 10
        kernel.patience(patience)
        events: list[Any] = []
        talks = not (arguments.quiet or arguments.json)
        if not arguments.json:
            print(
                f"PING {arguments.destination} ({address}) {arguments.size}({arguments.size + 28}) bytes of data.",
                flush=True,
            )
        with stoppable(kernel):
            while True:
                try:
                    part = next(parts)
                except StopIteration as end:
                    result = end.value
                    break
                if arguments.json:
                    events.append(part)
                elif talks:
                    print(_line(part), flush=True)
    if arguments.json:
        show_json({"events": events, "statistics": result})
    else:
        _statistics(arguments.destination, result)
    return code.OK if result["received"] else code.NOTHING


def _address(arguments: argparse.Namespace) -> str:
    import socket

    from ...net.wire.address import parse_address

    try:
        parse_address(arguments.destination)
        return str(arguments.destination)
    except ValueError:
        pass
    family = socket.AF_INET6 if arguments.ipv6 else socket.AF_INET
    try:
        found = socket.getaddrinfo(arguments.destination, None, family, socket.SOCK_DGRAM)
    except OSError as problem:
        raise OSError(problem.errno, f"{arguments.destination}: {problem.strerror}") from None
    return str(found[0][4][0])


def _line(part: dict[str, Any]) -> str:
    if "error" in part:
        return f"ping: icmp_seq={part['sequence']}: {part['error']}"
    line = f"{part['bytes']} bytes from {part['from']}: icmp_seq={part['sequence']} ttl={part['ttl']}"
    if part.get("duplicate"):
        return f"{line} (DUP!)"
    damage = "" if part["intact"] else " (damaged)"
    return f"{line} time={_ms(part['time'])} ms{damage}"


def _statistics(name: str, result: dict[str, Any]) -> None:
    sent, received = result["transmitted"], result["received"]
    loss = 100 * (sent - received) / sent if sent else 0.0
    extra = f", +{result['duplicates']} duplicates" if result["duplicates"] else ""
    extra += f", +{result['errors']} errors" if result["errors"] else ""
    sys.stdout.write(
        f"\n--- {name} ping statistics ---\n{sent} packets transmitted, {received} received{extra}, {loss:g}% packet loss, "
        f"time {result['time'] // 1000}ms\n"
    )
    if received:
        times = "/".join(_ms(result[key]) for key in ("min", "avg", "max", "mdev"))
        print(f"rtt min/avg/max/mdev = {times} ms")


def _ms(microseconds: int) -> str:
    return f"{microseconds / 1000:.3f}"
