"""`rump net` on kernels that `rump run` has started: each verb as a user types it."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator

import pytest

from tests.system.helpers.rump import NOBODY, Rump, eventually, rump

guest = pytest.mark.needs("seccomp", "userns")

SERVE = """
import socket, time
listener = socket.create_server(("", 80))
peer = socket.create_connection(("127.0.0.1", 80))
accepted, _ = listener.accept()
peer.sendall(b"x" * 1000)
datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagram.bind(("", 53))
print("ready", flush=True)
time.sleep(1000)
"""


@pytest.fixture(scope="module", autouse=True)
def runtime() -> Iterator[str]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        before = os.environ.get("XDG_RUNTIME_DIR")
        os.environ["XDG_RUNTIME_DIR"] = folder
        yield folder
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before


@pytest.fixture(scope="module")
def running() -> Iterator[Rump]:
    """A kernel with a listener, a connection with unread bytes, and a bound datagram socket."""
    with Rump("run", "--", sys.executable, "-c", SERVE) as running:
        assert running.process.stdout is not None
        assert running.process.stdout.readline() == "ready\n"
        yield running


def net(*words: str) -> str:
    """The output of a verb that succeeds."""
    code, output, errors = rump("net", *words)
    assert (code, errors) == (0, "")
    return output


def table(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


@guest
def test_list(running: Rump) -> None:
    name = f"rump-{running.process.pid}"
    assert net("list", "--names").split() == [name]
    assert net("ps", "--names").split() == [name]
    [row] = json.loads(net("list", "--json"))
    assert row["name"] == name
    assert row["pid"] == running.process.pid


@guest
def test_ss(running: Rump) -> None:
    assert [line[:4] for line in table(net("ss"))[1:]] == [["tcp", "ESTAB", "0", "0"]] * 2
    assert table(net("ss", "-lt"))[1:] == [["tcp", "LISTEN", "0", "128", "*:80", "*:*"]]
    assert table(net("ss", "-lu"))[1:] == [["udp", "UNCONN", "0", "0", "*:53", "*:*"]]
    assert len(table(net("ss", "-a"))) == 5
    assert "cwnd:" in net("ss", "-ti") and "rto:" in net("ss", "-ti")
    assert len(json.loads(net("ss", "--json", "state", "established"))) == 2
    assert net("ss", "state", "time-wait") == ""
    code, _, errors = rump("net", "ss", "state", "etsablished")
    assert code == 2 and "there is no state 'etsablished'" in errors


@guest
def test_stat(running: Rump) -> None:
    assert ["active_opens", "1", "tcpActiveOpens"] in table(net("stat"))
    said = json.loads(net("stat", "--json", "tcp"))
    assert said["counters"]["tcp.active_opens"] == said["mib"]["tcpActiveOpens"] == 1
    assert said["mib"]["tcpCurrEstab"] == 2
    assert not any(name.startswith("udp") for name in said["counters"])
    by_mib = json.loads(net("stat", "--json", "TcpExtTCP*"))
    assert "tcp.timeouts" in by_mib["counters"] and "tcp.segments_in" not in by_mib["counters"]
    assert "TcpExtTCPTimeouts" in by_mib["mib"] and "tcpInSegs" not in by_mib["mib"]
    assert all(
        int(line[1]) for line in table(net("stat", "--nonzero", "arp")) if len(line) > 1 and line[0] != "counter"
    )
    assert net("stat", "-d", "0.05", "udp") == ""
    assert rump("net", "stat", "nothing")[0] == 1


@guest
def test_which_kernel(running: Rump) -> None:
    with Rump("run", "--", "sleep", "1000") as other:
        eventually(lambda: len(rump("net", "list", "--names")[1].split()) == 2)
        code, _, errors = rump("net", "ss")
        assert code == 125 and "2 kernels are running; choose one by -k NAME" in errors
        assert "ESTAB" in net("ss", "-k", f"rump-{running.process.pid}")
        assert net("ss", "-k", f"rump-{other.process.pid}") == ""
        code, _, errors = rump("net", "ss", "-k", "nobody's")
        assert code == 125 and "no kernel called" in errors and f"rump-{other.process.pid}" in errors
        other.stop()


@guest
def test_a_killed_kernel_is_not_listed_and_its_socket_goes(runtime: str) -> None:
    with Rump("run", "--", "sleep", "1000") as doomed:
        path = f"{runtime}/rumpkit/rump-{doomed.process.pid}.sock"
        eventually(lambda: os.path.exists(path))
        doomed.process.send_signal(signal.SIGKILL)
        doomed.process.wait()
        assert os.path.exists(path)
        assert f"rump-{doomed.process.pid}" not in rump("net", "list", "--names")[1]
        assert not os.path.exists(path)


@guest
@pytest.mark.needs("nobody")
def test_every_user_sees_his_own(running: Rump) -> None:
    with Rump("run", "--", "sleep", "1000", user=NOBODY, env={"XDG_RUNTIME_DIR": ""}) as his:
        name = f"rump-{his.process.pid}"

        def as_nobody(*words: str) -> tuple[int, str]:
            with Rump(*words, user=NOBODY, env={"XDG_RUNTIME_DIR": ""}) as asking:
                code = asking.end()
                return code, asking.output + asking.errors

        eventually(lambda: name in as_nobody("net", "list", "--names")[1].split())
        assert f"rump-{running.process.pid}" not in as_nobody("net", "list", "--names")[1]
        assert as_nobody("net", "stat", "-z", "-k", name)[0] == 0
        assert name not in net("list", "--names")
        # Root may look at it, by its path.
        assert json.loads(net("stat", "--json", "-k", f"/tmp/rumpkit-{NOBODY}/{name}.sock"))["counters"]
        his.stop()


@guest
def test_without_a_control_socket() -> None:
    before = rump("net", "list", "--names")[1]
    _, output, _ = rump("run", "--no-control", "--", sys.executable, "-m", "rumpkit.cli.main", "net", "list", "--names")
    assert output == before


def test_a_kernel_that_does_not_run() -> None:
    code, output, errors = rump("net", "stat", "-k", "no-such-kernel")
    assert (code, output) == (125, "")
    assert errors.startswith("rump: no kernel") and "Traceback" not in errors
    code, _, errors = rump("net", "stat", "-k", "/no/such.sock")
    assert (code, errors) == (125, "rump: no kernel listens at /no/such.sock\n")
