"""Starting programs for real: status, inheritance, isolation, and nothing left over when either side dies."""

from __future__ import annotations

import errno
import marshal
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest

from rumpkit.guests.linux import capabilities, check
from rumpkit.guests.linux.plan import NO_KERNEL, KernelSide, ProgramPlan
from rumpkit.guests.linux.spawn import _Conversation, _Hand, spawn
from tests.guests.linux.sandbox_helpers import PYTHON, alive, answered, become_nobody, exit_code, in_child, run
from tests.house.descriptors import descriptors_before, open_descriptors

pytestmark = pytest.mark.needs("linux", "seccomp", "netns")

RESOLV = {"/etc/resolv.conf": b"nameserver 10.0.2.3\n"}


@pytest.fixture(params=["self", pytest.param("nobody", marks=pytest.mark.needs("nobody", "userns"))])
def as_user(request):
    """Runs a function as the user of the tests, and, where that is root, as an ordinary user as well."""
    if request.param == "self":
        return lambda function: function()
    return lambda function: in_child(function, become_nobody)


def test_a_program_that_ends_before_the_starter_has_said_who_its_init_is_keeps_its_status() -> None:
    control, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    supply, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    init = os.posix_spawn("/bin/true", ["true"], {})
    pidfd, null = os.pidfd_open(os.getpid()), os.open(os.devnull, os.O_RDONLY)
    carriers = [os.dup(null), os.dup(null)]
    for message, fds in [
        (("ready", True, []), carriers), (("main", null), [pidfd]), (("running",), []), (("exit", 0x300), []), (("init", init), []),
    ]:  # fmt: skip
        socket.send_fds(its, [marshal.dumps(message)], fds)
    program = _Conversation(control, cast(Any, {}), NO_KERNEL, _Hand(None)).follow(supply)
    assert (program.init, program.poll()) == (init, 0x300)
    assert program.wait() == 0x300
    with pytest.raises(ChildProcessError):
        os.waitpid(init, os.WNOHANG)
    program.close()
    for fd in (pidfd, null, *carriers):
        os.close(fd)


class TestStatus:
    @pytest.mark.parametrize(
        ("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", -9), ("kill -SEGV $$", -11)]
    )
    def test_it_is_passed_on_exactly(self, as_user, script, code):
        def check_it():
            assert run(["sh", "-c", script])[0] == code

        as_user(check_it)

    def test_only_the_first_process_counts(self):
        assert run(["sh", "-c", "(exit 7) & wait; sleep 0.1 & exit 5"])[0] == 5

    @pytest.mark.parametrize(
        ("command", "number"),
        [(["no-such-program-anywhere"], 2), (["/no/such"], 2), (["/etc"], 13), (["/etc/passwd"], 13)],
    )
    def test_a_command_that_cannot_be_run_is_an_error_that_names_it(self, command, number):
        with pytest.raises(OSError) as caught:
            spawn(ProgramPlan(command, {"PATH": "/usr/bin:/bin"}))
        assert (caught.value.errno, caught.value.filename) == (number, command[0])

    def test_so_is_a_directory_that_is_not_there(self):
        with pytest.raises(FileNotFoundError) as caught:
            spawn(ProgramPlan(["true"], directory="/no/such/directory"))
        assert caught.value.filename == "/no/such/directory"

    def test_a_failed_start_leaves_nothing(self):
        before = descriptors_before()
        for command in (["no-such-program-anywhere"], ["/etc"]):
            with pytest.raises(OSError):
                spawn(ProgramPlan(command))
        assert open_descriptors() == before
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)


