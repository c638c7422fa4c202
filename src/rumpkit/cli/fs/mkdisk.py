"""`rump fs mkdisk`: a disk with a partition table and file systems, from one TOML file."""

import argparse

from ...compose.image.fresh import FreshImage
from ...compose.image.session import named, source_date_epoch
from .common import Complaints, add_paths
from .progress import Watch

DESCRIPTION = """\
Make a disk image: a partition table, and in each partition a file system with its content.  As with mkfs, the image is put in its place
when it is whole, and SOURCE_DATE_EPOCH makes the same bytes of the same input."""
EPILOG = """\
examples:
  rump fs mkdisk disk.toml disk.img

disk.toml:
  table = "gpt"                     # or "dos"
  size = "auto"                     # or "4G"

  [[partition]]
  name = "EFI system"
  type = "efi"                      # linux, data, swap, bios, home, root-x86-64, ... or a GUID
  size = "64M"
  filesystem = "vfat"
  label = "EFI"

  [[partition]]
  name = "root"
  size = "auto"                     # what the content needs; "rest": what is left, for the last one
  filesystem = "ext4"
  label = "ROOT"
  content = "tree"                  # a directory, "other.img:/srv" or "root.tar.gz", from the file's own folder
  options = { reserved_percent = 0 }

Further keys: id of the disk; uuid, bootable, filesystem_uuid and raw (a file of bytes instead of a file system) of partitions.
Exits with 1 where some file could not be kept, and was left out.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_paths(parser, "spec", "TOML", None, "what the disk shall be")
    add_paths(parser, "image", "IMAGE", None, "the new image")
    parser.add_argument("--force", action="store_true", help="replace what the image holds")


def run(arguments: argparse.Namespace) -> int:
    """Make it."""
    from ...compose.errors import ConfigError
    from ...compose.image.disks import DiskMaker
    from ...compose.image.diskspec import load_disk
    from ...compose.load import located

    epoch = source_date_epoch()
    complaints = Complaints()
    spec = load_disk(arguments.spec)
    with Watch("making") as watch, named(arguments.image), FreshImage(arguments.image, arguments.force) as fresh:
        maker = DiskMaker(spec, -1 if epoch is None else epoch * 10**9, complaints, watch)
        watch.count = maker.amount
        try:
            maker.make(fresh)
        except ConfigError as problem:
            raise located(problem, arguments.spec) from None
        finally:
            maker.close()
    return complaints.code()
