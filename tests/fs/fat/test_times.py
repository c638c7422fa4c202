"""FAT's times against the standard library's calendar."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from rumpkit.fs.fat import times

FIRST = datetime(1980, 1, 1, tzinfo=UTC)
LAST = datetime(2107, 12, 31, 23, 59, 59, 990000, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nanoseconds(when: datetime) -> int:
    return (when - EPOCH) // timedelta(microseconds=1) * 1000


@given(st.datetimes(datetime(1980, 1, 1), datetime(2107, 12, 31, 23, 59, 59)))
def test_dates_and_times_are_those_of_the_calendar(naive: datetime):
    when = naive.replace(tzinfo=UTC)
    date, time, hundredths = times.encode(nanoseconds(when))
    assert (date >> 9) + 1980 == when.year and date >> 5 & 15 == when.month and date & 31 == when.day
    assert (time >> 11, time >> 5 & 63, (time & 31) * 2 + hundredths // 100) == (when.hour, when.minute, when.second)
    assert hundredths % 100 == when.microsecond // 10000
    back = times.decode(date, time, hundredths)
    assert 0 <= nanoseconds(when) - back < 10_000_000


@given(st.integers(-(1 << 62), 1 << 62), st.integers(-1440, 1440))
def test_any_time_is_kept_as_near_as_there_is_one(when: int, offset: int):
    date, time, hundredths = times.encode(when, offset)
    back = times.decode(date, time, hundredths, offset)
    assert nanoseconds(FIRST) - 2 * 86400 * 10**9 <= back <= nanoseconds(LAST) + 2 * 86400 * 10**9
    assert times.encode(back, offset) == (date, time, hundredths)
    rounded = times.round_down(when)
    assert times.decode(*times.encode(rounded)[:2]) == rounded


def test_an_offset_is_the_volumes_local_time():
    noon = nanoseconds(datetime(2024, 2, 29, 12, 0, tzinfo=UTC))
    date, time, _ = times.encode(noon, 90)
    assert time >> 11 == 13 and time >> 5 & 63 == 30
    assert times.decode(date, time, 0, 90) == noon
    assert times.encode(nanoseconds(datetime(2023, 12, 31, 23, 0, tzinfo=UTC)), 120)[0] == 44 << 9 | 1 << 5 | 1


def test_what_is_no_date_or_time_is_taken_for_one():
    assert times.decode(0) == nanoseconds(FIRST)
    for date, time, hundredths in ((0xFFFF, 0xFFFF, 255), (13 << 5, 0xFFFF, 200), (1, 31, 0)):
        assert times.decode(date, time, hundredths) >= nanoseconds(FIRST)
