"""Several programs of a config, and what can be done with them once they run: real programs, real pipes, real terminals."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.clients.control.kernels import runtime  # noqa: F401 (a fixture: control sockets of the test's own)
from tests.compose.oci.ocimake import Layout
from tests.guests.linux.root_helpers import make_root
from tests.system.helpers.rump import Rump, descendants, eventually, interpreter, rump, search_path
from tests.system.helpers.terminal import OnTerminal

pytestmark = [pytest.mark.needs("seccomp", "userns"), pytest.mark.once]
PYTHON = sys.executable
SERVER = f'["{PYTHON}", "-u", "-m", "http.server", "8000"]'
NET = '[[interface]]\nlink = "user"\n'


def config(folder: Path, text: str) -> str:
    """A file with it."""
    path = folder / "c.toml"
    path.write_text(text)
    return str(path)


def detach(*words: str) -> list[str]:
    """Start a run in the background; its kernels' names."""
    code, output, errors = rump("run", "--detach", *words)
    assert code == 0, errors
    return output.split()


def supervisor(kernel: str) -> int:
    """Its process id, which its name ends in."""
    return int(kernel.rpartition("-")[2])


def test_order_pipes_files_environment_and_prefixes(tmp_path: Path) -> None:
    (tmp_path / "more.env").write_text("# a comment\nexport COLOUR='deep blue'\nSIZE=3\n")
    text = """
[[run]]
name = "upper"
command = ["sh", "-c", "tr a-z A-Z; echo $COLOUR $SIZE >&2"]
env_file = "more.env"
env = { SIZE = "4" }
stdout = "out.txt"
stderr = "prefix"

[[run]]
name = "source"
command = ["sh", "-c", "cat; echo from $PWD"]
stdin = "in.txt"
cwd = "."
pipe = "upper"
after = ["first:ended"]

[[run]]
name = "first"
command = ["sh", "-c", "echo one > in.txt; echo done"]
cwd = "."
writable = ["."]
stdout = "prefix"
"""
    code, output, errors = rump("run", config(tmp_path, text))
    assert code == 0, errors
    assert output == "first  | done\n"
    assert errors == "upper  | deep blue 4\n"
    assert (tmp_path / "out.txt").read_text() == f"ONE\nFROM {str(tmp_path).upper()}\n"


def test_limits_of_a_program_and_of_its_health_check(tmp_path: Path) -> None:
    text = """
[[run]]
name = "server"
command = ["sleep", "60"]
limits = { files = 64 }
health = { command = ["sh", "-c", "test $(ulimit -n) = 64"] }
background = true

[[run]]
command = ["sh", "-c", "ulimit -n; ulimit -c"]
limits = { files = 128, core = "0" }
after = ["server:healthy"]
"""
    assert rump("run", config(tmp_path, text)) == (0, "128\n0\n", "")


def test_a_program_that_lacks_the_network_is_told_what_the_config_lacks(tmp_path: Path) -> None:
    code = "import socket; socket.socket()"
    text = f'[[run]]\nname = "it"\ncommand = ["{PYTHON}", "-S", "-c", "{code}"]\n'
    told = (
        'rump: it asked for a network, which its kernel has not (add [[interface]] with link = "user" to the config)\n'
    )
    status, _, errors = rump("run", config(tmp_path, text))
    assert (status, errors.partition("rump: ")[1:]) == (1, ("rump: ", told.removeprefix("rump: ")))
    assert rump("run", config(tmp_path, text + NET)) == (0, "", "")
    text = text.replace("socket.socket()", "socket.socket(socket.AF_UNIX)")
    assert rump("run", config(tmp_path, text)) == (0, "", "")


def test_restarts_until_it_works(tmp_path: Path) -> None:
    text = """
[[run]]
name = "flaky"
command = ["sh", "-c", "echo x >> tries; test $(wc -l < tries) -ge 3 || exit 7"]
cwd = "."
writable = ["."]
restart = "on-failure"
restart_delay = "10ms"
"""
    code, _, errors = rump("run", config(tmp_path, text))
    assert code == 0, errors
    assert errors.count("rump: flaky has ended with 7; it is restarted in") == 2
    assert (tmp_path / "tries").read_text() == "x\n" * 3


def test_what_waits_for_a_failure_is_not_started_and_the_status_says_so(tmp_path: Path) -> None:
    text = '[[run]]\nname="a"\ncommand=["sh","-c","exit 3"]\nbackground=true\n[[run]]\nname="b"\ncommand=["true"]\nafter=["a:ended"]\n'
    code, _, errors = rump("run", config(tmp_path, text))
    assert (code, errors) == (1, "rump: b is not started, as a has ended with 3\n")


