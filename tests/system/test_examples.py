"""The examples as they stand (but for free host ports): each as root and as an ordinary user."""

from __future__ import annotations

import http.server
import os
import shutil
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.helpers.rump import EXAMPLES, NOBODY, Rump, eventually, rump, run, with_free_ports

USERS = [
    pytest.param(0, id="root", marks=pytest.mark.needs("root", "seccomp")),
    pytest.param(NOBODY, id="nobody", marks=pytest.mark.needs("root", "seccomp", "userns")),
]
"""Tests that run as an ordinary user already have the first one skipped, by name, and run nothing twice."""


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that other users can get at (pytest's are private)."""
    path = Path("/tmp") / f"rumpkit-test-{os.getpid()}"
    path.mkdir(mode=0o755, exist_ok=True)
    yield path
    shutil.rmtree(path)


def answers(port: int) -> bool:
    """Whether somebody behind the forward accepts a connection and keeps it."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.settimeout(0.3)
            return connection.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("user", USERS)
def test_nginx(user: int, folder: Path) -> None:
    with Rump("run", str(with_free_ports(EXAMPLES / "nginx" / "nginx.toml", folder)), user=user) as running:
        (port,) = running.forwards()
        eventually(lambda: answers(port))
        url = f"http://127.0.0.1:{port}"
        for _ in range(20):
            assert urllib.request.urlopen(url, timeout=20).read() == b"hello from nginx on rumpkit\n"
        licence = Path("/usr/share/common-licenses/GPL-3")
        assert urllib.request.urlopen(f"{url}/share/{licence.relative_to('/usr/share')}").read() == licence.read_bytes()
        assert running.stop() == 0


@pytest.mark.needs("redis-server", "redis-cli", "redis-benchmark")
@pytest.mark.parametrize("user", USERS)
def test_redis(user: int, folder: Path) -> None:
    with Rump("run", str(with_free_ports(EXAMPLES / "redis.toml", folder)), user=user) as running:
        (port,) = running.forwards()
        eventually(lambda: answers(port))
        assert run(["redis-cli", "-p", str(port), "set", "key", "value"]) == "OK\n"
        assert run(["redis-cli", "-p", str(port), "get", "key"]) == "value\n"
        report = run(["redis-benchmark", "-p", str(port), "-t", "get,set", "-n", "2000", "-c", "20", "--csv"])
        assert '"GET"' in report and '"SET"' in report
        assert running.stop() == 0


@pytest.mark.needs("memcached")
@pytest.mark.parametrize("user", USERS)
def test_memcached(user: int, folder: Path) -> None:
    with Rump("run", str(with_free_ports(EXAMPLES / "memcached.toml", folder)), user=user) as running:
        (port,) = running.forwards()
        eventually(lambda: answers(port))
        connections = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(8)]
        for number, connection in enumerate(connections):
            stream = connection.makefile("rwb")
            stream.write(b"set key%d 0 0 5\r\nvalue\r\nget key%d\r\n" % (number, number))
            stream.flush()
            assert [stream.readline() for _ in range(4)] == [
                b"STORED\r\n",
                b"VALUE key%d 0 5\r\n" % number,
                b"value\r\n",
                b"END\r\n",
            ]
            connection.close()
        assert running.stop() == 0


@pytest.fixture
def web_server(folder: Path) -> Iterator[int]:
    """A server on the host's loopback; its port."""
    (folder / "index.html").write_text("from the host\n")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *arguments: object) -> None:
            return None

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.mark.needs("curl")
@pytest.mark.parametrize("user", USERS)
def test_curl(user: int, folder: Path, web_server: int) -> None:
    config = with_free_ports(EXAMPLES / "curl.toml", folder)
    config.write_text(config.read_text().replace(":8000/", f":{web_server}/"))
    assert rump("run", str(config), user=user)[:2] == (0, "from the host\n")


@pytest.mark.needs("curl", "python3")
@pytest.mark.parametrize("user", USERS)
def test_two_kernels(user: int, folder: Path) -> None:
    code, output, errors = rump("run", str(with_free_ports(EXAMPLES / "two-kernels.toml", folder)), user=user)
    assert code == 0, errors
    server = (EXAMPLES / "python" / "echo_server.py").read_text()
    said = [line.removeprefix("user/client | ") for line in output.splitlines() if line.startswith("user/client")]
    assert [line.rstrip() for line in said] == [line.rstrip() for line in server.splitlines()]
    assert '"GET /echo_server.py HTTP/1.1" 200' in errors


@pytest.mark.needs("curl")
def test_curl_on_the_default_kernel(web_server: int) -> None:
    code, output, _ = rump("run", "--", "curl", "-sS", f"http://10.0.2.2:{web_server}/")
    assert (code, output) == (0, "from the host\n")


@pytest.mark.parametrize("user", USERS)
def test_a_name_is_looked_up(user: int, folder: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(30)
        asked: list[bytes] = []
        thread = threading.Thread(target=serve_names, args=(server, asked))
        thread.start()
        config = with_free_ports(EXAMPLES / "lookup.toml", folder)
        text = config.read_text()
        dns = f'link = "user"\ndns = ["127.0.0.1:{server.getsockname()[1]}"]'
        config.write_text(text.replace('link = "user"', dns))
        code, output, errors = rump("run", str(config), "--", "getent", "ahostsv4", "kernel.example", user=user)
        thread.join()
    assert code == 0, errors
    assert output.startswith("192.0.2.77")
    assert b"\x06kernel\x07example" in asked[0]


def serve_names(server: socket.socket, asked: list[bytes]) -> None:
    """Answer one A query with 192.0.2.77, by hand: an independent judge of our DNS code."""
    query, client = server.recvfrom(512)
    asked.append(query)
    end = query.index(b"\0", 12) + 5
    answer = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04" + bytes([192, 0, 2, 77])
    server.sendto(query[:2] + b"\x81\x80\0\x01\0\x01\0\0\0\0" + query[12:end] + answer, client)


@pytest.mark.parametrize("user", USERS)
def test_python_on_both_sides(user: int, folder: Path) -> None:
    config = with_free_ports(EXAMPLES / "python.toml", folder)
    assert rump("run", str(config), user=user)[:2] == (0, "1000 of 1000 lines came back\n")
