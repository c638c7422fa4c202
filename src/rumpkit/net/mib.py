"""The MIB: what counters mean, and the managed objects of the RFCs that are made of them.

`OBJECTS` has the objects of RFC 4293 (IP and ICMP), RFC 4022 (TCP), RFC 4113 (UDP) and, where no RFC has a name, Linux's (TcpExt,
as in /proc/net/netstat); `INTERFACE_OBJECTS` those of RFC 2863.  Each is a sum of counters, which count on their own, or a
gauge, which somebody looks up.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple


class MibObject(NamedTuple):
    """One managed object: the sum of `counters`, less those that begin with "-"."""

    name: str
    source: str
    counters: tuple[str, ...]


def _table(group: str, source: str, text: str) -> tuple[MibObject, ...]:
    """Rows of a text: a name and its counters, of `group` unless they have a dot."""
    rows = []
    for line in text.strip().splitlines():
        name, *counters = line.split()
        full = tuple(
            one if "." in one else f"-{group}.{one[1:]}" if one[0] == "-" else f"{group}.{one}" for one in counters
        )
        rows.append(MibObject(name, source, full))
    return tuple(rows)


def _ip(prefix: str, group: str) -> tuple[MibObject, ...]:
    """ipSystemStatsTable of RFC 4293 for one version of IP."""
    return _table(
        group,
        "RFC 4293",
        _SYSTEM_STATS.replace("ipSystemStats", prefix),
    )


_SYSTEM_STATS: Final = """
    ipSystemStatsHCInReceives      packets_in
    ipSystemStatsHCInOctets        bytes_in
    ipSystemStatsInHdrErrors       bad_header bad_options ttl_exceeded
    ipSystemStatsInAddrErrors      martian_source martian_destination not_ours
    ipSystemStatsInUnknownProtos   unknown_protocol
    ipSystemStatsHCInForwDatagrams forwarded
    ipSystemStatsReasmReqds        fragments_in
    ipSystemStatsReasmOKs          reassembled
    ipSystemStatsReasmFails        reassembly_failed
    ipSystemStatsHCInDelivers      delivered
    ipSystemStatsOutNoRoutes       no_route
    ipSystemStatsHCOutForwDatagrams forwarded
    ipSystemStatsOutFragOKs        fragmented
    ipSystemStatsOutFragFails      too_big
    ipSystemStatsOutFragCreates    fragments_out
    ipSystemStatsHCOutTransmits    packets_out forwarded
    ipSystemStatsHCOutOctets       bytes_out