class TestInheritance:
    def test_standard_streams(self, tmp_path):
        reader, writer = os.pipe()
        (tmp_path / "in").write_text("through\n")
        with open(tmp_path / "in") as source, open(tmp_path / "err", "w") as errors:
            stdio = (source.fileno(), writer, errors.fileno())
            program = spawn(ProgramPlan(["sh", "-c", "cat; echo bad >&2"], stdio=stdio))
        os.close(writer)
        assert os.read(reader, 100) == b"through\n"
        assert program.wait(10) == 0
        assert os.read(reader, 100) == b""
        program.close()
        os.close(reader)
        assert (tmp_path / "err").read_text() == "bad\n"

    def test_directory_environment_and_arguments(self, tmp_path):
        code, out = run(
            ["sh", "-c", 'pwd; echo "$SECRET"; echo "$0" "$1"', "a b", "ü"],
            directory=str(tmp_path),
            environment={"SECRET": "hidden ü", "PATH": os.environ["PATH"]},
        )
        assert (code, out) == (0, f"{tmp_path}\nhidden ü\na b ü\n")

    def test_a_big_environment(self):
        big = {f"V{i}": "x" * 1000 for i in range(500)} | {"PATH": os.environ["PATH"]}
        assert run(["sh", "-c", "echo ${#V499}"], environment=big)[1] == "1000\n"

    def test_no_other_descriptor(self):
        extra = os.open("/dev/null", os.O_RDONLY)
        os.set_inheritable(extra, True)
        try:
            assert run(["sh", "-c", "ls /proc/self/fd | wc -l"])[1].split() == ["4"]  # ls opens the fourth
        finally:
            os.close(extra)

    def test_signals_are_as_after_a_shell(self):
        """Python ignores SIGPIPE and the starter blocks everything; the program must see nothing of that."""
        NAMES = ("SigBlk", "SigIgn", "SigCgt")
        out = run(["cat", "/proc/self/status"])[1]
        sets = {line[:6]: int(line.split()[1], 16) for line in out.splitlines() if line[:6] in NAMES}
        the_c_librarys_own = 1 << 31 | 1 << 32  # which posix_spawn leaves ignored
        assert (sets["SigBlk"], sets["SigIgn"] & ~the_c_librarys_own, sets["SigCgt"]) == (0, 0, 0)

    def test_what_was_ignored_stays_ignored(self):
        def check_it():
            ignored = run(["grep", "SigIgn", "/proc/self/status"])[1]
            assert int(ignored.split()[1], 16) & 0x7FFFFFFF == 1 << signal.SIGHUP - 1

        in_child(check_it, lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))

    def test_process_group_and_session_stay(self):
        code, out = run([PYTHON, "-c", "import os; print(os.getsid(0), os.getpgid(0))"])
        assert (code, out) == (0, "0 0\n")  # both are the caller's, which has no number inside

    @pytest.mark.needs("root")
    def test_another_user_and_setuid(self):
        assert run(["id", "-u"], user=(65534, 65534, [])) == (0, "65534\n")
        code = "import os; os.setgroups([33]); os.setgid(33); os.setuid(33); print(os.getresuid(), os.getgroups())"
        assert run([PYTHON, "-c", code])[1] == "(33, 33, 33) [33]\n"

    @pytest.mark.needs("root")
    def test_root_has_no_power_past_files_and_processes(self):
        code, out = run(["sh", "-c", "grep -E 'Cap(Eff|Bnd)' /proc/self/status; mount -t tmpfs none /mnt; echo $?"])
        lines = out.split()
        allowed = sum(1 << number for number in capabilities.KEPT.values())
        assert code == 0
        assert int(lines[1], 16) & ~allowed == 0 == int(lines[3], 16) & ~allowed
        assert lines[-1] != "0"
        attach = (
            "import ctypes; c = ctypes.CDLL(None, use_errno=True); print(c.ptrace(16, 1, 0, 0), ctypes.get_errno())"
        )
        assert run([PYTHON, "-c", attach]) == (0, "-1 1\n"), (
            "EPERM: stopping init would stop whoever waits for its sockets"
        )

    @pytest.mark.needs("nobody", "userns")
    def test_an_ordinary_user_stays_who_he_is_and_gains_nothing(self):
        def check_it():
            uid = os.getuid()
            code, out = run(["sh", "-c", "id -u; grep -E 'CapEff|NoNewPrivs' /proc/self/status"])
            lines = out.split()
            assert (code, lines[0]) == (0, str(uid))
            assert int(lines[2], 16) == 0 and lines[4] == "1"

        in_child(check_it, become_nobody)


