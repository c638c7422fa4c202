"""IGMP messages (RFC 1112, RFC 2236, RFC 3376 section 4), behind an IPv4 header."""

from typing import Final, NamedTuple, final

from .checksum import sum_bytes

QUERY: Final = 0x11
REPORT_V1: Final = 0x12
REPORT_V2: Final = 0x16
LEAVE_V2: Final = 0x17
REPORT_V3: Final = 0x22

MODE_IS_INCLUDE: Final = 1
MODE_IS_EXCLUDE: Final = 2
CHANGE_TO_INCLUDE: Final = 3
CHANGE_TO_EXCLUDE: Final = 4
ALLOW_NEW_SOURCES: Final = 5
BLOCK_OLD_SOURCES: Final = 6

SHORT_SIZE: Final = 8
"""Of everything up to version 2."""
QUERY_SIZE: Final = 12
"""Of a query of version 3 without sources."""
RECORD_SIZE: Final = 8
"""Of a group record without sources."""
ROUTER_ALERT: Final = b"\x94\x04\x00\x00"
"""The IP option that every message bears (RFC 2113)."""


class GroupRecord(NamedTuple):
    """What a host says of one group: a kind of record (MODE_IS_INCLUDE, ...) and sources of 4 bytes each."""

    kind: int
    group: bytes
    sources: tuple[bytes, ...] = ()


@final
class IgmpMessage:
    """One message of any version; what a kind doesn't have is left at its default."""

    def __init__(self, kind: int, group: bytes = b"\0\0\0\0") -> None:
        self.kind: int = kind
        self.group: bytes = group
        self.code: int = 0
        """The longest time to wait with a response, as it is written: see `response_time`."""
        self.version: int = 3 if kind == REPORT_V3 else 1 if kind == REPORT_V1 else 2
        """Of the protocol, for queries as RFC 3376 section 7.1 tells them apart."""
        self.suppress: bool = False
        self.robustness: int = 0
        self.interval_code: int = 0
        self.sources: tuple[bytes, ...] = ()
        """Of a query about a group and sources."""
        self.records: tuple[GroupRecord, ...] = ()
        """Of a report of version 3."""

    def response_time(self) -> int:
        """The longest time to wait with a response, in tenths of a second; version 1 has always ten seconds."""
        if self.version == 1:
            return 100
        return floating(self.code) if self.version == 3 else self.code

    def emit(self) -> bytes:
        """The message with its checksum."""
        if self.kind == REPORT_V3:
            body = bytes((self.kind, 0, 0, 0, 0, 0)) + len(self.records).to_bytes(2, "big")
            body += b"".join([_emit_record(record) for record in self.records])
        else:
            body = bytes((self.kind, self.code, 0, 0)) + self.group
            if self.kind == QUERY and self.version == 3:
                flags = (8 if self.suppress else 0) | self.robustness
                body += bytes((flags, self.interval_code)) + len(self.sources).to_bytes(2, "big")
                body += b"".join(self.sources)
        checksum = sum_bytes(body, 0, len(body)) ^ 0xFFFF
        return body[:2] + int(checksum).to_bytes(2, "big") + body[4:]


def floating(code: int) -> int:
    """The number that a byte stands for: itself, or from 128 on an exponent and a mantissa (RFC 3376 section 4.1.1)."""
    return code if code < 128 else (code & 0xF | 0x10) << ((code >> 4 & 7) + 3)


def parse_igmp(data: bytes) -> IgmpMessage | None:
    """The message in an IP payload.  None if its checksum is wrong, it is of no known kind, or it is shorter than it says."""
    if len(data) < SHORT_SIZE or sum_bytes(data, 0, len(data)) != 0xFFFF:
        return None
    kind = data[0]
    if kind == REPORT_V3:
        return _parse_report(data)
    if kind not in (QUERY, REPORT_V1, REPORT_V2, LEAVE_V2):
        return None
    message = IgmpMessage(kind, data[4:8])
    message.code = data[1]
    if kind != QUERY:
        return message
    if len(data) == SHORT_SIZE:
        message.version = 2 if message.code else 1
        return message
    if len(data) < QUERY_SIZE:
        return None
    count = data[10] << 8 | data[11]
    if len(data) < QUERY_SIZE + 4 * count:
        return None
    message.version = 3
    message.suppress = data[8] & 8 != 0
    message.robustness = data[8] & 7
    message.interval_code = data[9]
    message.sources = _addresses(data, QUERY_SIZE, count)
    return message


def _parse_report(data: bytes) -> IgmpMessage | None:
    message = IgmpMessage(REPORT_V3)
    records = []
    at = SHORT_SIZE
    for _ in range(data[6] << 8 | data[7]):
        if at + RECORD_SIZE > len(data):
            return None
        count = data[at + 2] << 8 | data[at + 3]
        end = at + RECORD_SIZE + 4 * count
        if end + 4 * data[at + 1] > len(data):
            return None
        records.append(GroupRecord(data[at], data[at + 4 : at + 8], _addresses(data, at + RECORD_SIZE, count)))
        at = end + 4 * data[at + 1]
    message.records = tuple(records)
    return message


def _addresses(data: bytes, at: int, count: int) -> tuple[bytes, ...]:
    return tuple([data[start : start + 4] for start in range(at, at + 4 * count, 4)])


def _emit_record(record: GroupRecord) -> bytes:
    head = bytes((record.kind, 0)) + len(record.sources).to_bytes(2, "big")
    return head + record.group + b"".join(record.sources)
