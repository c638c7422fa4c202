"""Where a server program can run, so that the same client can ask each: natively, on a kernel of ours, under gVisor, behind slirp4netns.

A place is a context manager over a command and its port, which yields a `Server`.  The clients run in the bench's own network
namespace.  The layouts that are compared are alike: `tap` and gVisor are reached over an Ethernet link, and so is `veth`, a native
program in a namespace behind a veth pair; `user` and slirp4netns are reached through a port of the loopback, and so is `loopback`.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from rumpkit import Kernel
from rumpkit.cli.entry import GARBAGE_THRESHOLD
from rumpkit.compose.spec import InterfaceSpec, Spec
from rumpkit.hosts.posix.netdev import set_address, set_up

from .relays import slirp4netns

START_TIMEOUT = 30.0
RUNSC = os.environ.get("RUMPKIT_BENCH_RUNSC", "runsc")
"""gVisor's program; another than Debian's may be named."""
CAPABILITIES = (
    "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT SYS_RESOURCE"
)


class Server(NamedTuple):
    """A running server: where it answers."""

    address: str
    port: int
    calls: Callable[[], int] | None = None
    """How many system calls our supervisor has handled; None where there is none."""


Place = Callable[[Sequence[str], int], AbstractContextManager[Server]]


def wait_for(address: str, port: int) -> None:
    """Until somebody accepts connections there.  Raises TimeoutError."""
    end = time.monotonic() + START_TIMEOUT
    while True:
        try:
            socket.create_connection((address, port), timeout=1).close()
            return
        except OSError:
            pass
        if time.monotonic() > end:
            raise TimeoutError(f"no server on {address}:{port}")
        time.sleep(0.05)


@contextmanager
def _process(words: Sequence[str], **options: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(words, text=True, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# Natively ------------------------------------------------------------------------------------------------------------


@contextmanager
def loopback(command: Sequence[str], port: int) -> Iterator[Server]:
    """In the clients' own namespace."""
    with _process(command, stdout=subprocess.DEVNULL):
        wait_for("127.0.0.1", port)
        yield Server("127.0.0.1", port)


@contextmanager
def _namespace(number: int) -> Iterator[tuple[int, str]]:
    """A namespace behind a veth pair: a process in it, and its address."""
    with _process(["unshare", "--net", "sleep", "infinity"]) as holder:
        until(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != os.readlink("/proc/self/ns/net"))
        host, there = f"10.97.{number}.1", f"10.97.{number}.2"
        enter = f"nsenter -t {holder.pid} --net "
        for line in (
            f"ip link add benchveth{number} type veth peer name eth0 netns {holder.pid}",
            f"ip address add {host}/24 dev benchveth{number}",
            f"ip link set benchveth{number} up",
            f"{enter}ip link set lo up",
            f"{enter}ip address add {there}/24 dev eth0",
            f"{enter}ip link set eth0 up",
            f"{enter}ip route add default via {host}",
        ):
            subprocess.run(line.split(), check=True)
        yield holder.pid, there


@contextmanager
def veth(command: Sequence[str], port: int) -> Iterator[Server]:
    """In a namespace of its own."""
    with (
        _namespace(1) as (holder, address),
        _process(["nsenter", "-t", str(holder), "--net", *command], stdout=subprocess.DEVNULL),
    ):
        wait_for(address, port)
        yield Server(address, port)


# On a kernel of ours -------------------------------------------------------------------------------------------------


@contextmanager
def _on_kernel(link: str, command: Sequence[str], port: int) -> Iterator[Server]:
    words = [sys.executable, "-m", "bench.places", link, str(port), *command]
    folder = Path(__file__).resolve().parent.parent
    with _process(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder) as process:
        assert process.stdin is not None and process.stdout is not None
        said, asked = process.stdout, process.stdin

        def calls() -> int:
            asked.write("calls\n")
            asked.flush()
            return int(said.readline())

        address, _, number = said.readline().strip().rpartition(":")
        wait_for(address, int(number))
        yield Server(address, int(number), calls)


def tap(command: Sequence[str], port: int) -> AbstractContextManager[Server]:
    """Behind a TAP of this network namespace."""
    return _on_kernel("tap", command, port)


def user(command: Sequence[str], port: int) -> AbstractContextManager[Server]:
    """Behind a forwarded port."""
    return _on_kernel("user", command, port)


