"""Text addresses, seconds, bytes-like objects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.clients.convert import (
    to_address,
    to_bytes,
    to_duration,
    to_option,
    to_parts,
    to_text,
    to_timeval,
    triple,
)
from rumpkit.kern.abi.errno import EINVAL
from rumpkit.kern.abi.socket import AF_INET, AF_INET6, IPPROTO_TCP, SOCK_STREAM
from tests.clients.helpers import Raises


def test_bytes_are_passed_by_reference_and_other_buffers_are_copied():
    data = b"abc"
    assert to_bytes(data) is data
    changing = bytearray(b"abc")
    copies = to_parts([changing, memoryview(changing)[1:], data])
    changing[:] = b"xyz"
    assert copies == [b"abc", b"bc", b"abc"] and copies[2] is data


@given(host=st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16), port=st.integers(0, 65535))
def test_addresses_go_there_and_back(host, port):
    assert to_address(to_text((host, port))) == (host, port)
    assert to_address((host, port)) == (host, port)


def test_any_address_depends_on_the_family():
    assert to_address(("", 80)) == (bytes(4), 80)
    assert to_address(("", 80), AF_INET6) == (bytes(16), 80)
    assert to_text((b"", 0)) == ("", 0)


@pytest.mark.parametrize("address", [("example.org", 80), ("10.0.0.256", 80), ("10.0.0.1", 65536), ("10.0.0.1", -1)])
def test_what_is_no_address(address):
    with Raises(EINVAL):
        to_address(address)


@pytest.mark.parametrize(
    ("seconds", "nanoseconds"), [(None, -1), (0, 0), (-3, 0), (1, 10**9), (0.25, 250_000_000), (1e-9, 1)]
)
def test_durations(seconds, nanoseconds):
    assert to_duration(seconds) == nanoseconds


def test_timevals_of_a_limit_are_never_zero():
    assert to_timeval(None) == bytes(16)
    assert to_timeval(2.5) == (2).to_bytes(8, "little") + (500_000).to_bytes(8, "little")
    assert to_timeval(1e-9) == bytes(8) + (1).to_bytes(8, "little")


def test_options():
    assert to_option(1) == b"\1\0\0\0"
    assert to_option(-1) == b"\xff\xff\xff\xff"
    assert to_option(bytearray(b"12345678")) == b"12345678"


def test_names_of_sockets():
    assert triple("tcp") == (AF_INET, SOCK_STREAM, IPPROTO_TCP)
    with pytest.raises(ValueError, match="expected one of tcp, udp"):
        triple("sctp")
