"""`struct tcp_info` (tcp(7), <linux/tcp.h>) of a connection: as much as tools read of it."""

from typing import Final

from ...hyper.time import MILLISECOND, Instant
from ..transport.tcp.block import ControlBlock

_SIZE: Final = 232
_OPTION_TIMESTAMPS: Final = 1
_OPTION_WINDOW_SCALE: Final = 4
_MAX_U32: Final = 0xFFFFFFFF


def tcp_info(block: ControlBlock, now: Instant) -> bytes:
    """The structure's bytes; what we don't keep is 0."""
    mss = max(block.snd_mss, 1)
    options = _OPTION_TIMESTAMPS if block.timestamps else 0
    options |= _OPTION_WINDOW_SCALE if block.peer_scales else 0
    recovery = 3 if block.recovering else 4 if block.retries else 0
    small = bytes(
        [
            block.state,
            recovery,
            min(block.retries, 255),
            min(block.probes, 255),
            min(block.rtt.backoffs, 255),
            options,
            block.snd_scale | block.rcv_scale << 4,
            0,
        ]
    )
    silent = max(now - block.last_received, 0) // MILLISECOND
    words = (
        block.rtt.timeout // 1000,  # rto, µs
        block.settings.delayed_ack * 1000,  # ato
        block.snd_mss,
        block.rcv_mss,
        (block.flight() + mss - 1) // mss,  # unacked
        0,  # sacked
        1 if block.recovering else 0,  # lost
        1 if block.retries else 0,  # retrans
        0,  # fackets
        max(now - block.last_sent, 0) // MILLISECOND,
        0,  # last_ack_sent
        silent,  # last_data_recv
        silent,  # last_ack_recv
        block.path_mss + 40,  # pmtu
        block.rcv_edge - block.rcv_nxt,  # rcv_ssthresh
        block.rtt.smoothed // 1000,
        block.rtt.variation // 1000,
        block.congestion.threshold // mss,
        block.congestion.window // mss,
        block.path_mss,  # advmss
        3,  # reordering
        0,  # rcv_rtt
        block.receive_buffer,  # rcv_space
        0,  # total_retrans
    )
    packed = small + b"".join(min(int(word), _MAX_U32).to_bytes(4, "little") for word in words)
    return packed + bytes(_SIZE - len(packed))
