"""FUSE's wire format: the numbers and structures of Linux <linux/fuse.h>, protocol 7.31 to 7.36 (and TMPFILE), as this server uses them.

All of it is in the machine's byte order, which is little-endian on every machine that Linux guests run on.  Below `operations` and
`server`; imports nothing of rumpkit.
"""

from struct import Struct
from typing import Final

MAJOR: Final = 7
MINOR: Final = 36
"""What we speak: the kernel speaks the lower of both."""
OLDEST: Final = 31
"""Linux 5.4: the least that knows of no-open, no-opendir and requests of more than 32 pages."""
ROOT_ID: Final = 1
PAGE: Final = 4096

LOOKUP: Final = 1
FORGET: Final = 2
GETATTR: Final = 3
SETATTR: Final = 4
READLINK: Final = 5
SYMLINK: Final = 6
MKNOD: Final = 8
MKDIR: Final = 9
UNLINK: Final = 10
RMDIR: Final = 11
RENAME: Final = 12
LINK: Final = 13
OPEN: Final = 14
READ: Final = 15
WRITE: Final = 16
STATFS: Final = 17
RELEASE: Final = 18
FSYNC: Final = 20
SETXATTR: Final = 21
GETXATTR: Final = 22
LISTXATTR: Final = 23
REMOVEXATTR: Final = 24
FLUSH: Final = 25
INIT: Final = 26
OPENDIR: Final = 27
READDIR: Final = 28
RELEASEDIR: Final = 29
FSYNCDIR: Final = 30
GETLK: Final = 31
SETLK: Final = 32
SETLKW: Final = 33
ACCESS: Final = 34
CREATE: Final = 35
INTERRUPT: Final = 36
BMAP: Final = 37
DESTROY: Final = 38
IOCTL: Final = 39
POLL: Final = 40
NOTIFY_REPLY: Final = 41
BATCH_FORGET: Final = 42
FALLOCATE: Final = 43
READDIRPLUS: Final = 44
RENAME2: Final = 45
LSEEK: Final = 46
COPY_FILE_RANGE: Final = 47
SYNCFS: Final = 50
TMPFILE: Final = 51
"""Since 7.37 (Linux 6.1), and asked for whatever version was agreed on."""
OPERATIONS: Final = 64
"""More than there are."""

NOTIFY_INVAL_INODE: Final = 2
NOTIFY_INVAL_ENTRY: Final = 3

ASYNC_READ: Final = 1 << 0
ATOMIC_O_TRUNC: Final = 1 << 3
BIG_WRITES: Final = 1 << 5
DONT_MASK: Final = 1 << 6
AUTO_INVAL_DATA: Final = 1 << 12
DO_READDIRPLUS: Final = 1 << 13
READDIRPLUS_AUTO: Final = 1 << 14
ASYNC_DIO: Final = 1 << 15
WRITEBACK_CACHE: Final = 1 << 16
NO_OPEN_SUPPORT: Final = 1 << 17
PARALLEL_DIROPS: Final = 1 << 18
POSIX_ACL: Final = 1 << 20
MAX_PAGES: Final = 1 << 22
CACHE_SYMLINKS: Final = 1 << 23
NO_OPENDIR_SUPPORT: Final = 1 << 24
HANDLE_KILLPRIV_V2: Final = 1 << 28
"""Flags of INIT."""

FATTR_MODE: Final = 1 << 0
FATTR_UID: Final = 1 << 1
FATTR_GID: Final = 1 << 2
FATTR_SIZE: Final = 1 << 3
FATTR_ATIME: Final = 1 << 4
FATTR_MTIME: Final = 1 << 5
FATTR_ATIME_NOW: Final = 1 << 7
FATTR_MTIME_NOW: Final = 1 << 8
FATTR_KILL_SUIDGID: Final = 1 << 11
WRITE_KILL_SUIDGID: Final = 1 << 2
FSYNC_DATA_ONLY: Final = 1 << 0

