"""Expressions of `rump fs find`: how their words bind, and what can be told of a name alone."""

import pytest

from rumpkit.cli.fs.expression import BadExpression, Parser, Word
from rumpkit.cli.fs.format import parse_format
from rumpkit.cli.fs.tests import Facts


def words_of(done):
    def act(facts):
        done.append(facts.name)
        return True

    return {
        "-t": Word(lambda text: lambda facts: True, False),
        "-f": Word(lambda text: lambda facts: False, False),
        "-name": Word(lambda text: lambda facts: facts.name == text.encode(), True),
        "-act": Word(lambda text: act, False, True),
    }


def read(text, done=None):
    return Parser(text.split(), words_of([] if done is None else done), {"-exec": "is elsewhere"}).parse()


def facts(name=b"x"):
    return Facts(b"img:/" + name, name, 0o100000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("-t -f", False),
        ("-f -o -t", True),
        ("-t -o -f -f", True),  # what stands side by side binds tighter
        ("( -t -o -f ) -f", False),
        ("! -f", True),
        ("! ! -t -a -not -f", True),
        ("! ( -f -o -t )", False),
        ("-name x", True),
        ("-name -o -or -t", True),
    ],
)
def test_how_words_bind(text, expected):
    assert read(text).holds(facts()) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-name y", False),
        ("-name y -f", False),
        ("-f -name y", False),
        ("-act -name y", None),  # something is done before
        ("-name y -act", False),
        ("-name y -o -f", None),
        ("! -name y", True),
        ("! -f", None),
    ],
)
def test_what_a_name_tells(text, expected):
    done = []
    assert read(text, done).may(facts()) is expected and done == []


def test_what_is_settled_is_asked_no_further():
    done = []
    read("-f -act", done).holds(facts())
    read("-t -o -act", done).holds(facts())
    assert done == []
    assert read("-f -o -act", done).holds(facts(b"y")) and done == [b"y"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("(", "missing"),
        ("( -t", "without its"),
        (")", "before"),
        ("-t )", "without its"),
        ("-o -t", "before"),
        ("-t -o", "missing"),
        ("-name", "wants an argument"),
        ("-nonsense", "--help"),
        ("-exec", "-exec is elsewhere"),
        ("! " * 200 + "-t", "within each other"),
    ],
)
def test_what_makes_no_sense(text, said):
    with pytest.raises(BadExpression, match=said):
        read(text)


def test_formats():
    assert parse_format(r"%f\t%p%%\n\0")(facts(b"a b")) == b"a b\timg:/a b%\n\0"
    assert parse_format("%h")(facts()) == b"img:/"
    for text in ("%q", r"\q", "%"):
        with pytest.raises(ValueError):
            parse_format(text)
