"""What programs print: lines, names before them, logs of limited size, and who follows them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from rumpkit.compose.supervise.output import MAX_LINE, Entry, Log, Output


@pytest.fixture
def shown() -> Iterator[tuple[int, int]]:
    """A pipe that stands for our standard output."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def texts(output: Output, name: str) -> list[str]:
    return [entry.text for entry in output.logs[name].entries()]


def test_lines_are_shown_with_names_and_remembered(shown: tuple[int, int]) -> None:
    reader, writer = shown
    output = Output(["a", "longer"])
    for name in ("a", "longer"):
        output.log(name, 10000)
    fd = output.channel("a", "out", writer)
    os.write(fd, b"one\ntw")
    os.write(fd, b"o\nno end \xff")
    os.close(fd)
    other = output.channel("longer", "err", -1)
    os.write(other, b"unseen\n")
    os.close(other)
    output.close()
    assert os.read(reader, 1000) == b"a      | one\na      | two\na      | no end \xff\n"
    assert texts(output, "a") == ["one", "two", "no end \\xff"]
    assert [entry.stream for entry in output.logs["longer"].entries()] == ["err"]


def test_what_a_program_leaves_open_does_not_keep_us() -> None:
    output = Output(["a"])
    output.log("a", 1000)
    fd = output.channel("a", "out", -1)
    os.write(fd, b"the last words\n")
    output.close()
    os.close(fd)
    assert texts(output, "a") == ["the last words"]


def test_a_line_without_end_is_cut(shown: tuple[int, int]) -> None:
    output = Output(["a"])
    output.log("a", 10 * MAX_LINE)
    fd = output.channel("a", "out", -1)
    rest = bytes(b"x" * (3 * MAX_LINE))
    while rest:
        rest = rest[os.write(fd, rest) :]
    os.close(fd)
    output.close()
    assert sum(map(len, texts(output, "a"))) == 3 * MAX_LINE
    assert max(map(len, texts(output, "a"))) <= 2 * MAX_LINE


def test_nobody_reads_what_we_show() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    output = Output(["a"])
    output.log("a", 10000)
    fd = output.channel("a", "out", writer)
    os.write(fd, b"one\n")
    os.write(fd, b"two\n")
    os.close(fd)
    output.close()
    os.close(writer)
    assert texts(output, "a") == ["one", "two"]


def test_a_log_forgets_the_oldest() -> None:
    log = Log(1000)
    for number in range(50):
        log.add(Entry(number, 0.0, "out", "x" * 36))
    assert [entry.number for entry in log.entries()] == list(range(40, 50))
    assert log.dropped == 40
    log.add(Entry(50, 0.0, "out", "y" * 5000))
    assert [entry.number for entry in log.entries()] == [50]


def test_followers_hear_of_every_line_once(capfd: pytest.CaptureFixture[str]) -> None:
    output = Output(["a"])
    output.log("a", 10000)
    output.say("a", "has begun")
    heard: list[str] = []
    came = threading.Event()

    def follower(name: str, entry: Entry) -> None:
        heard.append(f"{name} {entry.stream} {entry.text}")
        came.set()

    assert [(name, entry.text) for name, entry in output.follow(follower)] == [("a", "has begun")]
    fd = output.channel("a", "out", -1)
    os.write(fd, b"line\n")
    assert came.wait(30)
    output.unfollow(follower)
    os.write(fd, b"unheard\n")
    os.close(fd)
    output.close()
    assert heard == ["a out line"]
    assert capfd.readouterr().err == "rump: a has begun\n"
