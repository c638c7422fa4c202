"""`rump` from the outside: exit codes, messages for mistakes, signals, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.system.helpers.rump import Rump, descendants, eventually, rump
from tests.system.helpers.terminal import OnTerminal

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
        (
            '[[interface]]\nlink="user"\nname="lo"\n[[run]]\ncommand=["true"]\n',
            "c.toml:3: interface[0].name: interface name 'lo'",
        ),
        (
            '[[interface]]\nlink="user"\naddress=["10.0.2.15/31"]\n[[run]]\ncommand=["true"]\n',
            "c.toml:1: interface[0]: ",
        ),
        (
            '[[interface]]\nlink="switch:a"\naddress=["10.0.0.1/24"]\ngateway="10.0.1.1"\n[[run]]\ncommand=["true"]\n',
            "c.toml:4: interface[0].gateway: 10.0.1.1 is in no network of this interface",
        ),
        (
            '[[mount]]\npath="/a"\nsource="x"\n[[run]]\ncommand=["true"]\n',
            "c.toml:3: mount[0].source: ",
        ),
        ('[run]\ncommand=["true"]\n', "c.toml:1: run: expected an array, got a table (write [[run]])"),
        ('[[run]]\ncommand=["true"]\n[sysctl]\nvfs.max_mounts=3\n', "put it in quotes"),
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
        eventually(lambda: len(descendants(running.process.pid)) >= 4)  # the starter, init, sh and sleep
        below = descendants(running.process.pid)
        assert running.stop(number) == 128 + number
        eventually(lambda: not any(os.path.exists(f"/proc/{one}") for one in below), 5)


@guest
def test_a_signal_at_any_time_leaves_nothing(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[[interface]]\nlink="user"\n[[run]]\ncommand=["sh", "-c", "echo > ${tmp}/x; exec sleep 1000"]\n')
    private = tmp_path / "private"
    private.mkdir()
    for delay in range(100, 700, 60):
        with Rump("run", "--capture", os.devnull, str(config), env={"TMPDIR": str(private)}) as running:
            time.sleep(delay / 1000)
            assert running.stop(signal.SIGTERM, 20) in (128 + signal.SIGTERM, -signal.SIGTERM), running.errors
        assert "Traceback" not in running.errors
        assert list(private.iterdir()) == []


@guest
def test_ctrl_c_on_a_terminal_ends_the_run_and_clears_the_status_line() -> None:
    script = "import signal,sys,time\nsignal.signal(2, lambda *a: (print('told'), sys.exit(5)))\nprint('ready')\ntime.sleep(1000)"
    with OnTerminal("run", "--", PYTHON, "-u", "-c", script) as running:
        running.expect("ready")
        running.expect("Ctrl-C stops")
        running.type("\x03")
        assert running.end() == 5
    assert running.text.count("told") == 1
    assert "\x1b[r\x1b[24;1H\x1b[2K\x1b8" in running.text.partition("^C")[2]


@guest
def test_ctrl_z_gives_the_terminal_back_until_the_run_goes_on() -> None:
    with OnTerminal("run", "--", "sleep", "1000") as running:
        running.expect("Ctrl-C stops")
        os.kill(running.process, signal.SIGTSTP)
        # Nobody could wake the foreground job of a terminal without a shell, so it is not stopped.
        running.expect("\x1b[r\x1b[24;1H\x1b[2K\x1b8")
        running.text = ""
        running.expect("\x1b[1;23r")  # and the line is back
        running.expect("Ctrl-C stops")
        running.type("\x03")
        assert running.end() == 128 + signal.SIGINT


@guest
@pytest.mark.needs("bash")
def test_a_stopped_run_is_stopped_and_goes_on() -> None:
    run = f"{PYTHON} -m rumpkit.cli run -- sh -c 'echo ready; sleep 1000'"
    script = f"set -m; {run} & fg >/dev/null; echo stopped; fg >/dev/null; echo over"
    with OnTerminal(command=["bash", "-c", script]) as running:
        running.expect("Ctrl-C stops")
        running.type("\x1a")
        running.expect("stopped")
        assert "\x1b[r\x1b[24;1H\x1b[2K\x1b8" in running.text.partition("stopped")[0]
        running.text = ""
        running.expect("Ctrl-C stops")
        running.type("\x03")
        running.expect("over")


@guest
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_what_a_shell_waits_for(number: int) -> None:
    with Rump("run", "--", "sh", "-c", "sleep 1000; echo never") as running:
        eventually(lambda: len(descendants(running.process.pid)) >= 4)  # the starter, init, sh and sleep
        started = time.monotonic()
        assert running.stop(number) == 128 + number
        assert time.monotonic() - started < 4.5  # when it would be killed
        assert running.output == ""


def test_ctrl_c_before_anything_has_begun_is_quiet() -> None:
    for delay in range(0, 120, 10):
        with Rump("run", "--", "sleep", "1000") as running:
            time.sleep(delay / 1000)
            code, said = interrupted(running)
            # 1: Python itself was still on its way to us.
            assert code in (-signal.SIGINT, 128 + signal.SIGINT, 1), said
            assert not re.search(r'rumpkit/cli/(?!__\w+__\.py", line 1,)', said), said


def interrupted(running: Rump) -> tuple[int, str]:
    """Ctrl-C, and once more if Python forgets it, which says so then: the exit code and what was said."""
    running.process.send_signal(signal.SIGINT)
    try:
        return running.end(timeout=20), running.errors
    except subprocess.TimeoutExpired:
        code = running.stop(signal.SIGINT)
        assert "Exception ignored in" in running.errors and "importlib" in running.errors, running.errors
        return code, ""


@guest
def test_a_second_ctrl_c_kills() -> None:
    script = "import signal,time\nsignal.signal(2, signal.SIG_IGN)\nprint('ready')\ntime.sleep(1000)"
    with OnTerminal("run", "--quiet", "--", PYTHON, "-u", "-c", script) as running:
        running.expect("ready")
        started = time.monotonic()
        running.type("\x03")
        running.expect("^C")
        time.sleep(0.5)
        running.type("\x03")
        assert running.end() == 128 + signal.SIGKILL
        assert time.monotonic() - started < 4.5


@guest
def test_a_program_that_reads_keys_has_the_terminal_to_itself() -> None:
    script = (
        "import os,signal,termios,tty\nsignal.signal(2, lambda *a: print('interrupted'))\n"
        "old = termios.tcgetattr(0)\ntty.setcbreak(0)\nprint('ready')\nwhile os.read(0, 1) != b'q': pass\n"
        "termios.tcsetattr(0, termios.TCSANOW, old)\n"
    )
    with OnTerminal("run", "--", PYTHON, "-u", "-c", script) as running:
        running.expect("ready")
        running.type("\x03")
        running.expect("interrupted")
        time.sleep(1.5)  # more than a status line's interval
        assert "Ctrl-C" not in running.text
        running.type("q")
        assert running.end() == 0


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
        eventually(lambda: len(descendants(running.process.pid)) >= 4)  # the starter, init, sh and sleep
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


@guest
def test_a_capture_that_cannot_be_written_says_so() -> None:
    code, _, errors = rump("run", "--capture", "/dev/full", "--", "sh", "-c", "exit 4")
    assert (code, errors) == (4, "rump: /dev/full: No space left on device: the capture is incomplete\n")
    code, _, errors = rump("run", "--capture", "/nowhere/x.pcapng", "--", "true")
    assert (code, errors) == (125, "rump: /nowhere/x.pcapng: No such file or directory\n")


@guest
def test_a_folder_and_an_interpreter_that_are_not_there(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[[run]]\ncommand=["true"]\ncwd="/nowhere"\n')
    code, _, errors = rump("run", str(config))
    assert (code, errors) == (2, f"rump: {config}:3: run[0].cwd: '/nowhere': No such file or directory\n")
    script = tmp_path / "script"
    script.write_text("#!/nowhere/interpreter\n")
    script.chmod(0o755)
    code, _, errors = rump("run", "--", str(script))
    assert code == 127 and "the interpreter that it names" in errors


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
