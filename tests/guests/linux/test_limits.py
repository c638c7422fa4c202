"""Limits of a program, hit by a real one: as root's, for somebody else, and as an ordinary user's."""

from __future__ import annotations

import resource
import signal

import pytest

from rumpkit.compose.limits import resource_limits
from rumpkit.compose.spec import LimitsSpec
from rumpkit.compose.users import Identity
from rumpkit.guests.linux.guest import Guest
from rumpkit.guests.linux.plan import ProgramPlan
from rumpkit.hosts.posix.host import PosixHost
from tests.guests.linux.guest_helpers import Output, two_kernels
from tests.guests.linux.sandbox_helpers import PYTHON, become_nobody, in_child

pytestmark = [pytest.mark.needs("linux", "seccomp", "netns"), pytest.mark.once]

NOBODY = (65534, 65534, [65534])
SHOW = """
import errno, os, resource, signal, sys
def outcome(call):
    try:
        return call()
    except MemoryError:
        return "ENOMEM"
    except OSError as problem:
        return errno.errorcode[problem.errno]
    except ValueError:
        return "refused"
"""
FILES = "print(outcome(lambda: [os.open('/', 0) for _ in range(100)]))"
MEMORY = "print(outcome(lambda: len(bytearray(200 << 20))), outcome(lambda: len(bytearray(1 << 20))))"
RESERVED = "import mmap; print(len(mmap.mmap(-1, 1 << 30, mmap.MAP_PRIVATE, mmap.PROT_READ)))"
RAISED = """
import ctypes
print(outcome(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128))))
print(outcome(lambda: resource.prlimit(0, resource.RLIMIT_NOFILE, (64, 128))))
"""
CHILDREN = """
import time
def fork():
    for _ in range(40):
        if not os.fork():
            time.sleep(60)
print(outcome(fork))
"""
LARGE = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
fd = os.memfd_create("large")
print(os.write(fd, bytes(5000)), outcome(lambda: os.write(fd, bytes(5000))))
"""


def ran(code: str, limits: LimitsSpec, user: Identity | None = None) -> tuple[int, str]:
    """The exit code of a program under limits, and what it says."""
    output = Output()
    with two_kernels() as (here, _):
        command = [PYTHON, "-S", "-c", SHOW + code]
        # Of each process, whatever control groups this machine has.
        given = resource_limits(limits)
        assert isinstance(here.host, PosixHost)
        plan = ProgramPlan(command, directory="/", stdio=(0, output.fd, 2), user=user, limits=given)
        guest = Guest.start(here.core, here.host, plan)
        try:
            return guest.wait(60), output.text().strip()
        finally:
            guest.close()


@pytest.mark.parametrize(
    ("code", "limits", "said"),
    [
        (FILES, LimitsSpec(files=64), "EMFILE"),
        (MEMORY, LimitsSpec(memory="100M"), f"ENOMEM {1 << 20}"),
        (RESERVED, LimitsSpec(memory="100M"), f"{1 << 30}"),
        (LARGE, LimitsSpec(file_size="6K"), "5000 1144"),
        (RAISED, LimitsSpec(files=64), "refused\nEPERM"),
        ("print(resource.getrlimit(resource.RLIMIT_CORE))", LimitsSpec(core="0"), "(0, 0)"),
    ],
)
def test_a_limit_is_hit(code: str, limits: LimitsSpec, said: str) -> None:
    assert ran(code, limits) == (0, said)


def test_the_time_of_a_processor_is_up() -> None:
    assert ran("while True: pass", LimitsSpec(cpu_time="1s"))[0] == -signal.SIGXCPU


@pytest.mark.needs("root", "nobody")
@pytest.mark.parametrize("code", [CHILDREN, RAISED])
def test_somebody_elses_processes_are_counted(code: str) -> None:
    said = ran(code, LimitsSpec(processes=20, files=64), NOBODY)
    assert said == (0, "EAGAIN" if code is CHILDREN else "refused\nEPERM")


@pytest.mark.needs("nobody", "userns")
def test_an_ordinary_users_programs_are_counted_by_themselves() -> None:
    def tried() -> None:
        assert ran(CHILDREN, LimitsSpec(processes=20)) == (0, "EAGAIN")
        assert ran(RAISED, LimitsSpec(files=64)) == (0, "refused\nEPERM")

    in_child(tried, become_nobody)


@pytest.mark.needs("nobody", "userns")
def test_what_is_inherited_is_not_exceeded() -> None:
    def lowered() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (500, 600))
        become_nobody()

    def tried() -> None:
        code = "print(resource.getrlimit(resource.RLIMIT_NOFILE))"
        assert ran(code, LimitsSpec(files=1000)) == (0, "(600, 600)")
        assert ran(code, LimitsSpec()) == (0, "(500, 600)")

    in_child(tried, lowered)