"""

OBJECTS: Final[tuple[MibObject, ...]] = (
    *_ip("ipSystemStats", "ip"),
    *_ip("ip6SystemStats", "ip6"),
    *_table(
        "icmp",
        "RFC 4293",
        """
        icmpStatsInMsgs    messages_in
        icmpStatsInErrors  bad_in
        icmpStatsOutMsgs   type_0_out type_3_out type_8_out type_11_out type_12_out
        """
        + "".join(f"icmpMsgStatsInPkts.{kind} type_{kind}_in\n" for kind in (0, 3, 4, 5, 8, 11, 12, 13, 14))
        + "".join(f"icmpMsgStatsOutPkts.{kind} type_{kind}_out\n" for kind in (0, 3, 8, 11, 12)),
    ),
    *_table(
        "icmp6",
        "RFC 4293",
        """
        icmp6StatsInMsgs    messages_in
        icmp6StatsInErrors  bad_in
        """
        + "".join(
            f"icmp6MsgStatsInPkts.{kind} type_{kind}_in\n" for kind in (1, 2, 3, 4, 128, 129, *range(130, 138), 143)
        )
        + "".join(
            f"icmp6MsgStatsOutPkts.{kind} type_{kind}_out\n"
            for kind in (1, 2, 3, 4, 128, 129, 131, 132, 133, 135, 136, 143)
        ),
    ),
    *_table(
        "udp",
        "RFC 4113",
        """
        udpHCInDatagrams   datagrams_in -bad_in -bad_checksum -no_port -buffer_full
        udpNoPorts         no_port
        udpInErrors        bad_in bad_checksum buffer_full
        udpHCOutDatagrams  datagrams_out
        """,
    ),
    *_table(
        "tcp",
        "RFC 4022",
        """
        tcpRtoMin        min_rto
        tcpRtoMax        max_rto
        tcpActiveOpens   active_opens
        tcpPassiveOpens  passive_opens
        tcpAttemptFails  failed_attempts
        tcpEstabResets   established_resets
        tcpCurrEstab     established
        tcpHCInSegs      segments_in
        tcpHCOutSegs     segments_out -retransmits
        tcpRetransSegs   retransmits
        tcpInErrs        malformed bad_checksums
        tcpOutRsts       resets_sent
        """,
    ),
    *_table(
        "tcp",
        "Linux",
        """
        TcpExtTCPFastRetrans       fast_retransmits
        TcpExtTCPTimeouts          timeouts
        TcpExtTCPLossProbes        tail_probes
        TcpExtTCPLossProbeRecovery probes_repaired
        TcpExtTCPSpuriousRTOs      spurious_recoveries
        TcpExtTCPDSACKRecv         duplicate_reports
        TcpExtTCPDSACKOldSent      duplicates_reported
        TcpExtTCPSACKReneging      reneges
        TcpExtTCPOFOQueue          out_of_order
        TcpExtTCPOFODrop           reassembly_drops
        TcpExtPAWSEstab            paws_drops
        TcpExtTCPChallengeACK      challenge_acks
        TcpExtDelayedACKs          delayed_acks
        TcpExtTCPWinProbe          window_probes
        TcpExtTCPKeepAlive         keepalive_probes
        TcpExtListenOverflows      listen_overflows
        TcpExtListenDrops          listen_drops
        TcpExtSyncookiesSent       syncookies_sent
        TcpExtSyncookiesRecv       syncookies_received
        TcpExtSyncookiesFailed     syncookies_failed
        TcpExtTCPAbortOnData       aborts_on_data
        TcpExtTCPAbortOnClose      aborts_on_close
        TcpExtTCPAbortOnTimeout    aborts_on_timeout
        TcpExtTCPTimeWaitOverflow  time_wait_overflows
        TcpExtTCPAbortOnMemory     orphan_overflows
        """,
    ),
)

INTERFACE_OBJECTS: Final = _table(
    "interface",
    "RFC 2863",
    """
    ifHCInOctets        bytes_in
    ifHCInUcastPkts     frames_in -group_in
    ifHCInMulticastPkts group_in
    ifInUnknownProtos   unknown_type_in
    ifInErrors          short_in
    ifInDiscards        down_in other_host_in tagged_in
    ifHCOutOctets       bytes_out
    ifHCOutUcastPkts    frames_out -group_out
    ifHCOutMulticastPkts group_out
    ifOutDiscards       down_out
    """,
)
"""Of each interface; broadcasts are among the multicasts.  Objects and counters of the interface vif0 are called ifHCInOctets.vif0 and
interface.vif0.bytes_in."""


def objects(counters: Mapping[str, int]) -> Iterator[MibObject]:
    """All objects, for a kernel with these counters: those of interfaces once for each."""
    yield from OBJECTS
    names = [name.split(".")[1] for name in counters if name.startswith("interface.") and name.endswith(".bytes_in")]
    for interface in names:
        for item in INTERFACE_OBJECTS:
            own = tuple(one.replace("interface.", f"interface.{interface}.", 1) for one in item.counters)
            yield MibObject(f"{item.name}.{interface}", item.source, own)


def values(counters: Mapping[str, int], gauges: Mapping[str, int]) -> dict[str, int]:
    """The objects that a kernel with these counters and gauges has, by name."""
    found: dict[str, int] = {}
    for item in objects(counters):
        total = 0
        known = False
        for name in item.counters:
            plain = name.lstrip("-")
            value = counters.get(plain, gauges.get(plain))
            if value is not None:
                known = True
                total += -value if name[0] == "-" else value
        if known:
            found[item.name] = total
    return found
