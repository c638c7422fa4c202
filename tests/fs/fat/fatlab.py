"""A kernel with a FAT volume for tests: on a ram disk, mounted at /mnt, reached through the system calls."""

from __future__ import annotations

from typing import Any

from rumpkit.dev.ramdisk import RamDisk
from rumpkit.hyper.block import BlockBackend
from rumpkit.vfs.types import Finding
from tests.vfs.helpers import COMPONENTS, Client, Files

DISK = "disk0"


class Lab(Files):
    """A kernel whose disk0 is `backend`, not yet mounted."""

    def __init__(self, backend: BlockBackend) -> None:
        super().__init__(components=(*COMPONENTS, "fat"))
        self.backend = backend
        self.disk: Any = self.entered(self.service("Disks").attach, DISK, backend)

    @classmethod
    def of(cls, image: bytes) -> Lab:
        """A kernel with a disk that holds `image`."""
        disk = RamDisk(len(image))
        disk.write(0, image)
        return cls(disk)

    def up(self, **options: Any) -> Client:
        """Mount the volume at /mnt; returns a process of the superuser whose working directory it is."""
        self.mount("vfat", "/mnt", DISK, **options)
        client = self.process()
        client.chdir("/mnt")
        return client

    def down(self, client: Client) -> None:
        """End the process and unmount the volume."""
        self.entered(client.process.exit, 0)
        self.entered(self.vfs.unmount, "/mnt")

    def image(self) -> bytes:
        """What is on the disk."""
        return self.backend.read(0, self.backend.size)

    def format(self, **options: Any) -> None:
        """Make a new file system."""
        from rumpkit.vfs.types import check_format_options

        kind = self.vfs.types.find("vfat")
        self.entered(kind.format, self.vfs, self.disk, check_format_options(kind, options))

    def check(self, repair: bool = False) -> tuple[bool, list[Finding]]:
        """Check it with our own fsck."""
        found: list[Finding] = []
        kind = self.vfs.types.find("vfat")
        clean = self.entered(kind.check, self.vfs, self.disk, repair, found.append)
        return clean, found


def tree(client: Client, path: str = ".") -> dict[str, bytes | None]:
    """Every file below a directory with its bytes; None for directories."""
    found: dict[str, bytes | None] = {}
    for name in client.names(path):
        where = f"{path}/{name}"
        if client.stat(where).st_mode & 0o170000 == 0o040000:
            found[where[2:]] = None
            found.update(tree(client, where))
        else:
            found[where[2:]] = client.get(where)
    return found
