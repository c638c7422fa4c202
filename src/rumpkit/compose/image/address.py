"""What an argument of `rump fs` means: a path in an image, a whole image, or a path of the host.

    disk.img:/etc/fstab     a path in an image
    disk.img@2:/etc/fstab   in its second partition
    disk.img@ROOT:/         in the partition or file system with this label
    notes.txt, ./a:b        the host's

The rules, in this order:

1. `file:PATH` is the host's PATH, whatever it looks like; `-` is the standard stream.
2. What stands before the first `:/`, or before a `:` at the end, is an image.
3. `NAME:PATH`, with no slash before the colon, is an image, too, and PATH starts at its root; so `./a:b` is the host's file.
4. An image's name ends at its last `@`, unless a file of the whole name exists.
"""

import os
from typing import Final, NamedTuple

HOST_PREFIX: Final = "file:"
STREAM: Final = "-"


HERE: list["Address"] = []
"""The directory of an image in which `rump fs shell` is: with one, a plain path is one of the image, and the host's are `file:PATH`."""


class Address(NamedTuple):
    """One argument, taken apart."""

    text: str
    """As it was given: what messages call it."""
    image: str
    """The image's path on the host; "" for a path of the host."""
    partition: str
    """A number or a label; "" where none was named."""
    path: str
    """The path in the image, beginning with a slash, or on the host."""

    @property
    def inside(self) -> bool:
        """Whether it is in an image."""
        return self.image != ""

    def whole(self) -> str:
        """The image with its partition, as it is written."""
        return f"{self.image}@{self.partition}" if self.partition else self.image

    def shown(self) -> bytes:
        """It as a path that more can be added to: what is found below it is an address again."""
        if not self.inside or ":" in self.text or HERE:
            return os.fsencode(self.text)
        return os.fsencode(f"{self.text}:/")

    def below(self, name: str) -> "Address":
        """The address of `name` in this directory."""
        path = f"{self.path.rstrip('/')}/{name}" if self.path else name
        return Address(f"{self.whole()}:{path}" if self.inside else path, self.image, self.partition, path)


def parse(text: str) -> Address:
    """Take an argument apart by the rules above; looks at the host's files only for rule 4."""
    if text.startswith(HOST_PREFIX):
        return Address(text, "", "", text[len(HOST_PREFIX) :])
    at = text.find(":/")
    if at < 0 and text.endswith(":"):
        at = len(text) - 1
    if at < 0:
        at = text.find(":")
        if "/" in text[:at]:
            at = -1
    if at <= 0:
        return _here(text)
    image, partition = split_partition(text[:at])
    path = text[at + 1 :]
    return Address(text, image, partition, path if path.startswith("/") else f"/{path}")


def _here(text: str) -> Address:
    """A plain path: the host's, or in the shell the image's."""
    if not HERE or text == STREAM:
        return Address(text, "", "", text)
    here = HERE[-1]
    path = text if text.startswith("/") else f"{here.path.rstrip('/')}/{text}"
    return Address(text, here.image, here.partition, path)


def parse_image(text: str) -> Address:
    """As `parse`, where a whole image is meant: `disk.img`, `disk.img@2`, with or without a colon and a path."""
    if HERE:
        image, partition = split_partition(text.partition(":")[0])
        return Address(text, image, partition, "/")
    address = parse(text)
    if address.inside or text.startswith(HOST_PREFIX):
        return address
    image, partition = split_partition(text)
    return Address(text, image, partition, "/")


def parse_tree(text: str) -> Address:
    """As `parse`, but a file or block device of the host, where a directory was to be expected, is meant as an image."""
    address = parse(text)
    if address.inside or text.startswith(HOST_PREFIX) or os.path.isdir(address.path):
        return address
    image, partition = split_partition(address.path)
    return Address(text, image, partition, "/") if os.path.exists(image) else address


def split_partition(name: str) -> tuple[str, str]:
    """An image's path, and the partition behind its last `@`."""
    at = name.rfind("@")
    if at <= 0 or at == len(name) - 1 or "/" in name[at:] or os.path.exists(name):
        return name, ""
    return name[:at], name[at + 1 :]
