"""`rump run --crash-report`: what is left of programs that have died."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.guests.linux.sandbox_helpers import PYTHON
from tests.system.helpers.rump import Rump, rump, search_path

pytestmark = [pytest.mark.needs("seccomp", "userns"), pytest.mark.once]

SOURCE = """
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

__attribute__((noinline)) void fall(int *where, int n) { if (n) fall(where, n - 1); else *where = 1; }

int main(int argc, char **argv) {
  int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in s = {.sin_family = AF_INET, .sin_port = htons(7777), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(l, (void *)&s, sizeof s) || listen(l, 1) || connect(c, (void *)&s, sizeof s)) return 1;
  if (send(c, "hello", 5, 0) != 5 || argc < 2) return 2;
  if (argv[1][0] == 'a') abort();
#ifdef __x86_64__
  if (argv[1][0] == 's') __asm__ volatile("int $0x80" : : "a"(20) : "memory");
#endif
  fall(0, 2);
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crash")
    (folder / "program.c").write_text(SOURCE)
    flags = ["-O0", "-fno-omit-frame-pointer"]
    subprocess.run(["cc", *flags, "-o", "program", "program.c"], cwd=folder, check=True)
    return folder / "program"


def crashed(state: Path, *command: str) -> tuple[int, str, dict[str, Any]]:
    """The exit code, what was said, and the report."""
    run = Rump("run", "--crash-report", "--", *command, env={"XDG_STATE_HOME": str(state)}).process
    _, errors = run.communicate(timeout=60)
    (path,) = (state / "rumpkit" / "crashes").glob("*.json")
    assert f"report: {path.with_suffix('.txt')}" in errors, errors
    report: dict[str, Any] = json.loads(path.read_text())
    return run.returncode, errors, report


@pytest.mark.needs("cc")
def test_a_wrong_pointer_after_a_connection(program: Path, tmp_path: Path) -> None:
    code, errors, report = crashed(tmp_path, str(program), "fall")
    assert code == 128 + 11
    assert "program[2] killed by SIGSEGV in fall+0x" in errors
    assert report["signal"] == "{si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=NULL}"
    functions = [line.split()[1].partition("+")[0] for line in report["stack"]]
    assert functions[:4] == ["fall", "fall", "fall", "main"]
    assert any('sendto(4, "hello", 5, 0, NULL, 0) = 5' in line for line in report["calls"])
    assert report["calls"][-1].endswith("si_addr=NULL} ---")
    assert any("lo out TCP 127.0.0.1:" in line and "> 127.0.0.1:7777 [S]" in line for line in report["frames"]), report[
        "frames"
    ]
    assert any(str(program) in line for line in report["mappings"])


@pytest.mark.long
@pytest.mark.needs("cc")
def test_abort(program: Path, tmp_path: Path) -> None:
    code, _, report = crashed(tmp_path, str(program), "abort")
    assert code == 128 + 6
    assert "killed by SIGABRT" in report["title"] and "si_code=SI_TKILL" in report["signal"]


@pytest.mark.long
@pytest.mark.needs("cc")
def test_killed_by_the_fence(program: Path, tmp_path: Path) -> None:
    code, _, report = crashed(tmp_path, str(program), "sys")
    if code == 128 + 11:
        pytest.skip("missing: 32-bit system calls")
    assert code == 128 + 31
    assert report["signal"] == "killed by the fence: getpid, system call 20 of another architecture (32-bit)"


def test_a_child_that_dies_and_a_refused_call(tmp_path: Path) -> None:
    script = "import os, signal, socket\n"
    script += "if os.fork(): os.wait(); os._exit(0)\n"
    script += "import ctypes; ctypes.CDLL(None).unshare(0x40000000)\nos.kill(os.getpid(), signal.SIGBUS)"
    code, errors, report = crashed(tmp_path, PYTHON, "-S", "-c", script)
    assert code == 0
    assert "python3: python3[3] killed by SIGBUS" in errors
    assert any("unshare" in line for line in report["refused"])


@pytest.mark.long
def test_nothing_is_written_where_nothing_crashes(tmp_path: Path) -> None:
    run = Rump(
        "run", "--crash-report", "--", "sh", "-c", "kill -TERM $$", env={"XDG_STATE_HOME": str(tmp_path)}
    ).process
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 128 + 15 and errors == ""
    assert not list((tmp_path / "rumpkit" / "crashes").iterdir())


def test_a_fault_is_told_without_a_report_too() -> None:
    code, _, errors = rump("run", "--", "sh", "-c", "kill -ABRT $$")
    assert code == 128 + 6
    assert errors == "rump: sh was killed by SIGABRT; rump run --crash-report says where\n"


def test_one_tracer_writes_a_trace_and_a_report(tmp_path: Path) -> None:
    script = "import os, socket\nsocket.socket().listen(7)\nos.abort()"
    options = ["--crash-report", "-e", "listen", "-o", str(tmp_path / "trace")]
    run = Rump("run", *options, "--", PYTHON, "-S", "-c", script, env={"XDG_STATE_HOME": str(tmp_path)}).process
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 128 + 6 and "killed by SIGABRT" in errors
    lines = [line.partition("] ")[2] for line in (tmp_path / "trace").read_text().splitlines()]
    assert lines[0] == "listen(3, 7) = 0" and lines[-1].startswith("+++ killed by SIGABRT")
    assert len(lines) == 3  # with the signal
    (path,) = (tmp_path / "rumpkit" / "crashes").glob("*.json")
    calls = json.loads(path.read_text())["calls"]
    assert any("listen(3, 7) = 0" in line for line in calls) and any("kill(" in line for line in calls)


@pytest.mark.long
def test_gdb_looks_alone() -> None:
    code, _, errors = rump("run", "--gdb", "gdb.sock", "--crash-report", "--", "true")
    assert code == 2 and "--gdb and --crash-report can't be together" in errors, errors


COMPONENT = """
from rumpkit.kern.component import component
from rumpkit.kern.timer import Timer

class Faulty(Timer):
    def __init__(self, kernel):
        super().__init__()
        self.timers = kernel.timers
        self.timers.set(self, kernel.hyper.now)

    def expire(self, now):
        self.timers.set(self, now + 200_000_000)
        raise ZeroDivisionError("in a component")

@component("faulty", faction="base")
def faulty(kernel: "RumpKernel") -> "Faulty":
    "One that fails five times a second."
    return Faulty(kernel)
"""


def test_a_component_that_raises_leaves_its_traceback_and_the_program_goes_on(tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(COMPONENT)
    info = tmp_path / "faulty-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[rumpkit.components]\nfaulty = faulty\n")
    config = tmp_path / "faulty.toml"
    config.write_text('[kernel]\ncomponents = ["faulty"]\n[[run]]\ncommand = ["sleep", "1000"]\n')
    path = os.pathsep.join((search_path(), str(tmp_path)))
    program = Rump("run", "--crash-report", str(config), env={"XDG_STATE_HOME": str(tmp_path), "PYTHONPATH": path})
    with program.process as run:
        assert run.stderr is not None
        for line in run.stderr:
            if line.startswith("rump: a bug of rumpkit: ZeroDivisionError: in a component; report: "):
                break
        else:
            raise AssertionError("nothing was said of it")
        text = Path(line.rpartition("report: ")[2].strip())
        run.terminate()
        run.stderr.read()
        assert run.wait(60) == 128 + 15
    report = json.loads(text.with_suffix(".json").read_text())
    assert report["traceback"][-1] == "ZeroDivisionError: in a component"
    assert any("in expire" in line for line in report["traceback"])
    assert "frames of the kernel" in report
