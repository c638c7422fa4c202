"""What each counter of the network counts, in a few words: for `rump net stat -v` and the reference.

Text only, beside `mib`; nothing here is loaded by a kernel.  A test holds it against the counters that there are.
"""

from typing import Final

_TEXT: Final = """
arp.requests_in            questions of others
arp.replies_in             answers of others
arp.requests_out           questions of ours, announcements of our addresses among them
arp.replies_out            answers of ours
arp.bad_in                 malformed packets
arp.conflicts              packets from somebody with an address of ours
arp.queue_dropped          packets that waited for an answer when there were too many
arp.unresolved             neighbours that did not answer
arp.evicted                neighbours forgotten because there were too many

igmp.messages_in           messages received
igmp.bad_in                malformed messages, and those of no type that a host takes
igmp.queries_in            questions of routers
igmp.reports_in            other members' reports
igmp.reports_out           reports of ours
igmp.leaves_out            leave messages of ours

udp.datagrams_in           datagrams that came in, bad ones included
udp.bad_in                 datagrams whose length is wrong
udp.bad_checksum           datagrams whose checksum is wrong
udp.no_port                datagrams for a port that nobody has
udp.buffer_full            datagrams dropped because their socket's buffer was full
udp.datagrams_out          datagrams sent
udp.errors_in              ICMP errors about datagrams of ours

tcp.active_opens           connections opened by connect
tcp.passive_opens          connections opened by a peer's SYN
tcp.failed_attempts        connections that ended before they were established
tcp.established_resets     connections that a reset ended while they were established, by either side
tcp.resets_received        connections that a peer has reset
tcp.resets_sent            resets sent
tcp.segments_in            segments that came in, bad ones included
tcp.segments_out           segments sent, retransmissions included
tcp.retransmits            segments sent again
tcp.fast_retransmits       times that a loss was found by acknowledgements
tcp.timeouts               times that the retransmission timer went off
tcp.tail_probes            tail loss probes sent (RFC 8985 section 7)
tcp.probes_repaired        losses that a tail loss probe made good
tcp.spurious_recoveries    times that nothing had been lost, and the windows were put back
tcp.duplicate_reports      D-SACKs from peers: what we sent came twice
tcp.duplicates_reported    D-SACKs sent: what a peer sent came twice
tcp.reneges                times that a peer gave up what it had selectively acknowledged
tcp.ecn_handshakes         connections that agreed on explicit congestion notification
tcp.ce_received            segments that the network had marked
tcp.ecn_reductions         times that the window came down because a peer echoed a mark
tcp.malformed              segments too short or with an impossible header
tcp.bad_checksums          segments whose checksum is wrong
tcp.no_connection          segments for no connection and no listener
tcp.too_far                segments beyond the receive window
tcp.out_of_order           segments that came before their predecessors
tcp.duplicates             segments with nothing new in them
tcp.reassembly_drops       out-of-order segments dropped because there were too many
tcp.memory_drops           segments dropped because all connections together held too much unread
tcp.paws_drops             segments dropped because their timestamp is old (RFC 7323 section 5)
tcp.challenge_acks         challenge ACKs sent (RFC 5961)
tcp.delayed_acks           acknowledgements that the delay timer sent
tcp.window_probes          probes of a closed window
tcp.keepalive_probes       probes of an idle connection
tcp.listen_overflows       handshakes left incomplete because the accept queue was full
tcp.listen_drops           SYNs dropped by a listener
tcp.mtu_probes             segments sent to find a larger path MTU (RFC 4821)
tcp.mtu_probes_succeeded   those that arrived
tcp.mtu_probes_failed      those that did not
tcp.black_holes            times that large segments vanished without an ICMP error
tcp.fastopen_active        connections whose SYN carried data that the peer took (RFC 7413)
tcp.fastopen_active_failed the same, and the peer did not take it
tcp.fastopen_passive       connections of a listener that took data with the SYN
tcp.fastopen_passive_failed SYNs with data whose cookie was wrong
tcp.fastopen_overflows     SYNs with data beyond a listener's limit
tcp.fastopen_cookies_asked SYNs that asked for a cookie
tcp.syncookies_sent        SYN-ACKs with a cookie, for which nothing is remembered
tcp.syncookies_received    connections that such a cookie has made
tcp.syncookies_failed      ACKs whose cookie is wrong
tcp.aborts_on_data         connections reset because data came that nobody will read
tcp.aborts_on_close        connections reset because they were closed with unread data
tcp.aborts_on_timeout      connections given up because the peer did not answer
tcp.time_wait_overflows    connections that skipped TIME-WAIT because there were too many
tcp.orphan_overflows       connections reset because too many had no socket any more
tcp.established            connections in ESTABLISHED or CLOSE-WAIT, now
tcp.connections            connections in any state but LISTEN and TIME-WAIT, now
tcp.time_waits             connections in TIME-WAIT, now
tcp.orphans                connections without a socket, now
tcp.min_rto                the sysctl, ms
tcp.max_rto                the sysctl, ms
tcp.pending_overflows      intercepted connection requests beyond the limit

nd.solicitations_in        questions of others
nd.advertisements_in       answers of others
nd.router_advertisements_in what routers have said
nd.redirects_in            redirects received
nd.bad_in                  messages that RFC 4861 forbids to believe
nd.ignored_in              messages that settings say to ignore
nd.solicitations_out       questions of ours
nd.advertisements_out      answers of ours
nd.router_solicitations_out questions of ours for routers
nd.duplicates              addresses of ours that somebody else has
nd.queue_dropped           packets that waited for an answer when there were too many
nd.unresolved              neighbours that did not answer
nd.evicted                 neighbours forgotten because there were too many

mld.queries_in             questions of routers
mld.reports_in             other listeners' reports
mld.bad_in                 malformed messages
mld.reports_out            reports of ours
mld.leaves_out             messages that a group is left

dhcp.messages_in           messages received
dhcp.bad_in                malformed messages
dhcp.ignored_in            messages that are not for us, or not now
dhcp.messages_out          messages sent
dhcp.leases                leases taken or renewed
dhcp.naks                  refusals of a server
dhcp.declined              leases not taken because somebody has the address
dhcp.expired               leases that ran out

vfs.opened                 files opened
vfs.created                files made
vfs.removed                names removed
vfs.renamed                names changed
vfs.names.hits             names whose file the name cache knew
vfs.names.negative_hits    names that the name cache knew not to be there
vfs.names.misses           names that a directory was asked for
vfs.buffer.misses          blocks of metadata that were read in because they were asked for
vfs.buffer.read_ahead      blocks of metadata that were read in before
vfs.buffer.evicted         blocks of metadata given up because there were too many
vfs.buffer.written_back    blocks of metadata written to their device
vfs.buffer.writes          writes to devices, of metadata and of file data
vfs.buffer.errors          writes of metadata that failed; they are tried again
ext.journal.commits        transactions written to journals of ext3 and ext4
ext.journal.logged_blocks  blocks of metadata in them
ext.journal.revoked_blocks blocks of metadata that were freed, so that no replay may bring them back
ext.journal.checkpoints    times that a log was emptied as it was full
ext.journal.aborts         journals given up since they could not be written

fuse.requests              what Linux has asked of FUSE mounts
fuse.errors                requests that were answered with an error, a name that is not there among them
fuse.read_bytes            bytes of files that were read through FUSE mounts
fuse.written_bytes         bytes that were written through them
fuse.notifications         what Linux was told to forget, because something else changed it
"""

