"""What it costs that a supervisor answers a program's socket calls: one call, how many there are, a program's start."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

from rumpkit import Kernel
from rumpkit.compose.spec import InterfaceSpec, Spec

from . import places
from .places import Server
from .programs import nginx_command
from .result import Result

CALLS = 20_000
ROUNDS = 5
STARTS = 15
REQUESTS = 200
GETSOCKNAME = f"""
import socket, time
bound = socket.socket(); bound.bind(("127.0.0.1", 0)); name = bound.getsockname
best = []
for _ in range({ROUNDS}):
    started = time.perf_counter()
    for _ in range({CALLS}): name()
    best.append(time.perf_counter() - started)
print(min(best) / {CALLS} * 1e6, flush=True)
"""
"""Microseconds of a call that reads and writes the program's memory; the best of some rounds."""


def notifications() -> Iterator[Result]:
    """One call's time, and how many an nginx makes."""
    words = [sys.executable, "-I", "-S", "-c", GETSOCKNAME]
    native = float(subprocess.run(words, capture_output=True, check=True).stdout)
    with Kernel(Spec(interface=[InterfaceSpec("user")])) as kernel, tempfile.TemporaryFile() as said:
        kernel.run(words, stdout=said.fileno()).wait()
        said.seek(0)
        value = float(said.read())
    yield Result("one intercepted system call (getsockname)", value, "us", "native", native, 12, at_most=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with places.tap(nginx_command(folder), 8090) as server:
            shots = counted(server, lambda: one_shots(server)) / REQUESTS
            yield Result("notifications, nginx, a connection each", shots, "", "", 0, 4, at_most=True)
            kept = HTTPConnection(server.address, server.port)
            ask(kept)
            each = counted(server, lambda: requests(kept)) / REQUESTS
            kept.close()
            yield Result("notifications, nginx, a request that keeps its connection", each, "", "", 0, 0, at_most=True)


def counted(server: Server, work: Callable[[], object]) -> int:
    """How many calls the supervisor has handled meanwhile."""
    assert server.calls is not None
    before = server.calls()
    work()
    return server.calls() - before


def one_shots(server: Server) -> None:
    """Requests with a connection each, one after the other."""
    for _ in range(REQUESTS):
        connection = HTTPConnection(server.address, server.port)
        ask(connection, Connection="close")
        connection.close()


def requests(connection: HTTPConnection) -> None:
    """The same over one connection."""
    for _ in range(REQUESTS):
        ask(connection)


def ask(connection: HTTPConnection, **headers: str) -> None:
    """One request."""
    connection.request("GET", "/1k", headers=headers)
    connection.getresponse().read()


def start() -> Iterator[Result]:
    """`true` by `rump run`, and on a kernel that runs already; natively and under gVisor in the same rounds."""
    command = shutil.which("true") or "/bin/true"
    rump = [
        sys.executable,
        "-c",
        "import sys; from rumpkit.cli.entry import main; sys.exit(main())",
        "run",
        "--quiet",
        "--",
        command,
    ]
    times: dict[str, list[float]] = {"native": [], "rump": [], "further": []}
    with Kernel(Spec(interface=[InterfaceSpec("user")])) as kernel:
        kernel.run([command]).wait()
        for _ in range(STARTS):
            times["native"].append(timed(lambda: subprocess.run([command], check=True)))
            times["rump"].append(timed(lambda: subprocess.run(rump, check=True)))
            times["further"].append(timed(lambda: kernel.run([command]).wait()))
            if shutil.which(places.RUNSC):
                times.setdefault("gVisor", []).append(timed(lambda: in_gvisor(command)))
    took = {name: statistics.median(those) for name, those in times.items()}
    yield Result("start of true: rump run", took["rump"], "ms", "native", took["native"], 120, at_most=True)
    added = took["further"] - took["native"]
    yield Result("start of true: added by a kernel that runs", added, "ms", "native", took["native"], 10, at_most=True)
    if "gVisor" in took:
        yield Result(
            "start of true: rump run, beside gVisor", took["rump"], "ms", "gVisor", took["gVisor"], 1, True, True
        )


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


def in_gvisor(command: str) -> None:
    """The quickest way in that its manual has."""
    words = [places.RUNSC, f"--platform={places.platform()}", "--ignore-cgroups", "--network=none", "do", command]
    subprocess.run(
        words,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ,
    )
