from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.net.wire.ipv6 import AUTHENTICATION, DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ROUTING
from rumpkit.net.wire.ipv6_extensions import (
    OPTIONS_FINE,
    ROUTER_ALERT_MLD,
    FragmentHeader,
    check_options,
    emit_options_header,
    extension_size,
    has_router_alert,
    parse_fragment_header,
)


@given(st.integers(0, 255), st.integers(0, 8191), st.booleans(), st.integers(0, 0xFFFFFFFF), st.integers(0, 9))
def test_fragment_headers_survive_the_round_trip(kind: int, units: int, more: bool, number: int, offset: int) -> None:
    data = bytes(offset) + FragmentHeader(kind, units * 8, more, number).emit()
    header = parse_fragment_header(data, offset, len(data))
    assert header is not None
    assert (header.next_header, header.offset, header.more, header.identification) == (kind, units * 8, more, number)
    assert parse_fragment_header(data, offset, len(data) - 1) is None
    assert parse_fragment_header(data[:-1], offset, len(data)) is None


@pytest.mark.parametrize(
    ("kind", "second", "size"),
    [(HOP_BY_HOP, 0, 8), (ROUTING, 2, 24), (DESTINATION_OPTIONS, 1, 16), (FRAGMENT, 9, 8), (AUTHENTICATION, 4, 24)],
)
def test_sizes_of_extension_headers(kind: int, second: int, size: int) -> None:
    data = bytes((59, second)) + bytes(30)
    assert extension_size(data, kind, 0, 32) == size
    assert extension_size(data, kind, 0, size) == size
    assert extension_size(data, kind, 0, size - 1) == -1
    assert extension_size(data[: size - 1], kind, 0, 32) == -1


def options() -> st.SearchStrategy[bytes]:
    """Options that may all be skipped: padding, router alerts, unknown ones of the kind 00."""
    padding = st.just(b"\0")
    others = st.builds(lambda kind, data: bytes((kind, len(data))) + data, st.integers(1, 63), st.binary(max_size=12))
    return st.lists(padding | others | st.just(ROUTER_ALERT_MLD), max_size=5).map(b"".join)


@pytest.mark.rfc("8200", "4.2-h")
@given(options())
def test_an_emitted_options_header_reads_back(options: bytes) -> None:
    header = emit_options_header(58, options)
    assert len(header) % 8 == 0 and header[0] == 58
    assert extension_size(header, HOP_BY_HOP, 0, len(header)) == len(header)
    assert header[2 : 2 + len(options)] == options
    assert check_options(header, 2, len(header)) == OPTIONS_FINE


def test_a_router_alert_is_found() -> None:
    header = emit_options_header(58, ROUTER_ALERT_MLD)
    assert header == bytes.fromhex("3a00050200000100")
    assert has_router_alert(header, 2, 8)
    assert not has_router_alert(emit_options_header(58, b""), 2, 8)


@pytest.mark.rfc("8200", "4.2-b", "4.2-g")
@pytest.mark.parametrize(
    ("options", "where"),
    [
        ("0000", -1),
        ("0103000000ff", 5),  # padding is skipped, and the last has no length
        ("1e0101", -1),  # unknown, may be skipped
        ("5e0101", 0),
        ("00c20400010000", 1),  # a jumbo payload
        ("1e02ff", 0),
    ],
)
def test_options_that_must_not_be_skipped_are_found(options: str, where: int) -> None:
    data = bytes.fromhex(options)
    assert check_options(data, 0, len(data)) == where


@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_options_are_survived(data: bytes, start: int) -> None:
    found = check_options(data, start, len(data))
    assert found == OPTIONS_FINE or start <= found < len(data)
    if found == OPTIONS_FINE:
        has_router_alert(data, start, len(data))
