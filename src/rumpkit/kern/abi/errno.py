"""Error numbers (POSIX <errno.h>), with the numbers that Linux gives them on x86-64.

Hosts disagree on the numbers, so kernels use these and the edges translate."""

from typing import Final

EPERM: Final = 1
ENOENT: Final = 2
ESRCH: Final = 3
EINTR: Final = 4
EIO: Final = 5
ENXIO: Final = 6
E2BIG: Final = 7
ENOEXEC: Final = 8
EBADF: Final = 9
ECHILD: Final = 10
EAGAIN: Final = 11
ENOMEM: Final = 12
EACCES: Final = 13
EFAULT: Final = 14
ENOTBLK: Final = 15
EBUSY: Final = 16
EEXIST: Final = 17
EXDEV: Final = 18
ENODEV: Final = 19
ENOTDIR: Final = 20
EISDIR: Final = 21
EINVAL: Final = 22
ENFILE: Final = 23
EMFILE: Final = 24
ENOTTY: Final = 25
ETXTBSY: Final = 26
EFBIG: Final = 27
ENOSPC: Final = 28
ESPIPE: Final = 29
EROFS: Final = 30
EMLINK: Final = 31
EPIPE: Final = 32
EDOM: Final = 33
ERANGE: Final = 34
EDEADLK: Final = 35
ENAMETOOLONG: Final = 36
ENOLCK: Final = 37
ENOSYS: Final = 38
ENOTEMPTY: Final = 39
ELOOP: Final = 40
ENODATA: Final = 61
ETIME: Final = 62
EPROTO: Final = 71
EOVERFLOW: Final = 75
EILSEQ: Final = 84
ENOTSOCK: Final = 88
EDESTADDRREQ: Final = 89
EMSGSIZE: Final = 90
EPROTOTYPE: Final = 91
ENOPROTOOPT: Final = 92
EPROTONOSUPPORT: Final = 93
ESOCKTNOSUPPORT: Final = 94
EOPNOTSUPP: Final = 95
EPFNOSUPPORT: Final = 96
EAFNOSUPPORT: Final = 97
EADDRINUSE: Final = 98
EADDRNOTAVAIL: Final = 99
ENETDOWN: Final = 100
ENETUNREACH: Final = 101
ENETRESET: Final = 102
ECONNABORTED: Final = 103
ECONNRESET: Final = 104
ENOBUFS: Final = 105
EISCONN: Final = 106
ENOTCONN: Final = 107
ESHUTDOWN: Final = 108
ETIMEDOUT: Final = 110
ECONNREFUSED: Final = 111
EHOSTDOWN: Final = 112
EHOSTUNREACH: Final = 113
EALREADY: Final = 114
EINPROGRESS: Final = 115
ESTALE: Final = 116
EUCLEAN: Final = 117
EDQUOT: Final = 122
ECANCELED: Final = 125
EWOULDBLOCK: Final = EAGAIN
ENOTSUP: Final = EOPNOTSUPP

NAMES: Final[dict[int, str]] = {
    EPERM: "EPERM",
    ENOENT: "ENOENT",
    ESRCH: "ESRCH",
    EINTR: "EINTR",
    EIO: "EIO",
    ENXIO: "ENXIO",
    E2BIG: "E2BIG",
    ENOEXEC: "ENOEXEC",
    EBADF: "EBADF",
    ECHILD: "ECHILD",
    EAGAIN: "EAGAIN",
    ENOMEM: "ENOMEM",
    EACCES: "EACCES",
    EFAULT: "EFAULT",
    ENOTBLK: "ENOTBLK",
    EBUSY: "EBUSY",
    EEXIST: "EEXIST",
    EXDEV: "EXDEV",
    ENODEV: "ENODEV",
    ENOTDIR: "ENOTDIR",
    EISDIR: "EISDIR",
    EINVAL: "EINVAL",
    ENFILE: "ENFILE",
    EMFILE: "EMFILE",
    ENOTTY: "ENOTTY",
    ETXTBSY: "ETXTBSY",
    EFBIG: "EFBIG",
    ENOSPC: "ENOSPC",
    ESPIPE: "ESPIPE",
    EROFS: "EROFS",
    EMLINK: "EMLINK",
    EPIPE: "EPIPE",
    EDOM: "EDOM",
    ERANGE: "ERANGE",
    EDEADLK: "EDEADLK",
    ENAMETOOLONG: "ENAMETOOLONG",
    ENOLCK: "ENOLCK",
    ENOSYS: "ENOSYS",
    ENOTEMPTY: "ENOTEMPTY",
    ELOOP: "ELOOP",
    ENODATA: "ENODATA",
    ETIME: "ETIME",
    EPROTO: "EPROTO",
    EOVERFLOW: "EOVERFLOW",
    EILSEQ: "EILSEQ",
    ENOTSOCK: "ENOTSOCK",
    EDESTADDRREQ: "EDESTADDRREQ",
    EMSGSIZE: "EMSGSIZE",
    EPROTOTYPE: "EPROTOTYPE",
    ENOPROTOOPT: "ENOPROTOOPT",
    EPROTONOSUPPORT: "EPROTONOSUPPORT",
    ESOCKTNOSUPPORT: "ESOCKTNOSUPPORT",
    EOPNOTSUPP: "EOPNOTSUPP",
    EPFNOSUPPORT: "EPFNOSUPPORT",
    EAFNOSUPPORT: "EAFNOSUPPORT",
    EADDRINUSE: "EADDRINUSE",
    EADDRNOTAVAIL: "EADDRNOTAVAIL",
    ENETDOWN: "ENETDOWN",
    ENETUNREACH: "ENETUNREACH",
    ENETRESET: "ENETRESET",
    ECONNABORTED: "ECONNABORTED",
    ECONNRESET: "ECONNRESET",
    ENOBUFS: "ENOBUFS",
    EISCONN: "EISCONN",
    ENOTCONN: "ENOTCONN",
    ESHUTDOWN: "ESHUTDOWN",
    ETIMEDOUT: "ETIMEDOUT",
    ECONNREFUSED: "ECONNREFUSED",
    EHOSTDOWN: "EHOSTDOWN",
    EHOSTUNREACH: "EHOSTUNREACH",
    EALREADY: "EALREADY",
    EINPROGRESS: "EINPROGRESS",
    ESTALE: "ESTALE",
    EUCLEAN: "EUCLEAN",
    EDQUOT: "EDQUOT",
    ECANCELED: "ECANCELED",
}
"""Number to symbolic name."""

