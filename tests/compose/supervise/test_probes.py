"""Health checks against servers on a kernel."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import pytest

from rumpkit import Kernel
from rumpkit.compose.supervise.probes import SocketProbe, Target, parse_target

pytestmark = pytest.mark.once


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    with Kernel(net="switch:probes", address="10.0.0.1/24") as kernel:
        yield kernel


def found(kernel: Kernel, target: Target, timeout: float = 30.0) -> tuple[bool, str]:
    """What a check finds."""
    told: queue.Queue[tuple[bool, str]] = queue.Queue()
    probe = SocketProbe(kernel, target, timeout, lambda *what: told.put(what))
    well = told.get(timeout=60)
    probe.close()
    return well


def serve(kernel: Kernel, answer: bytes) -> threading.Thread:
    """One connection to port 80, which gets this answer."""
    listener = kernel.process().listen("tcp", 80)

    def run() -> None:
        peer, _ = listener.accept()
        peer.recv(1000)
        if answer:
            peer.sendall(answer)
        peer.close()
        listener.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("http", "target"),
    [
        ("http://127.0.0.1/", Target("127.0.0.1", 80, "/", "127.0.0.1")),
        ("http://localhost:8080/a/b?c", Target("127.0.0.1", 8080, "/a/b?c", "localhost:8080")),
        ("http://[fd00::1]:81", Target("fd00::1", 81, "/", "[fd00::1]:81")),
        ("http://[fd00::1]/x", Target("fd00::1", 80, "/x", "[fd00::1]")),
    ],
)
def test_addresses(http: str, target: Target) -> None:
    assert parse_target(0, http) == target


def test_a_port_that_nobody_listens_on_and_one_that_somebody_does(kernel: Kernel) -> None:
    assert found(kernel, parse_target(80, "")) == (False, "port 80: Connection refused")
    thread = serve(kernel, b"")
    assert found(kernel, parse_target(80, "")) == (True, "")
    thread.join()


@pytest.mark.parametrize(
    ("answer", "well", "text"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", True, "/x gives 204"),
        (b"HTTP/1.0 503 Service Unavailable\r\n\r\n", False, "/x gives 503"),
        (b"SSH-2.0-x\r\n", False, "port 80 does not speak HTTP"),
        (b"", False, "port 80 does not speak HTTP"),
    ],
)
def test_what_http_servers_say(kernel: Kernel, answer: bytes, well: bool, text: str) -> None:
    thread = serve(kernel, answer)
    assert found(kernel, parse_target(0, "http://10.0.0.1/x")) == (well, text)
    thread.join()


def test_a_check_that_hangs_is_dropped(kernel: Kernel) -> None:
    with kernel.process().listen("tcp", 80):
        told: list[object] = []
        probe = SocketProbe(kernel, parse_target(0, "http://10.0.0.1/"), 600.0, lambda *what: told.append(what))
        probe.close()
        assert not probe.under_way() and told == []
