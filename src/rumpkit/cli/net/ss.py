"""`rump net ss`: the sockets of a running kernel, and its connections from inside; options as those of ss(8)."""

import argparse
from typing import Any

from .. import exit as code
from ..table import show, show_json
from .common import add_kernel, control, endpoint

DESCRIPTION = """\
Show the sockets of a running kernel: as ss(8) does, connected ones only unless -l or -a says otherwise."""
EPILOG = """\
examples:
  rump net ss                  connections
  rump net ss -lt              listening TCP ports
  rump net ss -ti              connections from inside: cwnd, ssthresh, rtt, retransmission timeout
  rump net ss -a state time-wait
  rump net ss -lw0             raw, ping and packet sockets
  rump net ss --json | jq '.[] | select(.receive_queue > 0)'

Recv-Q of a listening port is how many connections wait for accept, Send-Q how many may. The port of a raw socket is its protocol, that
of a ping socket its identifier, that of a packet socket its ethertype.
"""
GROUPS = {
    "connected": {"ESTABLISHED", "SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSE-WAIT", "LAST-ACK", "CLOSING"},
    "synchronized": {"ESTABLISHED", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSE-WAIT", "LAST-ACK", "CLOSING"},
    "bucket": {"SYN-RECEIVED", "TIME-WAIT"},
    "big": {"ESTABLISHED", "SYN-SENT", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "LAST-ACK", "CLOSING", "LISTEN", "UNCONN"},
}  # fmt: skip
NAMES = {
    "established": "ESTABLISHED",
    "syn-sent": "SYN-SENT",
    "syn-recv": "SYN-RECEIVED",
    "syn-received": "SYN-RECEIVED",
    "fin-wait-1": "FIN-WAIT-1",
    "fin-wait-2": "FIN-WAIT-2",
    "time-wait": "TIME-WAIT",
    "close-wait": "CLOSE-WAIT",
    "last-ack": "LAST-ACK",
    "closing": "CLOSING",
    "listening": "LISTEN",
    "listen": "LISTEN",
    "unconnected": "UNCONN",
    "closed": "UNCONN",
}
PROTOCOLS = {"tcp": ("tcp",), "udp": ("udp",), "raw": ("raw", "raw6", "icmp", "icmp6"), "packet": ("p_raw", "p_dgr")}
"""What each option shows."""
SHORT = {"ESTABLISHED": "ESTAB", "SYN-RECEIVED": "SYN-RECV"}
IDLE = {"LISTEN", "UNCONN"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.usage = "rump net ss [options] [state STATE] ..."
    parser.add_argument("filter", metavar="state STATE", nargs="*", help=f"a state: {', '.join([*NAMES, *GROUPS])}")
    parser.add_argument("-t", "--tcp", action="store_true", help="TCP only")
    parser.add_argument("-u", "--udp", action="store_true", help="UDP only")
    parser.add_argument("-w", "--raw", action="store_true", help="raw and ping sockets only")
    parser.add_argument("-0", "--packet", action="store_true", help="packet sockets only")
    parser.add_argument("-l", "--listening", action="store_true", help="only what listens, or is not connected")
    parser.add_argument("-a", "--all", action="store_true", help="both")
    parser.add_argument("-i", "--info", action="store_true", help="connections from inside")
    parser.add_argument("-o", "--options", action="store_true", help="timers")
    parser.add_argument("-n", "--numeric", action="store_true", help="numbers (they always are; for habit)")
    parser.add_argument("-4", "--ipv4", action="store_true", help="IPv4 only")
    parser.add_argument("-6", "--ipv6", action="store_true", help="IPv6 only")
    add_kernel(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask, choose, show."""
    states = _states(arguments)
    with control(arguments) as kernel:
        rows = [row for row in kernel.rows("sockets") if _wanted(row, arguments, states)]
    if arguments.json:
        show_json(rows)
        return code.OK
    lines = [_line(row) for row in rows]
    if not (arguments.info or arguments.options):
        show("", ("Netid", "State", "Recv-Q", "Send-Q", "Local", "Peer"), lines, right=(2, 3))
        return code.OK
    for row, line in zip(rows, lines, strict=True):
        print(" ".join(f"{text:<{width}}" for text, width in zip(line, (5, 10, 6, 6, 22, 22), strict=True)).rstrip())
        detail = inside(row.get("info"), arguments.info, arguments.options)
        if detail:
            print(f"\t {detail}")
    return code.OK


def _states(arguments: argparse.Namespace) -> set[str] | None:
    words = arguments.filter
    if not words:
        return None
    chosen: set[str] = set()
    for at, word in enumerate(words):
        if at % 2 == 0:
            if word != "state" or at + 1 == len(words):
                raise SystemExit(_usage(f"write: state STATE, not {' '.join(words[at:])!r}"))
        elif word.lower() in GROUPS:
            chosen |= GROUPS[word.lower()]
        elif word.lower() in NAMES:
            chosen.add(NAMES[word.lower()])
        else:
            raise SystemExit(_usage(f"there is no state {word!r}; known: {', '.join([*NAMES, *GROUPS])}"))
    return chosen


def _usage(text: str) -> int:
    import sys

    print(f"rump net ss: {text}", file=sys.stderr)
    return code.USAGE


def _wanted(row: dict[str, Any], arguments: argparse.Namespace, states: set[str] | None) -> bool:
    protocols = {name for option, names in PROTOCOLS.items() if getattr(arguments, option) for name in names}
    if protocols and row["protocol"] not in protocols:
        return False
    six = ":" in row["local"] or row["protocol"] in ("raw6", "icmp6")
    if arguments.ipv4 != arguments.ipv6 and six != arguments.ipv6:
        return False
    if states is not None:
        return str(row["state"]) in states
    idle = row["state"] in IDLE
    return bool(arguments.all) or idle == arguments.listening


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["protocol"],
        SHORT.get(row["state"], row["state"]),
        str(row["receive_queue"]),
        str(row["send_queue"]),
        endpoint(row["local"], row["local_port"]),
        endpoint(row["remote"], row["remote_port"]),
    )


def inside(info: dict[str, Any] | None, everything: bool, timers: bool) -> str:
    """What goes on in a connection, on one line, in the words of ss -i where it has any."""
    if info is None:
        return ""
    words: list[str] = []
    timer = info.get("timer")
    if timer and timers:
        words.append(f"timer:({timer['name']},{timer['in']}ms,{timer['count']})")
    if not everything or "cwnd" not in info:  # there is little left of a connection in TIME-WAIT
        return " ".join(words)
    mss = max(info["mss"], 1)
    words += [info["congestion"], *info["options"]]
    words.append(f"rto:{_ms(info['rto'])}")
    if info["rtt"]:
        words.append(f"rtt:{_ms(info['rtt'])}/{_ms(info['rttvar'])} minrtt:{_ms(info['min_rtt'] or 0)}")
    words += [f"mss:{info['mss']}", f"pmtu:{info['path_mtu']}", f"cwnd:{info['cwnd'] // mss}"]
    if info["ssthresh"] is not None:
        words.append(f"ssthresh:{info['ssthresh'] // mss}")
    if info["rtt"]:
        words.append(f"send {info['cwnd'] * 8_000_000 // info['rtt'] / 1e6:.1f}Mbps")
    words.append(f"flight:{info['flight']}")
    for name in (
        "sacked",
        "lost",
        "backoffs",
        "retries",
        "retransmits",
        "bytes_acked",
        "bytes_received",
        "send_window",
        "receive_window",
    ):
        if info.get(name):
            words.append(f"{name}:{info[name]}")
    if info["recovering"]:
        words.append("recovering")
    for name in ("last_sent", "last_received"):
        if info[name] is not None:
            words.append(f"{name}:{info[name]}ms")
    return " ".join(words)


def _ms(microseconds: int) -> str:
    return f"{microseconds / 1000:.3f}".rstrip("0").rstrip(".")
