"""IGMP messages of all versions: bytes and back, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.net.wire.igmp import (
    CHANGE_TO_EXCLUDE,
    LEAVE_V2,
    QUERY,
    REPORT_V1,
    REPORT_V2,
    REPORT_V3,
    GroupRecord,
    IgmpMessage,
    floating,
    parse_igmp,
)

address = st.binary(min_size=4, max_size=4)
sources = st.lists(address, max_size=5).map(tuple)
records = st.lists(st.builds(GroupRecord, st.integers(1, 6), address, sources), max_size=4).map(tuple)
FIELDS = ("kind", "group", "code", "version", "suppress", "robustness", "interval_code", "sources", "records")


def same(one, other):
    return all(getattr(one, name) == getattr(other, name) for name in FIELDS)


@given(st.sampled_from([REPORT_V1, REPORT_V2, LEAVE_V2]), address)
def test_short_messages_round_trip(kind, group):
    message = IgmpMessage(kind, group)
    data = message.emit()
    assert len(data) == 8
    assert same(parse_igmp(data), message)


@given(address, st.integers(0, 255), st.booleans(), st.integers(0, 7), st.integers(0, 255), sources)
def test_queries_round_trip(group, code, suppress, robustness, interval, chosen):
    message = IgmpMessage(QUERY, group)
    message.version, message.code, message.suppress = 3, code, suppress
    message.robustness, message.interval_code, message.sources = robustness, interval, chosen
    assert same(parse_igmp(message.emit()), message)


@given(address, st.integers(0, 255))
def test_queries_of_old_round_trip(group, code):
    message = IgmpMessage(QUERY, group)
    message.version, message.code = 2 if code else 1, code
    parsed = parse_igmp(message.emit())
    assert same(parsed, message)
    assert parsed.response_time() == (code or 100)  # type: ignore[union-attr]


@given(records)
def test_reports_round_trip(chosen):
    message = IgmpMessage(REPORT_V3)
    message.records = chosen
    assert same(parse_igmp(message.emit()), message)


def test_bytes_of_a_report():
    message = IgmpMessage(REPORT_V3)
    message.records = (GroupRecord(CHANGE_TO_EXCLUDE, b"\xef\1\2\3"),)
    assert message.emit() == bytes.fromhex("2200 e8f9 0000 0001 04000000 ef010203")


@pytest.mark.parametrize(("code", "number"), [(0, 0), (127, 127), (128, 128), (0x8F, 248), (0xFF, 31744)])
def test_floating_point_codes(code, number):
    assert floating(code) == number


def test_what_is_refused():
    message = IgmpMessage(REPORT_V3)
    message.records = (GroupRecord(1, b"\xef\1\2\3", (b"\1\2\3\4", b"\5\6\7\x08")),)
    good = message.emit()
    for size in range(len(good)):
        assert parse_igmp(good[:size]) is None
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 1
        assert parse_igmp(bytes(bad)) is None
    query = IgmpMessage(QUERY)
    query.version, query.sources = 3, (b"\1\2\3\4",)
    assert parse_igmp(query.emit()[:-1]) is None
    assert parse_igmp(query.emit()[:10]) is None


@given(st.binary(max_size=80))
def test_any_bytes_are_survived(data):
    parse_igmp(data)
