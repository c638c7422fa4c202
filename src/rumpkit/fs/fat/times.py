"""FAT's times: dates from 1980 to 2107 and 2-second times in local time, to and from nanoseconds since 1970 UTC.

The calendar is Gregorian; days since 1970 are computed as in H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
"""

from typing import Final

SECOND: Final = 1_000_000_000
DAY: Final = 86400
FIRST_DAY: Final = 3652
"""1980-01-01, in days since 1970."""
LAST_DAY: Final = 50403
"""2107-12-31."""


def _days(year: int, month: int, day: int) -> int:
    if month <= 2:
        year -= 1
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def _date(days: int) -> int:
    """Days since 1970 as a FAT date."""
    days += 719468
    era = days // 146097
    of_era = days - era * 146097
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    full = year + era * 400 + (1 if month <= 2 else 0)
    return (full - 1980) << 9 | month << 5 | day


_dates_seen: Final[dict[int, int]] = {}
"""Days since 1970 by FAT date, of which there are 65,536."""


def decode(date: int, time: int = 0, hundredths: int = 0, offset: int = 0) -> int:
    """Nanoseconds since 1970 UTC of a FAT date and time, which is `offset` minutes ahead of UTC.  What is no date is the first of
    1980, and what is no time is the last there is."""
    days = _dates_seen.get(date)
    if days is None:
        days = _days(1980 + (date >> 9), min(max(date >> 5 & 15, 1), 12), max(date & 31, 1))
        _dates_seen[date] = days
    seconds = min((time & 31) * 2, 58) + min(time >> 5 & 63, 59) * 60 + min(time >> 11, 23) * 3600
    total = days * DAY + seconds - offset * 60
    return total * SECOND + min(hundredths, 199) * (SECOND // 100)


_days_seen: Final[dict[int, int]] = {}
"""FAT dates by days since 1970: nearly all files of a tree share a few."""


def encode(now: int, offset: int = 0) -> tuple[int, int, int]:
    """FAT date, time and hundredths (0 to 199) of nanoseconds since 1970 UTC; the nearest there is, outside of 1980 to 2107."""
    total = now // (SECOND // 100) + offset * 6000
    days = total // (DAY * 100)
    if days < FIRST_DAY:
        return _date(FIRST_DAY), 0, 0
    if days > LAST_DAY:
        return _date(LAST_DAY), 23 << 11 | 59 << 5 | 29, 199
    date = _days_seen.get(days)
    if date is None:
        if len(_days_seen) > 1000:
            _days_seen.clear()
        date = _days_seen[days] = _date(days)
    rest = total - days * DAY * 100
    seconds = rest // 100
    return date, seconds // 3600 << 11 | seconds // 60 % 60 << 5 | seconds % 60 >> 1, rest % 200


def round_down(now: int) -> int:
    """What is left of a time of last change once it has been to disk and back: whole 2 seconds, from 1980 to 2107.

    Time zones are of whole minutes, so they make no difference to it.
    """
    return min(max(now - now % (2 * SECOND), FIRST_DAY * DAY * SECOND), ((LAST_DAY + 1) * DAY - 2) * SECOND)
