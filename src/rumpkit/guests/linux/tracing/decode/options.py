"""Names of socket options by level, from the numbers that the kernel knows (`kern.abi.socket`) and the rest of <linux/*.h>."""

from typing import Final

from .....kern.abi import socket as numbers
from .names import Table

SOL_SOCKET: Final = 1
LEVELS: Final[Table] = {
    0: "SOL_IP",
    1: "SOL_SOCKET",
    6: "SOL_TCP",
    17: "SOL_UDP",
    41: "SOL_IPV6",
    58: "SOL_ICMPV6",
    255: "SOL_RAW",
    263: "SOL_PACKET",
    270: "SOL_NETLINK",
}
_MORE: Final[dict[int, Table]] = {
    0: {
        3: "IP_HDRINCL",
        5: "IP_ROUTER_ALERT",
        6: "IP_RECVOPTS",
        7: "IP_RETOPTS",
        64: "IP_UNICAST_IF",
        42: "MCAST_JOIN_GROUP",
    },
    1: {
        16: "SO_PASSCRED",
        17: "SO_PEERCRED",
        22: "SO_SECURITY_AUTHENTICATION",
        26: "SO_ATTACH_FILTER",
        27: "SO_DETACH_FILTER",
        28: "SO_PEERNAME",
        31: "SO_PEERSEC",
        34: "SO_PASSSEC",
        37: "SO_TIMESTAMPING",
        41: "SO_WIFI_STATUS",
        42: "SO_PEEK_OFF",
        50: "SO_ATTACH_BPF",
        56: "SO_INCOMING_NAPI_ID",
        59: "SO_PEERGROUPS",
    },
    6: {14: "TCP_MD5SIG", 19: "TCP_REPAIR", 28: "TCP_SAVED_SYN", 31: "TCP_ULP", 37: "TCP_TX_DELAY"},
    41: {7: "IPV6_CHECKSUM", 33: "IPV6_UNICAST_IF", 75: "IPV6_TRANSPARENT", 72: "IPV6_ADDR_PREFERENCES"},
    58: {1: "ICMP6_FILTER"},
    263: {1: "PACKET_ADD_MEMBERSHIP", 5: "PACKET_RX_RING", 8: "PACKET_AUXDATA"},
    270: {
        1: "NETLINK_ADD_MEMBERSHIP",
        3: "NETLINK_PKTINFO",
        10: "NETLINK_CAP_ACK",
        11: "NETLINK_EXT_ACK",
        12: "NETLINK_GET_STRICT_CHK",
    },
}
_PREFIXES: Final = {"IP_": 0, "SO_": 1, "TCP_": 6, "UDP_": 17, "IPV6_": 41}
_NO_OPTIONS: Final = "IP_PMTUDISC_"


def _collect() -> dict[int, Table]:
    found: dict[int, Table] = {level: dict(table) for level, table in _MORE.items()}
    for name, value in vars(numbers).items():
        for prefix, level in _PREFIXES.items():
            if name.startswith(prefix) and not name.startswith(_NO_OPTIONS) and isinstance(value, int):
                found.setdefault(level, {}).setdefault(value, name)
    return found


OPTIONS: Final = _collect()
"""Level to number to name."""


def option_name(level: int, number: int) -> str:
    """What an option is called, or its number."""
    return OPTIONS.get(level, {}).get(number) or f"{number:#x}"
