"""Structures and numbers as strace writes them, from memory of our own."""

from __future__ import annotations

import ctypes
import os
import struct

import pytest

from rumpkit.guests.linux.tracing.decode import addresses, names, options, writer
from rumpkit.guests.linux.tracing.decode.call import Call, quoted
from rumpkit.guests.linux.tracing.decode.kinds import LATER, NOW
from rumpkit.guests.linux.tracing.decode.signatures import CLASSES, SIGNATURES
from rumpkit.guests.linux.tracing.peek import Peek

HOLDS: list[object] = []

pytestmark = pytest.mark.needs("linux")


def call(name: str, *arguments: int | bytes, result: int = 0) -> Call:
    """A call whose pointers point into this process."""
    words = []
    for argument in arguments:
        if isinstance(argument, bytes):
            HOLDS.append(buffer := ctypes.create_string_buffer(argument, max(len(argument), 1)))
            argument = ctypes.addressof(buffer)
        words.append(argument & (1 << 64) - 1)
    made = Call(Peek(), os.getpid(), name, (*words, *[0] * (6 - len(words))))
    writer.begin(made)
    made.result, made.failed = result, result < 0
    return made


def shown(name: str, *arguments: int | bytes, result: int = 0) -> str:
    made = call(name, *arguments, result=result)
    return f"{', '.join(writer.arguments(made))} = {writer.result(made)}"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (shown("socket", 2, 1 | 0o2004000, 6, result=3), "AF_INET, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, IPPROTO_TCP = 3"),
        (shown("socket", 99, 9, 0, result=-97), "0x63, 0x9 /* SOCK_??? */, 0 = -1 EAFNOSUPPORT (Address family not supported by protocol)"),
        (
            shown("connect", 3, struct.pack("<H", 2) + b"\0\x50\x0a\0\2\2" + bytes(8), 16),
            '3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("10.0.2.2")}, 16 = 0',
        ),
        (shown("connect", 3, struct.pack("<H", 1) + b"\0abc", 6), '3, {sa_family=AF_UNIX, sun_path=@"abc"}, 6 = 0'),
        (shown("connect", 3, 0xDEAD, 16, result=-14), "3, 0xdead, 16 = -1 EFAULT (Bad address)"),
        (shown("setsockopt", 3, 6, 1, struct.pack("i", 1), 4), "3, SOL_TCP, TCP_NODELAY, [1], 4 = 0"),
        (shown("setsockopt", 3, 1, 13, struct.pack("ii", 1, 5), 8), "3, SOL_SOCKET, SO_LINGER, {l_onoff=1, l_linger=5}, 8 = 0"),
        (shown("setsockopt", 3, 6, 13, b"reno", 4), '3, SOL_TCP, TCP_CONGESTION, "reno", 4 = 0'),
        (shown("write", 1, b"a\n\0001\xff", 5, result=5), '1, "a\\n\\0001\\377", 5 = 5'),
        (shown("openat", -100, b"/x\0", 0o100 | 2, 0o600, result=4), 'AT_FDCWD, "/x", O_RDWR|O_CREAT, 0600 = 4'),
        (shown("openat", -100, b"/x\0", 0, 0xFFFF, result=4), 'AT_FDCWD, "/x", O_RDONLY = 4'),
        (shown("epoll_ctl", 4, 1, 5, struct.pack("<Iq", 1, 5)), "4, EPOLL_CTL_ADD, 5, {events=EPOLLIN, data={u32=5, u64=5}} = 0"),
        (shown("accept", 3, 0, 0, result=-513), "3, NULL, NULL = ? ERESTARTNOINTR (To be restarted)"),
        (
            shown("clone", 0x1200011, 0, 0, 0, 0, result=7),
            "child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=NULL = 7",
        ),
        (
            shown("clone3", struct.pack("<8Q", 0x100, 0, 0, 0, 17, 0, 0, 0), 64, result=-38),
            "{flags=CLONE_VM, exit_signal=SIGCHLD, stack=NULL, stack_size=0}, 64 = -1 ENOSYS (Function not implemented)",
        ),
        (shown("getrandom", b"a\xff", 2, 1, result=2), '"\\x61\\xff", 2, GRND_NONBLOCK = 2'),
        (
            shown("statx", -100, b"/x\0", 0x4100, 0x7FF, struct.pack("<I4xQ12xH10xQ", 0x17FF, 0x10, 0o100644, 5), result=0),
            'AT_FDCWD, "/x", AT_STATX_DONT_SYNC|AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, {stx_mask=STATX_BASIC_STATS|STATX_MNT_ID, '
            "stx_attributes=STATX_ATTR_IMMUTABLE, stx_mode=S_IFREG|0644, stx_size=5, ...} = 0",
        ),
        (
            shown("sysinfo", struct.pack("<q9QH6xQQI4x", *range(10), 11, 12, 13, 14), result=0),
            "{uptime=0, loads=[1, 2, 3], totalram=4, freeram=5, sharedram=6, bufferram=7, totalswap=8, freeswap=9, procs=11, "
            "totalhigh=12, freehigh=13, mem_unit=14} = 0",
        ),
        (shown("mystery", 1, 2, result=0), "0x1, 0x2, 0, 0, 0, 0 = 0"),
    ],
)  # fmt: skip
def test_calls(found: str, expected: str) -> None:
    assert found == expected


