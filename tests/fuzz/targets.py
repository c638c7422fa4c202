"""What is fuzzed: each wire parser, a TCP connection, a whole kernel on a link, the config parser, disks.

A target takes any bytes and raises for what is a bug: an exception out of the stack, an invariant that does not hold.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rumpkit.compose.check import check
from rumpkit.compose.errors import ConfigError
from rumpkit.compose.load import parse
from rumpkit.compose.values import parse_duration, parse_forward, parse_link, parse_size
from tests.fuzz import connection, disks, extdisks, frames, packdisks
from tests.net.wire.roundtrips import ROUND_TRIPS

CORPUS = Path(__file__).parent / "corpus"


def config(data: bytes) -> None:
    """A config file: a spec, or a ConfigError that says what is wrong with it."""
    text = data.decode("utf-8", "replace")
    for line in text.splitlines()[:1]:
        for read in (parse_size, parse_duration, parse_link, parse_forward):
            try:
                read(line)
            except ValueError:
                pass
    try:
        check(parse(text), "<fuzz>", text)
    except ConfigError as problem:
        assert str(problem)


CONFIGS = [
    b'[kernel]\nhostname = "a"\ncomponents = ["tcp"]\n[[interface]]\nname = "vif0"\nlink = "user"\naddress = ["10.0.2.15/24"]\n',
    b'[[interface]]\nname = "lo9"\nlink = "switch:x"\naddress = "dhcp"\nforward = ["127.0.0.1:6379 -> 6379"]\n',
    b'[[mount]]\npath = "/data"\ntype = "tmpfs"\nsize = "64M"\n[[run]]\ncommand = ["a", "--b"]\n',
    b'[sysctl]\n"net.tcp.send_buffer" = 65536\n[[route]]\nto = "default"\nvia = "10.0.0.1"\n',
    b"64M\n",
    b"10ms\n",
    b"udp 0.0.0.0:53 -> 53\n",
    b"switch:name\n",
]

TARGETS: dict[str, tuple[Callable[[bytes], object], list[bytes]]] = {
    **{f"wire-{name}": pair for name, pair in ROUND_TRIPS.items()},
    "connection": (connection.run, connection.SEEDS),
    "frames": (frames.run, frames.SEEDS),
    "config": (config, CONFIGS),
    "partitions": (disks.partitions, disks.PARTITIONS),
    "qcow2": (disks.qcow2, disks.QCOW2),
    "ext-journal": (extdisks.journal, extdisks.JOURNALS),
    "ext-image": (extdisks.image, extdisks.IMAGE_CHANGES),
    "squashfs": (packdisks.squashfs, packdisks.SQUASHFS),
    "tar": (packdisks.tar, packdisks.TAR),
}
"""By name: the function, and inputs to begin with."""


def corpus_of(name: str) -> list[bytes]:
    """The inputs that are kept for a target (hexadecimal, one a line), behind those that it begins with."""
    path = CORPUS / f"{name}.hex"
    kept = path.read_text("ascii").split() if path.exists() else []
    return TARGETS[name][1] + [bytes.fromhex(line) for line in kept]
