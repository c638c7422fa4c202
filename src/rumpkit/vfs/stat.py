"""What file system calls return: value classes with the field names of POSIX <sys/stat.h>, <dirent.h>, <sys/statvfs.h>."""

from typing import NamedTuple


class Stat(NamedTuple):
    """What stat(2) says of a file.  Times are nanoseconds since 1970-01-01 UTC."""

    st_mode: int
    """Kind (S_IFMT) and permission bits."""
    st_ino: int
    st_dev: int
    """The file system's number, different for each mount."""
    st_nlink: int
    st_uid: int
    st_gid: int
    st_rdev: int
    """The device that a special file stands for."""
    st_size: int
    """Bytes; for a symbolic link the length of its target."""
    st_blksize: int
    """Bytes that are best read or written at once."""
    st_blocks: int
    """Storage in units of 512 bytes."""
    st_atime_ns: int
    st_mtime_ns: int
    st_ctime_ns: int


class DirectoryEntry(NamedTuple):
    """One name in a directory (POSIX posix_dent)."""

    d_name: str
    """Undecodable bytes are lone surrogates, as in Python's os module."""
    d_ino: int
    d_type: int
    """S_IFMT bits."""
    d_off: int
    """Cookie: seek the directory here to go on behind this entry."""


class StatVfs(NamedTuple):
    """What statvfs(2) says of a file system."""

    f_bsize: int
    f_frsize: int
    """The unit of the block counts, in bytes."""
    f_blocks: int
    f_bfree: int
    f_bavail: int
    f_files: int
    f_ffree: int
    f_favail: int
    f_fsid: int
    f_flag: int
    """ST_* bits."""
    f_namemax: int