class TestIsolation:
    def test_private_files_and_hostname(self, as_user):
        script = "cat /etc/resolv.conf; cat /proc/sys/kernel/hostname"
        before = Path("/etc/resolv.conf").read_bytes()

        def check_it():
            _, out = run(["sh", "-c", script], files=RESOLV, hostname="cache")
            assert out.splitlines()[:2] == ["nameserver 10.0.2.3", "cache"]
            assert socket.gethostname() != "cache"

        as_user(check_it)
        assert Path("/etc/resolv.conf").read_bytes() == before

    def test_interface_listing_shows_nothing_of_the_host(self, as_user):
        code = "import socket; print(socket.if_nameindex()); print(open('/proc/net/dev').read().count(':'))"

        def check_it():
            assert run([PYTHON, "-c", code]) == (0, "[(1, 'lo')]\n1\n")

        as_user(check_it)

    def test_a_file_that_the_host_has_not_is_reported(self):
        with answered(["true"], files={"/no-such-directory/file": b"x", **RESOLV}) as (program, _):
            assert program.uncovered == ["/no-such-directory/file"]

    def test_process_ids_of_its_own(self, as_user):
        def check_it():
            with answered(["sleep", "100"]) as (program, _):
                if not program.own_proc:
                    pytest.skip("missing: a /proc that can be mounted")
            assert run(["sh", "-c", "echo $$ $PPID; ls /proc | grep -c '^[0-9]'"])[1].split()[:2] == ["2", "1"]

        as_user(check_it)

    def test_the_rest_of_the_file_system_is_the_hosts(self, tmp_path):
        run(["sh", "-c", f"echo made > {tmp_path}/file"])
        assert (tmp_path / "file").read_text() == "made\n"