IN_HEADER: Final = Struct("<IIQQIIIHH")
"""Length, operation, unique, node, uid, gid, pid, length of extensions, padding."""
IN_SIZE: Final = 40
OUT_HEADER: Final = Struct("<IiQ")
"""Length, minus errno, unique."""
OUT_SIZE: Final = 16

INIT_IN: Final = Struct("<IIII")
"""Major, minor, read-ahead, flags."""
INIT_OUT: Final = Struct("<IIIIHHIIHHI28x")
"""Major, minor, read-ahead, flags, most background requests, congestion threshold, largest write, granularity of times, most
pages of a request, alignment of mappings, further flags."""
ATTRIBUTES: Final = Struct("<QII3Q3q10I")
"""How long they hold (seconds, 0, nanoseconds as the second last); then inode number, size, blocks; atime, mtime, ctime in
seconds and in nanoseconds; mode, links, uid, gid, rdev, block size, flags."""
ATTRIBUTE: Final = Struct("<3Q3q10I")
"""The attributes alone;"""
ATTRIBUTE_TIMES: Final = Struct("<QII")
"""and what is before them."""
ENTRY: Final = Struct("<QQQQII3Q3q10I")
"""Node, generation, how long the name and the attributes hold (seconds, then nanoseconds), and the attributes."""
ENTRY_HEAD: Final = Struct("<QQ")
ENTRY_TIMES: Final = Struct("<QQII")
"""Its parts before the attributes."""
ENTRY_SIZE: Final = 128
DIRENT: Final = Struct("<QQII")
"""Inode number, cookie of the next, length of the name, type; the name follows, filled up to 8 bytes."""
DIRENT_SIZE: Final = 24
SETATTR_IN: Final = Struct("<II3Q3q8I")
"""Valid, padding, handle, size, lock owner; atime, mtime, ctime in seconds and in nanoseconds; mode, unused, uid, gid, unused."""
READ_IN: Final = Struct("<QQIIQII")
"""Handle, offset, size, flags, lock owner, open flags, padding; of WRITE, too."""
READ_SIZE: Final = 40
WRITE_OUT: Final = Struct("<II")
MKNOD_IN: Final = Struct("<IIII")
"""Mode, rdev, umask, padding."""
CREATE_IN: Final = Struct("<IIII")
"""Flags, mode, umask, flags; a name follows, of TMPFILE an empty or a made-up one."""
OPEN_OUT: Final = Struct("<QII")
"""Handle, flags, padding; behind an entry."""
KEEP_CACHE: Final = 1 << 1
"""A flag of it: what Linux has of the file in its cache is good."""
MKDIR_IN: Final = Struct("<II")
"""Mode, umask."""
RENAME_IN: Final = Struct("<Q")
RENAME2_IN: Final = Struct("<QII")
LINK_IN: Final = Struct("<Q")
FORGET_IN: Final = Struct("<Q")
BATCH_FORGET_IN: Final = Struct("<II")
FORGET_ONE: Final = Struct("<QQ")
FSYNC_IN: Final = Struct("<QII")
"""Handle, flags, padding."""
XATTR_IN: Final = Struct("<II")
"""Size, and flags or padding."""
XATTR_OUT: Final = Struct("<II")
ACCESS_IN: Final = Struct("<II")
LSEEK_IN: Final = Struct("<QQII")
LSEEK_OUT: Final = Struct("<Q")
FALLOCATE_IN: Final = Struct("<QQQII")
COPY_IN: Final = Struct("<QQQQQQQ")
"""Handle and offset to read from; node, handle and offset to write to; length, flags."""
IOCTL_IN: Final = Struct("<QIIQII")
"""Handle, flags, command, argument, sizes of what comes in and what may go out; the former follows."""
IOCTL_OUT: Final = Struct("<iIII")
"""Result, flags, counts of vectors; what goes out follows."""
STATFS_OUT: Final = Struct("<5Q4I24x")
"""Blocks: all, free, available; files: all, free; block size, longest name, fragment size."""
INVAL_INODE: Final = Struct("<Qqq")
INVAL_ENTRY: Final = Struct("<QII")
