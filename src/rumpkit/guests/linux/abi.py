"""Numbers and structure formats of the Linux kernel interface that guests need; nothing here does anything.

Sources: <linux/seccomp.h>, <linux/filter.h>, <linux/sched.h>, <asm/unistd.h>, <linux/rtnetlink.h>.  ioctl numbers and
generic system calls (424 and up) are the same on x86-64 and aarch64.  The starter process imports this file: it does
without `typing`, which would take longer to load than all the rest.
"""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# Seccomp (seccomp(2), seccomp_unotify(2)) ---------------------------------------------------------------------

SECCOMP_SET_MODE_FILTER: Final = 1
SECCOMP_GET_ACTION_AVAIL: Final = 2
SECCOMP_GET_NOTIF_SIZES: Final = 3
SECCOMP_FILTER_FLAG_NEW_LISTENER: Final = 8

SECCOMP_RET_KILL_PROCESS: Final = 0x80000000
SECCOMP_RET_ERRNO: Final = 0x00050000
SECCOMP_RET_USER_NOTIF: Final = 0x7FC00000
SECCOMP_RET_TRACE: Final = 0x7FF00000
SECCOMP_RET_ALLOW: Final = 0x7FFF0000

SECCOMP_IOCTL_NOTIF_RECV: Final = 0xC0502100
SECCOMP_IOCTL_NOTIF_SEND: Final = 0xC0182101
SECCOMP_IOCTL_NOTIF_ID_VALID: Final = 0x40082102
SECCOMP_IOCTL_NOTIF_ADDFD: Final = 0x40182103
SECCOMP_IOCTL_NOTIF_SET_FLAGS: Final = 0x40082104
SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP: Final = 1
SECCOMP_USER_NOTIF_FLAG_CONTINUE: Final = 1
SECCOMP_ADDFD_FLAG_SETFD: Final = 1
SECCOMP_ADDFD_FLAG_SEND: Final = 2

NOTIFICATION: Final = Struct("<QIIiIQ6Q")
"""id, thread id, flags, system call number, architecture, instruction pointer, six arguments."""
RESPONSE: Final = Struct("<QqiI")
"""id, return value, error (negative), flags."""
ADDFD: Final = Struct("<QIIII")
"""id, flags, descriptor to copy, wanted number, O_CLOEXEC or 0."""
NOTIFICATION_SIZES: Final = (80, 24, 64)
"""Sizes of notification, response and seccomp_data that those formats stand for."""

# System calls -------------------------------------------------------------------------------------------------

AUDIT_ARCH: Final[dict[str, int]] = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_SYSCALL_BIT: Final = 0x40000000

_GENERIC: Final[dict[str, int]] = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "pidfd_open": 434,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
}
SYSCALLS: Final[dict[str, dict[str, int]]] = {
    "x86_64": {
        "ioctl": 16,
        "socket": 41,
        "connect": 42,
        "accept": 43,
        "shutdown": 48,
        "bind": 49,
        "listen": 50,
        "getsockname": 51,
        "getpeername": 52,
        "setsockopt": 54,
        "getsockopt": 55,
        "clone": 56,
        "setgroups": 116,
        "setresuid": 117,
        "setresgid": 119,
        "unshare": 272,
        "pivot_root": 155,
        "accept4": 288,
        "seccomp": 317,
        **_GENERIC,
    },
    "aarch64": {
        "ioctl": 29,
        "socket": 198,
        "connect": 203,
        "accept": 202,
        "bind": 200,
        "listen": 201,
        "getsockname": 204,
        "getpeername": 205,
        "setsockopt": 208,
        "getsockopt": 209,
        "shutdown": 210,
        "clone": 220,
        "setresuid": 147,
        "setresgid": 149,
        "setgroups": 159,
        "unshare": 97,
        "pivot_root": 41,
        "accept4": 242,
        "seccomp": 277,
        **_GENERIC,
    },
}
"""Numbers by machine (as uname names it) and name."""

# Processes, namespaces, mounts --------------------------------------------------------------------------------

PIDFD_THREAD: Final = 0o200
"""pidfd_open(2): for one thread rather than a process; since Linux 6.9."""
PR_SET_NO_NEW_PRIVS: Final = 38

