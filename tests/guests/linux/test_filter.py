"""The seccomp program, run by a BPF interpreter of the test's own and decoded from the bytes that the kernel gets."""

from __future__ import annotations

import struct

import pytest

from rumpkit.guests.linux import abi
from rumpkit.guests.linux.calls import HANDLERS, LIMITED
from rumpkit.guests.linux.fences import ALLOWED
from rumpkit.guests.linux.filter import (
    ALLOW,
    KILL,
    NOTIFY,
    RULES,
    SEEN,
    TIOCSTI,
    TRACE,
    Assembler,
    build,
    build_tracing,
    refuse,
)
from rumpkit.guests.linux.numbers import NUMBERS
from rumpkit.kern.abi import errno, socket

MACHINES = sorted(abi.SYSCALLS)


def verdict(
    machine: str,
    number: int,
    *arguments: int,
    arch: int | None = None,
    more: tuple[str, ...] = (),
    code: bytes = b"",
) -> int:
    """What the program says of a call (the four instructions that it may consist of)."""
    arch = abi.AUDIT_ARCH[machine] if arch is None else arch
    words = [argument & (1 << 64) - 1 for argument in (*arguments, *[0] * 6)][:6]
    data = struct.pack("<iIQ6Q", number, arch, 0, *words)
    program = list(struct.iter_unpack("<HBBI", code or build(machine, more)))
    place = accumulator = 0
    while True:
        operation, true, false, operand = program[place]
        place += 1
        match operation:
            case 0x20:
                accumulator = struct.unpack_from("<I", data, operand)[0]
            case 0x15:
                place += true if accumulator == operand else false
            case 0x35:
                place += true if accumulator >= operand else false
            case 0x45:
                place += true if accumulator & operand else false
            case 0x06:
                return int(operand)
            case other:
                raise AssertionError(f"instruction {other:#x}")


