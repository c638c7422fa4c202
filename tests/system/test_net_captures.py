"""What tshark says of our captures: no frame is malformed, no checksum bad, and clean transfers look clean to its analysis."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from rumpkit.hyper.time import MILLISECOND
from rumpkit.net.link.impairment import ImpairmentConfig
from tests.system.helpers.peer import blocks
from tests.system.helpers.user import LOOPBACK, user_link
from tests.system.helpers.wire import OURS, THEIRS, wired
from tests.system.test_net_transfer import MB, OFFLOAD, WAYS

pytestmark = pytest.mark.needs("tshark")
needs_tap = pytest.mark.needs("root", "tap", "netns", "ip")

CHECKS = [f"-o{protocol}.check_checksum:TRUE" for protocol in ("ip", "tcp", "udp")]
# The payload is random: what tshark would take it for, by its ports or by its looks, may be malformed or overlap.
PAYLOAD_IS_DATA = ["-d", "tcp.port==0-65535,data", "-otcp.desegment_tcp_streams:FALSE"]
OURS_ON_TUN = "10.7.0.2"
# What an ICMP error quotes may be a packet whose checksum its sender had left to the link.  And one checksum in 65,536 of
# Linux's is all ones, which is as good as zero (RFC 1624), but not to tshark.
BAD = (
    '_ws.malformed || ip.checksum.status == "Bad" || icmp.checksum.status == "Bad"'
    ' || (tcp.checksum.status == "Bad" || udp.checksum.status == "Bad") && !icmp'
    f" && !(tcp.checksum == 0xffff && !(ip.src == {OURS} || ip.src == {OURS_ON_TUN}))"
)
UNSEEN = "tcp.analysis.ack_lost_segment || tcp.analysis.lost_segment"
TROUBLE = (
    f"{UNSEEN} || tcp.analysis.retransmission || tcp.analysis.out_of_order || tcp.analysis.duplicate_ack"
    f" || tcp.analysis.keep_alive || tcp.analysis.zero_window && ip.src == {OURS}"
)


def tshark(path: Path, condition: str) -> list[str]:
    """The frames of a capture that meet a display filter, one line each."""
    command = ["tshark", "-n", *CHECKS, *PAYLOAD_IS_DATA, "-r", str(path), "-Y", condition]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def count(path: Path) -> int:
    """How many frames a capture has.  (What tshark makes of payload may have ends of lines in it.)"""
    done = subprocess.run(["tshark", "-n", "-r", str(path), "-T", "fields", "-e", "frame.number"], capture_output=True)
    assert done.returncode == 0, done.stderr
    return len(done.stdout.split())


def well_formed(path: Path, frames: int) -> None:
    """Every frame that was captured is there and in order, to another program than ours."""
    assert count(path) == frames > 0
    assert tshark(path, BAD) == []


@needs_tap
@WAYS
@OFFLOAD
def test_a_clean_transfer(way, offload, tmp_path):
    for _ in range(3):
        path = tmp_path / "clean.pcapng"
        with wired(offload=offload) as wire, wire.kernel.capture(path) as capture:
            way(wire, 3 * MB)
        assert capture.skipped == 0
        well_formed(path, capture.frames)
        assert len(tshark(path, "tcp.len > 0")) >= 2050, "super-segments are recorded as their segments"
        assert tshark(path, UNSEEN) == []
        trouble = tshark(path, TROUBLE)
        if not trouble:
            break
        # A machine that stalls for as long as a retransmission timeout makes a clean transfer impossible: once more.
    else:
        raise AssertionError(trouble)


@needs_tap
@WAYS
@OFFLOAD
@pytest.mark.parametrize("name", [pytest.param("loss", marks=pytest.mark.long), "all"])
def test_a_transfer_over_a_bad_link(way, offload, name, tmp_path):
    config = ImpairmentConfig(loss=0.01)
    if name == "all":
        config = ImpairmentConfig(loss=0.01, reorder=0.05, duplicate=0.02, delay=MILLISECOND)
    path = tmp_path / "bad.pcapng"
    with wired(offload=offload, outbound=config, inbound=config) as wire, wire.kernel.capture(path) as capture:
        way(wire, 3 * MB)
    assert capture.skipped == 0
    well_formed(path, capture.frames)


@needs_tap
def test_tshark_does_find_what_is_bad(tmp_path):
    path = tmp_path / "corrupt.pcapng"
    config = ImpairmentConfig(corrupt=0.05)
    with wired(inbound=config) as wire, wire.kernel.capture(path):
        from tests.system.test_net_transfer import from_linux

        from_linux(wire, MB)
        assert wire.impaired is not None and wire.impaired.inbound is not None
        damaged = wire.impaired.inbound.corrupted
    assert damaged > 10
    assert len(tshark(path, BAD)) > damaged // 2


@needs_tap
@OFFLOAD
def test_datagrams_fragments_pings_and_errors(offload, tmp_path):
    path = tmp_path / "packets.pcapng"
    with wired(offload=offload) as wire:
        capture = wire.kernel.capture(path)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs, wire.process.socket("udp") as ours:
            theirs.settimeout(10)
            ours.settimeout(10)
            theirs.bind((THEIRS, 0))
            ours.bind(("", 33000))
            for size in (0, 1, 1472, 8192, 60000):
                ours.sendto(bytes(size), theirs.getsockname())
                assert len(theirs.recv(65536)) == size
                theirs.sendto(bytes(size), (OURS, 33000))
                assert len(ours.recv(65536)) == size
            theirs.connect((OURS, 9))
            theirs.send(b"nobody")
            with pytest.raises(ConnectionRefusedError):
                theirs.recv(1)
            ours.connect((THEIRS, 9))
            ours.send(b"nobody")
            with pytest.raises(ConnectionRefusedError):
                ours.recv(1)
    well_formed(path, capture.frames)
    assert len(tshark(path, "ip.flags.mf == 1")) > 80
    assert len(tshark(path, "icmp.type == 3")) == 2
    assert len(tshark(path, "arp")) >= 2


def test_the_user_link(tmp_path):
    path = tmp_path / "user.pcapng"
    with user_link() as user, socket.create_server(("127.0.0.1", 0)) as listener:
        with user.kernel.capture(path) as capture:
            with user.process.connect("tcp", (LOOPBACK, listener.getsockname()[1])) as ours:
                theirs, _ = listener.accept()
                with theirs:
                    for block in blocks(3 * MB, 1):
                        theirs.sendall(block)
                        while block:
                            block = block[len(ours.recv(1 << 18)) :]
            with pytest.raises(ConnectionRefusedError):
                user.process.connect("tcp", (LOOPBACK, 1))
        assert capture.skipped == 0
    well_formed(path, capture.frames)
    assert tshark(path, UNSEEN) == []
    assert len(tshark(path, "tcp.flags.reset == 1")) == 1