def test_a_length_that_the_call_changes() -> None:
    name = struct.pack("<H", 2) + b"\0\x50\x7f\0\0\1" + bytes(8)
    made = call("getsockname", 3, name, struct.pack("I", 128))
    ctypes.memmove(made.arguments[2], struct.pack("I", 16), 4)
    said = writer.arguments(made)
    assert said[1:] == ['{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}', "[128 => 16]"]


def test_a_message_with_control_data() -> None:
    data = ctypes.create_string_buffer(b"abcdef")
    rights = struct.pack("<QiiI4x", 20, 1, 1, 7)
    control = ctypes.create_string_buffer(rights, len(rights))
    vector = struct.pack("<QQ", ctypes.addressof(data), 6)
    base = ctypes.create_string_buffer(vector, 16)
    header = struct.pack("<QI4xQQQQI4x", 0, 0, ctypes.addressof(base), 1, ctypes.addressof(control), 24, 0)
    assert addresses.message(
        call("sendmsg", 3, header, 0), ctypes.addressof(ctypes.create_string_buffer(header)), 3
    ) == (
        '{msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="abc", iov_len=6}], msg_iovlen=1, '
        "msg_control=[{cmsg_len=20, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[7]}], msg_controllen=24, msg_flags=0}"
    )


def test_control_messages_of_a_hostile_program() -> None:
    for data in (
        b"",
        bytes(15),
        bytes(64),
        struct.pack("<Qii", 1 << 60, 1, 1),
        struct.pack("<Qii", 16, 1, 2),
        os.urandom(64),
    ):
        assert addresses.control_messages(data).startswith("[")


def test_strings() -> None:
    assert quoted(b"abc", 2, 3) == '"ab"...'
    assert quoted(b'"\\\x1b7', 10, 4) == '"\\"\\\\\\0337"'


def test_flags_and_options() -> None:
    assert names.flags(0x4040, names.MESSAGE_FLAGS) == "MSG_DONTWAIT|MSG_NOSIGNAL"
    assert names.flags(1 << 17, names.MESSAGE_FLAGS) == "0x20000"
    assert options.option_name(1, 2) == "SO_REUSEADDR" and options.option_name(41, 26) == "IPV6_V6ONLY"
    assert options.option_name(0, 10) == "IP_MTU_DISCOVER" and options.option_name(1, 999) == "0x3e7"
    assert names.signal_name(34) == "SIGRT_2"


def test_every_kind_of_every_signature_is_known() -> None:
    used = {kind.rstrip("?") for kinds in SIGNATURES.values() for kind in kinds}
    assert used <= NOW.keys() | LATER.keys()
    assert max(map(len, SIGNATURES.values())) <= 6


def test_classes_have_calls_that_are_there() -> None:
    from rumpkit.guests.linux.numbers import NUMBERS

    known = {name for table in NUMBERS.values() for name in table}
    assert all(calls <= known for calls in CLASSES.values())
    assert set(SIGNATURES) <= known


def test_entries_of_a_directory_are_counted_as_far_as_they_are_whole() -> None:
    one = struct.pack("<QQH6x", 1, 1, 24)
    assert " /* 2 entries */" in shown("getdents64", 3, one * 2, 48, result=48)
    assert " /* 1 entries */" in shown("getdents64", 3, one + bytes(24), 48, result=48)
