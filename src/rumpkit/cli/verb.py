"""What a verb's module has: of `rump`, of `rump net` and of `rump fs`."""

import argparse
from typing import Protocol


class VerbModule(Protocol):
    """One file of this package or of those below it, which is imported when its verb is used."""

    DESCRIPTION: str
    EPILOG: str

    @staticmethod
    def configure(parser: argparse.ArgumentParser) -> None:
        """Add the verb's arguments."""

    @staticmethod
    def run(arguments: argparse.Namespace) -> int:
        """Do it; returns an exit code (cli/exit.py)."""


def completed_as_files(argument: argparse.Action) -> None:
    """Have the shell complete an argument by the names of the host's files."""
    argument.complete = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}  # type: ignore[attr-defined]
