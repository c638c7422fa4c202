"""Framing of gdb's packets, and the tables of registers and signals."""

from __future__ import annotations

import os
import signal
import xml.etree.ElementTree as ElementTree

import pytest

from rumpkit.guests.linux.tracing import ptrace
from rumpkit.guests.linux.tracing.gdb.packets import INTERRUPT, MAX_PACKET, BadPacket, Decoder, encode, escape, unescape
from rumpkit.guests.linux.tracing.gdb.registers import LAYOUTS, get, put, read
from rumpkit.guests.linux.tracing.gdb.signals import FROM_GDB, TO_GDB

SIZES = {"x86_64": (27 * 8, 512), "aarch64": (34 * 8, 528)}
"""Of Linux's two sets of registers."""


def test_a_packet() -> None:
    assert encode(b"OK") == b"$OK#9a"
    assert Decoder().feed(b"+$OK#9a") == [(b"OK", True)]
    assert Decoder().feed(b"$OK#00") == [(b"OK", False)]


def test_packets_in_pieces_with_an_interruption() -> None:
    decoder = Decoder()
    found = [one for byte in b"$g#67\x03-$?#3f" for one in decoder.feed(bytes((byte,)))]
    assert found == [(b"g", True), (INTERRUPT, True), (b"?", True)]


def test_binary_data() -> None:
    data = bytes(range(256))
    assert unescape(escape(data)) == data
    assert not set(escape(data)) & set(b"$#*")
    assert unescape(b"a}") == b"a}"


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"\x00", b"$" + bytes(MAX_PACKET + 1)])
def test_what_is_no_packet(data: bytes) -> None:
    with pytest.raises(BadPacket):
        Decoder().feed(data)


@pytest.mark.parametrize("machine", SIZES)
def test_registers_lie_within_what_linux_gives_and_do_not_overlap(machine: str) -> None:
    layout = LAYOUTS[machine]()
    sizes = dict(zip((ptrace.NT_PRSTATUS, ptrace.NT_FPREGSET), SIZES[machine], strict=True))
    taken: set[tuple[int, int]] = set()
    for one in layout.registers:
        places = {(one.set, at) for at in range(one.offset, one.offset + one.width)}
        assert one.offset + one.width <= sizes[one.set] and one.width <= one.size
        assert not places & taken, one
        taken |= places
    sets = {which: os.urandom(size) for which, size in sizes.items()}
    assert len(read(layout, sets)) == sum(one.size for one in layout.registers)
    put(layout.pc, sets, (0x1234).to_bytes(8, "little"))
    assert get(layout.pc, sets) == (0x1234).to_bytes(8, "little")
    described = ElementTree.fromstring(layout.target_xml().replace(b'<!DOCTYPE target SYSTEM "gdb-target.dtd">', b""))
    assert [one.get("name") for one in described.iter("reg")] == [one.name for one in layout.registers]


def test_the_general_registers_of_x86_64_come_in_gdbs_order() -> None:
    # gdb without a description counts them so, and takes 308 bytes up to fop for granted.
    layout = LAYOUTS["x86_64"]()
    names = [one.name for one in layout.registers]
    assert names[:3] + names[16:18] == ["rax", "rbx", "rcx", "rip", "eflags"]
    assert sum(one.size for one in layout.registers[: names.index("xmm0")]) == 17 * 8 + 7 * 4 + 8 * 10 + 8 * 4


def test_signals_there_and_back() -> None:
    assert (TO_GDB[signal.SIGUSR1], TO_GDB[signal.SIGSEGV], TO_GDB[34]) == (30, 11, 46)
    assert all(FROM_GDB[theirs] == ours for ours, theirs in TO_GDB.items())
    assert all(number in TO_GDB for number in signal.Signals if number != 16)
