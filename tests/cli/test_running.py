"""The verbs that ask running kernels: which one a name or -k means, and what is said where there is none."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rumpkit import Kernel
from rumpkit.cli import exit as code
from rumpkit.cli.main import main, parser
from tests.clients.control.kernels import runtime  # noqa: F401 (a fixture: control sockets of the test's own)

pytestmark = pytest.mark.once
SHOWS = (["ps"], ["stats"], ["net", "list"])
ASKS = (["ps"], ["stats", "--once", "-i", "0.1"], ["logs"], ["stop"], ["start"], ["restart"], ["exec", "--", "true"])
LOOKS = ("ifconfig", "route", "arp", "ss", "stat", "sysctl")


@pytest.fixture
def two(runtime: object) -> Iterator[list[str]]:  # noqa: F811
    """The names of two kernels that run."""
    with (
        Kernel(net="switch:lan", address="10.0.0.1/24", hostname="east", control=True),
        Kernel(net="switch:lan", address="10.0.0.2/24", hostname="west", control=True),
    ):
        yield ["east", "west"]


@pytest.mark.parametrize("words", SHOWS)
def test_without_a_kernel_a_person_is_told_how_to_start_one(
    words: list[str],
    runtime: object,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(words) == code.OK
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "rump: no kernel is running (start one: rump run --detach ...)\n")
    assert main([*words, "--json"]) == code.OK
    output = capsys.readouterr()
    assert (json.loads(output.out), output.err) == ([], "")


@pytest.mark.parametrize("words", [["ps"], ["stats", "--once", "-i", "0.1"]])
def test_kernels_without_programs(words: list[str], two: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == code.OK
    assert capsys.readouterr().err == "rump: none of the kernels has programs (rump net list shows the kernels)\n"


@pytest.mark.long
@pytest.mark.parametrize("words", [["ps"], ["stats", "--once", "-i", "0.1"]])
def test_a_kernel_that_does_not_answer(
    words: list[str],
    runtime: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(runtime / "rumpkit" / "mute-1.sock"))
        mute.listen()
        assert main(words) == code.NOTHING
    output = capsys.readouterr()
    assert output.err.startswith("rump: mute-1: ") and "none of the kernels" not in output.err and not output.out


@pytest.mark.parametrize("verb", LOOKS)
@pytest.mark.parametrize("name", ["-k", "--kernel"])
def test_the_kernel_may_be_named_before_a_verb_or_behind_it(
    verb: str, name: str, two: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = []
    for words in (["net", name, "west", verb], ["net", verb, name, "west"], ["net", name, "east", verb, name, "west"]):
        assert main([*words, "--json"]) == code.OK
        outputs.append(capsys.readouterr().out)
    assert "10.0.0.1" not in outputs[0]
    if verb not in ("stat", "sysctl"):
        assert outputs[0] == outputs[1] == outputs[2]
    assert main(["net", verb]) == code.FAILED
    assert "2 kernels are running; name one, by -k NAME: east-" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["net", "-k", "west", "list"], ["net", "list", "-k", "west"]])
def test_one_kernel_of_the_list(words: list[str], two: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--names"]) == code.OK
    assert capsys.readouterr().out.startswith("west-")


@pytest.mark.parametrize("words", [*ASKS, *(["net", verb] for verb in ("list", "ping", "capture", *LOOKS))])
def test_every_verb_that_asks_a_kernel_has_the_same_option(words: list[str], two: list[str]) -> None:
    more = {"ping": ["10.0.0.1"], "capture": ["-o", "/dev/null"]}.get(words[-1], [])
    options = parser(words[0]).parse_args([one for one in words if one not in ("--", "true")] + more + ["-k", "west"])
    assert options.kernel == "west"


@pytest.mark.parametrize("words", ASKS)
def test_a_kernel_that_is_not_there_is_named(
    words: list[str], two: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([words[0], "-k", "north", *words[1:]]) == code.FAILED
    said = capsys.readouterr().err
    assert said.startswith("rump: no kernel called 'north' is running; there are east-")


@pytest.mark.parametrize("words", [*ASKS, ["net", "list"]])
def test_a_socket_at_which_nobody_listens_is_named(
    words: list[str], two: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    first = words[: 2 if words[0] == "net" else 1]
    assert main([*first, "-k", "./nowhere", *words[len(first) :]]) == code.FAILED
    assert capsys.readouterr().err == "rump: no kernel listens at ./nowhere\n"