TIOCSCTTY: Final = 0x540E
CLONE_FS: Final = 0x00000200
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
CLONE_PARENT: Final = 0x00008000
CLONE_NAMESPACES: Final = 0x7E020000
"""All flags of clone(2) that make a namespace: cgroup, UTS, IPC, user, process ids, network, mounts."""

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_MOVE: Final = 8192
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MS_SLAVE: Final = 1 << 19
MOUNT_ATTR_RDONLY: Final = 1
MOUNT_ATTR_NOSUID: Final = 2
MOUNT_ATTR_NODEV: Final = 4
AT_EMPTY_PATH: Final = 0x1000
AT_RECURSIVE: Final = 0x8000
MNT_DETACH: Final = 2
OPEN_TREE_CLONE: Final = 1
OPEN_TREE_CLOEXEC: Final = 0o2000000
AT_FDCWD: Final = -100
AT_SYMLINK_NOFOLLOW: Final = 0x100
MOVE_MOUNT_F_EMPTY_PATH: Final = 4
MOVE_MOUNT_T_SYMLINKS: Final = 0x10

# Routing netlink (rtnetlink(7)) -------------------------------------------------------------------------------

NETLINK_ROUTE: Final = 0
NETLINK_SOCK_DIAG: Final = 4
SOL_NETLINK: Final = 270
NETLINK_ADD_MEMBERSHIP: Final = 1
SKNLGRP_INET_UDP_DESTROY: Final = 2
SKNLGRP_INET6_UDP_DESTROY: Final = 4
NLM_F_REQUEST: Final = 1
NLM_F_ACK: Final = 4
NLM_F_REPLACE: Final = 0x100
NLM_F_EXCL: Final = 0x200
NLM_F_CREATE: Final = 0x400
NLM_F_APPEND: Final = 0x800
RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_NEWADDR: Final = 20
RTM_DELADDR: Final = 21
RTM_NEWROUTE: Final = 24
RTM_DELROUTE: Final = 25
RTM_NEWRULE: Final = 32
RTM_DELRULE: Final = 33
IFF_UP: Final = 1
IFF_NOARP: Final = 0x80
IFF_MULTICAST: Final = 0x1000
IFA_ADDRESS: Final = 1
IFA_LOCAL: Final = 2
IFA_BROADCAST: Final = 4
IFA_CACHEINFO: Final = 6
IFA_FLAGS: Final = 8
IFA_F_NODAD: Final = 0x02
IFA_F_NOPREFIXROUTE: Final = 0x200
IFLA_ADDRESS: Final = 1
IFLA_IFNAME: Final = 3
IFLA_MTU: Final = 4
IFLA_OPERSTATE: Final = 16
IF_OPER_UP: Final = 6
IFLA_LINKINFO: Final = 18
IFLA_INFO_KIND: Final = 1
RTA_DST: Final = 1
RTA_OIF: Final = 4
RTA_GATEWAY: Final = 5
RTA_PRIORITY: Final = 6
RTA_PREFSRC: Final = 7
RTNH_F_ONLINK: Final = 4
RT_TABLE_MAIN: Final = 254
RT_TABLE_LOCAL: Final = 255
RT_SCOPE_UNIVERSE: Final = 0
RT_SCOPE_LINK: Final = 253
RT_SCOPE_HOST: Final = 254
RTPROT_KERNEL: Final = 2
RTPROT_STATIC: Final = 4
RTPROT_RA: Final = 9
RTPROT_DHCP: Final = 16
RTN_UNICAST: Final = 1
RTN_LOCAL: Final = 2
RTN_BROADCAST: Final = 3
FRA_IIFNAME: Final = 3
FRA_PRIORITY: Final = 6
FRA_FWMARK: Final = 10
FRA_FWMASK: Final = 16
FRA_IP_PROTO: Final = 22
FR_ACT_TO_TBL: Final = 1
FR_ACT_BLACKHOLE: Final = 6
NLMSG_HEADER: Final = Struct("<IHHII")
"""length, type, flags, sequence, port."""
INTERFACE_MESSAGE: Final = Struct("<BxHiII")
"""family, device type, index, flags, mask of flags."""
ADDRESS_MESSAGE: Final = Struct("<BBBBI")
"""family, prefix length, flags, scope, index."""
ROUTE_MESSAGE: Final = Struct("<BBBBBBBBI")
"""family, destination length, source length, tos, table, protocol, scope, type, flags; of a rule the action is the type."""
LOOPBACK_INDEX: Final = 1