def test_the_stop_signal_and_another_user(tmp_path: Path) -> None:
    script = "trap 'echo told; exit 4' USR1; echo ready; while :; do sleep 0.1; done"
    text = f'[[run]]\nname="it"\ncommand=["sh","-c","{script}"]\nstop_signal="USR1"\n'
    if os.geteuid() == 0:
        text += 'user="nobody"\n'
    with Rump("run", config(tmp_path, text)) as running:
        assert running.process.stdout is not None
        assert running.process.stdout.readline() == "ready\n"
        uids = {os.stat(f"/proc/{one}").st_uid for one in descendants(running.process.pid)}
        assert os.geteuid() != 0 or 65534 in uids
        assert running.stop() == 4
        assert running.output == "told\n"


@pytest.mark.needs("curl")
def test_a_detached_run_from_its_start_to_its_end(tmp_path: Path) -> None:
    text = f"""
[kernel]
hostname = "orchestra"
{NET}
[[run]]
name = "client"
command = ["sh", "-c", "curl -sS -o /dev/null -w 'got %{{http_code}}' http://127.0.0.1:8000/; echo; exec sleep 1000"]
after = ["server"]

[[run]]
name = "server"
command = {SERVER}
health = {{ http = "http://127.0.0.1:8000/" }}
"""
    (name,) = detach(config(tmp_path, text))
    processes = descendants(supervisor(name))
    try:
        eventually(lambda: "got 200" in rump("logs", f"{name}/client")[1])
        code, output, _ = rump("ps", "--json", name)
        rows = {row["program"]: row for row in json.loads(output)}
        assert code == 0 and rows["server"]["state"] == "healthy" and rows["client"]["state"] == "running"
        assert rows["server"]["ports"] == [8000] and rows["server"]["name"] == f"{name}/server"
        assert name in rump("net", "list", "--names")[1]
        stats = {row["name"]: row for row in json.loads(rump("stats", "--json", "-i", "0.2", name)[1])}
        assert stats[f"{name}/server"]["processes"] == 1 and stats[f"{name}/server"]["memory"] > 1 << 20
        assert stats[f"{name}/server"]["bytes_out"] > 100 and stats[f"{name}/server"]["calls"] > 0
        assert rump("logs", "-n", "1", f"{name}/client")[1] == "got 200\n"
        processes |= descendants(supervisor(name))
        exec_and_signals(name)
        follower = Rump("logs", "-f", "-n", "1", f"{name}/client")
        assert follower.process.stdout is not None and follower.process.stdout.readline() == "got 200\n"
        assert rump("stop", f"{name}/client")[0] == 0
        assert "ended (SIGTERM)" in rump("ps", f"{name}/client")[1]
    finally:
        code, _, errors = rump("stop", name)
    assert code == 0, errors
    with follower:
        assert follower.end() == 0  # the run's end is the log's
    assert not [one for one in processes if os.path.exists(f"/proc/{one}")]
    assert rump("ps", name)[0] == 125


def exec_and_signals(name: str) -> None:
    """Further programs on the kernel: its network, our input and output, exit codes, signals."""
    words = [interpreter(0), "-m", "rumpkit.cli", "exec", name, "--"]
    env = {**os.environ, "PYTHONPATH": search_path()}
    done = subprocess.run(
        [*words, "sh", "-c", "cat; curl -sS http://127.0.0.1:8000/ | head -1 >&2; exit 6"],
        input="piped\n", capture_output=True, text=True, env=env, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (6, "piped\n") and "DOCTYPE" in done.stderr
    script = "trap 'echo told; exit 9' USR1; echo ready; while :; do sleep 0.1; done"
    with subprocess.Popen([*words, "sh", "-c", script], stdout=subprocess.PIPE, text=True, env=env) as running:
        assert running.stdout is not None and running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGUSR1)
        assert running.stdout.read() == "told\n" and running.wait(60) == 9
    assert subprocess.run([*words, "no-such-program"], capture_output=True, env=env, timeout=60).returncode == 127
    with subprocess.Popen([*words, "sh", "-c", "echo $$; exec sleep 1000"], stdout=subprocess.PIPE, env=env) as running:
        assert running.stdout is not None and running.stdout.readline()
        running.kill()  # and what it has started ends with it
        assert running.stdout.read() == b""


