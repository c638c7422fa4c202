"""The command line: verbs, what stands behind `--`, mistakes, completion."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from rumpkit.cli import exit as code
from rumpkit.cli import main as command
from rumpkit.cli.main import VERBS, main, report, split_command
from rumpkit.cli.verb import VerbModule
from rumpkit.compose.errors import ConfigError, ProgramError
from rumpkit.kern.abi.errno import EACCES, EADDRINUSE, ENOENT


def test_what_stands_behind_two_dashes_is_the_programs() -> None:
    assert split_command(["run", "f.toml", "--", "ls", "--", "-l"]) == (["run", "f.toml"], ["ls", "--", "-l"])
    assert split_command(["run", "f.toml"]) == (["run", "f.toml"], [])
    assert split_command(["run", "--"]) == (["run"], [])


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_every_verb_has_help_with_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([verb, "--help"])
    assert left.value.code == 0
    assert f"rump {verb} " in capsys.readouterr().out.partition("examples:")[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rnu"], "invalid choice: 'rnu'"),
        (["run", "--bogus", "--", "true"], "rump run does not know --bogus"),
        (["run", "curl", "http://x"], "a program and its arguments stand behind --"),
        (["describe", "f.toml", "--", "true"], "rump describe takes no command"),
        (["describe"], "required: FILE"),
        (["completion", "fish"], "invalid choice: 'fish'"),
    ],
)
def test_mistakes_on_the_command_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == code.USAGE
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run"], "no program to run (rump run -- CMD, or rump run FILE)"),
        (["run", "sh"], "sh: is a program, not a config (write: rump run -- sh)"),
        (["run", "--forward", "80", "--", "true"], "--forward: '80' is not a forward"),
        (["describe", "/nowhere.toml"], "/nowhere.toml: cannot be read: No such file or directory"),
    ],
)
def test_mistakes_in_what_it_says(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == code.USAGE
    assert capsys.readouterr().err.startswith(f"rump: {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[kernel]\ncomponents = ["tpc"]\n',
            "2: kernel.components: there is no component 'tpc' (did you mean \"tcp\"?)",
        ),
        (
            '[[interface]]\nlink = "user"\naddress = ["10.0.2.2/24"]\n',
            "1: interface[0]: 10.0.2.2/24 is the gateway's address (take .15, or leave address out)",
        ),
        (
            '[[interface]]\nlink = "user"\n[sysctl]\n"net.tcp.max_rtt" = 1\n',
            '4: sysctl.net.tcp.max_rtt: there is no such sysctl (did you mean "net.tcp.max_rto"?)',
        ),
    ],
)
def test_what_only_building_finds_has_its_place_in_the_file(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(text + '[[run]]\ncommand = ["true"]\n')
    for verb in ("describe", "run"):
        assert main([verb, str(config)]) == code.USAGE
        assert capsys.readouterr().err == f"rump: {config}:{message}\n"


@pytest.mark.parametrize(
    ("failure", "exit_code", "text"),
    [
        (ConfigError("is odd", key="k", file="f", line=3, hint="even"), 2, "rump: f:3: k: is odd (even)"),
        (OSError(EADDRINUSE, "Address already in use"), 125, "rump: Address already in use"),
        (OSError(ENOENT, "No such file or directory", "/x"), 125, "rump: /x: No such file or directory"),
        (ProgramError(ENOENT, "No such file or directory", "ls"), 127, "rump: ls: No such file or directory"),
        (ProgramError(EACCES, "Permission denied", "ls"), 126, "rump: ls: Permission denied"),
    ],
)
def test_errors_are_one_line_and_a_code(
    failure: Exception, exit_code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(failure) == exit_code
    assert capsys.readouterr().err == text + "\n"


def test_bugs_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        report(ZeroDivisionError())


def test_ctrl_c_and_a_closed_pipe_have_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(verb: command.Verb) -> VerbModule:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_module", interrupted)
    assert main(["describe", "f"]) == 130


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_is_a_script_that_the_shell_accepts(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == code.OK
    script = tmp_path / "completion"
    script.write_text(capsys.readouterr().out)
    for word in ("describe", "--capture", "--forward"):
        assert word in script.read_text()
    if shutil.which(shell):
        assert subprocess.run([shell, "-n", str(script)], capture_output=True).stderr == b""


def test_what_is_wrong_tells_a_terminal_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Names in it may be an image's."""
    report(OSError(ENOENT, "no image is called 'x'; it has \x1b]0;gone\x07, \x9b2J\r, gr\xfcn", "a\nb"))
    assert (
        capsys.readouterr().err == "rump: a\nb: no image is called 'x'; it has \\x1b]0;gone\\x07, \\x9b2J\\r, gr\xfcn\n"
    )
