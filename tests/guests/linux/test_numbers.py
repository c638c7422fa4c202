"""What a program has cost: the bytes of all its sockets."""

from __future__ import annotations

import pytest

from rumpkit.kern.abi.socket import AF_INET, SOCK_DGRAM
from tests.guests.linux.guest_helpers import THERE, Output, python, two_kernels

pytestmark = [pytest.mark.needs("linux", "seccomp", "netns"), pytest.mark.once]

DATAGRAMS = """
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("0.0.0.0", 7000))
udp.sendto(b"a" * 300, (THERE, 7000))
print(len(udp.recv(1000)))
"""
ECHO = """
ping = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
ping.sendto(b"\\x08\\0\\0\\0\\0\\0\\0\\x01" + b"p" * 92, (THERE, 0))
print(len(ping.recv(1000)))
"""


def test_datagrams_are_counted() -> None:
    output = Output()
    with two_kernels() as (here, there):
        peer = there.process()
        fd = peer.socket(AF_INET, SOCK_DGRAM, 0)
        peer.bind(fd, (THERE, 7000))
        with python(here, DATAGRAMS, output) as one:
            data, source = peer.recvfrom(fd, 1000)
            peer.sendto(fd, b"b" * 500, 0, source)
            assert one.wait(60) == 0
            assert (len(data), output.text()) == (300, "500\n")
            numbers = one.numbers()
            assert (numbers["bytes_out"], numbers["bytes_in"]) == (300, 500)


def test_messages_of_icmp_are_counted() -> None:
    output = Output()
    with two_kernels() as (here, _), python(here, ECHO, output) as one:
        assert one.wait(60) == 0
        assert output.text() == "100\n"
        assert (one.numbers()["bytes_out"], one.numbers()["bytes_in"]) == (100, 100)
