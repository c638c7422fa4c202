"""The starter that is kept ready: used again, exchanged when what it hands down has changed, gone with its last user."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from rumpkit.guests.linux.launcher import Launcher, Share, surroundings
from rumpkit.guests.linux.plan import ProgramPlan
from rumpkit.guests.linux.spawn import spawn

pytestmark = [pytest.mark.needs("linux", "seccomp", "netns"), pytest.mark.once]


@pytest.fixture
def launcher():
    launcher = Launcher()
    yield launcher
    launcher.close()


def children() -> set[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as listing:
        return set(map(int, listing.read().split()))


def starters() -> set[int]:
    """Of the children, those that are not the first process of other namespaces."""
    ours = os.readlink("/proc/self/ns/pid")
    found = set()
    for child in children():
        try:
            if os.readlink(f"/proc/{child}/ns/pid") == ours:
                found.add(child)
        except OSError:  # it has gone
            pass
    return found


def said(launcher: Launcher, script: str) -> str:
    """What a shell script prints."""
    reader, writer = os.pipe()
    program = spawn(ProgramPlan(["sh", "-c", script], stdio=(0, writer, 2)), launcher=launcher)
    os.close(writer)
    with open(reader) as output:
        text = output.read()
    assert program.wait(10) == 0
    program.close()
    return text


def test_one_starter_starts_many_programs(launcher):
    before = children()
    launcher.prepare()
    (starter,) = starters() - before
    for number in range(5):
        assert said(launcher, f"echo {number}") == f"{number}\n"
    assert starters() - before == {starter}
    launcher.close()
    assert children() == before


def test_a_program_does_not_see_what_was_opened_for_another(launcher):
    held = open("/dev/null")  # noqa: SIM115
    os.set_inheritable(held.fileno(), True)
    try:
        for _ in range(3):
            assert said(launcher, "ls /proc/self/fd | wc -l").split() == ["4"]  # ls opens the fourth
    finally:
        held.close()


def test_what_is_inherited_is_ours_of_today(launcher):
    assert said(launcher, "umask") == f"{current_umask():04o}\n"
    before = os.umask(0o027)
    try:
        assert said(launcher, "umask") == "0027\n"
    finally:
        os.umask(before)


def test_ignored_signals_are_ours_of_today(launcher):
    launcher.prepare()
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        ignored = int(said(launcher, "grep SigIgn /proc/self/status").split()[1], 16)
        assert ignored & 1 << signal.SIGUSR2 - 1
    finally:
        signal.signal(signal.SIGUSR2, before)
    ignored = int(said(launcher, "grep SigIgn /proc/self/status").split()[1], 16)
    assert not ignored & 1 << signal.SIGUSR2 - 1


def test_one_that_was_killed_is_replaced(launcher):
    before = children()
    launcher.prepare()
    (starter,) = starters() - before
    os.kill(starter, signal.SIGKILL)
    os.waitid(os.P_PID, starter, os.WEXITED | os.WNOWAIT)
    assert said(launcher, "echo again") == "again\n"


@pytest.mark.parametrize("ready", [False, True])
def test_what_is_discarded_is_closed_here_and_there(launcher, ready):
    if ready:
        launcher.prepare()
    reader, writer = os.pipe()
    launcher.discard([writer])
    assert os.read(reader, 1) == b""
    os.close(reader)
    assert said(launcher, "echo still there") == "still there\n"


def test_it_goes_with_us():
    code = (
        "import os, signal\n"
        "from rumpkit.guests.linux.launcher import Launcher\n"
        "launcher = Launcher(); launcher.prepare()\n"
        "print(open(f'/proc/self/task/{os.getpid()}/children').read(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    watched = os.pidfd_open(starter) if (starter := int(done.stdout)) and os.path.exists(f"/proc/{starter}") else -1
    if watched >= 0:  # it has still to notice
        import select

        poll = select.poll()
        poll.register(watched, select.POLLIN)
        assert poll.poll(30_000)
        os.close(watched)


def test_parts_share_one_until_the_last_is_closed():
    Share().close()  # what other tests have prepared
    before = children()
    one, two = Share(), Share()
    one.launcher.prepare()
    assert one.launcher is two.launcher
    one.close()
    one.close()
    assert len(starters() - before) == 1
    two.close()
    assert children() == before


def current_umask() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1], 8) for line in status if line.startswith("Umask"))


def inits() -> set[int]:
    """Of the children, those that are the first process of other namespaces."""
    return children() - starters()


def test_an_init_that_was_killed_while_it_waited_is_not_missed(launcher):
    before = inits()
    launcher.prepare()
    wait_for(lambda: inits() - before)
    (ready,) = inits() - before
    os.kill(ready, signal.SIGKILL)
    os.waitid(os.P_PID, ready, os.WEXITED | os.WNOWAIT)
    for _ in range(2):
        program = spawn(ProgramPlan(["true"], hostname="rump"), launcher=launcher)
        assert program.wait(10) == 0
        program.close()
    launcher.close()
    assert inits() == before


def test_a_program_has_the_init_that_was_ready_for_it(launcher):
    before, around = inits(), surroundings()
    launcher.prepare()
    for _ in range(2):
        wait_for(lambda: inits() - before)
        ready = inits() - before
        program = spawn(ProgramPlan(["true"], hostname="rump"), launcher=launcher)
        # Where what is inherited has changed, the starter is exchanged, and with it the init.
        assert {program.init} == ready, (before, around, surroundings())
        assert program.wait(10) == 0
        program.close()


def test_what_needs_other_namespaces_leaves_it_alone(launcher):
    before = inits()
    launcher.prepare()
    wait_for(lambda: inits() - before)
    ready = inits() - before
    program = spawn(ProgramPlan(["true"]), launcher=launcher)  # without a host name of its own
    assert {program.init} != ready
    assert program.wait(10) == 0
    program.close()
    assert inits() - before == ready


def wait_for(condition: Callable[[], object]) -> None:
    while not condition():  # a test has a time limit
        time.sleep(0.01)
