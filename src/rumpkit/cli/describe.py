"""`rump describe FILE`: what a config builds, without starting its programs or opening links to the host."""

import argparse

from . import exit as code
from .table import show, show_json

DESCRIPTION = "Show what a config builds: components and how they are wired, interfaces, mounts, programs."
EPILOG = """\
examples:
  rump describe cache.toml
  rump describe cache.toml --json | jq .components
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("file", metavar="FILE", help="a config (TOML)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Check the config, boot its components on a host of their own, print."""
    from ..compose.describe import describe

    description = describe(arguments.file)
    if arguments.json:
        show_json(description.as_json())
        return code.OK
    for table in description.tables():
        show(table.title, table.columns, table.rows)
    return code.OK
