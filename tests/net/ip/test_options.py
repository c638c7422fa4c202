"""Options of IPv4 headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.net.ip.options import OPTIONS_FINE, SOURCE_ROUTED, check_options, copied_options


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (b"", OPTIONS_FINE),
        (b"\0\xff\xff\xff", OPTIONS_FINE),  # nothing counts behind the end
        (b"\1\1\1\1", OPTIONS_FINE),
        (b"\x44\4\5\0", OPTIONS_FINE),
        (b"\x83\7\4\1\2\3\4\0", SOURCE_ROUTED),
        (b"\1\x89\7\4\1\2\3\4", SOURCE_ROUTED),
        (b"\x83\1\0\0", 21),
        (b"\1\1\1\x44", 23),
        (b"\x44\5\0\0", 21),
    ],
)
def test_checks(options, found):
    assert check_options(bytes(20) + options + b"\xff" * 9, 20, 20 + len(options)) == found


def test_fragments_repeat_what_is_marked_so():
    assert copied_options(b"\x88\4\1\2\7\3\4\1\x82\5abc\0\0\0") == b"\x88\4\1\2\x82\5abc\0\0\0"
    assert copied_options(b"\7\3\4\0") == b""


@given(st.binary(max_size=40))
def test_any_options_are_judged_and_those_that_are_fine_can_be_copied(options):
    found = check_options(options, 0, len(options))
    assert found in (OPTIONS_FINE, SOURCE_ROUTED) or 0 <= found < len(options)
    if found == OPTIONS_FINE:
        copied = copied_options(options)
        assert len(copied) % 4 == 0 and len(copied) <= len(options) + 3
        assert check_options(copied, 0, len(copied)) == OPTIONS_FINE
