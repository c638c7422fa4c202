"""`rump restart [NAME ...]`: end programs of a running kernel, and start them again."""

import argparse

from .running import NAMES
from .start import ask
from .start import configure as configure

DESCRIPTION = """\
End a program of a running kernel as its config says (stop_signal, stop_timeout) and start it again, or all that run.  One that
has ended is started.  Returns once they run."""
EPILOG = (
    """\
examples:
  rump restart web                 the program of that name, wherever it is
  rump restart --wait web-4712     all of that kernel's; return once they are healthy
  rump restart web-4712/nginx web-4712/php
"""
    + NAMES
    + """
Exits with 0 if they run (with --wait: do what they should), else with 1.
"""
)


def run(arguments: argparse.Namespace) -> int:
    """Ask, and wait."""
    return ask(arguments, "restart")