class TestSignals:
    def test_they_reach_the_program(self, as_user):
        def check_it():
            reader, writer = os.pipe()
            script = "trap 'echo term; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
            with answered(["sh", "-c", script], stdio=(0, writer, 2)) as (program, _):
                assert os.read(reader, 10) == b"ready\n"
                assert program.send(signal.SIGTERM)
                assert exit_code(program.wait(10)) == 9
                assert os.read(reader, 10) == b"term\n"
                assert not program.send(signal.SIGTERM)

        as_user(check_it)

    def test_one_that_kills(self):
        with answered(["sleep", "100"]) as (program, _):
            assert program.poll() is None
            program.send(signal.SIGHUP)
            assert exit_code(program.wait(10)) == -signal.SIGHUP
            assert exit_code(program.poll()) == -signal.SIGHUP

    def test_waiting_gives_up(self):
        with answered(["sleep", "100"]) as (program, _):
            assert program.wait(0.05) is None

    def test_ctrl_c_of_the_group_ends_the_program_but_not_its_init(self):
        """The terminal signals the whole group: the program dies of it, and its status still comes through."""
        code = (
            "import os, signal, sys\n"
            "from rumpkit.guests.linux.spawn import ProgramPlan, spawn\n"
            "signal.signal(signal.SIGINT, lambda *a: None)\n"
            "p = spawn(ProgramPlan(['sleep', '100']))\n"
            "os.kill(0, signal.SIGINT)\n"
            "print(os.waitstatus_to_exitcode(p.wait(10)))\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, start_new_session=True)
        assert done.stdout == "-2\n", done.stderr


TREE = "sleep 1000 & setsid sleep 1000 & (trap '' TERM HUP INT; sleep 1000 & wait) & echo up; wait"


def descendants(pid: int) -> set[int]:
    """All processes below `pid`."""
    found: set[int] = set()
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as children:
            for child in children.read().split():
                found |= {int(child)} | descendants(int(child))
    return found


def gone_within(pids: set[int], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


class TestNoOrphans:
    def start(self):
        reader, writer = os.pipe()
        program = spawn(ProgramPlan(["sh", "-c", TREE], stdio=(0, writer, 2)))
        os.close(writer)
        assert os.read(reader, 10) == b"up\n"
        os.close(reader)
        family = descendants(program.init) | {program.init}
        assert len(family) >= 5
        return program, family

    def test_killing_ends_all(self, as_user):
        def check_it():
            program, family = self.start()
            program.kill()
            assert gone_within(family, 1)
            program.close()

        as_user(check_it)

    def test_daemons_end_with_the_program(self):
        program, family = self.start()
        os.kill(min(descendants(program.init)), signal.SIGKILL)
        assert exit_code(program.wait(5)) == -9
        assert gone_within(family, 1)
        program.close()

    def test_its_init_killed_from_outside(self):
        program, family = self.start()
        os.kill(program.init, signal.SIGKILL)
        assert exit_code(program.wait(5)) == -9
        assert gone_within(family, 1)
        program.close()

    @pytest.mark.parametrize("where", ["in the main thread", "in a thread that has ended"])
    def test_the_supervisor_killed(self, as_user, where):
        def check_it():
            reader, writer = os.pipe()
            supervisor = os.fork()
            if not supervisor:
                try:
                    box = []
                    if where == "in the main thread":
                        box.append(self.start())
                    else:
                        thread = threading.Thread(target=lambda: box.append(self.start()))
                        thread.start()
                        thread.join()
                        time.sleep(0.1)
                        assert all(alive(pid) for pid in box[0][1]), "it went with the thread that started it"
                    os.write(writer, " ".join(map(str, box[0][1])).encode())
                    time.sleep(100)
                finally:
                    os._exit(1)
            family = set(map(int, os.read(reader, 4096).split()))
            assert all(alive(pid) for pid in family)
            os.kill(supervisor, signal.SIGKILL)
            os.waitpid(supervisor, 0)
            assert gone_within(family, 1)

        as_user(check_it)

    def test_double_forked_children_are_reaped(self):
        script = (
            "for i in 1 2 3 4 5 6 7 8; do (sleep 0 &) ; done; sleep 0.3; grep -l 'State:.Z' /proc/[0-9]*/status | wc -l"
        )
        with answered(["true"]) as (program, _):
            if not program.own_proc:
                pytest.skip("missing: a /proc that can be mounted")
        assert run(["sh", "-c", script])[1].strip() == "0"


def test_starting_from_many_threads_at_once():
    codes: list[int] = []

    def start(code: int) -> None:
        program = spawn(ProgramPlan(["sh", "-c", f"exit {code}"]))
        codes.append(exit_code(program.wait(20)))
        program.close()

    threads = [threading.Thread(target=start, args=(code,)) for code in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == list(range(8))


def test_nothing_is_left_open_after_close():
    before = descriptors_before()
    for _ in range(3):
        program = spawn(ProgramPlan(["true"]))
        program.wait(10)
        program.close()
    assert open_descriptors() == before


class TestRequirements:
    def test_all_are_met_where_these_tests_run(self):
        assert [(need.name, reason) for need, reason in check.requirements() if reason] == []

    def test_what_is_missing_is_named_with_its_purpose_and_remedy(self, monkeypatch):
        broken = check.NAMESPACES._replace(probe=lambda: "user.max_user_namespaces is 0")
        monkeypatch.setattr(check, "REQUIREMENTS", (*check.REQUIREMENTS[:-1], broken))
        with pytest.raises(check.Missing) as caught:
            spawn(ProgramPlan(["true"]))
        text = str(caught.value)
        for part in ("user namespaces", "max_user_namespaces is 0", "network of its own", "sysctl -w"):
            assert part in text

    @pytest.mark.needs("nobody", "userns", "root")
    def test_user_namespaces_switched_off_for_real(self):
        """The limit of a user namespace inside of one: there the machine says no at the clone itself."""
        code = (
            "import sys; sys.path[:0] = " + repr(sys.path) + "\n"
            "from rumpkit.guests.linux import check, spawn\n"
            "check.privileged = lambda: False\n"
            "try: spawn.spawn(spawn.ProgramPlan(['true']))\n"
            "except check.Missing as problem: print(problem)\n"
        )
        script = f'echo 0 > /proc/sys/user/max_user_namespaces; exec {sys.executable} -c "$CODE"'
        done = subprocess.run(
            ["unshare", "-Ur", "sh", "-c", script], env=os.environ | {"CODE": code}, capture_output=True, text=True
        )
        assert "user namespaces for ordinary users is not available (user.max_user_namespaces is 0)" in done.stdout, (
            done
        )


def test_what_fails_beside_the_start_leaves_nothing_behind():
    def load() -> None:
        raise OSError(errno.EMFILE, "too many open files")

    def children() -> set[str]:
        found = set()
        for process in filter(str.isdecimal, os.listdir("/proc")):
            with suppress(OSError), open(f"/proc/{process}/stat") as stat:
                if int(stat.read().rpartition(") ")[2].split()[1]) == os.getpid():
                    found.add(process)
        return found

    def start(meanwhile: Callable[[], None]) -> None:
        spawn(ProgramPlan(["true"]), KernelSide(meanwhile=meanwhile)).close()

    start(lambda: None)  # and what starts programs stays
    before, descriptors = children(), len(descriptors_before())
    with pytest.raises(OSError) as caught:
        start(load)
    assert caught.value.errno == errno.EMFILE
    assert children() <= before
    assert len(open_descriptors()) == descriptors
