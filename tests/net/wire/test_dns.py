from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.net.wire import dns
from rumpkit.net.wire.dns import Message, Question, Record, parse_message, parse_name, reverse_name, split_name

# A query for example.com A, and its answer with a compressed owner name, as tcpdump shows them.
QUERY = bytes.fromhex("1234 0100 0001 0000 0000 0000 07 6578616d706c65 03 636f6d 00 0001 0001")
ANSWER = bytes.fromhex(
    "1234 8180 0001 0001 0000 0000 07 6578616d706c65 03 636f6d 00 0001 0001 c00c 0001 0001 00000e10 0004 5db8d822"
)

labels = st.binary(min_size=1, max_size=12)
names = st.lists(labels, max_size=5).map(
    lambda parts: parse_name(b"".join(bytes([len(part)]) + part for part in parts) + b"\0", 0)[0]
)
words = st.integers(0, 0xFFFF)


@st.composite
def records(draw: st.DrawFn) -> Record:
    kind = draw(st.sampled_from([dns.TYPE_A, dns.TYPE_AAAA, dns.TYPE_CNAME, dns.TYPE_PTR, dns.TYPE_NS, dns.TYPE_TXT]))
    record = Record(draw(names), kind, draw(st.integers(0, 2**32 - 1)), class_number=draw(words))
    if kind in (dns.TYPE_CNAME, dns.TYPE_PTR, dns.TYPE_NS):
        record.target = draw(names)
    else:
        size = {dns.TYPE_A: 4, dns.TYPE_AAAA: 16}.get(kind, draw(st.integers(0, 40)))
        record.data = draw(st.binary(min_size=size, max_size=size))
    return record


@st.composite
def messages(draw: st.DrawFn) -> Message:
    message = Message(draw(words), draw(words))
    message.questions = [Question(draw(names), draw(words), draw(words)) for _ in range(draw(st.integers(0, 2)))]
    for section in (message.answers, message.authority, message.additional):
        section.extend(draw(st.lists(records(), max_size=3)))
    return message


def shape(message: Message) -> tuple[object, ...]:
    return (
        message.identification,
        message.flags,
        [(question.name, question.kind, question.class_number) for question in message.questions],
        *[
            [(r.name, r.kind, r.class_number, r.ttl, r.data, r.target) for r in section]
            for section in (message.answers, message.authority, message.additional)
        ],
    )


def test_a_query_and_its_answer() -> None:
    query = Message(0x1234)
    query.questions.append(Question("Example.COM.", dns.TYPE_A))
    assert query.emit() == QUERY
    answer = parse_message(ANSWER)
    assert answer is not None
    assert answer.flags & dns.FLAG_RESPONSE and answer.rcode() == dns.RCODE_NOERROR
    (record,) = answer.answers
    assert (record.name, record.kind, record.ttl, record.data) == ("example.com", dns.TYPE_A, 3600, b"\x5d\xb8\xd8\x22")
    assert answer.emit() == ANSWER


def test_a_response_repeats_what_was_asked() -> None:
    query = parse_message(QUERY)
    assert query is not None
    response = query.response(dns.RCODE_NXDOMAIN)
    assert response.emit() == QUERY[:2] + b"\x81\x83" + QUERY[4:]


@given(messages())
def test_round_trip(message: Message) -> None:
    found = parse_message(message.emit())
    assert found is not None
    assert shape(found) == shape(message)


def test_names_are_compressed() -> None:
    message = Message(1)
    message.questions.append(Question("www.example.org", dns.TYPE_A))
    message.answers.append(Record("www.example.org", dns.TYPE_CNAME, 1, target="web.example.org"))
    message.answers.append(Record("web.example.org", dns.TYPE_A, 1, b"\1\2\3\4"))
    data = message.emit()
    assert len(data) == 12 + 17 + 4 + (2 + 10 + 4 + 2) + (2 + 10 + 4)
    found = parse_message(data)
    assert found is not None
    assert [record.target for record in found.answers] == ["web.example.org", ""]


def test_a_message_past_the_limit_is_truncated() -> None:
    message = Message(1, dns.FLAG_RESPONSE)
    message.questions.append(Question("many.example", dns.TYPE_A))
    message.answers.extend([Record("many.example", dns.TYPE_A, 1, bytes([10, 0, 0, at])) for at in range(60)])
    message.additional.append(Record("", dns.TYPE_TXT, 0))
    data = message.emit(dns.MAX_UDP_SIZE)
    assert dns.MAX_UDP_SIZE - 16 < len(data) <= dns.MAX_UDP_SIZE
    found = parse_message(data)
    assert found is not None
    assert found.flags & dns.FLAG_TRUNCATED
    assert [record.data[3] for record in found.answers] == list(range(len(found.answers)))
    assert found.additional == []
    assert not int.from_bytes(message.emit()[2:4], "big") & dns.FLAG_TRUNCATED


