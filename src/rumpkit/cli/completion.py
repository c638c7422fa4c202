"""`rump completion SHELL`: a script for the shell to complete verbs, options and config files with."""

import argparse

from . import exit as code

DESCRIPTION = "Print a completion script for a shell."
EPILOG = """\
examples:
  rump completion bash > ~/.local/share/bash-completion/completions/rump
  rump completion zsh > ~/.zfunc/_rump
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("shell", choices=["bash", "zsh", "tcsh"], help="the shell to write for")


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    from .main import parser
    from .running import PREAMBLE

    print(shtab.complete(parser(), shell=arguments.shell, preamble=PREAMBLE.get(arguments.shell, "")))
    return code.OK
