"""Requests of ioctl(2) that more than one kind of file knows, Linux x86-64 numbers."""

from typing import Final

TCGETS: Final = 0x5401
SIOCOUTQ: Final = 0x5411
"""Bytes that a socket has not got rid of yet (TIOCOUTQ on terminals): 4 bytes, little-endian."""
TIOCGWINSZ: Final = 0x5413
FIONREAD: Final = 0x541B
"""Bytes that can be read without waiting: 4 bytes, little-endian."""
FIONBIO: Final = 0x5421
"""Set (non-zero) or clear O_NONBLOCK: 4 bytes, little-endian."""
FIONCLEX: Final = 0x5450
FIOCLEX: Final = 0x5451
FS_IOC_GETFLAGS: Final = 0x80086601
FS_IOC_SETFLAGS: Final = 0x40086602
"""Inode flags (Linux <linux/fs.h>), 4 bytes in spite of what the numbers say."""
