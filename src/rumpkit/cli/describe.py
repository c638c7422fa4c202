"""`rump describe FILE`: what a config builds, without starting its programs or opening links to the host."""

import argparse

from . import exit as code
from .table import show, show_json
from .verb import completed_as_files

DESCRIPTION = "Show what a config builds: components and how they are wired, interfaces, mounts, programs."
EPILOG = """\
examples:
  rump describe cache.toml
  rump describe cache.toml --json | jq .components     a list of such where a file has several kernels
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    completed_as_files(parser.add_argument("file", metavar="FILE", help="a config (TOML)"))
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Check the config, boot its components on a host of their own, print."""
    from ..compose.describe import describe

    descriptions = describe(arguments.file)
    if arguments.json:
        many = [{"kernel": one.spec.kernel.hostname, **one.as_json()} for one in descriptions]
        show_json(many if len(many) > 1 else descriptions[0].as_json())
        return code.OK
    for description in descriptions:
        for table in description.tables():
            show(table.title, table.columns, table.rows)
    return code.OK
