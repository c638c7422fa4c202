"""A debugged guest, asked in gdb's protocol by a client of the test's own: it waits, stops, is looked at, goes on, is let go, ends."""

from __future__ import annotations

import os
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rumpkit.compose.asked import Asked
from rumpkit.compose.kernel import Kernel
from rumpkit.compose.programs import launch
from rumpkit.guests.linux.guest import Guest
from rumpkit.guests.linux.tracing.gdb.line import listen
from rumpkit.guests.linux.tracing.gdb.packets import Decoder, encode
from rumpkit.guests.linux.tracing.gdb.session import GdbServer
from tests.guests.linux.sandbox_helpers import PYTHON

pytestmark = [pytest.mark.needs("seccomp", "userns"), pytest.mark.once]


class Client:
    """A gdb that knows no symbols."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(str(path))
        self._decoder = Decoder()
        self._waiting: list[bytes] = []
        self.ask(b"QStartNoAckMode")

    def send(self, data: bytes) -> None:
        self.socket.sendall(encode(data))

    def answer(self) -> bytes:
        while not self._waiting:
            data = self.socket.recv(65536)
            assert data, "it has hung up"
            for packet, right in self._decoder.feed(data):
                assert right
                self._waiting.append(packet)
        return self._waiting.pop(0)

    def ask(self, data: bytes) -> bytes:
        self.send(data)
        return self.answer()

    def close(self) -> None:
        self.socket.close()


@contextmanager
def debugged(path: Path, code: str) -> Iterator[tuple[Guest, Client, list[str]]]:
    said: list[str] = []
    with Kernel(net="user") as kernel:
        server = GdbServer(listen(str(path)), said.append)
        guest = launch(kernel, Asked([PYTHON, "-S", "-u", "-c", code], tracer=server))
        client = Client(path)
        try:
            yield guest, client, said
        finally:
            client.close()
            guest.close()


SLEEPS = "import time\nwhile True: time.sleep(1000)"


def test_it_waits_before_its_first_instruction_and_runs_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "gdb"
    with debugged(path, "import os; os._exit(9)") as (guest, client, _):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert client.ask(b"?").startswith(b"T05")
        assert b"qXfer:features:read+" in client.ask(b"qSupported:swbreak+")
        assert client.ask(b"qXfer:exec-file:read::0,1000") == b"l" + os.path.realpath(PYTHON).encode()
        registers = bytes.fromhex(client.ask(b"g").decode())
        assert len(registers) > 300
        assert client.ask(b"vUnknown") == b"" and client.ask(b"mzz,1") == b"E01" and client.ask(b"m0,8") == b"E01"
        assert client.ask(b"vCont;c") == b"W09"
        assert guest.wait(30) == 9
    assert not path.exists()


def test_interrupted_by_ctrl_c_stepped_and_killed(tmp_path: Path) -> None:
    with debugged(tmp_path / "gdb", SLEEPS) as (guest, client, _):
        client.send(b"vCont;c")
        client.socket.sendall(b"\x03")
        thread = client.answer()
        assert thread.startswith(b"T02thread:")
        number = thread[10:-1]
        assert client.ask(b"vCont;s:" + number).startswith(b"T05thread:" + number)
        assert client.ask(b"vKill;" + number) == b"OK"
        assert guest.wait(30) == -signal.SIGKILL


def test_signals_are_told_and_passed_on_or_not(tmp_path: Path) -> None:
    code = "import os, signal\nos.kill(os.getpid(), signal.SIGUSR1)\nos.kill(os.getpid(), signal.SIGUSR2)\nos._exit(3)"
    with debugged(tmp_path / "gdb", code) as (guest, client, _):
        assert client.ask(b"QPassSignals:14") == b"OK"
        assert client.ask(b"vCont;c").startswith(b"T1e")  # SIGUSR1 is 30 there
        assert client.ask(b"vCont;c").startswith(b"T1f")  # the first one has been withheld
        assert client.ask(b"vCont;C1f") == b"X1f"
        assert guest.wait(30) == -signal.SIGUSR2


def test_a_breakpoint_is_there_and_nobody_sees_it(tmp_path: Path) -> None:
    with debugged(tmp_path / "gdb", "import os; os._exit(0)") as (guest, client, _):
        features = client.ask(b"qXfer:features:read:target.xml:0,8000")
        if b"x86-64" not in features:
            pytest.skip("missing: x86-64")
        place = int.from_bytes(bytes.fromhex(client.ask(b"p10").decode()), "little")
        before = client.ask(b"m%x,8" % place)
        assert client.ask(b"Z0,%x,1" % place) == b"OK"
        assert client.ask(b"m%x,8" % place) == before
        assert client.ask(b"vCont;c").startswith(b"T05")
        assert int.from_bytes(bytes.fromhex(client.ask(b"p10").decode()), "little") == place + 1
        assert client.ask(b"P10=" + place.to_bytes(8, "little").hex().encode()) == b"OK"
        assert client.ask(b"z0,%x,1" % place) == b"OK"
        assert client.ask(b"m%x,8" % place) == before
        assert client.ask(b"vCont;c") == b"W00"
        assert guest.wait(30) == 0


def test_threads_stop_together(tmp_path: Path) -> None:
    code = "import os, signal, threading, time\ndef busy():\n while True: sum(range(100))\n"
    code += "for n in range(5): threading.Thread(target=busy, daemon=True).start()\n"
    code += "os.kill(os.getpid(), signal.SIGWINCH)\ntime.sleep(1000)"
    with debugged(tmp_path / "gdb", code) as (guest, client, _):
        assert client.ask(b"vCont;c").startswith(b"T1c")
        threads = client.ask(b"qfThreadInfo")[1:].split(b",")
        assert len(threads) == 6 and client.ask(b"qsThreadInfo") == b"l"
        for one in threads:
            state = Path(f"/proc/{int(one, 16)}/stat").read_text().rpartition(")")[2].split()[0]
            assert state == "t", "it is traced, and runs"
            assert client.ask(b"Hg" + one) == b"OK" and client.ask(b"T" + one) == b"OK"
        assert client.ask(b"qXfer:threads:read::0,4000").count(b"<thread id=") == 6
        for _ in range(20):  # whatever the threads are about when they are stopped
            client.send(b"vCont;c")
            client.socket.sendall(b"\x03")
            assert client.answer().startswith(b"T02")
        guest.kill()


def test_children_and_another_program_in_its_place(tmp_path: Path) -> None:
    code = "import os\nif not os.fork(): os._exit(4)\nassert os.waitstatus_to_exitcode(os.wait()[1]) == 4\nos.execv('/bin/true', ['true'])"
    with debugged(tmp_path / "gdb", code) as (guest, client, _):
        told = client.ask(b"vCont;c")
        while told.startswith(b"T14"):  # SIGCHLD
            told = client.ask(b"vCont;C14")
        assert told.startswith(b"T05exec:") and b"/true".hex().encode() in told
        assert client.ask(b"vCont;c") == b"W00"
        assert guest.wait(30) == 0


def test_hung_up_and_connected_again_then_let_go(tmp_path: Path) -> None:
    path = tmp_path / "gdb"
    code = "import signal, os\nsignal.signal(signal.SIGTERM, lambda *x: os._exit(6))\nwhile True: signal.pause()"
    with debugged(path, code) as (guest, client, said):
        client.send(b"vCont;c")
        client.close()
        again = Client(path)
        assert again.ask(b"?").startswith(b"T02")
        assert said == ["gdb has hung up; the program waits for another"]
        assert again.ask(b"D") == b"OK"
        again.close()
        for _ in range(600):  # until its handler is there: before, the signal ends it as any other
            if int(dict(line.split(":\t", 1) for line in _status(guest))["SigCgt"], 16) >> signal.SIGTERM - 1 & 1:
                break
            import time

            time.sleep(0.05)
        guest.send(signal.SIGTERM)
        assert guest.wait(30) == 6


def _status(guest: Guest) -> list[str]:
    from rumpkit.guests.linux.family import pid_of

    return Path(f"/proc/{pid_of(guest.program.pidfd)}/status").read_text().splitlines()


def test_a_stopped_program_can_be_ended_from_outside(tmp_path: Path) -> None:
    with debugged(tmp_path / "gdb", SLEEPS) as (guest, _client, _):
        assert guest.kill() == -signal.SIGKILL
        guest.tracer.join(30)  # type: ignore[union-attr]
        assert not (tmp_path / "gdb").exists()


def test_who_speaks_something_else_is_hung_up_on(tmp_path: Path) -> None:
    with debugged(tmp_path / "gdb", SLEEPS) as (_, client, _said):
        client.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert client.socket.recv(100) == b""


def test_the_programs_files_and_no_others(tmp_path: Path) -> None:
    with debugged(tmp_path / "gdb", SLEEPS) as (_, client, _said):
        assert client.ask(b"vFile:setfs:0") == b"F0"
        fd = client.ask(b"vFile:open:%b,0,0" % PYTHON.encode().hex().encode())
        assert fd.startswith(b"F") and b"-" not in fd
        assert client.ask(b"vFile:pread:%b,4,0" % fd[1:]) == b"F4;\x7fELF"
        assert len(client.ask(b"vFile:fstat:%b" % fd[1:])) >= 64
        assert client.ask(b"vFile:close:%b" % fd[1:]) == b"F0"
        assert client.ask(b"vFile:pread:%b,4,0" % fd[1:]) == b"F-1,9"
        assert client.ask(b"vFile:open:%b,241,1b6" % b"/tmp/new".hex().encode()) == b"F-1,d"
        assert client.ask(b"vFile:unlink:00") == b""
