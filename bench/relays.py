"""slirp4netns and passt (pasta) as peers: bulk TCP between a native program behind them and the host, through their taps.

Both keep Linux's own TCP for the program and relay; rumpkit's kernel is the TCP itself.  Runs in the bench's own network
namespace, as root; what is started here is ended here.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .result import gbits

PORT = 5002
SECONDS = 2.0
START_TIMEOUT = 10.0
PYTHON = "/usr/bin/python3"
"""Debian's: pasta runs as nobody, who may not reach the interpreter that runs this."""

SINK = """
import socket, sys, time
s = socket.create_server(("0.0.0.0", int(sys.argv[1]))); print(flush=True)
c, _ = s.accept(); b = bytearray(1 << 20); n = 0; t = time.monotonic()
while (got := c.recv_into(b)): n += got
print(n, time.monotonic() - t, flush=True)
"""
SOURCE = """
import socket, sys, time
c = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20); b = bytes(1 << 20)
end = time.monotonic() + float(sys.argv[3])
while time.monotonic() < end: c.sendall(b)
"""
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


class Relay(NamedTuple):
    """How to run programs behind a relay, and who is where."""

    inside: list[str]
    """The words before a command that is to run behind the relay."""
    host: str
    """The host's loopback, as a program behind the relay names it."""
    address: str
    """Where the host reaches PORT behind the relay."""
    port: int


def rates(relay: Relay) -> tuple[float, float]:
    """Gbit/s (program to host, host to program), one stream each."""
    up = _stream([], relay.inside, relay.host, PORT)
    down = _stream(relay.inside, [], relay.address, relay.port)
    return up, down


def _stream(sink_in: list[str], source_in: list[str], address: str, port: int) -> float:
    """Run a sink and a source behind the given words; the sink's rate."""
    sink = subprocess.Popen([*sink_in, PYTHON, "-c", SINK, str(PORT)], stdout=subprocess.PIPE, text=True)
    try:
        assert sink.stdout is not None
        sink.stdout.readline()
        source = [*source_in, PYTHON, "-c", SOURCE, address, str(port), str(SECONDS)]
        subprocess.run(source, check=True, timeout=SECONDS + 30)
        count, seconds = sink.stdout.readline().split()
        return gbits(int(count), float(seconds))
    finally:
        sink.kill()
        sink.wait()


@contextmanager
def slirp4netns(port: int = PORT) -> Iterator[Relay]:
    """slirp4netns at its fastest MTU, 65520."""
    with tempfile.TemporaryDirectory() as folder:
        api = f"{folder}/api"
        program = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        _wait(lambda: os.readlink(f"/proc/{program.pid}/ns/net") != os.readlink("/proc/self/ns/net"))
        command = ["slirp4netns", "--configure", "--mtu=65520", f"--api-socket={api}", str(program.pid), "tap0"]
        relay = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait(lambda: Path(api).exists())
            forward = {"proto": "tcp", "host_addr": "127.0.0.1", "host_port": 15002}
            forward |= {"guest_addr": "10.0.2.100", "guest_port": port}
            with socket.socket(socket.AF_UNIX) as control:
                control.connect(api)
                control.sendall(json.dumps({"execute": "add_hostfwd", "arguments": forward}).encode())
                control.shutdown(socket.SHUT_WR)
                control.recv(4096)
            inside = ["nsenter", "-t", str(program.pid), "--net"]
            _wait(lambda: b"tap0" in subprocess.run([*inside, "ip", "route"], capture_output=True).stdout)
            yield Relay(inside, "10.0.2.2", "127.0.0.1", 15002)
        finally:
            for process in (relay, program):
                process.kill()
                process.wait()


@contextmanager
def pasta() -> Iterator[Relay]:
    """passt's pasta, reached through its tap (not spliced): it copies the address of a veth that leads nowhere."""
    with tempfile.TemporaryDirectory() as folder:
        tun = f"{folder}/tun"
        os.mknod(tun, 0o666 | 0o020000, os.makedev(10, 200))
        os.chmod(tun, 0o666)
        os.chmod(folder, 0o755)
        _run("ip link add rumpveth type veth peer name rumpveth1")
        _run("ip address add 10.77.9.1/24 dev rumpveth")
        _run("ip link set rumpveth up")
        _run("ip link set rumpveth1 up")
        _run("ip route add default via 10.77.9.254")
        words = ["-f", "--config-net", "-t", f"15003:{PORT}", "-u", "none", "-T", "none", "-U", "none"]
        script = (
            f"mount --bind {tun} /dev/net/tun; exec {' '.join(AS_NOBODY)} pasta {' '.join(words)} -- sleep infinity"
        )
        relay = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            _wait(lambda: bool(_sleeper(relay.pid)))
            program = _sleeper(relay.pid)
            inside = ["nsenter", "-t", str(program), "--user", "--net", "--preserve-credentials"]
            _wait(lambda: b"default" in subprocess.run([*inside, "ip", "route"], capture_output=True).stdout)
            yield Relay(inside, "10.77.9.254", "10.77.9.1", 15003)
        finally:
            for pid in (*_children(relay.pid), relay.pid):
                subprocess.run(["kill", "-9", str(pid)], check=False, stderr=subprocess.DEVNULL)
            relay.wait()
            _run("ip link del rumpveth")


RELAYS = {"slirp4netns": slirp4netns, "pasta": pasta}


def available() -> list[str]:
    """The relays that this machine has."""
    return [name for name in RELAYS if shutil.which(name) is not None and Path(PYTHON).exists()]


def _children(pid: int) -> list[int]:
    """Descendants, children first."""
    try:
        children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*children, *(below for child in children for below in _children(child))]


def _sleeper(pid: int) -> int:
    """The `sleep` that runs behind pasta, or 0."""
    for child in _children(pid):
        try:
            if Path(f"/proc/{child}/comm").read_text().strip() == "sleep":
                return child
        except OSError:
            continue
    return 0


def _run(command: str) -> None:
    subprocess.run(command.split(), check=True)


def _wait(ready: object) -> None:
    """Until `ready()` is true.  Raises TimeoutError."""
    assert callable(ready)
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        try:
            if ready():
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise TimeoutError("the relay did not start")
