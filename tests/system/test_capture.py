"""Captures of ours, judged by Wireshark: nothing malformed, no wrong checksum, times, names and directions as they were."""

import subprocess

import pytest

from rumpkit.hyper.frame import FEATURES_ALL
from rumpkit.hyper.time import SECOND
from rumpkit.net.link.pcapng import Capture, CaptureSink
from tests.net.lan import pair

pytestmark = pytest.mark.needs("tshark")

CHECKED = [argument for name in ("ip", "udp", "tcp") for argument in ("-o", f"{name}.check_checksum:TRUE")]
WRONG = "_ws.malformed || ip.checksum.status == 0 || udp.checksum.status == 0 || icmp.checksum.status == 0"


class Memory(CaptureSink):
    def __init__(self):
        self.data = b""

    def write(self, data):
        self.data += data


def tshark(path, *arguments):
    command = ["tshark", "-r", str(path), *CHECKED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def fields(path, *names):
    out = tshark(path, "-T", "fields", *(argument for name in names for argument in ("-e", name)))
    return [line.split("\t") for line in out]


@pytest.mark.parametrize("features", [0, FEATURES_ALL])
def test_wireshark_reads_what_we_write(tmp_path, features):
    host, a, b = pair(features=features)
    path = tmp_path / "a.pcapng"
    sink = Memory()
    capture = Capture(sink, host.wall(), host.now)
    a.interface.add_tap(capture)
    a.ip.interfaces.get("lo").add_tap(capture)
    b.udp_socket(port=7)
    start = host.now
    a.ping("10.0.0.2", bytes(100))
    a.send(a.socket(), bytes(range(256)) * 20, "10.0.0.2", 7)
    a.send(a.socket(), b"closed", "10.0.0.2", 8)
    a.ping("127.0.0.1")
    host.run(host.now + SECOND)
    capture.close(host.now)
    path.write_bytes(sink.data)

    assert tshark(path, "-Y", WRONG) == []
    rows = fields(path, "frame.interface_name", "frame.packet_flags_direction", "_ws.col.Protocol")
    assert len(rows) == capture.frames
    outside = [row[1:] for row in rows if row[0] == "vif0"]
    out, back = "0x00000002", "0x00000001"
    assert [row[0] for row in outside if row[1] == "ARP"] == [out, back]
    assert sorted(row[0] for row in outside if row[1] == "ICMP") == [back, back, out]
    assert len([row for row in rows if row[0] == "lo"]) == 2
    assert tshark(path, "-Y", "udp.length == 5128") != []  # reassembled of its fragments
    first = fields(path, "frame.time_epoch")[0][0]
    seconds, _, nanoseconds = first.partition(".")
    assert int(seconds) * SECOND + int(nanoseconds) == host.wall() - host.now + start


def test_capinfos_finds_nanoseconds_and_every_frame(tmp_path):
    host, a, _ = pair()
    path = tmp_path / "a.pcapng"
    sink = Memory()
    capture = Capture(sink, host.wall(), host.now, snaplen=60)
    a.interface.add_tap(capture)
    a.ping("10.0.0.2", bytes(1000))
    host.run(host.now + SECOND)
    capture.close(host.now)
    path.write_bytes(sink.data)
    done = subprocess.run(["capinfos", "-M", str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    info = dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
    assert info["Number of packets"].strip() == str(capture.frames) == "4"
    assert "nanoseconds" in info["File timestamp precision"]
    assert info["Capture application"].strip() == "rumpkit"
