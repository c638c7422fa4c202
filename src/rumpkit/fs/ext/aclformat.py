"""Access control lists on disk, and in the form of Linux's extended attributes, which is what everybody else sees.

On disk the version is 1, and only entries for a named user or group have a number; elsewhere it is 2 and all have one.
"""

import struct
from typing import Final

from ...kern.abi.errno import EINVAL, error
from .geometry import corrupt

_VERSION_DISK: Final = 1
_VERSION: Final = 2
_NAMED: Final = (0x02, 0x08)
"""Tags of entries for a user and a group by number."""
_TAGS: Final = (0x01, 0x02, 0x04, 0x08, 0x10, 0x20)
_NOBODY: Final = 0xFFFFFFFF
_SHORT: Final = struct.Struct("<HH")
_LONG: Final = struct.Struct("<HHI")
_WORD: Final = struct.Struct("<I")


def from_disk(data: bytes, whose: str) -> bytes:
    """The list in Linux's form.  Raises EUCLEAN."""
    if len(data) < 4 or _WORD.unpack_from(data)[0] != _VERSION_DISK:
        raise corrupt(f"{whose}: its access control list is of no known version")
    parts = [_WORD.pack(_VERSION)]
    at = 4
    while at < len(data):
        if at + _SHORT.size > len(data):
            raise corrupt(f"{whose}: its access control list is cut off")
        tag, rights = _SHORT.unpack_from(data, at)
        number = _NOBODY
        at += _SHORT.size
        if tag in _NAMED:
            if at + 4 > len(data):
                raise corrupt(f"{whose}: its access control list is cut off")
            number = _WORD.unpack_from(data, at)[0]
            at += 4
        parts.append(_LONG.pack(tag, rights, number))
    return b"".join(parts)


def to_disk(value: bytes) -> bytes:
    """A list in Linux's form as it lies on disk.  Raises EINVAL for what is none."""
    if len(value) < 4 or (len(value) - 4) % _LONG.size or _WORD.unpack_from(value)[0] != _VERSION:
        raise error(EINVAL)
    parts = [_WORD.pack(_VERSION_DISK)]
    for at in range(4, len(value), _LONG.size):
        tag, rights, number = _LONG.unpack_from(value, at)
        if tag not in _TAGS:
            raise error(EINVAL)
        parts.append(_LONG.pack(tag, rights, number) if tag in _NAMED else _SHORT.pack(tag, rights))
    return b"".join(parts)
