"""gdb itself on a guest: `rump run --gdb`, over a unix socket and a port, with threads and a connection that is kept."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.system.helpers.rump import Rump, rump

pytestmark = [pytest.mark.needs("seccomp", "userns", "gdb", "cc"), pytest.mark.once]

SOURCE = """
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int shared = 41;
static void *worker(void *arg) { for (;;) pause(); return arg; }
int add(int a, int b) { int sum = a + b; return sum; }

int main(void) {
  pthread_t t;
  struct sockaddr_in s = {.sin_family = AF_INET, .sin_port = htons(7777), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  char b[16] = "";
  int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0), a;
  pthread_create(&t, 0, worker, 0);
  if (bind(l, (void *)&s, sizeof s) || listen(l, 1) || connect(c, (void *)&s, sizeof s)) return 1;
  a = accept(l, 0, 0);
  shared = add(shared, 1);
  if (write(c, "hello", 5) != 5 || read(a, b, 15) != 5) return 2;
  printf("%s\\n", b);
  return shared;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gdb")
    (folder / "program.c").write_text(SOURCE)
    subprocess.run(["cc", "-g", "-O0", "-o", "program", "program.c", "-lpthread"], cwd=folder, check=True)
    return folder / "program"


def gdb(program: Path, target: str, *commands: str) -> str:
    """What gdb prints of commands."""
    words = [word for command in (f"target remote {target}", *commands) for word in ("-ex", command)]
    done = subprocess.run(
        ["gdb", "-nx", "-batch", *words, program], capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL
    )
    return done.stdout + done.stderr


def free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.mark.parametrize("by", ["socket", pytest.param("port", marks=pytest.mark.long)])
def test_gdb_debugs_a_guest(program: Path, tmp_path: Path, by: str) -> None:
    place = str(tmp_path / "gdb.sock") if by == "socket" else str(free_port())
    with Rump("run", "--gdb", place, "--", str(program)).process as run:
        assert run.stderr is not None and run.stdout is not None
        target = re.search(r'gdb -ex "target remote (.*)"', run.stderr.readline())
        assert target
        said = gdb(
            program,
            target[1],
            *("break add", "continue", "backtrace", "info threads", "print a", "finish", "next", "print shared"),
            *("delete", "print shared = 7", "continue"),
        )
        assert (run.stdout.read(), run.wait(60)) == ("hello\n", 7), said
    assert re.search(r"#0 +add \(a=41, b=1\) at .*program.c:10", said), said
    assert re.search(r"#1 .* in main \(\)", said), said
    assert len(re.findall(r"^[* ] \d +Thread ", said, re.M)) == 2, said
    assert "Value returned is $2 = 42" in said and "$3 = 42" in said, said
    assert "exited with code 07" in said, said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gdb", "99999"], "--gdb: '99999' is neither a port nor a path"),
        (["--gdb", "webb=7"], "--gdb: there is no program 'webb'"),
        (["--gdb", "7777", "--trace"], "only one can look at a program"),
        (["--gdb", "/nowhere/at/all"], "--gdb /nowhere/at/all: No such file or directory"),
    ],
)
@pytest.mark.long
def test_options_that_mean_nothing(options: list[str], message: str) -> None:
    code, _, errors = rump("run", *options, "--", "true")
    assert code in (2, 125) and message in errors and "Traceback" not in errors, errors


def test_a_program_that_waits_for_gdb_can_be_stopped(tmp_path: Path) -> None:
    place, config = tmp_path / "gdb.sock", tmp_path / "sleep.toml"
    config.write_text('[[run]]\ncommand = ["sleep", "1000"]\nstop_timeout = "0.1s"\n')
    with Rump("run", "--gdb", str(place), str(config)).process as run:
        assert run.stderr is not None
        assert "waits for gdb" in run.stderr.readline()
        end = time.monotonic() + 60
        while not place.exists() and time.monotonic() < end:
            time.sleep(0.05)
        run.terminate()
        assert run.wait(60) in (128 + 9, 128 + 15)
    assert not place.exists()
