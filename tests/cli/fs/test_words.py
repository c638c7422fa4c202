"""What the verbs of `rump fs` make of their words."""

import argparse

import pytest

from rumpkit.cli.fs import TOOLS, module, tests
from rumpkit.cli.fs.common import human
from rumpkit.cli.main import parser


def options(*words):
    return parser("fs", words[0]).parse_args(["fs", *words])


def test_every_verb_describes_itself():
    for tool in TOOLS:
        loaded = module(tool.name)
        assert loaded.DESCRIPTION and "examples:" in loaded.EPILOG and tool.help


def test_a_verb_that_is_named_is_the_only_one_that_is_loaded():
    top = argparse.ArgumentParser()
    from rumpkit.cli.fs import configure

    configure(top, "ls")
    with pytest.raises(SystemExit):
        top.parse_args(["cat", "--nonsense"])
    assert top.parse_args(["ls", "-lR", "x"]).recursive


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0"), (1023, "1023"), (1536, "1.5K"), (10 << 20, "10M"), (3 << 40, "3.0T")]
)
def test_sizes_for_people(size, text):
    assert human(size) == text


def test_find_keeps_its_expression_from_argparse():
    given = options("find", "a.img", "b.img", "(", "-size", "-1k", "-o", "!", "-name", "-x", ")", "--json", "-delete")
    assert given.paths == ["a.img", "b.img"] and given.json and not given.in_place
    assert given.expression == ("(", "-size", "-1k", "-o", "!", "-name", "-x", ")", "-delete")


@pytest.mark.parametrize("text", ["x", "+", "", "1.5", "-", "++1"])
def test_what_are_no_numbers(text):
    with pytest.raises(ValueError):
        tests.number(text)


@pytest.mark.parametrize("maker", [tests.typed, tests.size, tests.mode])
def test_tests_that_make_no_sense(maker):
    with pytest.raises(ValueError):
        maker("nonsense")


def test_modes_and_owners():
    assert options("mkdir", "-m", "u=rwx,go=", "x").mode == 0o700
    assert options("mkdir", "-m", "2750", "x").mode == 0o2750
    assert options("chown", "www-data:", "x").owner == ("www-data", "", True)
    assert options("chown", ":7", "x").owner == ("", "7", False)
    for words in (
        ["mkdir", "-m", "9", "x"],
        ["chown", ":", "x"],
        ["chown", "1:2:3", "x"],
        ["mkfs", "--size", "0", "x"],
    ):
        with pytest.raises(SystemExit):
            options(*words)