def serve(link: str, port: int, command: Sequence[str]) -> None:
    """In a process of its own, as `rump run` has it: run the server on a kernel, and answer questions until we are told to end."""
    gc.set_threshold(GARBAGE_THRESHOLD)
    host, guest = "10.98.0.1", "10.98.0.2"
    if link == "tap":
        spec = InterfaceSpec("tap:rumpbench", address=[f"{guest}/24"])
    else:
        spec = InterfaceSpec("user", forward=[f"0 -> {port}"])
    with Kernel(Spec(interface=[spec])) as kernel:
        if link == "tap":
            set_address("rumpbench", socket.inet_aton(host), 24)
            set_up("rumpbench")
        with open(os.devnull, "w") as nowhere:
            # What it is given as a directory of its own, nginx writes to.
            program = kernel.run(
                command, stdout=nowhere.fileno(), writable=[word for word in command if os.path.isdir(word)]
            )
        program.wait_listening(port, timeout=START_TIMEOUT)
        print(kernel.forwards()[0].split(" ")[0] if link == "user" else f"{guest}:{port}", flush=True)
        for _ in sys.stdin:
            print(program.numbers()["calls"], flush=True)


# Others --------------------------------------------------------------------------------------------------------------


@contextmanager
def slirp(command: Sequence[str], port: int) -> Iterator[Server]:
    """Native code whose traffic slirp4netns relays."""
    with slirp4netns(port) as relay, _process([*relay.inside, *command], stdout=subprocess.DEVNULL):
        wait_for("127.0.0.1", relay.port)
        yield Server("127.0.0.1", relay.port)


def platform() -> str:
    """gVisor's faster way to run programs that the installed one has."""
    said = subprocess.run([RUNSC, "flags"], capture_output=True, text=True, check=False)
    return "systrap" if "systrap" in said.stdout + said.stderr else "ptrace"


@contextmanager
def gvisor(command: Sequence[str], port: int) -> Iterator[Server]:
    """In gVisor's sandbox, with its own network stack, which takes over a veth's end."""
    with ExitStack() as stack:
        holder, address = stack.enter_context(_namespace(2))
        bundle = stack.enter_context(tempfile.TemporaryDirectory())
        flags = [f"--root={bundle}/root", f"--platform={platform()}", "--ignore-cgroups", "--network=sandbox"]
        Path(bundle, "config.json").write_text(json.dumps(container(command, f"/proc/{holder}/ns/net")))
        # runsc takes a namespace with this directory for the host's own one, and recent kernels have it in every one.
        hide = f'nsenter -t {holder} --net mount -t tmpfs none /proc/sys/net/core; exec "$@"'
        words = ["unshare", "-m", "sh", "-c", hide, "sh", RUNSC, *flags, "run", f"--bundle={bundle}", "bench"]
        none = subprocess.DEVNULL
        stack.enter_context(_process(words, stdout=none, stderr=none, stdin=none))
        kill = [RUNSC, *flags, "kill", "bench", "KILL"]
        stack.callback(lambda: subprocess.run(kill, stdout=none, stderr=none, check=False))
        wait_for(address, port)
        yield Server(address, port)


def container(command: Sequence[str], namespace: str) -> dict[str, object]:
    """An OCI configuration: the host's files, and a network namespace by its path."""
    capabilities = [f"CAP_{name}" for name in CAPABILITIES.split()]
    spaces: list[dict[str, str]] = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]
    spaces.append({"type": "network", "path": namespace} if namespace else {"type": "network"})
    return {
        "ociVersion": "1.0.0",
        "hostname": "bench",
        "root": {"path": "/", "readonly": False},
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": list(command),
            "cwd": "/",
            "env": [f"PATH={os.environ['PATH']}"],
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 65536, "soft": 65536}],
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        ],
        "linux": {"namespaces": spaces},
    }


def until(ready: Callable[[], bool]) -> None:
    """Wait for a condition.  Raises TimeoutError."""
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end:
        try:
            if ready():
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise TimeoutError("what was started does not get ready")


OTHERS: dict[str, tuple[str, Place]] = {"gVisor": (RUNSC, gvisor), "slirp4netns": ("slirp4netns", slirp)}
"""Program that is needed, and the place."""


def available() -> dict[str, Place]:
    """The other places that this machine has."""
    return {name: place for name, (program, place) in OTHERS.items() if shutil.which(program)}


if __name__ == "__main__":
    import signal

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    serve(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
