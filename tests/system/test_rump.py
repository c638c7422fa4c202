"""`rump` from the outside: exit codes, messages for mistakes, signals, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from tests.system.helpers.rump import Rump, descendants, eventually, rump

guest = pytest.mark.needs("seccomp", "userns")
PYTHON = sys.executable


def test_the_version_names_the_form() -> None:
    code, output, _ = rump("--version")
    assert code == 0
    assert output.startswith("rumpkit ") and ("(native," in output or "(pure," in output)


def test_no_verb_is_a_usage_error_that_helps() -> None:
    code, output, _ = rump()
    assert code == 2
    assert "examples:" in output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[kernel\n", "c.toml:1: is not valid TOML"),
        (
            '[kernel]\ncomponents = ["tpc"]\n[[run]]\ncommand=["true"]\n',
            "there is no component 'tpc' (did you mean \"tcp\"?)",
        ),
        ('[[interface]]\nlink = "usr"\n[[run]]\ncommand=["true"]\n', "c.toml:2: interface[0].link: there is no link"),
        ('[[mount]]\npath = "/a"\ntype = "tmpsf"\n[[run]]\ncommand=["true"]\n', 'did you mean "tmpfs"?'),
        ('[[run]]\ncommand=["true"]\n[sysctl]\n"vfs.max_muonts" = 1\n', 'did you mean "vfs.max_mounts"?'),
        ('[[run]]\ncommand=["true"]\n[sysctl]\n"vfs.max_mounts" = 0\n', "must be from 1 to 1048576, not 0"),
        ("[kernel]\n", "has no program to run"),
        ('[[run]]\ncommand=["${tpm}/x"]\n', 'did you mean "tmp"?'),
    ],
)
def test_a_bad_config_says_what_and_where(text: str, message: str, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(text)
    code, output, errors = rump("run", str(config))
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors and output == ""


def test_a_config_that_is_not_there() -> None:
    code, _, errors = rump("run", "/nowhere/at/all.toml")
    assert (code, errors) == (2, "rump: /nowhere/at/all.toml: cannot be read: No such file or directory\n")


def test_a_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, errors = rump("run", "--forward", f"{port} -> 80", "--", "true")
    assert code == 125
    assert f"cannot forward 127.0.0.1:{port} -> 80: Address already in use" in errors
    assert "Traceback" not in errors


@guest
@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -KILL $$"], 137),
        (["/nowhere/program"], 127),
        (["no-such-program-anywhere"], 127),
        (["/etc/passwd"], 126),
    ],
)
def test_exit_codes(command: list[str], expected: int) -> None:
    code, _, errors = rump("run", "--", *command)
    assert code == expected, errors
    assert "Traceback" not in errors
    if expected in (126, 127):
        assert command[0] in errors


@guest
def test_the_programs_of_a_config_and_the_main_one(tmp_path: Path) -> None:
    config = tmp_path / "two.toml"
    config.write_text(
        '[[interface]]\nlink="user"\n[[run]]\ncommand=["sleep", "1000"]\n'
        '[[run]]\ncommand=["sh", "-c", "echo $GREETING; cat ${here}/file; exit 3"]\nmain=true\nenv={GREETING="hi"}\n'
    )
    (tmp_path / "file").write_text("read\n")
    code, output, _ = rump("run", str(config))
    assert (code, output) == (3, "hi\nread\n")


@guest
def test_private_folders_go_away(tmp_path: Path) -> None:
    config = tmp_path / "tmp.toml"
    config.write_text('[[run]]\ncommand=["sh", "-c", "echo x > ${tmp}/x; echo ${tmp}"]\n')
    code, output, errors = rump("run", str(config))
    assert code == 0, errors
    assert output.strip() and not os.path.exists(output.strip())


@guest
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_run_and_everything_in_it(number: int) -> None:
    with Rump("run", "--", "sh", "-c", "sleep 1000 & exec sleep 1000") as running:
        eventually(lambda: len(descendants(running.process.pid)) >= 3)
        below = descendants(running.process.pid)
        assert running.stop(number) == 128 + number
        eventually(lambda: not any(os.path.exists(f"/proc/{one}") for one in below), 5)


@guest
def test_a_program_that_ignores_signals_is_killed() -> None:
    script = (
        "import signal,time\nfor n in (2,15): signal.signal(n, signal.SIG_IGN)\nprint(flush=True)\ntime.sleep(1000)"
    )
    with Rump("run", "--", PYTHON, "-c", script) as running:
        assert running.process.stdout is not None
        running.process.stdout.readline()
        started = time.monotonic()
        assert running.stop() == 137
        assert time.monotonic() - started < 20


@guest
def test_nothing_survives_the_death_of_rump() -> None:
    with Rump("run", "--", "sh", "-c", "sleep 1000 & sleep 1000") as running:
        eventually(lambda: len(descendants(running.process.pid)) >= 3)
        below = descendants(running.process.pid)
        assert running.stop(signal.SIGKILL) == -9
        eventually(lambda: not any(os.path.exists(f"/proc/{one}") for one in below), 5)


@guest
def test_a_client_that_resets_and_a_program_killed_in_mid_transfer() -> None:
    server = (
        "import socket,sys\ns=socket.create_server(('0.0.0.0',80))\n"
        "while True:\n c,_=s.accept()\n"
        " try:\n  while c.recv(65536): c.sendall(b'x'*65536)\n"
        " except OSError as e: print(type(e).__name__, flush=True)\n c.close()\n"
    )
    with Rump("run", "--forward", "0 -> 80", "--", PYTHON, "-c", server) as running:
        (port,) = running.forwards()
        client = socket.socket()
        eventually(lambda: _connects(port))
        client.connect(("127.0.0.1", port))
        client.sendall(b"go")
        client.recv(10)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        assert running.process.stdout is not None
        assert running.process.stdout.readline() in ("ConnectionResetError\n", "BrokenPipeError\n")
        second = socket.create_connection(("127.0.0.1", port), timeout=20)
        second.sendall(b"go")
        assert second.recv(10)
        assert running.stop(signal.SIGTERM) == 128 + signal.SIGTERM
        with pytest.raises(ConnectionResetError):
            while second.recv(1 << 20):
                pass
            raise ConnectionResetError
        second.close()


def _connects(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"?")
            return connection.recv(1) != b""
    except OSError:
        return False


@guest
def test_capture_and_trace(tmp_path: Path) -> None:
    capture = tmp_path / "c.pcapng"
    script = "import socket\ntry: socket.create_connection(('10.0.2.2', 1))\nexcept OSError as e: print(e.errno)"
    code, output, errors = rump("run", "--trace", "--capture", str(capture), "--", PYTHON, "-c", script)
    assert (code, output) == (0, "111\n")
    assert "connect(" in errors
    assert capture.read_bytes()[:4] == b"\x0a\x0d\x0d\x0a"
    assert capture.stat().st_mode & 0o077 == 0


def test_describe_as_json() -> None:
    code, output, errors = rump(
        "describe", "--json", str(Path(__file__).resolve().parents[2] / "examples" / "redis.toml")
    )
    assert code == 0, errors
    described = json.loads(output)
    assert {"component": "net/tcp", "provides": "Tcp", "needs": "RumpKernel, Ip"} in described["components"]
    assert described["interfaces"][0]["forwards"] == "127.0.0.1:6379 -> 6379"


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion(shell: str) -> None:
    code, output, _ = rump("completion", shell)
    assert code == 0
    assert "describe" in output


def test_check_as_json() -> None:
    _, output, _ = rump("check", "--json")
    names = [finding["what"] for finding in json.loads(output)]
    assert "/dev/net/tun" in names and "seccomp user notification" in names
