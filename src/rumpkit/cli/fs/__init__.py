"""`rump fs VERB`: make, look into, change, check and mount disk images, with no privileges.  One file a verb."""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple, cast

from .. import exit as code
from ..unpacking import shown
from ..verb import VerbModule

DESCRIPTION = """\
Make, look into, change, check and mount disk images.  No privileges are needed, and nothing of the host's kernel."""
EPILOG = """\
addresses:
  disk.img:/etc/fstab       a path in an image
  disk.img@2:/etc/fstab     in its second partition
  disk.img@ROOT:/           in the partition or file system labelled ROOT
  notes.txt, ./a:b          the host's files; file:PATH is the host's whatever it looks like
  -                         the standard input or output

examples:
  rump fs info disk.img
  rump fs ls -l disk.img:/etc
  rump fs cp -a ./tree disk.img:/srv
  rump fs mkfs -t ext4 -d ./tree --size auto root.img

Changes are gathered and committed at the end in one step, so that an image is as before or as after, whatever happens;
with --in-place they are written at once, and the file system's journal has to do.

exit codes: 0 done; 1 "no" (nothing found, trees differ), or some of it failed; 2 bad usage; 125 it failed; fsck has fsck(8)'s.
"""


class Tool(NamedTuple):
    """One verb."""

    name: str
    help: str


TOOLS = (
    Tool("info", "what an image holds: partitions, file systems, sizes, features"),
    Tool("ls", "list files"),
    Tool("tree", "draw the tree of files"),
    Tool("cat", "print files"),
    Tool("cp", "copy files into, out of and between images"),
    Tool("mv", "rename and move files"),
    Tool("rm", "remove files"),
    Tool("mkdir", "make directories"),
    Tool("ln", "make links"),
    Tool("chmod", "set permission bits"),
    Tool("chown", "set owners"),
    Tool("stat", "attributes of files"),
    Tool("du", "how much files take"),
    Tool("df", "how full file systems are"),
    Tool("find", "find files by what they are like"),
    Tool("grep", "find lines in files"),
    Tool("diff", "compare trees"),
    Tool("tar", "write and unpack tar archives"),
    Tool("mkfs", "make a file system, and fill it"),
    Tool("mkdisk", "make a disk with partitions and file systems from a TOML file"),
    Tool("fsck", "check and repair file systems"),
    Tool("mount", "mount a file system on a directory of the host"),
    Tool("umount", "unmount it"),
    Tool("shell", "a shell in an image"),
    Tool("hash", "SHA-256 of files and trees"),
)


def module(name: str) -> VerbModule:
    """A verb's module."""
    return cast(VerbModule, import_module(f"{__name__}.{name}"))


class VerbParser(argparse.ArgumentParser):
    """A parser that may mend the words first: argparse takes what begins with a dash for an option, always."""

    prepare: Callable[[list[str]], list[str]] | None = None
    """What a verb does to its words; its `configure` sets it."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse has it."""
        words = list(args or ())
        return super().parse_known_args(words if self.prepare is None else self.prepare(words), namespace)


def configure(parser: argparse.ArgumentParser, word: str | None = None) -> None:
    """Add the verbs: their names, and the arguments of the verb `word`, or of all (None: for completion).  A verb's
    module costs time, and only one of them is wanted."""
    tools = parser.add_subparsers(dest="tool", metavar="VERB", parser_class=VerbParser)
    parser.set_defaults(show_help=parser.print_help)
    names = {tool.name for tool in TOOLS}
    for tool in TOOLS:
        if word in names and word != tool.name:
            tools.add_parser(tool.name, help=tool.help, add_help=False)
            continue
        loaded = module(tool.name)
        child = tools.add_parser(
            tool.name,
            help=tool.help,
            description=loaded.DESCRIPTION,
            epilog=loaded.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=False,
            allow_abbrev=False,
        )
        loaded.configure(child)
        own = {option for action in child._actions for option in action.option_strings}
        child.add_argument(
            *(name for name in ("-h", "--help") if name not in own), action="help", help="show this help and exit"
        )


def run(arguments: argparse.Namespace) -> int:
    """Do what the verb does."""
    if arguments.tool is None:
        arguments.show_help()
        return code.USAGE
    with shown():
        status = module(arguments.tool).run(arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as problem:
        from .common import output_error

        raise output_error(problem) from None
    return status
