"""/proc/net/snmp, snmp6, netstat, dev, arp: what the kernel has counted, and its neighbours of IPv4."""

from collections.abc import Generator, Iterator
from typing import Final

from ...kern.kernel import RumpKernel
from .. import mib
from ..link.ethernet import EthernetInterface
from ..transport.tcp import snapshot as tcp_snapshot
from ..wire.address import format_address, format_mac
from .view import View

_IP: Final = (
    ("InReceives", "HCInReceives"),
    ("InHdrErrors", "InHdrErrors"),
    ("InAddrErrors", "InAddrErrors"),
    ("ForwDatagrams", "HCOutForwDatagrams"),
    ("InUnknownProtos", "InUnknownProtos"),
    ("InDiscards", ""),
    ("InDelivers", "HCInDelivers"),
    ("OutRequests", "HCOutTransmits"),
    ("OutDiscards", ""),
    ("OutNoRoutes", "OutNoRoutes"),
    ("ReasmTimeout", ""),
    ("ReasmReqds", "ReasmReqds"),
    ("ReasmOKs", "ReasmOKs"),
    ("ReasmFails", "ReasmFails"),
    ("FragOKs", "OutFragOKs"),
    ("FragFails", "OutFragFails"),
    ("FragCreates", "OutFragCreates"),
    ("OutTransmits", "HCOutTransmits"),
)
"""Linux's names, and those of RFC 4293 behind ipSystemStats or ip6SystemStats; "" for what nobody counts here."""
_ICMP_TYPES: Final = (
    ("DestUnreachs", 3), ("TimeExcds", 11), ("ParmProbs", 12), ("SrcQuenchs", 4), ("Redirects", 5), ("Echos", 8),
    ("EchoReps", 0), ("Timestamps", 13), ("TimestampReps", 14), ("AddrMasks", 17), ("AddrMaskReps", 18),
)  # fmt: skip
_TCP: Final = (
    "RtoMin", "RtoMax", "MaxConn", "ActiveOpens", "PassiveOpens", "AttemptFails", "EstabResets", "CurrEstab", "HCInSegs",
    "HCOutSegs", "RetransSegs", "InErrs", "OutRsts", "InCsumErrors",
)  # fmt: skip
_UDP: Final = (
    ("InDatagrams", "udpHCInDatagrams"), ("NoPorts", "udpNoPorts"), ("InErrors", "udpInErrors"),
    ("OutDatagrams", "udpHCOutDatagrams"), ("RcvbufErrors", ""), ("SndbufErrors", ""), ("InCsumErrors", ""),
    ("IgnoredMulti", ""), ("MemErrors", ""),
)  # fmt: skip


def gauges(kernel: RumpKernel) -> Generator[None, None, dict[str, int]]:
    """What is not counted but looked up, a piece at a time."""
    tcp = View(kernel).tcp
    if tcp is None:
        return {}
    settings = tcp.environment.settings
    established = yield from tcp_snapshot.established(tcp)
    return {
        "tcp.established": established,
        "tcp.connections": len(tcp.channels),
        "tcp.time_waits": tcp.time_waits,
        "tcp.orphans": tcp.orphans,
        "tcp.min_rto": settings.min_rto,
        "tcp.max_rto": settings.max_rto,
    }


def _values(view: View) -> Generator[str, None, dict[str, int]]:
    """The objects of the MIB; yields nothing of worth meanwhile."""
    found = gauges(view.kernel)
    try:
        while True:
            next(found)
            yield ""
    except StopIteration as end:
        looked_up: dict[str, int] = end.value
    return mib.values(dict(view.kernel.counters), looked_up)


def _lines(name: str, pairs: list[tuple[str, int]]) -> str:
    names = " ".join(one for one, _ in pairs)
    numbers = " ".join(str(number) for _, number in pairs)
    return f"{name}: {names}\n{name}: {numbers}\n"


