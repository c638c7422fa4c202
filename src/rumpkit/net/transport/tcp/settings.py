"""The limits, defaults and counters of TCP in one kernel."""

from typing import Final, final

from ....hyper.time import SECOND, Instant
from ....kern.counters import Counters
from ....kern.sysctl import Sysctl


@final
class TcpSettings:
    """What the sysctls `net.tcp.*` set.  Times are in milliseconds, sizes in bytes."""

    def __init__(self) -> None:
        self.send_buffer: int = 1 << 20
        self.send_buffer_max: int = 64 << 20
        self.receive_buffer: int = 1 << 20
        self.receive_buffer_max: int = 64 << 20
        self.max_reassembly: int = 16384
        self.max_receive_memory: int = 256 << 20
        self.max_send_memory: int = 1 << 30
        self.max_super_segment: int = 65536
        self.congestion: int = 0
        self.initial_window: int = 10
        self.window_scaling: int = 1
        self.timestamps: int = 1
        self.sack: int = 1
        self.tail_loss_probe: int = 1
        self.ecn: int = 2
        self.pacing: int = 0
        self.initial_rto: int = 1000
        self.min_rto: int = 200
        self.max_rto: int = 120_000
        self.delayed_ack: int = 40
        self.quick_ack: int = 1
        self.quick_acks: int = 16
        self.syn_retries: int = 7
        self.synack_retries: int = 5
        self.retries: int = 15
        self.orphan_retries: int = 8
        self.keepalive_time: int = 7_200_000
        self.keepalive_interval: int = 75_000
        self.keepalive_probes: int = 9
        self.fin_timeout: int = 60_000
        self.time_wait: int = 60_000
        self.time_wait_reuse: int = 1
        self.rfc1337: int = 1
        self.max_time_wait: int = 16384
        self.max_orphans: int = 4096
        self.max_syn_backlog: int = 1024
        self.max_backlog: int = 4096
        self.challenge_acks: int = 1000
        self.answer_interval: int = 500
        self.syncookies: int = 1
        self.user_timeout_option: int = 0
        self.user_timeout_least: int = 100_000
        self.user_timeout_most: int = 3_600_000
        self.mtu_probing: int = 1
        self.base_mss: int = 1024
        self.mtu_probe_floor: int = 512
        self.mtu_probe_interval: int = 600_000
        self.fastopen: int = 0
        self.fastopen_cache: int = 1024
        self.fastopen_blackhole: int = 3_600_000
        self.fastopen_reset_hold: int = 60_000
        self.max_pending: int = 1024
        self.pending_timeout: int = 60_000


