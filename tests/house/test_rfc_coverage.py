"""Every MUST of the RFCs has a test or a reason, and the page that says so is up to date (tools/rfc_coverage.py)."""

from __future__ import annotations

import pytest

from tools.rfc_coverage import TARGET, Claim, Reason, Requirement, Rfc, claims, claims_of, load, page, problems

pytestmark = pytest.mark.once

# How many requirements each RFC's summary has: RFC 9293 has MUST-1 to MUST-69, SHLD-1 to SHLD-31 and REC-1; RFC 1122 the rows
# of its tables 3.5, 4.1.5 and 4.2.5, MAYs left out; the others are counted in their text.
COUNTS = {"9293": (69, 32), "1122": (171, 64), "4861": (94, 49), "8200": (43, 19)}


def test_every_must_has_a_test_or_a_reason():
    wrong = problems(*load(), claims())
    assert not wrong, "\n".join(["", *wrong])


def test_the_page_is_up_to_date():
    assert TARGET.read_text("utf-8") == page(*load(), claims()), "run make coverage-rfc"


@pytest.mark.parametrize("number", COUNTS)
def test_the_files_are_complete(number):
    rows = load()[0][number].requirements.values()
    assert (sum(row.binding for row in rows), sum(not row.binding for row in rows)) == COUNTS[number]


def test_rfc_9293_has_all_its_numbers():
    names = load()[0]["9293"].requirements
    assert set(names) == {f"MUST-{n}" for n in range(1, 70)} | {f"SHLD-{n}" for n in range(1, 32)} | {"REC-1"}


# What the checks find -------------------------------------------------------------------------------------------------------


def rfc(**rows):
    made = {name: Requirement("1", name, level, "2", "x", why) for name, (level, why) in rows.items()}
    return {"1": Rfc("1", "t", made)}


CLAIM = Claim("1", "a", "tests/x.py", 3, "test_x")


@pytest.mark.parametrize(
    ("rows", "made", "complaint"),
    [
        ({"a": ("MUST", "")}, [], "no test claims this MUST"),
        ({"a": ("MUST NOT", "")}, [], "no test claims this MUST NOT"),
        ({"a": ("MUST", "r")}, [CLAIM], "`why` must go"),
        ({"a": ("MUST", "s")}, [], "there is no reason s"),
        ({"a": ("MUST", "")}, [CLAIM, Claim("1", "b", "tests/x.py", 4, "t")], "tests/x.py:4: there is no requirement"),
        ({"a": ("MUST", "")}, [CLAIM, Claim("2", "a", "tests/x.py", 4, "t")], "tests/x.py:4: there is no requirement"),
        ({"a": ("MAY", "")}, [], "MAY is no level"),
    ],
)
def test_what_is_wrong_is_found(rows, made, complaint):
    found = problems(rfc(**rows, z=("SHOULD", "r")), {"r": Reason(False, "")}, made)
    assert len(found) == 1 and complaint in found[0]


def test_a_reason_that_nobody_needs_is_found():
    assert problems(rfc(), {"r": Reason(False, "")}, []) == ["tests/rfc/reasons.toml: nothing is for the reason r"]


def test_a_should_needs_nothing():
    assert problems(rfc(a=("SHOULD", "")), {}, []) == []


def test_claims_are_read_from_decorators():
    text = '@pytest.mark.rfc("1", "a", "b")\n@pytest.mark.rfc("2", "c")\n@other\ndef test_x():\n    pass\n'
    assert [(claim.rfc, claim.name, claim.line, claim.test) for claim in claims_of(text, "tests/x.py")] == [
        ("1", "a", 1, "test_x"),
        ("1", "b", 1, "test_x"),
        ("2", "c", 2, "test_x"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        'pytestmark = pytest.mark.rfc("1", "a")\n',
        '@pytest.mark.rfc("1")\ndef test_x(): ...\n',
        "@pytest.mark.rfc(A, B)\ndef t(): ...\n",
    ],
)
def test_claims_that_say_nothing_are_unknown(text):
    made = claims_of(text, "tests/x.py")
    assert len(problems({}, {}, made)) == 1
