"""DNS messages (RFC 1035), as far as a stub resolver or a forwarder needs them: above UDP and TCP payloads.

Names are lower-case ASCII text without the last dot ("example.org"; the root is ""), so that equal names are equal
strings.  Bytes of a label that are not plain are written as in zone files: `\\.` for a dot, `\\` and three digits for
the rest (RFC 1035 section 5.1).
"""

from typing import Final, final

from .address import format_ipv4
from .field import read_u16, read_u32

HEADER_SIZE: Final = 12
PORT: Final = 53
MAX_UDP_SIZE: Final = 512
"""Bytes of a message over UDP, unless the asker offers more (RFC 6891)."""
MAX_NAME_SIZE: Final = 255
"""Bytes of a name on the wire."""
MAX_LABEL_SIZE: Final = 63

TYPE_A: Final = 1
TYPE_NS: Final = 2
TYPE_CNAME: Final = 5
TYPE_SOA: Final = 6
TYPE_PTR: Final = 12
TYPE_MX: Final = 15
TYPE_TXT: Final = 16
TYPE_AAAA: Final = 28
TYPE_SRV: Final = 33
TYPE_OPT: Final = 41
TYPE_ANY: Final = 255
CLASS_IN: Final = 1

FLAG_RESPONSE: Final = 0x8000
FLAG_AUTHORITATIVE: Final = 0x0400
FLAG_TRUNCATED: Final = 0x0200
FLAG_RECURSION_DESIRED: Final = 0x0100
FLAG_RECURSION_AVAILABLE: Final = 0x0080
OPCODE_MASK: Final = 0x7800
RCODE_MASK: Final = 0x000F

RCODE_NOERROR: Final = 0
RCODE_FORMERR: Final = 1
RCODE_SERVFAIL: Final = 2
RCODE_NXDOMAIN: Final = 3
RCODE_NOTIMP: Final = 4
RCODE_REFUSED: Final = 5

_NAME_TYPES: Final = frozenset((TYPE_NS, TYPE_CNAME, TYPE_PTR))
"""Types whose data is one name, which may be compressed."""
_POINTER: Final = 0xC000
_MAX_POINTERS: Final = 128
"""Compression pointers followed in one name: it has at most 127 labels."""
_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_*/+=")


@final
class Question:
    """What is asked: a name, and TYPE_* and class numbers."""

    __slots__ = ("class_number", "kind", "name")

    def __init__(self, name: str, kind: int, class_number: int = CLASS_IN) -> None:
        self.name: str = name
        self.kind: int = kind
        self.class_number: int = class_number


@final
class Record:
    """A resource record."""

    __slots__ = ("class_number", "data", "kind", "name", "target", "ttl")

    def __init__(
        self, name: str, kind: int, ttl: int, data: bytes = b"", target: str = "", class_number: int = CLASS_IN
    ) -> None:
        self.name: str = name
        self.kind: int = kind
        self.ttl: int = ttl
        """Seconds."""
        self.data: bytes = data
        """The data, an address for A and AAAA.  Unused for NS, CNAME and PTR.  Data of other types that holds names is
        kept as it came, and so means nothing outside its message if they are compressed."""
        self.target: str = target
        """The name that NS, CNAME and PTR give."""
        self.class_number: int = class_number


@final
class Message:
    """A query or a response."""

    __slots__ = ("additional", "answers", "authority", "flags", "identification", "questions")

    def __init__(self, identification: int, flags: int = FLAG_RECURSION_DESIRED) -> None:
        self.identification: int = identification
        self.flags: int = flags
        """FLAG_*, the opcode (OPCODE_MASK) and the RCODE_* (RCODE_MASK)."""
        self.questions: list[Question] = []
        self.answers: list[Record] = []
        self.authority: list[Record] = []
        self.additional: list[Record] = []

    def rcode(self) -> int:
        """How a response went."""
        return self.flags & RCODE_MASK

    def response(self, rcode: int = RCODE_NOERROR) -> "Message":
        """An answer to this query with the same questions and no records yet, recursion offered."""
        kept = self.flags & (OPCODE_MASK | FLAG_RECURSION_DESIRED)
        answer = Message(self.identification, FLAG_RESPONSE | FLAG_RECURSION_AVAILABLE | kept | rcode)
        answer.questions = list(self.questions)
        return answer

    def emit(self, limit: int = 0xFFFF) -> bytes:
        """The message's bytes, names compressed.

        A message longer than `limit` is cut to the records that fit and marked FLAG_TRUNCATED (RFC 2181 section 9).
        A name that cannot be written raises ValueError.
        """
        out = bytearray(HEADER_SIZE)
        names: dict[str, int] = {}
        for question in self.questions:
            _emit_name(out, question.name, names)
            out += question.kind.to_bytes(2, "big") + question.class_number.to_bytes(2, "big")
        full = False
        counts = [len(self.questions)]
        for section in (self.answers, self.authority, self.additional):
            written = 0
            for record in section:
                if full:
                    break
                before = len(out)
                _emit_record(out, record, names)
                if len(out) > limit:
                    del out[before:]
                    full = True
                else:
                    written += 1
            counts.append(written)
        flags = self.flags | (FLAG_TRUNCATED if full else 0)
        for index, number in enumerate((self.identification, flags, *counts)):
            out[2 * index : 2 * index + 2] = number.to_bytes(2, "big")
        return bytes(out)