@pytest.mark.parametrize("machine", MACHINES)
class TestVerdicts:
    def call(self, machine: str, name: str, *arguments: int) -> int:
        return verdict(machine, NUMBERS[machine][name], *arguments)

    @pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
    def test_internet_sockets_are_ours(self, machine, family):
        assert self.call(machine, "socket", family, socket.SOCK_STREAM) == NOTIFY

    @pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_NETLINK])
    def test_local_sockets_are_the_hosts(self, machine, family):
        assert self.call(machine, "socket", family) == ALLOW

    def test_other_ways_out_are_closed(self, machine):
        vsock = 40
        assert self.call(machine, "socket", socket.AF_PACKET) == refuse(errno.EPERM)
        assert self.call(machine, "socket", vsock) == refuse(errno.EAFNOSUPPORT)
        for name in ("io_uring_setup", "io_uring_enter", "io_uring_register"):
            assert self.call(machine, name) == refuse(errno.ENOSYS)

    def test_only_the_low_half_of_an_int_argument_counts(self, machine):
        assert self.call(machine, "socket", socket.AF_UNIX | 7 << 32) == ALLOW

    @pytest.mark.parametrize(
        "name", ["connect", "accept", "accept4", "bind", "listen", "getsockname", "getpeername", "getsockopt"]
    )
    def test_calls_that_are_notified_whatever_their_arguments(self, machine, name):
        assert self.call(machine, name, 3, 0, 0) == NOTIFY
        assert self.call(machine, name, *[(1 << 64) - 1] * 6) == NOTIFY

    @pytest.mark.parametrize("option", [socket.TCP_CORK, socket.TCP_QUICKACK])
    def test_cork_and_quickack_succeed_without_us(self, machine, option):
        assert self.call(machine, "setsockopt", 3, socket.IPPROTO_TCP, option) == refuse(0)
        assert self.call(machine, "setsockopt", 3, socket.SOL_SOCKET, option) == NOTIFY

    def test_other_options_are_notified(self, machine):
        assert self.call(machine, "setsockopt", 3, socket.IPPROTO_TCP, socket.TCP_NODELAY) == NOTIFY
        assert self.call(machine, "setsockopt", 3, socket.SOL_SOCKET, socket.SO_REUSEADDR) == NOTIFY

    def test_of_all_other_calls_those_on_the_list_are_allowed(self, machine):
        ours = {NUMBERS[machine][name] for name, _ in RULES}
        allowed = {NUMBERS[machine][name] for name in ALLOWED if name in NUMBERS[machine]}
        assert not allowed & ours
        for number in {*range(600), 1 << 20, 0x3FFFFFFF} - ours:
            assert verdict(machine, number, 2, 6, 3) == (ALLOW if number in allowed else NOTIFY)

    def test_more_can_be_allowed(self, machine):
        number = NUMBERS[machine]["ptrace"]
        assert verdict(machine, number) == NOTIFY
        assert verdict(machine, number, more=("ptrace",)) == ALLOW
        assert verdict(machine, number + 1, more=("ptrace",)) == verdict(machine, number + 1)

    def test_a_traced_call_of_the_kernel_stops_first_and_has_its_verdict_then(self, machine):
        traced = ("connect", "setsockopt", "unshare", "chown", "no such call")
        code = build(machine, (), True, traced)
        for name in ("connect", "setsockopt", "unshare", "fchownat", "bind"):
            number, before = (
                NUMBERS[machine][name],
                verdict(machine, NUMBERS[machine][name], code=build(machine, (), True)),
            )
            if name in traced:
                for last in (0, SEEN - 1, SEEN + 1):
                    assert verdict(machine, number, 0, 0, 0, 0, 0, last, code=code) == TRACE
            assert verdict(machine, number, 0, 0, 0, 0, 0, SEEN, code=code) == before
        assert verdict(machine, NUMBERS[machine]["connect"], 0, 0, 0, 0, 0, SEEN, code=code) == NOTIFY
        assert verdict(machine, NUMBERS[machine]["read"], code=code) == ALLOW

    def test_a_traced_call_of_linux_stops_by_the_second_program_alone(self, machine):
        traced = ("read", "clone", "connect", "execve")
        first, second = build(machine, (), False, traced), build_tracing(machine, traced)
        for name in ("read", "clone", "execve"):
            number = NUMBERS[machine][name]
            assert verdict(machine, number, code=first) == ALLOW
            assert verdict(machine, number, code=second) == TRACE
        for name in ("connect", "write", "unshare"):
            assert verdict(machine, NUMBERS[machine][name], code=second) == ALLOW

    def test_nobody_types_into_a_terminal_but_its_user(self, machine):
        assert self.call(machine, "ioctl", 0, TIOCSTI, 0) == NOTIFY
        assert self.call(machine, "ioctl", 0, TIOCSTI | 1 << 32, 0) == NOTIFY
        assert self.call(machine, "ioctl", 0, 0x5401, 0) == ALLOW

    def test_processes_stay_in_their_namespaces(self, machine):
        thread = 0x3D0F00
        assert self.call(machine, "clone", thread) == ALLOW
        for flag in (abi.CLONE_NEWUSER, abi.CLONE_NEWNET, abi.CLONE_NEWNS, abi.CLONE_NEWPID, abi.CLONE_NEWUTS):
            assert self.call(machine, "clone", thread | flag) == NOTIFY
        assert self.call(machine, "clone3") == refuse(errno.ENOSYS)

    def test_every_call_that_is_meant_for_the_kernel_has_a_handler(self, machine):
        for name in HANDLERS:
            assert self.call(machine, name, socket.AF_INET, LIMITED.get(name, 0)) == NOTIFY

    def test_what_of_shutdown_and_ioctl_is_native(self, machine):
        assert [self.call(machine, "shutdown", 3, how) for how in range(4)] == [NOTIFY, ALLOW, NOTIFY, NOTIFY]
        assert self.call(machine, "ioctl", 3, 0x5411) == NOTIFY
        for request in (0x541B, 0x8905, 0x5421):
            assert self.call(machine, "ioctl", 3, request) == ALLOW

    def test_a_foreign_architecture_is_killed(self, machine):
        i386 = 0x40000003
        assert verdict(machine, 1, arch=i386) == KILL
        other = next(name for name in MACHINES if name != machine)
        assert verdict(machine, 1, arch=abi.AUDIT_ARCH[other]) == KILL


def test_x32_calls_do_not_exist():
    numbers = abi.SYSCALLS["x86_64"]
    assert verdict("x86_64", numbers["socket"] | abi.X32_SYSCALL_BIT, socket.AF_INET) == refuse(errno.ENOSYS)


def test_the_common_calls_are_decided_by_their_number_alone():
    """The kernel skips the program for calls that it allows without loading an argument; data calls are such calls."""
    for sendmsg, recvmsg, sendto, recvfrom in ((46, 47, 44, 45),):
        for number in (0, 1, sendmsg, recvmsg, sendto, recvfrom, 20, 40, 232):
            assert verdict("x86_64", number, *[(1 << 64) - 1] * 6) == ALLOW


def test_a_jump_too_long_for_bpf_is_refused():
    code = Assembler()
    code.unless_equal(1, "far")
    for _ in range(256):
        code.answer(ALLOW)
    code.label("far")
    code.answer(KILL)
    with pytest.raises(ValueError, match="jump to far is 256 instructions long"):
        code.assemble()