_IP: Final = """
packets_in                 packets that came in, bad ones included
bytes_in                   their bytes, with the link's padding
delivered                  packets given to a protocol above
bad_header                 packets with an impossible header, or a wrong checksum of it
bad_options                packets with malformed options
martian_source             packets that can't come from where they say
martian_destination        packets that must not be sent to where they were
beyond_scope               packets that must not leave their link
not_ours                   packets for others, which are not forwarded
unknown_protocol           packets of a protocol that nobody takes
forwarded                  packets sent on
ttl_exceeded               packets that were on their way for too long
fragments_in               fragments received
atomic_fragments           fragments that are whole packets (RFC 6946)
reassembled                packets put together
reassembly_failed          packets whose fragments did not all come in time, or contradict each other
packets_out                packets sent, those forwarded not included
bytes_out                  their bytes
fragmented                 packets cut into fragments
fragments_out              fragments that this made
too_big                    packets that were too long and must not be cut
no_route                   packets without a way
unresolved                 packets whose next hop did not answer
"""

_ICMP: Final = """
messages_in                messages received, bad ones included
bad_in                     malformed messages, and those with a wrong checksum
echo_requests_in           pings by others
echo_replies_in            answers to pings of ours
errors_in                  errors received
errors_ignored             of which about nothing that we sent
others_in                  messages of other types
echo_requests_out          pings of ours
echo_replies_out           answers to pings
errors_out                 errors sent
errors_limited             errors not sent because there were too many
"""

_INTERFACE: Final = """
frames_in                  frames received
bytes_in                   their bytes, link header included
group_in                   of which multicast or broadcast
frames_out                 frames sent
bytes_out                  their bytes
group_out                  of which multicast or broadcast
short_in                   frames shorter than an Ethernet header
other_host_in              frames for another MAC address
other_group_in             frames for a multicast group that nobody is in
tagged_in                  frames of a VLAN that is not there
unknown_type_in            frames of a protocol that nobody takes
down_in                    frames dropped because the interface was down
down_out                   the same, on their way out
"""


def _parse(text: str, prefix: str = "") -> dict[str, str]:
    rows = [line.split(None, 1) for line in text.splitlines() if line]
    return {prefix + name: meaning.strip() for name, meaning in rows}


MEANINGS: Final[dict[str, str]] = {
    **_parse(_IP, "ip."),
    **_parse(_TEXT),
    **_parse(_ICMP, "icmp."),
    **_parse(_IP, "ip6."),
    **_parse(_ICMP, "icmp6."),
    **_parse(_INTERFACE, "interface."),
}
"""By name; those of interfaces without the interface's."""


def meaning(name: str) -> str:
    """What the counter `name` counts; "" if nobody has written it down."""
    group, _, rest = name.rpartition(".")
    if group.startswith("interface."):
        return MEANINGS.get(f"interface.{rest}", "")
    if rest.startswith("type_"):
        _, kind, way = rest.split("_")
        return f"{'ICMPv6' if group == 'icmp6' else 'ICMP'} messages of type {kind} {'received' if way == 'in' else 'sent'}"
    return MEANINGS.get(name, "")
