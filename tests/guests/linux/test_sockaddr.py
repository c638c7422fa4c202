"""Socket addresses, against what the host's C library makes of them."""

from __future__ import annotations

import socket as host
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.guests.linux.sockaddr import decode, encode, is_loopback6
from rumpkit.kern.abi import errno
from rumpkit.kern.abi.socket import AF_INET, AF_INET6, AF_UNIX

ADDRESSES = st.binary(min_size=4, max_size=4)
PORTS = st.integers(0, 65535)


def inet6(text: str, port: int = 80, size: int = 28) -> bytes:
    return (struct.pack("<H", AF_INET6) + struct.pack("!HI", port, 0) + host.inet_pton(host.AF_INET6, text) + bytes(4))[
        :size
    ]


@given(ADDRESSES, PORTS)
def test_what_is_encoded_is_decoded(address, port):
    assert len(encode((address, port), AF_INET)) == 16
    assert decode(encode((address, port), AF_INET), AF_INET) == (address, port)
    assert len(encode((address, port), AF_INET6)) == 28
    assert decode(encode((address, port), AF_INET6), AF_INET6) == (address, port)


def test_the_layout_is_linuxs():
    assert encode((b"\x0a\0\2\x0f", 0x1F90), AF_INET) == b"\x02\0\x1f\x90\x0a\0\2\x0f" + bytes(8)
    assert encode((b"\x0a\0\2\x0f", 80), AF_INET6) == inet6("::ffff:10.0.2.15")
    assert encode((bytes(4), 80), AF_INET6) == inet6("::")


def test_a_dual_stack_sockets_addresses():
    assert decode(inet6("::ffff:127.0.0.1", 7), AF_INET6) == (b"\x7f\0\0\1", 7)
    assert decode(inet6("::", 8), AF_INET6) == (bytes(4), 8)
    assert decode(inet6("::ffff:1.2.3.4", size=24), AF_INET6) == (
        b"\1\2\3\4",
        80,
    )  # without a scope, as RFC 2133 had it


@pytest.mark.parametrize("text", ["::", "::1", "2001:db8::1", "::ffff:1.2.3.4", "fe80::1"])
def test_over_a_kernel_with_ipv6_they_are_the_kernels_own(text):
    packed = host.inet_pton(host.AF_INET6, text)
    assert decode(inet6(text), AF_INET6, True) == (packed, 80)
    shown = inet6(text) if text != "fe80::1" else inet6(text)[:24] + struct.pack("<I", 1)
    assert encode((packed, 80), AF_INET6) == shown


def test_zones():
    link_local = host.inet_pton(host.AF_INET6, "fe80::1")
    assert encode((link_local + struct.pack("!I", 3), 80), AF_INET6) == inet6("fe80::1")[:24] + struct.pack("<I", 3)
    for zone, kept in (
        (0, b""),
        (1, b""),
        (3, struct.pack("!I", 3)),
    ):  # the only interface a program sees stands for any
        assert decode(inet6("fe80::1")[:24] + struct.pack("<I", zone), AF_INET6, True) == (link_local + kept, 80)


@pytest.mark.parametrize("text", ["::1", "2001:db8::1", "fe80::1"])
def test_real_ipv6_addresses_do_not_exist(text):
    with pytest.raises(OSError) as caught:
        decode(inet6(text), AF_INET6)
    assert caught.value.errno == errno.EADDRNOTAVAIL
    assert is_loopback6(inet6(text)) == (text == "::1")


@pytest.mark.parametrize(
    ("data", "family", "number"),
    [
        (b"", AF_INET, errno.EINVAL),
        (b"\2", AF_INET, errno.EINVAL),
        (encode((bytes(4), 1), AF_INET)[:15], AF_INET, errno.EINVAL),
        (inet6("::")[:23], AF_INET6, errno.EINVAL),
        (inet6("::"), AF_INET, errno.EAFNOSUPPORT),
        (encode((bytes(4), 1), AF_INET) + bytes(12), AF_INET6, errno.EAFNOSUPPORT),
        (struct.pack("<H", AF_UNIX) + b"/x" + bytes(20), AF_INET, errno.EAFNOSUPPORT),
    ],
)
def test_what_is_no_address_of_the_family_is_refused(data, family, number):
    with pytest.raises(OSError) as caught:
        decode(data, family)
    assert caught.value.errno == number


def test_bind_takes_the_unspecified_family_for_any_address():
    assert decode(struct.pack("<H", 0) + b"\0\x50" + bytes(12), AF_INET) == (bytes(4), 80)
    with pytest.raises(OSError):
        decode(struct.pack("<H", 0) + b"\0\x50\1\2\3\4" + bytes(8), AF_INET)
