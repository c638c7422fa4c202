"""Fresh images for tests, formatted by rumpkit itself."""

from __future__ import annotations

from pathlib import Path

from rumpkit.compose.image.address import Address
from rumpkit.compose.image.session import Session
from rumpkit.vfs.types import OptionValue, check_format_options


def blank(path: Path, kind: str, size: int = 8 << 20, **options: OptionValue) -> Path:
    """An image of `size` bytes with an empty file system of this kind."""
    with open(path, "wb") as file:
        file.truncate(size)
    format_part(path, kind, "", **options)
    return path


def format_part(path: Path, kind: str, partition: str, **options: OptionValue) -> None:
    """Make a file system in one partition of an image, or on the whole of it."""
    with Session(in_place=True) as session:
        device = session.device(Address(str(path), str(path), partition, "/"), write=True)
        maker = session.vfs().types.find(kind)
        maker.format(session.vfs(), device, check_format_options(maker, options))
        device.flush()
        session.commit()
