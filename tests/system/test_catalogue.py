"""The catalogue: programs as they come in Debian's packages, on the kernels of the examples' configs (but for free host ports).

Each runs as an ordinary user, and as root where that is something else.  What a server says must have come through a kernel; what a
client prints is what its own program found.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.helpers.rump import EXAMPLES, NOBODY, Rump, eventually, rump, run, with_free_ports

pytestmark = [pytest.mark.once, pytest.mark.timeout(300)]

ROOT, ORDINARY = 0, NOBODY
NEEDS = {ROOT: ("root", "seccomp"), ORDINARY: ("root", "seccomp", "userns", "nobody")}
"""To become an ordinary user takes root."""


def each(name: str, said: str, *needs: str, users: tuple[int, ...] = (ORDINARY,)) -> list[Any]:
    """An example, what it must say, and the programs it needs, for each of the users."""
    return [
        pytest.param(
            name, said, user, marks=pytest.mark.needs(*NEEDS[user], *needs), id=f"{name}-{'nobody' if user else 'root'}"
        )
        for user in users
    ]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can get at (pytest's are private), with the examples in it."""
    path = Path("/tmp") / f"rumpkit-catalogue-{os.getpid()}"
    shutil.copytree(EXAMPLES, path)
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize(
    ("name", "said", "user"),
    [
        *each("redis-replica", r"OK\n1\nhello from the primary\n", "redis-server", "redis-cli"),
        *each("postgres/postgres", r"6000\|52503750.00\n", "psql", "postgresql"),
        *each("mariadb/mariadb", r"6000\t52503750.00\n", "mariadbd", "mariadb", users=(ROOT, ORDINARY)),
        *each("mongodb/mongodb", r"inserted 3\nunder 10: nut bolt\n", "mongod", users=(ROOT, ORDINARY)),
        *each("sqlite", r"wal\n6000\|52503750.0\nok\n", "sqlite3", "fuse"),
        *each("audio/mpg123", r"tone.wav: \d{5} bytes\n", "mpg123"),
        *each("rsync/rsync", r"\d+\n", "rsync"),
        *each("git/git", r"A greeting\nhello from git\n", "git"),
        *each("sshd/sshd", r"hello from server, you come from 10\.0\.0\.2\n", "sshd", "ssh", users=(ROOT,)),
        *each("iperf3", r"(?s).*receiver\n.*iperf Done\.\n", "iperf3", "ss"),
    ],
)
def test_a_client_and_its_server(name: str, said: str, user: int, folder: Path) -> None:
    code, output, errors = rump("run", str(folder / f"{name}.toml"), user=user, timeout=240)
    assert code == 0, output + errors
    assert re.fullmatch(said, output), output + errors


def fetched(port: int, path: str = "", scheme: str = "http") -> str:
    """What a server behind a forwarded port says; "" as long as it says nothing."""
    words = [
        "curl",
        "--silent",
        "--fail",
        "--insecure",
        "--http2",
        "--max-time",
        "10",
        f"{scheme}://127.0.0.1:{port}/{path}",
    ]
    return subprocess.run(words, capture_output=True, text=True).stdout


@pytest.mark.needs("curl")
@pytest.mark.parametrize(
    ("name", "said", "user"),
    [
        *each("haproxy/haproxy", "kernel (one|two)\n", "haproxy", "nginx"),
        *each("php/php", "hello from PHP on rump, cli-server\n", "php"),
        *each("php/fpm", "hello from PHP on rump, fpm-fcgi\n", "php-fpm", "nginx", users=(ROOT, ORDINARY)),
        *each("lua/lua", r"hello from Lua 5\.\d on rump\n", "lua5.4"),
        *each("java/java", "hello from Java, which sees lo vif0\n", "javac"),
        *each("node/node", "hello from Node.js on rump, (lo )?vif0\n", "node"),
        *each("gunicorn/gunicorn", r"hello from gunicorn's process \d+\n", "gunicorn"),
        *each("go/go", r"hello from Go, which sees \[.*10\.0\.2\.15/24.*\]\n", "go"),
    ],
)
def test_a_web_server(name: str, said: str, user: int, folder: Path) -> None:
    config = with_free_ports(folder / f"{name}.toml", folder)
    with Rump("run", str(config), user=user) as running:
        (port,) = running.forwards()
        eventually(lambda: bool(fetched(port)), 120)
        answers = {fetched(port) for _ in range(6)}
        assert all(re.fullmatch(said, answer) for answer in answers), answers
        if "haproxy" in name:
            eventually(lambda: len({*answers, fetched(port)}) == 2, 60)
        assert running.stop() in (0, 143, 130)  # by itself, or by the signal


@pytest.mark.parametrize(
    ("name", "said", "user"),
    each(
        "rootfs/rootfs",
        "hello from a root of its own\n",
        "nginx",
        "curl",
        "mke2fs",
        "e2fsck",
        "fuse",
        users=(ROOT, ORDINARY),
    ),
)
def test_a_root_of_its_own(name: str, said: str, user: int, folder: Path) -> None:
    image = folder / "rootfs.img"
    run(["sh", str(folder / "rootfs/make.sh"), str(image)])
    image.chmod(0o666)
    with Rump("run", str(with_free_ports(folder / f"{name}.toml", folder)), "--root-writable", user=user) as running:
        (port,) = running.forwards()
        eventually(lambda: bool(fetched(port)), 60)
        assert re.fullmatch(said, fetched(port))
        assert running.stop() == 0, running.errors
    run(["e2fsck", "-fn", str(image)])


@pytest.mark.parametrize(
    ("name", "said", "user"), each("nginx/tls", r"hello over HTTP/2.0 and TLSv1\.[23]\n", "nginx", "openssl", "curl")
)
def test_tls_http2_and_a_proxy(name: str, said: str, user: int, folder: Path) -> None:
    config = with_free_ports(folder / f"{name}.toml", folder)
    with Rump("run", str(config), user=user) as running:
        (port,) = running.forwards()
        eventually(lambda: bool(fetched(port, scheme="https")), 60)
        assert re.fullmatch(said, fetched(port, scheme="https"))
        assert fetched(port, "files/tls.conf", "https") == (folder / "nginx/tls.conf").read_text()
        assert running.stop() == 0


@pytest.mark.needs("dig")
@pytest.mark.parametrize(
    ("name", "said", "user"),
    [*each("unbound/unbound", "hello from unbound", "unbound"), *each("bind9/bind9", "hello from named", "named")],
)
def test_a_name_server_by_datagrams_and_streams(name: str, said: str, user: int, folder: Path) -> None:
    config = with_free_ports(folder / f"{name}.toml", folder)
    with Rump("run", str(config), user=user) as running:
        by_stream, by_datagram = running.forwards(2)

        def ask(port: int, *how: str) -> str:
            words = ["dig", "+short", "+tries=1", "+time=5", "@127.0.0.1", "-p", str(port), *how]
            return subprocess.run(words, capture_output=True, text=True).stdout

        eventually(lambda: ask(by_datagram, "www.example.test") == "192.0.2.80\n", 60)
        assert ask(by_stream, "+tcp", "www.example.test") == "192.0.2.80\n"
        assert ask(by_datagram, "example.test", "TXT") == f'"{said}"\n'
        assert running.stop() == 0