def test_names_after_the_first_16_kib_are_not_pointed_to() -> None:
    message = Message(1)
    message.answers.extend([Record(f"host{at}.example", dns.TYPE_TXT, 0, bytes(50)) for at in range(600)])
    message.answers.extend([Record(f"host{at}.example", dns.TYPE_A, 0, bytes(4)) for at in range(600)])
    data = message.emit()
    found = parse_message(data)
    assert found is not None and len(data) > 3 * 0x4000
    assert [record.name for record in found.answers] == [record.name for record in message.answers]


LOOPS = {
    "to itself": b"\xc0\x0c",
    "to its own start": b"\1a\xc0\x0c",
    "to each other": b"\xc0\x0e\xc0\x0c",
    "forward": b"\xc0\x10\0\0\0",
    "past the end": b"\xff\xff",
    "cut short": b"\xc0",
}


@pytest.mark.parametrize("case", LOOPS)
def test_pointers_that_lead_nowhere(case: str) -> None:
    data = QUERY[:12] + LOOPS[case]
    assert parse_name(data, 12) == ("", -1)
    assert parse_message(data + b"\0\1\0\1") is None


def test_a_long_chain_of_pointers_is_refused() -> None:
    data = bytearray(b"\0\0")
    for at in range(3000):
        data += (0xC000 | 2 * at).to_bytes(2, "big")
    assert parse_name(bytes(data), 2 * 100) == ("", 202)
    assert parse_name(bytes(data), 2 * 3000) == ("", -1)


@pytest.mark.parametrize(
    "text",
    ["40" + "61" * 64 + "00", "80", "0161" * 128 + "00", "0361", "", "03616263"],
    ids=["label of 64", "reserved type", "name of 257", "cut label", "empty", "no end"],
)
def test_malformed_names(text: str) -> None:
    assert parse_name(bytes.fromhex(text), 0) == ("", -1)


def test_the_longest_name() -> None:
    data = (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61 + b"\0"
    assert len(data) == 255
    name, end = parse_name(data, 0)
    assert end == 255 and b"".join(bytes([len(x)]) + x for x in split_name(name)) + b"\0" == data
    with pytest.raises(ValueError, match="longer"):
        split_name("a" + name)


@pytest.mark.parametrize("name", ["a..b", "..", ".a", "a" * 64, "a b", "é.example", "a\\", "a\\25", "a\\256", "a\\x"])
def test_names_that_cannot_be_written(name: str) -> None:
    with pytest.raises(ValueError, match=r"domain name|empty label"):
        split_name(name)


def test_strange_bytes_in_labels() -> None:
    name, _ = parse_name(b"\x04a.\\\xff\x03ORG\0", 0)
    assert name == "a\\.\\092\\255.org"
    assert split_name(name) == [b"a.\\\xff", b"org"]
    assert split_name("a\\\\.b") == [b"a\\", b"b"]
    assert split_name("") == split_name(".") == []


def test_records_of_a_wrong_size_are_refused() -> None:
    assert parse_message(ANSWER[:-5] + b"\3" + ANSWER[-4:-1]) is None
    assert parse_message(ANSWER[:-1]) is None
    assert parse_message(ANSWER + b"more") is not None
    cname = ANSWER.replace(b"\xc0\x0c\0\1", b"\xc0\x0c\0\5").replace(b"\0\4\x5d\xb8\xd8\x22", b"\0\3\xc0\x0c\0")
    assert parse_message(cname) is None, "a byte behind the target"


def test_reverse_names() -> None:
    assert reverse_name(bytes([10, 0, 2, 15])) == "15.2.0.10.in-addr.arpa"
    assert reverse_name(bytes.fromhex("20010db8" + "00" * 11 + "01")) == "1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa"


@given(st.binary(max_size=100))
def test_any_bytes_are_survived(data: bytes) -> None:
    parse_message(data)


@given(messages(), st.data())
def test_damaged_messages_are_survived(message: Message, draw: st.DataObject) -> None:
    data = bytearray(message.emit())
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    found = parse_message(bytes(data))
    if found is not None:
        again = parse_message(found.emit())
        assert again is not None and shape(again) == shape(found)