@pytest.mark.needs("fuse", "root")
@pytest.mark.parametrize("kind", [pytest.param("directory", marks=pytest.mark.long), "container image"])
def test_exec_in_another_root(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A further program has the root, the user and the environment of that which is named, its own folder, and nothing of the host's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = make_root(tmp_path / "tree", ("sh", "ls", "id", "cat", "readlink", "sleep"))
    (root / "etc" / "only-here").write_text("here\n")
    command = ["sleep", "1000"]
    if kind == "container image":
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as made:
            made.add(root, ".")
        image = Layout(tmp_path / "image")
        image.image(
            packed.getvalue(), Entrypoint=command, Cmd=[], WorkingDir="etc", User="guest", Env=["PATH=/bin", "SAID=yes"]
        )
        root, command = image.path, []
    user = 'user = "guest"\n' if kind == "directory" else ""
    given = f"command = {json.dumps(command)}\n" if command else ""
    (name,) = detach(config(tmp_path, f'[kernel]\nroot = "{root}"\n[[run]]\nname = "it"\n{given}{user}'))
    try:
        script = "id -u; echo $SAID; readlink /proc/self/cwd; cat /etc/only-here; ls -d /home /root"
        code, output, errors = rump("exec", f"{name}/it", "--", "sh", "-c", script)
        packed_up = kind != "directory"
        assert output.splitlines() == ["1234", "yes" if packed_up else "", "/etc" if packed_up else "/", "here"], errors
        assert code == 2 and "cannot access '/home'" in errors
        assert rump("exec", "-w", "/home", f"{name}/it", "--", "readlink", "/proc/self/cwd")[0] != 0, "the host's"
        assert rump("exec", f"{name}/it", "--", "bash")[0] == 127
    finally:
        assert rump("stop", name)[0] == 0


def test_exec_on_a_terminal() -> None:
    (name,) = detach("--", "sleep", "1000")
    try:
        with OnTerminal("exec", "-e", "PS1=next:", name, "--", "sh", rows=33, columns=99) as running:
            running.expect("next:")
            running.type("stty size; tty > /dev/null && echo is-$((1+1))\n")
            running.expect("33 99")
            running.expect("is-2")
            running.type("sh -c 'echo asleep-$((1+1)); exec sleep 1000'\n")
            running.expect("asleep-2")
            running.text = ""
            running.type("\x03")
            running.expect("next:")  # what is typed before, Ctrl-C forgets
            running.type("echo $((100+23)); exit 5\n")
            running.expect("123")
            assert running.end() == 5
    finally:
        assert rump("stop", name)[0] == 0


def test_a_start_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    before = rump("net", "list", "--names")[1]
    code, output, errors = rump("run", "-d", "--", "no-such-program-anywhere")
    assert (code, output) == (127, "") and "no-such-program-anywhere: No such file or directory" in errors
    code, _, errors = rump("run", "-d", config(tmp_path, '[kernel]\ncontrol = false\n[[run]]\ncommand = ["true"]\n'))
    assert code == 2 and "c.toml:2: kernel.control: a detached run needs a control socket" in errors
    text = f"""
{NET}
[[run]]
command = ["sh", "-c", "echo the reason >&2; exec sleep 1000"]
name = "web"
health = {{ port = 8000, start_period = "0s", start_interval = "10ms", retries = 2 }}
"""
    code, output, errors = rump("run", "-d", config(tmp_path, text))
    assert code not in (0, 127) and output == ""
    assert "rump: web is unhealthy: port 8000: Connection refused" in errors and "web | the reason" in errors
    assert rump("net", "list", "--names")[1] == before


def test_nothing_survives_the_death_of_a_detached_supervisor() -> None:
    (name,) = detach("--", "sh", "-c", "sleep 1000 & sleep 1001")
    processes = descendants(supervisor(name))
    assert len(processes) >= 3
    os.kill(supervisor(name), signal.SIGKILL)
    eventually(lambda: not any(os.path.exists(f"/proc/{one}") for one in processes))
    assert name not in rump("net", "list", "--names")[1]


def test_whoever_is_interrupted_before_all_is_ready_leaves_nothing(tmp_path: Path) -> None:
    health = '{ command = ["false"], start_interval = "50ms" }'
    text = f'[kernel]\nhostname = "early"\n[[run]]\ncommand = ["sleep", "1000"]\nhealth = {health}\n'
    with Rump("run", "-d", config(tmp_path, text)) as running:
        eventually(lambda: "early-" in rump("ps", "--names")[1])
        processes = descendants(running.process.pid)
        assert running.stop(signal.SIGINT) == 130
        assert running.output == ""
    eventually(lambda: not any(os.path.exists(f"/proc/{one}") for one in processes))
    assert "early-" not in rump("net", "list", "--names")[1]
