"""Archives made by Python's tarfile, and mounted."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rumpkit.dev.ramdisk import RamDisk
from tests.vfs.helpers import COMPONENTS, Client, Files


def archive(*members: tuple[str, Any], form: int = tarfile.PAX_FORMAT, **common: Any) -> bytes:
    """An archive: of each member its name and data, or attributes of a TarInfo."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as made:
        for name, given in members:
            info = tarfile.TarInfo(name)
            data = b""
            if isinstance(given, bytes):
                data = given
                info.size = len(data)
            else:
                for key, value in given.items():
                    if key == "data":
                        data, info.size = value, len(value)
                    else:
                        setattr(info, key, value)
            for key, value in common.items():
                setattr(info, key, value)
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


def link(target: str) -> dict[str, Any]:
    """A symbolic link."""
    return {"type": tarfile.SYMTYPE, "linkname": target}


def hard(target: str) -> dict[str, Any]:
    """A further name."""
    return {"type": tarfile.LNKTYPE, "linkname": target}


DIRECTORY = {"type": tarfile.DIRTYPE, "mode": 0o755}


def attach(files: Files, *archives: bytes) -> str:
    """Disks with these archives; the source of a mount."""
    names = []
    for number, data in enumerate(archives):
        disk = RamDisk(len(data))
        disk.write(0, data)
        disk.read_only = True
        names.append(f"tar{number}")
        files.entered(files.service("Disks").attach, names[-1], disk)
    return ",".join(names)


@contextmanager
def mounted(*archives: bytes, **options: Any) -> Iterator[Client]:
    """A process of a kernel that has the archives at /mnt."""
    files = Files(components=(*COMPONENTS, "tar"))
    files.mount("tar", "/mnt", attach(files, *archives), **options)
    yield files.root
    files.entered(files.vfs.unmount, "/mnt")
