from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rumpkit.net.wire.mld import (
    Query,
    Record,
    decode_delay,
    decode_interval,
    emit_query,
    emit_report,
    parse_query,
    parse_report,
)

addresses = st.binary(min_size=16, max_size=16)
sources = st.lists(addresses, max_size=5).map(tuple)


@given(addresses, st.integers(0, 32767), sources, st.integers(0, 7), st.integers(0, 127))
def test_queries_survive_the_round_trip(
    group: bytes, delay: int, some: tuple[bytes, ...], robustness: int, interval: int
) -> None:
    query = Query(2, group, delay, some, robustness, interval)
    assert parse_query(emit_query(query)) == query
    assert parse_query(emit_query(Query(1, group, delay))) == Query(1, group, delay)


@given(st.lists(st.builds(Record, st.integers(0, 255), addresses, sources), max_size=5))
def test_reports_survive_the_round_trip(records: list[Record]) -> None:
    body = emit_report(records)
    assert parse_report(body) == records
    for size in range(len(body)):
        assert parse_report(body[:size]) is None


def test_auxiliary_data_is_skipped() -> None:
    body = bytes(2) + b"\0\2" + b"\4\1\0\0" + bytes(16) + b"auxi" + b"\3\0\0\0" + bytes(15) + b"\1"
    assert parse_report(body) == [Record(4, bytes(16)), Record(3, bytes(15) + b"\1")]
    assert parse_report(body.replace(b"\4\1\0\0", b"\4\xff\0\0")) is None


def test_codes_with_an_exponent() -> None:
    assert [decode_delay(code) for code in (0, 32767, 0x8000, 0xFFFF)] == [0, 32767, 32768, 8387584]
    assert [decode_interval(code) for code in (0, 127, 0x80, 0xFF)] == [0, 127, 128, 31744]


def test_queries_too_short_are_refused() -> None:
    whole = emit_query(Query(2, bytes(16), 1, (bytes(16), bytes(16))))
    assert parse_query(whole[:19]) is None
    assert parse_query(whole[:-1]) is None


@given(st.binary(max_size=100))
def test_any_bytes_are_survived(data: bytes) -> None:
    parse_query(data)
    parse_report(data)
