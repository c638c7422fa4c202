"""The MIB: what counters mean, and the managed objects of the RFCs that are made of them.

`OBJECTS` has the objects of RFC 4293 (IP and ICMP), RFC 4022 (TCP), RFC 4113 (UDP) and, where no RFC has a name, Linux's (TcpExt, as
in /proc/net/netstat).  Each is a sum of counters, which count on their own, or a gauge, which somebody looks up.
"""

from collections.abc import Mapping
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


OBJECTS: Final[tuple[MibObject, ...]] = (
    *_table(
        "ip",
        "RFC 4293",
        """
        ipSystemStatsInReceives        packets_in
        ipSystemStatsInHdrErrors       bad_header bad_options ttl_exceeded
        ipSystemStatsInAddrErrors      martian_source martian_destination not_ours
        ipSystemStatsInUnknownProtos   unknown_protocol
        ipSystemStatsInForwDatagrams   forwarded
        ipSystemStatsReasmReqds        fragments_in
        ipSystemStatsReasmOKs          reassembled
        ipSystemStatsReasmFails        reassembly_failed
        ipSystemStatsInDelivers        delivered
        ipSystemStatsOutNoRoutes       no_route
        ipSystemStatsOutForwDatagrams  forwarded
        ipSystemStatsOutFragOKs        fragmented
        ipSystemStatsOutFragFails      too_big
        ipSystemStatsOutFragCreates    fragments_out
        ipSystemStatsOutTransmits      packets_out
        """,
    ),
    *_table(
        "icmp",
        "RFC 4293",
        """
        icmpStatsInMsgs    messages_in
        icmpStatsInErrors  bad_in
        icmpStatsOutMsgs   echo_requests_out echo_replies_out errors_out
        icmpMsgStatsInPkts.8   echo_requests_in
        icmpMsgStatsInPkts.0   echo_replies_in
        icmpMsgStatsOutPkts.8  echo_requests_out
        icmpMsgStatsOutPkts.0  echo_replies_out
        """,
    ),
    *_table(
        "udp",
        "RFC 4113",
        """
        udpInDatagrams   datagrams_in -bad_in -bad_checksum -no_port -buffer_full
        udpNoPorts       no_port
        udpInErrors      bad_in bad_checksum buffer_full
        udpOutDatagrams  datagrams_out
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
        tcpCurrEstab     established
        tcpInSegs        segments_in
        tcpOutSegs       segments_out -retransmits
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
        TcpExtTCPOFOQueue          out_of_order
        TcpExtTCPOFODrop           reassembly_drops
        TcpExtPAWSEstab            paws_drops
        TcpExtTCPChallengeACK      challenge_acks
        TcpExtDelayedACKs          delayed_acks
        TcpExtTCPWinProbe          window_probes
        TcpExtTCPKeepAlive         keepalive_probes
        TcpExtListenOverflows      listen_overflows
        TcpExtListenDrops          listen_drops
        TcpExtTCPAbortOnData       aborts_on_data
        TcpExtTCPAbortOnClose      aborts_on_close
        TcpExtTCPAbortOnTimeout    aborts_on_timeout
        TcpExtTCPTimeWaitOverflow  time_wait_overflows
        TcpExtTCPAbortOnMemory     orphan_overflows
        """,
    ),
)


def values(counters: Mapping[str, int], gauges: Mapping[str, int]) -> dict[str, int]:
    """The objects that a kernel with these counters and gauges has, by name."""
    found: dict[str, int] = {}
    for item in OBJECTS:
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