def snmp(view: View) -> Iterator[str]:
    """/proc/net/snmp."""
    values = yield from _values(view)
    settings = None if view.ip is None else view.ip.v4.settings
    ip = [
        ("Forwarding", 1 if settings and settings.forwarding else 2),
        ("DefaultTTL", settings.ttl if settings else 64),
    ]
    ip += [(name, values.get(f"ipSystemStats{object_}", 0)) for name, object_ in _IP]
    text = _lines("Ip", ip)
    icmp = [("InMsgs", values.get("icmpStatsInMsgs", 0)), ("InErrors", values.get("icmpStatsInErrors", 0))]
    icmp.append(("InCsumErrors", 0))
    icmp += [(f"In{name}", values.get(f"icmpMsgStatsInPkts.{kind}", 0)) for name, kind in _ICMP_TYPES]
    icmp += [("OutMsgs", values.get("icmpStatsOutMsgs", 0)), ("OutErrors", 0)]
    icmp += [(f"Out{name}", values.get(f"icmpMsgStatsOutPkts.{kind}", 0)) for name, kind in _ICMP_TYPES]
    text += _lines("Icmp", icmp)
    tcp = [("RtoAlgorithm", 1)]
    for name in _TCP:
        tcp.append((name.removeprefix("HC"), -1 if name == "MaxConn" else values.get(f"tcp{name}", 0)))
    text += _lines("Tcp", tcp)
    text += _lines("Udp", [(name, values.get(object_, 0)) for name, object_ in _UDP])
    yield text + _lines("UdpLite", [(name, 0) for name, _ in _UDP])


def snmp6(view: View) -> Iterator[str]:
    """/proc/net/snmp6."""
    if view.ip6 is None:
        return
    values = yield from _values(view)
    names = {"ForwDatagrams": "OutForwDatagrams"}
    rows = [(f"Ip6{names.get(name, name)}", values.get(f"ip6SystemStats{object_}", 0)) for name, object_ in _IP]
    rows += [("Ip6InOctets", values.get("ip6SystemStatsHCInOctets", 0))]
    rows += [("Ip6OutOctets", values.get("ip6SystemStatsHCOutOctets", 0))]
    rows += [("Icmp6InMsgs", values.get("icmp6StatsInMsgs", 0)), ("Icmp6InErrors", values.get("icmp6StatsInErrors", 0))]
    for way in ("In", "Out"):
        prefix = f"icmp6MsgStats{way}Pkts."
        kinds = sorted(int(name.removeprefix(prefix)) for name in values if name.startswith(prefix))
        rows += [(f"Icmp6{way}Type{kind}", values[f"{prefix}{kind}"]) for kind in kinds if values[f"{prefix}{kind}"]]
    yield "".join(f"{name:<32}\t{number}\n" for name, number in rows)


def netstat(view: View) -> Iterator[str]:
    """/proc/net/netstat: of Linux's long list what is counted here."""
    values = yield from _values(view)
    prefix = "TcpExt"
    text = _lines(
        prefix, [(name.removeprefix(prefix), value) for name, value in values.items() if name.startswith(prefix)]
    )
    octets = [(f"{way}Octets", values.get(f"ipSystemStatsHC{way}Octets", 0)) for way in ("In", "Out")]
    yield text + _lines("IpExt", octets)


_DEV_HEAD: Final = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
"""


def dev(view: View) -> Iterator[str]:
    """/proc/net/dev."""
    text = _DEV_HEAD
    for one in view.ip.interfaces.all() if view.ip is not None else ():
        counted = one.counters
        drops = counted.down_in + counted.other_host_in + counted.tagged_in
        text += (
            f"{one.name:>6}: {counted.bytes_in:7d} {counted.frames_in:7d} {counted.short_in:4d} {drops:4d} {0:4d} {0:5d}"
            f" {0:10d} {counted.group_in:9d} {counted.bytes_out:8d} {counted.frames_out:7d} {0:4d} {counted.down_out:4d}"
            f" {0:4d} {0:5d} {0:7d} {0:10d}\n"
        )
    yield text


_COMPLETE: Final = 2
"""ATF_COM: the address is known."""


def arp(view: View) -> Iterator[str]:
    """/proc/net/arp."""
    yield "IP address       HW type     Flags       HW address            Mask     Device\n"
    for one in view.ip.interfaces.all() if view.ip is not None else ():
        if isinstance(one, EthernetInterface):
            for neighbour in one.neighbours.all():
                flags = f"0x{_COMPLETE if neighbour.mac else 0:x}"
                mac = format_mac(neighbour.mac) if neighbour.mac else "00:00:00:00:00:00"
                yield f"{format_address(neighbour.address):<16} {'0x1':<11} {flags:<11} {mac:<17}     *        {one.name}\n"