def parse_message(data: bytes) -> Message | None:
    """The message that `data` holds; bytes behind it are ignored.

    None if anything runs past the end, a name is too long, or its compression pointers don't lead backwards.
    """
    if len(data) < HEADER_SIZE:
        return None
    message = Message(read_u16(data, 0), read_u16(data, 2))
    at = HEADER_SIZE
    for _ in range(read_u16(data, 4)):
        name, at = parse_name(data, at)
        if at < 0 or at + 4 > len(data):
            return None
        message.questions.append(Question(name, read_u16(data, at), read_u16(data, at + 2)))
        at += 4
    sections = (message.answers, message.authority, message.additional)
    for index, section in enumerate(sections):
        for _ in range(read_u16(data, 6 + 2 * index)):
            at = _parse_record(data, at, section)
            if at < 0:
                return None
    return message


def _parse_record(data: bytes, at: int, section: list[Record]) -> int:
    """Add the record at data[at] to `section`; return where the next one starts, or -1."""
    name, at = parse_name(data, at)
    if at < 0 or at + 10 > len(data):
        return -1
    kind = read_u16(data, at)
    end = at + 10 + read_u16(data, at + 8)
    if end > len(data):
        return -1
    record = Record(name, kind, read_u32(data, at + 4), class_number=read_u16(data, at + 2))
    if kind in _NAME_TYPES:
        record.target, stop = parse_name(data, at + 10)
        if stop != end:
            return -1
    else:
        record.data = data[at + 10 : end]
        if (kind == TYPE_A and len(record.data) != 4) or (kind == TYPE_AAAA and len(record.data) != 16):
            return -1
    section.append(record)
    return end


def parse_name(data: bytes, start: int) -> tuple[str, int]:
    """The name at data[start] and where it ends; ("", -1) if it is malformed.

    Each compression pointer (RFC 1035 section 4.1.4) must lead to before the part of the name that it ends, so that
    no chain of them can loop.
    """
    labels: list[str] = []
    size = 1
    pointers = 0
    at = start
    part = start
    end = -1
    while 0 <= at < len(data):
        length = data[at]
        if length >= 0xC0:
            if at + 2 > len(data):
                return "", -1
            target = read_u16(data, at) & ~_POINTER
            if end < 0:
                end = at + 2
            pointers += 1
            if target >= part or pointers > _MAX_POINTERS:
                return "", -1
            at = part = target
        elif length == 0:
            return ".".join(labels), at + 1 if end < 0 else end
        else:
            size += length + 1
            if length > MAX_LABEL_SIZE or size > MAX_NAME_SIZE or at + 1 + length > len(data):
                return "", -1
            labels.append(_label_text(data[at + 1 : at + 1 + length]))
            at += 1 + length
    return "", -1


def _label_text(label: bytes) -> str:
    label = label.lower()
    if _PLAIN.issuperset(label):
        return label.decode("ascii")
    return "".join([chr(byte) if byte in _PLAIN else "\\." if byte == 0x2E else f"\\{byte:03d}" for byte in label])


def split_name(name: str) -> list[bytes]:
    """The labels of a name as on the wire; a dot at its end is ignored.  Raises ValueError on a name too long, with an
    empty label or with characters outside ASCII."""
    text = name.lower()
    if text.endswith(".") and not text.endswith("\\."):
        text = text[:-1]
    labels = [bytearray()] if text else []
    at = 0
    while at < len(text):
        letter = text[at]
        escape = text[at + 1 : at + 4] if letter == "\\" else ""
        if letter == ".":
            labels.append(bytearray())
        elif escape.isdigit() and escape.isascii() and len(escape) == 3 and int(escape) < 256:
            labels[-1].append(int(escape))
            at += 3
        elif escape and escape[0] in ".\\":
            labels[-1].append(ord(escape[0]))
            at += 1
        elif "!" <= letter <= "~" and letter != "\\":
            labels[-1].append(ord(letter))
        else:
            raise ValueError(f"{name!r} is not a domain name")
        at += 1
    if sum([len(label) + 1 for label in labels]) + 1 > MAX_NAME_SIZE:
        raise ValueError(f"{name!r} is longer than a domain name may be")
    if not all(1 <= len(label) <= MAX_LABEL_SIZE for label in labels):
        raise ValueError(f"{name!r} has an empty label or one of more than {MAX_LABEL_SIZE} bytes")
    return [bytes(label) for label in labels]


def _emit_name(out: bytearray, name: str, names: dict[str, int]) -> None:
    """Append a name, its longest known ending as a pointer; remember where its other endings lie."""
    labels = split_name(name)
    for index, label in enumerate(labels):
        ending = ".".join([_label_text(rest) for rest in labels[index:]])
        known = names.get(ending)
        if known is not None:
            out += (_POINTER | known).to_bytes(2, "big")
            return
        if len(out) < _POINTER >> 2:
            names[ending] = len(out)
        out.append(len(label))
        out += label
    out.append(0)


def _emit_record(out: bytearray, record: Record, names: dict[str, int]) -> None:
    _emit_name(out, record.name, names)
    out += record.kind.to_bytes(2, "big") + record.class_number.to_bytes(2, "big") + record.ttl.to_bytes(4, "big")
    at = len(out)
    out += b"\0\0"
    if record.kind in _NAME_TYPES:
        _emit_name(out, record.target, names)
    else:
        out += record.data
    out[at : at + 2] = (len(out) - at - 2).to_bytes(2, "big")


def reverse_name(address: bytes) -> str:
    """The name whose PTR record names an IPv4 or IPv6 address (RFC 1035 section 3.5, RFC 3596 section 2.5)."""
    if len(address) == 4:
        return format_ipv4(address[::-1]) + ".in-addr.arpa"
    return ".".join(address.hex()[::-1]) + ".ip6.arpa"
