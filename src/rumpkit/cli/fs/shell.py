"""`rump fs shell`: the verbs, typed one after the other, with an image's directories to walk in."""

import argparse
import os
import shlex
import subprocess
import sys
from contextlib import suppress
from typing import Final, final

from ...compose.image import address as addresses
from ...compose.image.address import Address, parse
from .. import exit as code
from .common import Session, add_paths, parse_image

DESCRIPTION = """\
A shell in an image: all verbs of rump fs, where a plain path is one of the image, seen from the present directory.  The host's files are
file:PATH.  Every command is a step of its own: what it changes is committed when it is done."""
EPILOG = """\
examples:
  rump fs shell disk.img@2
  rump fs shell disk.img -c 'cd /etc' -c 'ls -l' -c 'cp file:motd .'
  echo 'rm -r /tmp' | rump fs shell disk.img

in the shell: cd [DIR], pwd, help, exit, !COMMAND of the host, and the verbs: ls -l, cat fstab, cp -a file:tree /srv, ...
Words are quoted as in sh; TAB completes verbs, options and paths; the history is kept in ~/.local/state/rump/fs_history.
Exits as the last command has.
"""

HISTORY: Final = "~/.local/state/rump/fs_history"
HISTORY_LENGTH: Final = 2000
OWN: Final = ("cd", "pwd", "help", "exit", "quit")
NOT_HERE: Final = ("shell", "mkdisk", "mount", "umount")
"""Verbs of whole images."""
WHOLE: Final = ("info", "df", "fsck", "mkfs")
"""Verbs that mean this image where they are given no other."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_paths(parser, "image", "IMAGE", None, "the image, or IMAGE@PARTITION")
    parser.add_argument("-c", dest="commands", action="append", metavar="COMMAND", help="do this and exit")


def run(arguments: argparse.Namespace) -> int:
    """Read and do commands."""
    address = parse_image(arguments.image)
    with Session() as session:
        session.mount(address)
    shell = Shell(address)
    if arguments.commands:
        for line in arguments.commands:
            if not shell.do(line):
                break
        return shell.status
    if sys.stdin.isatty():
        shell.talk()
    else:
        for line in sys.stdin:
            if not shell.do(line):
                break
    return shell.status


@final
class Shell:
    """One shell: where it is, and how the last command ended."""

    def __init__(self, image: Address) -> None:
        self.image: Address = image
        self.path: str = image.path
        self.status: int = code.OK
        self._found: list[str] = []

    def talk(self) -> None:
        """Read commands from the terminal."""
        import readline

        path = os.path.expanduser(HISTORY)
        with suppress(OSError):
            readline.read_history_file(path)
        readline.set_history_length(HISTORY_LENGTH)
        readline.set_completer(self.complete)
        readline.set_completer_delims(" \t\n")
        readline.parse_and_bind("tab: complete")
        name = os.path.basename(self.image.whole())
        while True:
            try:
                line = input(f"{name}:{self.path}> ")
            except EOFError:
                print()
                break
            except KeyboardInterrupt:
                print()
                continue
            if not self.do(line):
                break
        with suppress(OSError):
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            readline.write_history_file(path)

    def do(self, line: str) -> bool:
        """Do one command; False where it was the last."""
        line = line.strip()
        if not line or line.startswith("#"):
            return True
        if line.startswith("!"):
            self.status = subprocess.run(line[1:], shell=True).returncode
            return True
        try:
            words = shlex.split(line)
        except ValueError as problem:
            self._fail(f"{problem}".lower(), code.USAGE)
            return True
        if words[0] in ("exit", "quit"):
            return False
        addresses.HERE.append(self.image._replace(path=self.path))
        try:
            self._one(words)
        finally:
            addresses.HERE.pop()
        return True

    def _one(self, words: list[str]) -> None:
        from . import TOOLS

        verbs = [tool.name for tool in TOOLS if tool.name not in NOT_HERE]
        if words[0] == "cd":
            self._change(words[1] if len(words) > 1 else "/")
        elif words[0] == "pwd":
            print(self.path)
        elif words[0] == "help":
            print(f"verbs: {', '.join(verbs)} (VERB --help says more); {', '.join(OWN)}; !COMMAND of the host")
        elif words[0] in verbs:
            self._verb(words)
        else:
            self._fail(f"{words[0]}: there is no such command (help lists them)", code.USAGE)

    def _verb(self, words: list[str]) -> None:
        from ..main import main

        if words[0] in WHOLE and not any(not word.startswith("-") for word in words[1:]):
            words = [*words, self.image.whole()]
        elif words[0] in ("ls", "tree", "du") and not any(not word.startswith("-") for word in words[1:]):
            words = [*words, "."]
        elif words[0] == "find" and (len(words) == 1 or words[1].startswith("-") or words[1] in ("(", "!")):
            words = ["find", ".", *words[1:]]
        try:
            self.status = main(["fs", *words])
        except SystemExit as end:
            self.status = end.code if isinstance(end.code, int) else code.USAGE
        sys.stdout.flush()

    def _change(self, text: str) -> None:
        self.status = code.OK
        try:
            with Session() as session:
                target = parse(text)
                if not session.node(target).is_directory():
                    self._fail(f"{text}: it is no directory", code.NOTHING)
                    return
        except OSError as problem:
            self._fail(f"{text}: {problem.strerror}", code.NOTHING)
            return
        self.path = os.path.normpath(target.path)

    def _fail(self, text: str, status: int) -> None:
        print(f"rump: {text}", file=sys.stderr)
        self.status = status

    # Completion ----------------------------------------------------------------------------------------

    def complete(self, text: str, state: int) -> str | None:
        """What readline asks: the completion number `state` of a word."""
        import readline

        if state == 0:
            try:
                self._found = self._completions(text, readline.get_line_buffer()[: readline.get_begidx()])
            except OSError:
                self._found = []
        return self._found[state] if state < len(self._found) else None

    def _completions(self, text: str, before: str) -> list[str]:
        from . import TOOLS, VerbParser, module

        words = before.split()
        if not words:
            names = [*OWN, *(tool.name for tool in TOOLS if tool.name not in NOT_HERE)]
            return [f"{name} " for name in sorted(names) if name.startswith(text)]
        if text.startswith("-"):
            parser = VerbParser(add_help=False)
            module(words[0]).configure(parser)
            options = [option for action in parser._actions for option in action.option_strings]
            return [f"{option} " for option in sorted(options) if option.startswith(text)]
        return self._paths(text)

    def _paths(self, text: str) -> list[str]:
        head, slash, tail = text.rpartition("/")
        if text.startswith("file:") and not slash:
            head, slash, tail = "file:.", "", text[len("file:") :]
        addresses.HERE.append(self.image._replace(path=self.path))
        try:
            with Session() as session:
                directory = session.node(parse(head + slash or "."))
                found = []
                for entry in directory.entries():
                    name = os.fsdecode(entry.name)
                    if name.startswith(tail) and (tail or not name.startswith(".")):
                        end = "/" if entry.kind == 0o040000 else " "
                        prefix = "file:" if head == "file:." else head + slash
                        found.append(prefix + shlex.quote(name) + end)
                return sorted(found)
        finally:
            addresses.HERE.pop()
