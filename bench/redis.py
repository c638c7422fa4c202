"""redis-server, unmodified: requests a second on a kernel, against the same server on the host in the same run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rumpkit import Kernel
from rumpkit.compose.spec import InterfaceSpec, Spec
from rumpkit.hosts.posix.netdev import set_address, set_up

from .result import Result

REQUESTS = 60_000
CLIENTS = 50
ROUNDS = 3
SERVER = ("redis-server", "--save", "", "--appendonly", "no", "--protected-mode", "no", "--port")
HOST, GUEST = "10.98.0.1", "10.98.0.2"


def redis() -> Iterator[Result]:
    """GET with 50 clients: tap and user, interleaved with native."""
    for link, bar in (("tap", 0.4), ("user", 0.3)):
        ours, native = [], []
        for _ in range(ROUNDS):
            with running_natively() as port:
                native.append(gets("127.0.0.1", port))
            with ON_KERNEL[link]() as (address, port):
                ours.append(gets(address, port))
        value, peer = sorted(ours)[ROUNDS // 2], sorted(native)[ROUNDS // 2]
        yield Result(f"redis GET, {CLIENTS} clients: {link}", value, "/s", "native", peer, bar, of_peer=True)


def gets(address: str, port: int) -> float:
    """GETs a second by redis-benchmark."""
    words = [
        "redis-benchmark",
        "-h",
        address,
        "-p",
        str(port),
        "-t",
        "get",
        "-n",
        str(REQUESTS),
        "-c",
        str(CLIENTS),
        "--csv",
    ]
    said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120).stdout
    return float(said.splitlines()[-1].split(",")[1].strip('"'))


def wait_for(address: str, port: int) -> None:
    """Until the server answers."""
    end = time.monotonic() + 20
    while True:
        try:
            with socket.create_connection((address, port), timeout=5) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(7):
                    return
        except OSError:
            pass
        if time.monotonic() > end:
            raise TimeoutError(f"no server on {address}:{port}")
        time.sleep(0.05)


@contextmanager
def running_natively() -> Iterator[int]:
    """The server on the host; its port."""
    server = subprocess.Popen([*SERVER, "6400"], stdout=subprocess.DEVNULL)
    try:
        wait_for("127.0.0.1", 6400)
        yield 6400
    finally:
        server.terminate()
        server.wait()


@contextmanager
def in_rump(config: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A kernel with the server in a process of its own, as `rump run` has it."""
    words = [sys.executable, "-m", "bench.redis", *config]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=os.path.dirname(os.path.dirname(__file__)))
    try:
        yield server
    finally:
        server.terminate()
        server.wait()


@contextmanager
def on_tap() -> Iterator[tuple[str, int]]:
    """Behind a TAP of this network namespace."""
    with in_rump(["tap:rumpredis"]) as server:
        assert server.stdout is not None
        server.stdout.readline()
        wait_for(GUEST, 6379)
        yield GUEST, 6379


@contextmanager
def on_user() -> Iterator[tuple[str, int]]:
    """Behind a forwarded port."""
    with in_rump(["user"]) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        wait_for("127.0.0.1", port)
        yield "127.0.0.1", port


ON_KERNEL = {"tap": on_tap, "user": on_user}


def serve(link: str) -> None:
    """Run the server on a kernel until we are told to end."""
    tap = link.startswith("tap:")
    spec = InterfaceSpec(link, address=[f"{GUEST}/24"]) if tap else InterfaceSpec(link, forward=["0 -> 6379"])
    with Kernel(Spec(interface=[spec])) as kernel:
        if tap:
            set_address(link[4:], socket.inet_aton(HOST), 24)
            set_up(link[4:])
        with open(os.devnull, "w") as nowhere:
            guest = kernel.run([*SERVER, "6379"], stdout=nowhere.fileno())
        guest.wait_listening(6379, timeout=20)
        print(kernel.forwards()[0].split(":")[1].split(" ")[0] if not tap else "ready", flush=True)
        guest.wait()


if __name__ == "__main__":
    import signal

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    serve(sys.argv[1])