TCP_SYSCTLS: Final[tuple[Sysctl, ...]] = (
    Sysctl("send_buffer", 4096, 1 << 30, "bytes that a new connection may queue for sending"),
    Sysctl("send_buffer_max", 4096, 1 << 30, "bytes to which the send buffer grows by itself, and the SO_SNDBUF limit"),
    Sysctl("receive_buffer", 4096, 1 << 30, "bytes that a new connection may hold unread"),
    Sysctl("receive_buffer_max", 4096, 1 << 30, "bytes to which the receive buffer grows by itself, and the SO_RCVBUF limit"),
    Sysctl("max_reassembly", 16, 1 << 20, "out-of-order pieces that a connection holds"),
    Sysctl("max_send_memory", 0, 1 << 40, "bytes unsent or unacknowledged in all connections; beyond it each may queue four segments"),
    Sysctl("max_receive_memory", 0, 1 << 40, "bytes unread in all connections; beyond it windows are small, beyond twice data is dropped"),
    Sysctl("max_super_segment", 1500, 65536, "bytes of payload and headers in one super-segment"),
    Sysctl("congestion", 0, 63, "congestion control of new connections: 0 cubic, 1 reno, then what was registered"),
    Sysctl("initial_window", 1, 64, "initial congestion window in segments (RFC 6928)"),
    Sysctl("window_scaling", 0, 1, "offer window scaling (RFC 7323)"),
    Sysctl("timestamps", 0, 1, "offer timestamps (RFC 7323)"),
    Sysctl("sack", 0, 1, "offer selective acknowledgements (RFC 2018)"),
    Sysctl("tail_loss_probe", 0, 1, "probe after two round trips without an acknowledgement (RFC 8985 section 7)"),
    Sysctl("ecn", 0, 2, "explicit congestion notification (RFC 3168): 0 off, 1 on, 2 when the peer asks for it"),
    Sysctl("pacing", 0, 1, "spread what is sent over the round trip; SO_MAX_PACING_RATE does it in any case"),
    Sysctl("initial_rto", 10, 60_000, "retransmission timeout before the first measurement, ms (RFC 6298)"),
    Sysctl("min_rto", 1, 60_000, "least retransmission timeout, ms"),
    Sysctl("max_rto", 1000, 3_600_000, "greatest retransmission timeout, ms"),
    Sysctl("delayed_ack", 1, 499, "how long an acknowledgement may wait, ms (RFC 1122 4.2.3.2)"),
    Sysctl("quick_ack", 0, 499, "the same for the first segments of a connection, and after a pause, ms"),
    Sysctl("quick_acks", 0, 1 << 20, "how many acknowledgements that is for"),
    Sysctl("syn_retries", 0, 127, "retransmissions of a SYN (by default for 3 minutes at least, RFC 9293 3.8.3)"),
    Sysctl("synack_retries", 0, 127, "retransmissions of a SYN-ACK"),
    Sysctl("retries", 1, 127, "retransmissions before a connection is given up (R2 of RFC 9293 3.8.3)"),
    Sysctl("orphan_retries", 1, 127, "the same for a connection that no socket holds"),
    Sysctl("keepalive_time", 1000, 1 << 31, "idle time before keepalive probes, ms"),
    Sysctl("keepalive_interval", 100, 1 << 31, "time between keepalive probes, ms"),
    Sysctl("keepalive_probes", 1, 127, "unanswered keepalive probes that end a connection"),
    Sysctl("fin_timeout", 100, 1 << 31, "how long a connection that no socket holds waits in FIN-WAIT-2, ms"),
    Sysctl("time_wait", 1, 1 << 31, "how long TIME-WAIT lasts (2 MSL), ms"),
    Sysctl("time_wait_reuse", 0, 1, "let connect() reuse a port in TIME-WAIT when timestamps make it safe (RFC 6191)"),
    Sysctl("rfc1337", 0, 1, "let no RST end TIME-WAIT early (RFC 1337)"),
    Sysctl("max_time_wait", 0, 1 << 20, "connections in TIME-WAIT; beyond it they close at once"),
    Sysctl("max_orphans", 0, 1 << 20, "connections that no socket holds; beyond it they are reset"),
    Sysctl("max_syn_backlog", 1, 1 << 20, "half-open connections of a listener, beside its backlog"),
    Sysctl("max_backlog", 1, 1 << 16, "greatest backlog of listen()"),
    Sysctl("challenge_acks", 1, 1 << 20, "challenge ACKs a second, give or take half, by chance (RFC 5961 section 7)"),
    Sysctl("answer_interval", 0, 60_000, "least time between two answers of a connection to what it can't accept, ms"),
    Sysctl("fastopen", 0, 0x607, "Fast Open (RFC 7413): 1 client, 2 server, 4 and 0x200 the same without cookies, 0x400 all listeners"),
    Sysctl("fastopen_cache", 0, 1 << 20, "servers whose Fast Open cookies are remembered; the oldest is forgotten"),
    Sysctl("fastopen_blackhole", 0, 1 << 31, "how long a server that lost or refused a SYN with data gets none, ms; doubles each time"),
    Sysctl("fastopen_reset_hold", 0, 3_600_000, "how long an early connection that was reset counts as one still (RFC 7413 5.1), ms"),
    Sysctl("mtu_probing", 0, 2, "path MTU discovery without ICMP (RFC 4821): 0 off, 1 where large segments vanish, 2 always"),
    Sysctl("base_mss", 88, 65495, "segments with their options that it begins with"),
    Sysctl("mtu_probe_floor", 48, 65495, "the least that it goes down to"),
    Sysctl("mtu_probe_interval", 1000, 1 << 31, "how long it rests when it has found the MTU, ms"),
    Sysctl("user_timeout_option", 0, 1, "tell the peer of TCP_USER_TIMEOUT, and take the peer's where none is set (RFC 5482)"),
    Sysctl("user_timeout_least", 1000, 1 << 31, "the least user timeout that a peer may ask for, ms"),
    Sysctl("user_timeout_most", 1000, 1 << 31, "the greatest, ms"),
    Sysctl("syncookies", 0, 2, "SYN cookies: 0 never, 1 when too many connections are half-open, 2 always"),
    Sysctl("max_pending", 1, 1 << 20, "intercepted connection requests that wait for an answer"),
    Sysctl("pending_timeout", 100, 1 << 31, "how long an intercepted connection request may wait, ms"),
)  # fmt: skip


