"""What a program may not do, tried by a real one; and the tables behind it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from rumpkit.guests.linux import abi
from rumpkit.guests.linux.fences import ALLOWED, PRIVILEGED, errno_of, name_of
from rumpkit.guests.linux.numbers import NUMBERS
from rumpkit.kern.abi import errno
from tests.guests.linux.guest_helpers import Output, python, two_kernels
from tests.guests.linux.sandbox_helpers import PYTHON

HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")

TRIES = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for line in {tries!r}:
    number, *arguments = line
    result = libc.syscall(*[ctypes.c_long(word) for word in line])
    print(ctypes.get_errno() if result == -1 else 0)
"""
NEW_USER, NEW_NET = 0x10000000, 0x40000000
TRIED = (
    ("ptrace", (0,), errno.EPERM),  # PTRACE_TRACEME
    ("process_vm_readv", (1, 0, 0, 0, 0, 0), errno.EPERM),
    ("pidfd_getfd", (0, 0, 0), errno.EPERM),
    ("unshare", (NEW_USER,), errno.EPERM),
    ("setns", (0, 0), errno.EPERM),
    ("clone", (NEW_USER | NEW_NET | 17, 0, 0, 0, 0), errno.EPERM),
    ("mount", (0, 0, 0, 0, 0), errno.EPERM),
    ("open_by_handle_at", (0, 0, 0), errno.EPERM),
    ("keyctl", (0, 0, 0), errno.EPERM),
    ("bpf", (0, 0, 0), errno.EPERM),
    ("perf_event_open", (0, 0, -1, -1, 0), errno.EPERM),
    ("userfaultfd", (0,), errno.EPERM),
    ("personality", (0x0004000,), errno.EPERM),
    ("ioctl", (0, 0x5412, 0), errno.EPERM),  # TIOCSTI
    ("uselib", (0,), errno.ENOSYS),
)
UNHEARD = (
    ("io_uring_setup", (8, 0), errno.ENOSYS),
    ("clone3", (0, 0), errno.ENOSYS),
    ("socket", (38, 5, 0), errno.EAFNOSUPPORT),  # AF_ALG
    ("personality", (0xFFFFFFFF,), 0),
)


def test_the_tables_agree():
    assert not ALLOWED & PRIVILEGED
    assert set(NUMBERS["x86_64"]) >= ALLOWED | PRIVILEGED
    for machine, numbers in abi.SYSCALLS.items():
        assert {name: NUMBERS[machine][name] for name in numbers} == numbers


@pytest.mark.skipif(not HEADER.is_file(), reason="missing: unistd_64.h")
def test_the_numbers_are_those_of_the_c_library():
    told = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", HEADER.read_text())}
    assert len(told) > 300
    assert {name: NUMBERS["x86_64"].get(name) for name in told} == told


def test_what_a_call_fails_with():
    assert errno_of("ptrace") == errno.EPERM
    assert errno_of("uselib") == errno.ENOSYS
    assert name_of("x86_64", 101) == "ptrace"
    assert name_of("x86_64", 9999) == "9999"


@pytest.mark.needs("linux", "seccomp", "netns")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="missing: x86-64")
def test_a_program_that_tries_is_refused_and_counted():
    numbers = NUMBERS["x86_64"]
    tried = [(numbers[name], *arguments) for name, arguments, _ in (*TRIED, *UNHEARD)]
    output = Output()
    with two_kernels() as (here, _), python(here, TRIES.format(tries=tried), output) as guest:
        assert guest.wait(30) == 0
        refusals = dict(guest.refusals)
    assert [int(word) for word in output.text().split()] == [number for _, _, number in (*TRIED, *UNHEARD)]
    assert [(refusal.call, refusal.errno) for refusal in refusals] == [(name, number) for name, _, number in TRIED]
    assert {refusal.command for refusal in refusals} == {Path(PYTHON).name}
    assert set(refusals.values()) == {1}


@pytest.mark.needs("linux", "seccomp", "netns")
def test_what_is_allowed_besides_works():
    trace_me = "import ctypes; print(ctypes.CDLL(None).ptrace(0, 0, 0, 0))"
    output = Output()
    with two_kernels() as (here, _):
        guest = here.run([PYTHON, "-c", trace_me], stdout=output.fd, allow=["ptrace"])
        assert guest.wait(30) == 0
        assert not guest.refusals
    assert output.text() == "0\n"
