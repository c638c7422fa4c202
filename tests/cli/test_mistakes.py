"""Mistakes in a config that only a start finds: each answer names file, line, key and value, and the way out where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from rumpkit.cli import exit as code
from rumpkit.cli.main import main

RUN = '[[run]]\ncommand = ["true"]\n'


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("noise").write_text("noise" * 1000)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (
            "[[run]]\ncommand = \"nginx -g 'daemon off;'\"\n",
            '2: run[0].command: expected an array, got a string (write ["nginx", "-g", "daemon off;"])',
        ),
        (
            '[[mount]]\npath = "/d"\ntype = "ext5"\nsource = "noise"\n' + RUN,
            "3: mount[0].type: there is no file system type 'ext5' (did you mean \"ext4\"?)",
        ),
        (
            '[[mount]]\npath = "/d"\ntype = "ext4"\nsource = "noise"\n' + RUN,
            "4: mount[0].source: '{here}/noise' as ext4 cannot be mounted on /d: there is no ext2, ext3 or ext4 file system",
        ),
        (
            '[[mount]]\npath = "/d"\ntype = "tmpfs"\nsource = "/dev/disk0"\n' + RUN,
            "1: mount[0]: '/dev/disk0' as tmpfs cannot be mounted on /d: Invalid argument (does tmpfs take a source, this size?)",
        ),
        (
            '[[disk]]\nname = "d"\nsource = "none.img"\n' + RUN,
            "3: disk[0].source: '{here}/none.img' cannot be opened: No such file or directory",
        ),
        (
            '[kernel]\nroot = "noise"\n' + RUN,
            "2: kernel.root: '{here}/noise' can't be a root: holds no file system of a known type "
            "(a root is a directory, an image with a file system, a tar archive or a container image)",
        ),
        (
            '[kernel]\nroot = "noise"\nroot_type = "ext5"\n' + RUN,
            "2: kernel.root: '{here}/noise' can't be a root: there is no file system type 'ext5' (did you mean \"ext4\"?)",
        ),
        (
            '[sysctl]\n"net.tcp.send_buffer" = 1\n' + RUN,
            "2: sysctl.net.tcp.send_buffer: there is no such sysctl "
            '(this kernel has no network: add [[interface]] with link = "user")',
        ),
    ],
)
def test_what_is_found_before_any_program_starts(
    text: str, answer: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("c.toml").write_text(text)
    assert main(["run", "c.toml"]) == code.USAGE
    assert capsys.readouterr().err == f"rump: c.toml:{answer.format(here=place)}\n"


def test_an_image_is_no_config(capsys: pytest.CaptureFixture[str]) -> None:
    Path("root.img").write_bytes(b"\xff\xfe" * 100)
    assert main(["run", "root.img"]) == code.USAGE
    said = "rump: root.img:1: is not UTF-8 text (a config is TOML; an image is run by: rump run --root root.img)\n"
    assert capsys.readouterr().err == said


@pytest.mark.once
@pytest.mark.needs("linux", "seccomp", "netns")
@pytest.mark.parametrize(
    ("text", "status", "answer"),
    [
        (
            '[[run]]\ncommand = ["no-such-program"]\n',
            code.NOT_FOUND,
            "2: run[0].command: no-such-program: No such file or directory: it is in no directory of its PATH",
        ),
        *(
            (
                f'[[run]]\ncommand = ["{command}"]\n',
                code.NOT_FOUND,
                f"2: run[0].command: {command}: No such file or directory: a program and its arguments are words of their own, not one",
            )
            for command in ("cat noise", "cat ./noise")
        ),
        (
            '[kernel.a]\n[[kernel.a.run]]\ncommand = ["./noise"]\n',
            code.NOT_EXECUTABLE,
            "3: kernel.a.run[0].command: ./noise: Permission denied",
        ),
        (
            RUN + 'cwd = "none"\n',
            code.USAGE,
            "3: run[0].cwd: '{here}/none': No such file or directory",
        ),
        (
            '[[run]]\ncommand = ["echo", "${there}"]\n',
            code.USAGE,
            '2: run[0].command[1]: there is no variable ${{there}} (did you mean "here"?)',
        ),
        (
            RUN + 'writable = ["${there}/data"]\n',
            code.USAGE,
            '3: run[0].writable[0]: there is no variable ${{there}} (did you mean "here"?)',
        ),
    ],
)
def test_what_a_program_s_start_finds(
    text: str, status: int, answer: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("c.toml").write_text(text)
    assert main(["run", "c.toml"]) == status
    assert capsys.readouterr().err == f"rump: c.toml:{answer.format(here=place)}\n"


@pytest.mark.once
@pytest.mark.needs("linux", "seccomp", "netns")
@pytest.mark.parametrize(
    ("option", "answer"),
    [
        ("--writable", "is not there on the host (mkdir -p {here}/none)"),
        ("--visible", "is not there on the host (mkdir -p {here}/none)"),
        (
            "--root",
            "cannot be opened: No such file or directory "
            "(a root is a directory, an image with a file system, a tar archive or a container image)",
        ),
    ],
)
def test_what_stands_on_the_command_line_is_named_so(
    option: str, answer: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", option, "none", "--", "true"]) == code.USAGE
    assert capsys.readouterr().err == f"rump: {option}: '{place}/none' {answer.format(here=place)}\n"
