"""`struct tcp_info` (tcp(7), <linux/tcp.h>) of a connection: as much as tools read of it."""

from typing import Final

from ...hyper.time import MILLISECOND, Instant
from ..transport.tcp.block import ControlBlock

_SIZE: Final = 232
_OPTION_TIMESTAMPS: Final = 1
_OPTION_SACK: Final = 2
_OPTION_WINDOW_SCALE: Final = 4
_OPTION_ECN: Final = 8
_STATES: Final = (0, 2, 3, 4)
"""tcpi_ca_state of each phase of an episode: open, CWR, recovery, loss."""
_MAX_U32: Final = 0xFFFFFFFF


def tcp_info(block: ControlBlock, now: Instant, headers: int = 40) -> bytes:
    """The structure's bytes; what we don't keep is 0."""
    mss = max(block.snd_mss, 1)
    options = _OPTION_TIMESTAMPS if block.timestamps else 0
    options |= _OPTION_ECN if block.ecn else 0
    options |= _OPTION_SACK if block.sack else 0
    options |= _OPTION_WINDOW_SCALE if block.peer_scales else 0
    episode = block.episode
    board = block.scoreboard
    recovery = _STATES[episode.phase] if episode is not None else 0
    if recovery == 0 and board is not None and board.missing():
        recovery = 1  # disorder
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
        _segments(board.sacked, mss) if board is not None else 0,
        _segments(board.lost, mss) if board is not None else 0,
        1 if block.retries else 0,  # retrans
        0,  # fackets
        max(now - block.last_sent, 0) // MILLISECOND,
        0,  # last_ack_sent
        silent,  # last_data_recv
        silent,  # last_ack_recv
        block.path_mss + headers,  # pmtu
        block.rcv_edge - block.rcv_nxt,  # rcv_ssthresh
        block.rtt.smoothed // 1000,
        block.rtt.variation // 1000,
        block.congestion.threshold // mss,
        block.congestion.window // mss,
        block.path_mss,  # advmss
        3,  # reordering
        0,  # rcv_rtt
        block.receive_buffer,  # rcv_space
        episode.retransmits if episode is not None else 0,  # total_retrans
    )
    packed = small + b"".join(min(int(word), _MAX_U32).to_bytes(4, "little") for word in words)
    return packed + bytes(_SIZE - len(packed))


def _segments(size: int, mss: int) -> int:
    return (size + mss - 1) // mss