MESSAGES: Final[dict[int, str]] = {
    EPERM: "Operation not permitted",
    ENOENT: "No such file or directory",
    ESRCH: "No such process",
    EINTR: "Interrupted system call",
    EIO: "Input/output error",
    ENXIO: "No such device or address",
    E2BIG: "Argument list too long",
    ENOEXEC: "Exec format error",
    EBADF: "Bad file descriptor",
    ECHILD: "No child processes",
    EAGAIN: "Resource temporarily unavailable",
    ENOMEM: "Cannot allocate memory",
    EACCES: "Permission denied",
    EFAULT: "Bad address",
    ENOTBLK: "Block device required",
    EBUSY: "Device or resource busy",
    EEXIST: "File exists",
    EXDEV: "Invalid cross-device link",
    ENODEV: "No such device",
    ENOTDIR: "Not a directory",
    EISDIR: "Is a directory",
    EINVAL: "Invalid argument",
    ENFILE: "Too many open files in system",
    EMFILE: "Too many open files",
    ENOTTY: "Inappropriate ioctl for device",
    ETXTBSY: "Text file busy",
    EFBIG: "File too large",
    ENOSPC: "No space left on device",
    ESPIPE: "Illegal seek",
    EROFS: "Read-only file system",
    EMLINK: "Too many links",
    EPIPE: "Broken pipe",
    EDOM: "Numerical argument out of domain",
    ERANGE: "Numerical result out of range",
    EDEADLK: "Resource deadlock avoided",
    ENAMETOOLONG: "File name too long",
    ENOLCK: "No locks available",
    ENOSYS: "Function not implemented",
    ENOTEMPTY: "Directory not empty",
    ELOOP: "Too many levels of symbolic links",
    ENODATA: "No data available",
    ETIME: "Timer expired",
    EPROTO: "Protocol error",
    EOVERFLOW: "Value too large for defined data type",
    EILSEQ: "Invalid or incomplete multibyte or wide character",
    ENOTSOCK: "Socket operation on non-socket",
    EDESTADDRREQ: "Destination address required",
    EMSGSIZE: "Message too long",
    EPROTOTYPE: "Protocol wrong type for socket",
    ENOPROTOOPT: "Protocol not available",
    EPROTONOSUPPORT: "Protocol not supported",
    ESOCKTNOSUPPORT: "Socket type not supported",
    EOPNOTSUPP: "Operation not supported",
    EPFNOSUPPORT: "Protocol family not supported",
    EAFNOSUPPORT: "Address family not supported by protocol",
    EADDRINUSE: "Address already in use",
    EADDRNOTAVAIL: "Cannot assign requested address",
    ENETDOWN: "Network is down",
    ENETUNREACH: "Network is unreachable",
    ENETRESET: "Network dropped connection on reset",
    ECONNABORTED: "Software caused connection abort",
    ECONNRESET: "Connection reset by peer",
    ENOBUFS: "No buffer space available",
    EISCONN: "Transport endpoint is already connected",
    ENOTCONN: "Transport endpoint is not connected",
    ESHUTDOWN: "Cannot send after transport endpoint shutdown",
    ETIMEDOUT: "Connection timed out",
    ECONNREFUSED: "Connection refused",
    EHOSTDOWN: "Host is down",
    EHOSTUNREACH: "No route to host",
    EALREADY: "Operation already in progress",
    EINPROGRESS: "Operation now in progress",
    ESTALE: "Stale file handle",
    EUCLEAN: "Structure needs cleaning",
    EDQUOT: "Disk quota exceeded",
    ECANCELED: "Operation canceled",
}
"""Number to the text that strerror(3) gives."""


def error(number: int, subject: str | None = None) -> OSError:
    """An OSError to raise, with the usual text and, for calls on a path, its name."""
    text = MESSAGES.get(number, f"Error {number}")
    return OSError(number, text) if subject is None else OSError(number, text, subject)
