"""`rump net` on kernels that `rump run` has started: each verb as a user types it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.helpers.rump import NOBODY, Rump, eventually, rump
from tests.system.helpers.terminal import OnTerminal

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


CHATTER = """
import socket, time
listener = socket.create_server(("", 80))
peer = socket.create_connection(("127.0.0.1", 80))
accepted, _ = listener.accept()
print("ready", flush=True)
while True:
    peer.sendall(b"x" * 1000)
    accepted.recv(1000)
    time.sleep(0.02)
"""


@pytest.fixture(scope="module", autouse=True)
def runtime() -> Iterator[str]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        before = os.environ["RUMPKIT_RUNTIME_DIR"]
        os.environ["RUMPKIT_RUNTIME_DIR"] = folder
        yield folder
        os.environ["RUMPKIT_RUNTIME_DIR"] = before


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
def test_ifconfig(running: Rump) -> None:
    text = net("ifconfig")
    assert "lo: flags=<UP,LOOPBACK,RUNNING>" in text
    assert "inet 10.0.2.15/24  broadcast 10.0.2.255" in text
    assert [row["name"] for row in json.loads(net("ifconfig", "--json", "vif0"))] == ["vif0"]
    code, _, errors = rump("net", "ifconfig", "eth0")
    assert (code, errors) == (125, "rump: there is no interface 'eth0'; there are: lo, vif0\n")


@guest
def test_route(running: Rump) -> None:
    before = net("route")
    assert ["default", "10.0.2.2", "vif0", "0", "static", "-"] in table(before)
    net("route", "add", "192.168.7.0/24", "via", "10.0.2.2", "metric", "10")
    assert ["192.168.7.0/24", "10.0.2.2", "vif0", "10", "static", "-"] in table(net("route"))
    net("route", "delete", "192.168.7.0/24")
    assert net("route") == before
    code, _, errors = rump("net", "route", "add", "192.168.7.0/24", "via", "9.9.9.9")
    assert (code, errors) == (125, "rump: the gateway 9.9.9.9 is in no network of an interface\n")
    code, _, errors = rump("net", "route", "add")
    assert code == 2 and "which network?" in errors


@guest
def test_ping_and_arp(running: Rump) -> None:
    text = net("ping", "-c", "3", "-i", "0.05", "10.0.2.2")
    assert "3 packets transmitted, 3 received, 0% packet loss" in text
    assert "64 bytes from 10.0.2.2: icmp_seq=1 ttl=64 time=" in text
    [neighbour] = [line for line in table(net("arp")) if line[0] == "10.0.2.2"]
    assert neighbour[2:4] == ["vif0", "reachable"]
    net("arp", "-d", "10.0.2.2")
    assert "10.0.2.2" not in net("arp")
    code, output, _ = rump("net", "ping", "-c", "1", "-W", "0.1", "10.0.2.200")
    assert code == 1 and "100% packet loss" in output
    statistics = json.loads(net("ping", "--json", "-c", "1", "127.0.0.1"))["statistics"]
    assert (statistics["transmitted"], statistics["received"]) == (1, 1)


@guest
def test_ping_is_ended_by_ctrl_c(running: Rump) -> None:
    with Rump("net", "ping", "-i", "0.05", "10.0.2.2") as pinging:
        assert pinging.process.stdout is not None
        for _ in range(4):
            pinging.process.stdout.readline()
        assert pinging.stop(signal.SIGINT) == 0
        assert "ping statistics" in pinging.output and "rtt min/avg/max/mdev" in pinging.output
        assert pinging.errors == ""


@guest
def test_sysctl(running: Rump) -> None:
    assert net("sysctl", "-n", "net.inet.ip.ttl") == "64\n"
    assert net("sysctl", "net.ip.ttl=65") == "net.ip.ttl: 64 -> 65\n"
    assert table(net("sysctl", "--changed"))[1][:3] == ["net.ip.ttl", "65", "64"]
    net("sysctl", "-w", "net.inet.ip.ttl=64")
    assert net("sysctl", "--changed") == ""
    assert len(json.loads(net("sysctl", "--json", "net.tcp"))) > 20
    code, _, errors = rump("net", "sysctl", "net.ip.ttl=256")
    assert (code, errors) == (125, "rump: net.ip.ttl must be from 1 to 255, not 256\n")
    code, _, errors = rump("net", "sysctl", "net.tcp.snd_buffer")
    assert code == 125 and "did you mean net.tcp.send_buffer?" in errors
    assert rump("net", "sysctl", "net.ip.ttl=lots")[0] == 2


def shark(*words: str) -> list[list[str]]:
    """The fields that tshark reads."""
    said = subprocess.run(["tshark", *words], capture_output=True, text=True, timeout=60, check=True).stdout
    return [line.split("\t") for line in said.splitlines()]


@guest
@pytest.mark.needs("tshark")
def test_capture_into_a_file(runtime: str, tmp_path: Path) -> None:
    with Rump("run", "--", sys.executable, "-c", CHATTER) as chatting:
        name = f"rump-{chatting.process.pid}"
        assert chatting.process.stdout is not None
        assert chatting.process.stdout.readline() == "ready\n"
        path = tmp_path / "c.pcapng"
        code, _, errors = rump("net", "capture", "-k", name, "-o", str(path), "-c", "6", "tcp", "port", "80")
        assert (code, errors) == (0, "6 packets captured\n")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        rows = shark("-r", str(path), "-T", "fields", "-e", "tcp.port", "-e", "frame.comment", "-e", "_ws.malformed")
        assert len(rows) == 6
        for ports, comment, malformed in rows:
            assert "80" in ports.split(",") and malformed == ""
            assert comment.startswith("TCP ESTABLISHED cwnd=") and " rtt=" in comment and " flight=" in comment
        assert len(shark("-r", str(path), "-Y", 'frame.comment contains "ssthresh=inf"')) == 6
        path = tmp_path / "until.pcapng"
        with Rump("net", "capture", "-k", name, "-o", str(path)) as capturing:
            eventually(lambda: path.exists() and path.stat().st_size > 2000)
            assert capturing.stop(signal.SIGINT) == 0
            assert "packets captured" in capturing.errors
        assert shark("-r", str(path))
        chatting.stop()


@guest
@pytest.mark.needs("tshark")
def test_capture_into_a_pipe(runtime: str) -> None:
    with Rump("run", "--", sys.executable, "-c", CHATTER) as chatting:
        assert chatting.process.stdout is not None
        assert chatting.process.stdout.readline() == "ready\n"
        words = [
            sys.executable,
            "-m",
            "rumpkit.cli",
            "net",
            "capture",
            "-k",
            f"rump-{chatting.process.pid}",
            "-o",
            "-",
        ]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as capturing:
            fields = ["-T", "fields", "-e", "frame.comment"]
            said = subprocess.run(
                ["tshark", "-l", "-r", "-", "-c", "3", *fields],
                stdin=capturing.stdout,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert said.stdout.count("TCP ESTABLISHED") == 3, said.stderr
            assert capturing.stdout is not None and capturing.stderr is not None
            capturing.stdout.close()
            # Who writes into a pipe that nobody reads ends like any other program.
            assert capturing.wait(30) in (141, -13)
            assert b"Traceback" not in capturing.stderr.read()
        chatting.stop()


@guest
def test_capture_says_what_is_wrong(running: Rump, tmp_path: Path) -> None:
    path = tmp_path / "none.pcapng"
    for words, expected, message in (
        (["frobnicate"], 2, "cannot filter by 'frobnicate'"),
        (["port", "http"], 2, "'http' is not a port"),
        (["tcp", "udp"], 2, "protocol is there twice"),
        (["-i", "eth0"], 125, "no interface 'eth0'"),
        (["host", "1.2.3"], 125, "'1.2.3' is not"),
    ):
        code, _, errors = rump("net", "capture", "-o", str(path), *words)
        assert code == expected and message in errors
        assert not path.exists()


@guest
def test_which_kernel(running: Rump) -> None:
    with Rump("run", "--", "sleep", "1000") as other:
        eventually(lambda: len(rump("net", "list", "--names")[1].split()) == 2)
        code, _, errors = rump("net", "ss")
        assert code == 125 and "2 kernels are running; name one, by -k NAME: " in errors
        assert "ESTAB" in net("ss", "-k", f"rump-{running.process.pid}")
        assert net("ss", "-k", f"rump-{other.process.pid}") == ""
        code, _, errors = rump("net", "ss", "-k", "nobody's")
        assert code == 125 and "no kernel called" in errors and f"rump-{other.process.pid}" in errors
        other.stop()


@guest
def test_a_killed_kernel_is_not_listed_and_its_socket_goes(runtime: str) -> None:
    with Rump("run", "--", "sleep", "1000") as doomed:
        path = f"{runtime}/rump-{doomed.process.pid}.sock"
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


READY = ["sh", "-c", "echo ready; exec sleep 1000"]


def names_while(*words: str) -> list[str]:
    """The kernels that are found while `rump` runs with a program that says it is ready."""
    with Rump(*words) as running:
        assert running.process.stdout is not None
        assert running.process.stdout.readline() == "ready\n"
        found = net("list", "--names").split()
        assert running.stop() == 128 + 15
    return found


@guest
def test_without_a_control_socket() -> None:
    before = net("list", "--names").split()
    assert names_while("run", "--no-control", "--", *READY) == before
    assert len(names_while("run", "--", *READY)) == len(before) + 1


@guest
def test_a_config_that_wants_none(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    for control, wanted in (("false", False), ("true", True)):
        config.write_text(f'[kernel]\nhostname="shy"\ncontrol={control}\n[[run]]\ncommand={json.dumps(READY)}\n')
        assert any(name.startswith("shy") for name in names_while("run", str(config))) == wanted


@guest
def test_tables_on_a_terminal(running: Rump) -> None:
    with OnTerminal("net", "ss", "-lt", "-k", f"rump-{running.process.pid}", columns=100) as asking:
        assert asking.end() == 0
    assert "LISTEN" in asking.text and "\x1b[" in asking.text
    assert "\x1b[" not in net("ss", "-lt", "-k", f"rump-{running.process.pid}")


def test_a_verb_that_is_not_there() -> None:
    code, _, errors = rump("net", "frob")
    assert code == 2 and "invalid choice: 'frob'" in errors and "ifconfig" in errors
    assert rump("net")[0] == 2


def test_a_kernel_that_does_not_run() -> None:
    code, output, errors = rump("net", "stat", "-k", "no-such-kernel")
    assert (code, output) == (125, "")
    assert errors.startswith("rump: no kernel") and "Traceback" not in errors
    code, _, errors = rump("net", "stat", "-k", "/no/such.sock")
    assert (code, errors) == (125, "rump: no kernel listens at /no/such.sock\n")
