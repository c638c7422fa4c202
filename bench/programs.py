"""Unmodified servers: redis, nginx and memcached on a kernel, over `tap` and over `user`, beside the same natively and elsewhere.

All servers of a group run at once, idle but for the one that is asked; each round asks all of them in turn, so that what else the
machine does hits all.  The figure is the median of the rounds.  Native is reached in the same way: behind a veth pair for `tap`, over
the loopback for `user` (see `places`).
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path

from . import places
from .places import Place, Server
from .result import Result

ROUNDS = 5
SECONDS = 1
CLIENTS = 50
GETS = {1: 40_000, 16: 200_000}
"""How many a run of redis-benchmark makes, by how many it pipelines."""
WEB_CLIENTS = 32
CLIENT_TIMEOUT = 120.0

REDIS = ("redis-server", "--save", "", "--appendonly", "no", "--protected-mode", "no", "--port", "6400")
MEMCACHED = ("memcached", "-u", "root", "-l", "0.0.0.0", "-p", "11290", "-U", "0", "-m", "64", "-t", "1")
NGINX_CONF = """
user root; daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{ sendfile on; access_log off; keepalive_requests 1000000; client_body_temp_path body;
  proxy_temp_path proxy; fastcgi_temp_path fcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {{ listen 8090; root {folder}/www; location /c/ {{ tcp_nopush on; alias {folder}/www/; }} }} }}
"""

Measure = Callable[[Server], float]
Bars = Mapping[str, float]


def redis() -> Iterator[Result]:
    """GET with 50 clients, one at a time and 16 pipelined."""
    measures: dict[str, tuple[Measure, Bars]] = {
        f"redis GET, {CLIENTS} clients": (lambda server: gets(server, 1), {"tap": 0.6, "user": 0.45}),
        f"redis GET, {CLIENTS} clients, 16 pipelined": (lambda server: gets(server, 16), {"tap": 0.9, "user": 0.7}),
    }
    # slirp4netns stands still with 50 clients.
    yield from compare(lambda folder: REDIS, 6400, measures, leave_out=("slirp4netns",))


def gets(server: Server, pipelined: int) -> float:
    """GETs a second by redis-benchmark."""
    words = f"redis-benchmark -h {server.address} -p {server.port} -t get -c {CLIENTS} -P {pipelined} --csv"
    said = client([*words.split(), "-n", str(GETS[pipelined])])
    return float(said.splitlines()[-1].split(",")[1].strip('"'))


def nginx() -> Iterator[Result]:
    """Files of 1 KiB and 1 MiB over connections that stay, and 1 KiB with one connection a request."""
    measures: dict[str, tuple[Measure, Bars]] = {
        "nginx, 1 KiB, keep-alive": (lambda server: requests(server, "c/1k"), {"tap": 0.6, "user": 0.45}),
        "nginx, 1 MiB, keep-alive": (lambda server: requests(server, "c/1m"), {"tap": 0.6, "user": 0.4}),
        "nginx, 1 KiB, a connection each": (lambda server: requests(server, "1k", close=True), {"tap": 0.35}),
    }
    yield from compare(nginx_command, 8090, measures)


def nginx_command(folder: Path) -> Sequence[str]:
    """The command, with what it serves and its configuration made in `folder`."""
    folder.chmod(0o755)
    (folder / "www").mkdir()
    (folder / "www/1k").write_bytes(bytes(1 << 10))
    (folder / "www/1m").write_bytes(bytes(1 << 20))
    (folder / "nginx.conf").write_text(NGINX_CONF.format(folder=folder))
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]


def requests(server: Server, path: str, close: bool = False) -> float:
    """Requests a second by wrk."""
    url = f"http://{server.address}:{server.port}/{path}"
    header = ["-H", "Connection: close"] if close else []
    said = client(["wrk", "-t1", f"-c{WEB_CLIENTS}", f"-d{SECONDS}s", *header, url])
    return _number(r"Requests/sec:\s+([\d.]+)", said)


def memcached() -> Iterator[Result]:
    """Gets, with 32 clients."""
    measures: dict[str, tuple[Measure, Bars]] = {"memcached get": (lookups, {"tap": 0.6})}
    yield from compare(lambda folder: MEMCACHED, 11290, measures)


def lookups(server: Server) -> float:
    """Gets a second by memcaslap, of values of 100 bytes."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as config:
        config.write("key\n64 64 1\nvalue\n100 100 1\ncmd\n0 0.01\n1 0.99\n")
        config.flush()
        words = (
            f"memcaslap -s {server.address}:{server.port} -T 1 -c {WEB_CLIENTS} -t {SECONDS}s -w 1k -F {config.name}"
        )
        return _number(r"TPS: (\d+)", client(words.split()))


def client(words: Sequence[str]) -> str:
    """What a client prints."""
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=CLIENT_TIMEOUT).stdout


def _number(pattern: str, text: str) -> float:
    found = re.findall(pattern, text)
    if not found:
        raise ValueError(f"no {pattern} in: {text[-300:]}")
    return float(found[-1])


def compare(
    command: Callable[[Path], Sequence[str]],
    port: int,
    measures: Mapping[str, tuple[Measure, Bars]],
    leave_out: Sequence[str] = (),
) -> Iterator[Result]:
    """The rows of one program: each measure over each link beside native, and beside the others that are there."""
    others = {name: place for name, place in places.available().items() if name not in leave_out}
    all_places: dict[str, Place] = {
        "tap": places.tap,
        "user": places.user,
        "veth": places.veth,
        "loopback": places.loopback,
        **others,
    }
    rates: dict[str, dict[str, list[float]]] = {name: {} for name in measures}
    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        for name, place in all_places.items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            try:
                servers[name] = stack.enter_context(place(command(folder), port))
            except (TimeoutError, subprocess.CalledProcessError) as problem:
                if name not in others:
                    raise
                print(f"{name}: left out: {problem}", file=sys.stderr)
        for _, what, name in product(range(ROUNDS), measures, servers):
            try:
                rates[what].setdefault(name, []).append(measures[what][0](servers[name]))
            except (ValueError, subprocess.SubprocessError) as problem:
                if name not in others:
                    raise
                print(f"{what}: {name} gave no answer: {problem}", file=sys.stderr)
    for what, (_measure, bars) in measures.items():
        yield from _rows(what, {name: statistics.median(those) for name, those in rates[what].items()}, bars)


PEERS = (
    ("tap", "native", "veth"),
    ("user", "native", "loopback"),
    ("tap", "gVisor", "gVisor"),
    ("user", "slirp4netns", "slirp4netns"),
)
"""Link, the peer's name in the table, and its place."""


def _rows(what: str, rates: Mapping[str, float], bars: Bars) -> Iterator[Result]:
    for link, peer, place in PEERS:
        if place not in rates:
            continue
        bar = {"native": bars.get(link), "gVisor": 1.0}.get(peer)
        name = f"{what}: {link}" + ("" if peer == "native" else f", beside {peer}")
        yield Result(name, rates[link], "/s", f"{peer} ({place})", rates[place], bar, of_peer=True)