@final
class TcpCounters(Counters):
    """What TCP counts; names after RFC 4022 and Linux's TcpExt where they count the same."""

    def __init__(self) -> None:
        self.active_opens: int = 0
        self.passive_opens: int = 0
        self.failed_attempts: int = 0
        self.established_resets: int = 0
        self.resets_received: int = 0
        self.resets_sent: int = 0
        self.segments_in: int = 0
        self.segments_out: int = 0
        self.retransmits: int = 0
        self.fast_retransmits: int = 0
        self.timeouts: int = 0
        self.tail_probes: int = 0
        self.probes_repaired: int = 0
        self.spurious_recoveries: int = 0
        self.duplicate_reports: int = 0
        self.duplicates_reported: int = 0
        self.reneges: int = 0
        self.ecn_handshakes: int = 0
        self.ce_received: int = 0
        self.ecn_reductions: int = 0
        self.malformed: int = 0
        self.bad_checksums: int = 0
        self.no_connection: int = 0
        self.too_far: int = 0
        self.out_of_order: int = 0
        self.duplicates: int = 0
        self.reassembly_drops: int = 0
        self.memory_drops: int = 0
        self.paws_drops: int = 0
        self.challenge_acks: int = 0
        self.delayed_acks: int = 0
        self.window_probes: int = 0
        self.keepalive_probes: int = 0
        self.listen_overflows: int = 0
        self.listen_drops: int = 0
        self.mtu_probes: int = 0
        self.mtu_probes_succeeded: int = 0
        self.mtu_probes_failed: int = 0
        self.black_holes: int = 0
        self.fastopen_active: int = 0
        self.fastopen_active_failed: int = 0
        self.fastopen_passive: int = 0
        self.fastopen_passive_failed: int = 0
        self.fastopen_overflows: int = 0
        self.fastopen_cookies_asked: int = 0
        self.syncookies_sent: int = 0
        self.syncookies_received: int = 0
        self.syncookies_failed: int = 0
        self.aborts_on_data: int = 0
        self.aborts_on_close: int = 0
        self.aborts_on_timeout: int = 0
        self.time_wait_overflows: int = 0
        self.orphan_overflows: int = 0
        self.pending_overflows: int = 0

    def names(self) -> tuple[str, ...]:
        """All of them, in the order above."""
        return COUNTER_NAMES


COUNTER_NAMES: Final[tuple[str, ...]] = (
    "active_opens", "passive_opens", "failed_attempts", "established_resets", "resets_received", "resets_sent", "segments_in",
    "segments_out", "retransmits", "fast_retransmits", "timeouts", "tail_probes", "probes_repaired",
    "spurious_recoveries", "duplicate_reports", "duplicates_reported", "reneges", "ecn_handshakes", "ce_received", "ecn_reductions",
    "malformed", "bad_checksums", "no_connection", "too_far",
    "out_of_order", "duplicates", "reassembly_drops", "memory_drops", "paws_drops", "challenge_acks", "delayed_acks", "window_probes",
    "keepalive_probes", "listen_overflows", "listen_drops", "mtu_probes", "mtu_probes_succeeded", "mtu_probes_failed", "black_holes",
    "fastopen_active", "fastopen_active_failed",
    "fastopen_passive", "fastopen_passive_failed", "fastopen_overflows", "fastopen_cookies_asked", "syncookies_sent",
    "syncookies_received", "syncookies_failed", "aborts_on_data", "aborts_on_close", "aborts_on_timeout",
    "time_wait_overflows", "orphan_overflows", "pending_overflows",
)  # fmt: skip


@final
class RateLimit:
    """So many a second, shared by all connections of a kernel (RFC 5961 section 7).

    How many exactly is drawn anew each second, from half the limit to one and a half: an attacker who counted what is left of
    it could tell what others' connections answer (CVE-2016-5696).
    """

    def __init__(self) -> None:
        self.secret: bytes = b""
        """Random bytes that nobody else knows."""
        self._second: int = -1
        self._left: int = 0

    def allow(self, limit: int, now: Instant) -> bool:
        """Whether one more is within `limit` a second."""
        second = now // SECOND
        if second != self._second:
            self._second = second
            from hashlib import blake2s  # which loads OpenSSL

            drawn = blake2s(second.to_bytes(8, "big", signed=True), digest_size=4, key=self.secret).digest()
            half = (limit + 1) // 2
            self._left = half + int.from_bytes(drawn, "big") % (limit + 1)
        self._left -= 1
        return self._left >= 0
