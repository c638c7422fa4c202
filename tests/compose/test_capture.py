"""Captures into files: privacy, order, both hosts, a disk that refuses; read back by the reader of tests/net/link."""

import errno
import stat

import pytest

from rumpkit import Kernel
from rumpkit.compose.errors import ConfigError
from rumpkit.hosts.sim.host import SimHost
from tests.house.descriptors import descriptors_before, open_descriptors
from tests.net.link.test_pcapng import blocks, packets

STATISTICS = 5


def switched(address, host=None):
    return Kernel(net="switch:lan", address=address, host=host)


def exchange(a, b, count=20, size=3000):
    """Datagrams from a to b, each answered."""
    with a.process().socket("udp") as here, b.process().socket("udp") as there:
        there.bind(("", 7))
        for number in range(count):
            here.sendto(bytes([number]) * size, ("10.0.0.2", 7))
            _, peer = there.recvfrom(65536)
            there.sendto(b"ok", peer)
            assert here.recv(10) == b"ok"


@pytest.fixture(params=["posix", "sim"])
def lan(request):
    if request.param == "posix":
        with switched("10.0.0.1/24") as a, switched("10.0.0.2/24") as b:
            yield a, b
    else:
        host = SimHost(1)
        with switched("10.0.0.1/24", host) as a, switched("10.0.0.2/24", host) as b:
            yield a, b


def test_what_an_interface_saw_is_in_the_file(lan, tmp_path):
    a, b = lan
    path = tmp_path / "a.pcapng"
    capture = a.capture(path, "vif0")
    exchange(a, b)
    capture.close()
    capture.close()
    data = path.read_bytes()
    found = list(packets(data))
    assert len(found) == capture.frames
    assert capture.skipped == capture.error == 0
    # 20 datagrams of 3000 bytes in three fragments each, 20 answers, ARP.
    assert len([one for one in found if one[2][12:14] == b"\x08\x00"]) == 80
    times = [when for _, when, _, _, _ in found]
    assert times == sorted(times)
    assert list(blocks(data))[-1][0] == STATISTICS
    frames = capture.frames
    exchange(a, b, 1)
    assert capture.frames == frames, "a closed capture sees no more"


def test_a_capture_is_its_owners_alone_and_replaces_what_was_there(lan, tmp_path):
    a, b = lan
    path = tmp_path / "a.pcapng"
    path.write_bytes(bytes(1 << 20))
    path.chmod(0o644)
    with a.capture(path):
        exchange(a, b, 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size < 10_000


def test_the_kernels_end_completes_its_captures(tmp_path):
    path = tmp_path / "a.pcapng"
    with switched("10.0.0.2/24") as b:
        with switched("10.0.0.1/24") as a:
            capture = a.capture(path)
            exchange(a, b, 3)
        assert len(list(packets(path.read_bytes()))) == capture.frames > 0


def test_frames_are_written_while_the_capture_runs(tmp_path):
    path = tmp_path / "a.pcapng"
    with switched("10.0.0.1/24") as a, switched("10.0.0.2/24") as b:
        capture = a.capture(path)
        exchange(a, b, 3)
        a.process().nanosleep(0.05)  # somebody drives the loop
        assert len(list(packets(path.read_bytes()))) == capture.frames > 0
        exchange(a, b, 3)
        capture.flush()
        assert len(list(packets(path.read_bytes()))) == capture.frames


@pytest.mark.needs("linux")
def test_a_full_disk_ends_the_capture_and_nothing_else():
    with switched("10.0.0.1/24") as a, switched("10.0.0.2/24") as b:
        capture = a.capture("/dev/full")
        exchange(a, b, 1)
        capture.flush()
        assert capture.error == errno.ENOSPC
        before = capture.skipped
        exchange(a, b, 1)
        assert capture.skipped > before
        capture.close()


def test_what_cannot_be_captured_is_refused_and_nothing_stays_open(lan, tmp_path):
    a, _ = lan
    before = sorted(descriptors_before())
    with pytest.raises(ConfigError, match="vif1"):
        a.capture(tmp_path / "x", "vif1")
    with pytest.raises(FileNotFoundError):
        a.capture(tmp_path / "none" / "x")
    assert not (tmp_path / "x").exists()
    assert sorted(open_descriptors()) == before


def test_captures_give_all_descriptors_back(tmp_path):
    with switched("10.0.0.1/24") as a, switched("10.0.0.2/24") as b:
        before = sorted(descriptors_before())
        for number in range(5):
            with a.capture(tmp_path / f"{number}"), b.capture(tmp_path / f"{number}b"):
                exchange(a, b, 1)
        assert sorted(open_descriptors()) == before
