"""What a file is that is no image: compressed, or of another virtual machine.  It is named, with the way to make an image of it."""

from typing import Final

FOREIGN_BYTES: Final = 66 << 10
"""How much of a file's beginning tells."""

PACKED: Final = (
    (b"\x1f\x8b", "gzip", "gunzip"),
    (b"\xfd7zXZ\0", "xz", "unxz"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),
    (b"BZh", "bzip2", "bunzip2"),
    (b"\x04\x22\x4d\x18", "lz4", "unlz4"),
    (b"PK\x03\x04", "zip", "unzip"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip", "7z x"),
)
"""First bytes, compression, and the program that undoes it."""
OTHERS: Final = (
    (0, b"KDMV", "a VMDK image of VMware"),
    (0, b"# Disk DescriptorFile", "the description of a VMDK image of VMware"),
    (0, b"vhdxfile", "a VHDX image of Hyper-V"),
    (0, b"conectix", "a VHD image"),
    (64, b"\x7f\x10\xda\xbe", "a VDI image of VirtualBox"),
    (0, b"QED\0", "a QED image"),
)
"""Offset, bytes there, and what it is; qemu-img knows them all."""
UNSUPPORTED: Final = (
    (0, b"XFSB", "XFS"),
    (0, b"LUKS\xba\xbe", "LUKS, which is encrypted"),
    (3, b"NTFS    ", "NTFS"),
    (3, b"EXFAT   ", "exFAT"),
    (1024, b"\x10\x20\xf5\xf2", "F2FS"),
    (4086, b"SWAPSPACE2", "swap space"),
    (32769, b"CD001", "ISO 9660"),
    (65600, b"_BHRfS_M", "Btrfs"),
)
"""What it holds that no component reads."""


def only_read(head: bytes) -> bool:
    """Whether a file that begins so is of a kind that can only be read: squashfs, or a tar archive."""
    from ...fs.tar.header import BLOCK, is_header

    return head.startswith(b"hsqs") or is_header(head[:BLOCK])


def packed(head: bytes) -> str:
    """Says of a file that begins so that it is compressed; "" where it is not."""
    for magic, name, program in PACKED:
        if head.startswith(magic):
            return f"it is compressed by {name}; unpack it first ({program})"
    return ""


def foreign(head: bytes) -> str:
    """What a file is that begins so, and what to do; "" where nobody knows."""
    for offset, magic, name in OTHERS:
        if head[offset : offset + len(magic)] == magic:
            return f"it is {name}; qemu-img convert -O raw makes one that can be opened"
    for offset, magic, name in UNSUPPORTED:
        if head[offset : offset + len(magic)] == magic:
            return f"it holds {name}, which is not supported"
    return packed(head)
