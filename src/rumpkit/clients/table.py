"""The table of system calls: which call object of which faction answers each call of the typed faces.

`local.py` and `aio.py` are its faces; a test holds both against it and against each other.  Who adds a system call
adds its method to a faction's call object, its name here, and a method to each face.
"""

from typing import Final, NamedTuple


class Call(NamedTuple):
    """One system call: its name in the faces, and the interface and the method that answer it."""

    name: str
    service: str
    method: str


_NAMES: Final[dict[str, str]] = {
    "KernCalls": """
    read write writev pread pwrite lseek ioctl close dup dup2 dup3 fcntl pipe2 eventfd2 getpid getppid fork
    exit getuid getgid getgroups setuid setgid setgroups gethostname sethostname clock_gettime nanosleep
    getrandom
    """,
    "SocketCalls": """
    socket socketpair bind listen accept4 connect getsockname getpeername shutdown sendto recvfrom sendmsg
    recvmsg sendmmsg recvmmsg getsockopt setsockopt
    """,
    "PollCalls": """
    poll select epoll_create1 epoll_ctl epoll_wait
    """,
    "VfsCalls": """
    open creat readdir mkdir mknod mkfifo symlink link unlink rmdir readlink rename stat lstat fstat access
    statvfs fstatvfs chmod fchmod chown lchown fchown utimens futimens truncate ftruncate fsync fdatasync
    fallocate getxattr lgetxattr fgetxattr setxattr lsetxattr fsetxattr listxattr llistxattr flistxattr
    removexattr lremovexattr fremovexattr fcntl_lock flock
    inotify_init1 inotify_add_watch inotify_rm_watch
    chdir fchdir chroot getcwd umask sync mount remount unmount
    """,
}

CALLS: Final[tuple[Call, ...]] = (
    *(Call(name, service, name) for service, names in _NAMES.items() for name in names.split()),
    Call("send", "SocketCalls", "sendto"),
    Call("recv", "SocketCalls", "recvfrom"),
)
"""Every system call."""
