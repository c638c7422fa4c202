"""A program that tries to get out, and writes a line "attempt: what came of it" for each way: the name of an error, or what it got.

Run on a kernel by test_escapes.py, which says what may come of each.  What it shall look for on the host comes as JSON: `pid` and
`namespaces` of a process there, a `folder` in /tmp that it is shown, with a `file` and a `listener` (a unix socket), and another folder
in /tmp, `unseen`, with the same, the name of its `abstract` socket, the `port` of another one, an `address` and the `interfaces` of the
host's, the `key` of shared memory; and `numbers` of system calls.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import mmap
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable
from functools import partial

HOST = json.loads(sys.argv[1])
NUMBERS = HOST["numbers"]
LIBC = ctypes.CDLL(None, use_errno=True)
ATTEMPTS: list[Callable[[], object]] = []
NEW = {
    "mnt": 0x20000,
    "cgroup": 0x2000000,
    "uts": 0x4000000,
    "ipc": 0x8000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}


def attempt(function: Callable[[], object]) -> Callable[[], object]:
    """Note one to be made."""
    ATTEMPTS.append(function)
    return function


def linux(call: str, *arguments: object) -> int:
    """A system call as such.  Raises OSError."""
    words = [word if isinstance(word, ctypes.Array | bytes) else ctypes.c_long(word) for word in arguments]  # type: ignore[arg-type]
    result = LIBC.syscall(ctypes.c_long(NUMBERS.get(call, call)), *words)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)


def in_child(function: Callable[[], object]) -> str:
    """What comes of it in a child, which may be killed for it."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, outcome(function).encode())
        os._exit(0)
    os.close(writer)
    told = os.read(reader, 4096).decode()
    os.close(reader)
    _, status = os.waitpid(child, 0)
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else told


def outcome(function: Callable[[], object]) -> str:
    """What came of an attempt, in a word or two."""
    try:
        return str(function())
    except OSError as problem:
        return errno.errorcode.get(problem.errno or 0, repr(problem))
    except Exception as problem:
        return repr(problem)


def writable(path: str) -> str:
    """Only opened: nothing is written should it succeed."""
    os.close(os.open(path, os.O_WRONLY))
    return "open"


# What it is born with ---------------------------------------------------------------------------------------------


@attempt
def descriptors() -> list[int]:
    listing = os.listdir("/proc/self/fd")
    return sorted(number for number in map(int, listing) if number > 2 and os.path.exists(f"/proc/self/fd/{number}"))


# Namespaces -----------------------------------------------------------------------------------------------------


@attempt
def namespaces_are_others() -> str:
    return " ".join(
        sorted(kind for kind, link in HOST["namespaces"].items() if os.readlink(f"/proc/self/ns/{kind}") == link)
    )


@attempt
def unshare() -> str:
    return " ".join(sorted({outcome(partial(linux, "unshare", flag)) for flag in NEW.values()}))


@attempt
def clone() -> str:
    return " ".join(
        sorted({outcome(partial(linux, "clone", flag | signal.SIGCHLD, 0, 0, 0, 0)) for flag in NEW.values()})
    )


@attempt
def clone_with_high_bits() -> int:
    return linux("clone", 1 << 40 | NEW["user"] | signal.SIGCHLD, 0, 0, 0, 0)


@attempt
def clone3() -> int:
    return linux("clone3", struct.pack("=11Q", NEW["user"], 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0), 88)


@attempt
def setns_of_init() -> int:
    try:
        return linux("setns", os.open("/proc/1/ns/net", os.O_RDONLY), 0)
    except PermissionError:
        return linux("setns", os.pidfd_open(1), NEW["net"])


# Calls that go past a filter ------------------------------------------------------------------------------------


@attempt
def io_uring() -> int:
    return linux("io_uring_setup", 8, ctypes.create_string_buffer(120))


@attempt
def x32() -> int:
    return linux(0x40000000 | 41, socket.AF_INET, socket.SOCK_STREAM, 0)  # type: ignore[arg-type]


@attempt
def i386() -> str:
    def call() -> int:
        code = b"\x53\xb8\x14\x00\x00\x00\xcd\x80\x5b\xc3"  # push rbx; mov eax, 20 (getpid); int 0x80; pop rbx; ret
        memory = mmap.mmap(-1, len(code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        memory.write(code)
        return int(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))())

    return in_child(call)


@attempt
def nested_listener() -> int:
    allow = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000))
    program = ctypes.create_string_buffer(struct.pack("@HP", 1, ctypes.addressof(allow)))
    return linux("seccomp", 1, 8, program)  # SECCOMP_SET_MODE_FILTER, with a listener


@attempt
def a_filter_that_allows_all() -> str:
    """Of several filters the strictest counts."""

    def call() -> int:
        allow = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000))
        linux("seccomp", 1, 0, ctypes.create_string_buffer(struct.pack("@HP", 1, ctypes.addressof(allow))))
        return linux("ptrace", 0, 0, 0, 0)

    return in_child(call)


@attempt
def a_mark_of_the_tracers() -> str:
    """What tells the filter that a tracer has seen a call lies in its last argument, which a program can set itself."""
    mark = 0x72756D70
    tries = (
        ("unshare", NEW["user"], 0, 0, 0, 0, mark),
        ("ptrace", 0, 0, 0, 0, 0, mark),
        ("mount", 0, 0, 0, 0, 0, mark),
        ("io_uring_setup", 8, ctypes.create_string_buffer(120), 0, 0, 0, mark),
        ("socket", 40, socket.SOCK_STREAM, 0, 0, 0, mark),
        ("socket", socket.AF_PACKET, socket.SOCK_RAW, 3, 0, 0, mark),
    )
    return " ".join(sorted({outcome(partial(linux, *one)) for one in tries}))


@attempt
def a_filter_that_asks_for_a_tracer() -> str:
    """It stops connect for whoever traces: he must not wave it through."""

    def call() -> None:
        rules = (
            struct.pack("=HBBI", 0x20, 0, 0, 0)
            + struct.pack("=HBBI", 0x15, 0, 1, NUMBERS["connect"])
            + struct.pack("=HBBI", 6, 0, 0, 0x7FF00000)
            + struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000)
        )
        code = ctypes.create_string_buffer(rules, len(rules))
        linux("seccomp", 1, 0, ctypes.create_string_buffer(struct.pack("@HP", 4, ctypes.addressof(code))))
        abstract_socket()

    return in_child(call)


# Other processes ------------------------------------------------------------------------------------------------


@attempt
def host_process_is_seen() -> str:
    """Where the number is somebody else's here, that is one of ours."""
    pid = HOST["pid"]
    return str(os.path.exists(f"/proc/{pid}") and os.readlink(f"/proc/{pid}/ns/pid") == HOST["namespaces"]["pid"])


@attempt
def signal_to_the_host() -> str:
    """Only asked whether it could be sent."""
    if os.path.exists(f"/proc/{HOST['pid']}"):
        return "ESRCH"  # one of ours has the number
    os.kill(HOST["pid"], 0)
    return "sent"


@attempt
def signal_to_all() -> str:
    """Init survives, and so do we: kill(2) leaves out who calls and who is process 1."""
    if os.readlink("/proc/self/ns/pid") == HOST["namespaces"]["pid"]:
        return "not tried: these are the host's processes"
    try:
        os.kill(-1, signal.SIGTERM)
    except ProcessLookupError:
        return "nobody"
    return "sent"


@attempt
def signal_to_init() -> str:
    os.kill(1, signal.SIGKILL)
    return "alive" if os.path.exists("/proc/1") else "dead"


@attempt
def trace_init() -> int:
    return linux("ptrace", 16, 1, 0, 0)  # PTRACE_ATTACH


@attempt
def read_memory_of_init() -> int:
    return linux("process_vm_readv", 1, 0, 0, 0, 0, 0)


@attempt
def write_memory_of_init() -> int:
    return linux("process_vm_writev", 1, 0, 0, 0, 0, 0)


@attempt
def take_descriptor_of_init() -> int:
    return linux("pidfd_getfd", os.pidfd_open(1), 0, 0)


# /proc and /sys -------------------------------------------------------------------------------------------------


@attempt
def root_of_init() -> list[str]:
    return os.listdir("/proc/1/root/")


@attempt
def directory_of_init() -> list[str]:
    return os.listdir("/proc/1/cwd/")


@attempt
def descriptors_of_init() -> str:
    numbers = os.listdir("/proc/1/fd")
    return " ".join(sorted({outcome(partial(os.open, f"/proc/1/fd/{number}", os.O_RDONLY)) for number in numbers}))


@attempt
def memory_of_init() -> str:
    return writable("/proc/1/mem")


@attempt
def program_of_init() -> str:
    return os.readlink("/proc/1/exe")


@attempt
def core_pattern() -> str:
    return writable("/proc/sys/kernel/core_pattern")


@attempt
def modprobe_path() -> str:
    return writable("/proc/sys/kernel/modprobe")


@attempt
def overcommit() -> str:
    return writable("/proc/sys/vm/overcommit_memory")


@attempt
def sysrq() -> str:
    return writable("/proc/sysrq-trigger")


@attempt
def kernel_memory() -> str:
    return os.pread(os.open("/proc/kcore", os.O_RDONLY), 4, 0).hex()


@attempt
def uevent_helper() -> str:
    return writable("/sys/kernel/uevent_helper")


@attempt
def anything_in_sysfs() -> list[str]:
    """Links are left out: they lead to what is visited anyway."""
    found = []
    for folder, folders, files in os.walk("/sys"):
        if folder.count("/") > 4:
            folders.clear()
        for name in files[:50]:
            path = os.path.join(folder, name)
            try:
                if os.stat(path).st_mode & 0o222:
                    writable(path)
                    found.append(path)
            except OSError:
                pass
    return found[:5]


@attempt
def disks() -> list[str]:
    return sorted(
        name
        for name in os.listdir("/dev")
        if name.startswith(("sd", "vd", "nvme", "mem", "kmsg", "fuse", "net", "loop"))
    )


@attempt
def a_device_made() -> str:
    path = f"/dev/shm/device{os.getpid()}"
    os.mknod(path, 0o60600, os.makedev(8, 0))
    os.unlink(path)
    return "made"


# Files ----------------------------------------------------------------------------------------------------------


@attempt
def mount() -> int:
    return linux("mount", b"none", b"/mnt", b"tmpfs", 0, 0)


@attempt
def unmount() -> int:
    return linux("umount2", b"/proc", 2)


@attempt
def new_mounts() -> str:
    tries = (
        ("open_tree", -100, b"/", 1),
        ("fsopen", b"tmpfs", 0),
        ("move_mount", 0, b"", 0, b"", 0),
        ("mount_setattr", -100, b"/", 0, 0, 0),
    )
    return " ".join(sorted({outcome(partial(linux, *one)) for one in tries}))


@attempt
def pivot_root() -> int:
    return linux("pivot_root", b".", b".")


@attempt
def chroot_twice() -> str:
    """Who may call chroot(2) gets out of one by another: to the root of the namespace, which is ours."""

    def call() -> str:
        before = os.stat("/")
        folder = f"/dev/shm/jail{os.getpid()}"
        os.mkdir(folder)
        held = os.open("/", os.O_RDONLY)
        os.chroot(folder)
        os.fchdir(held)
        for _ in range(64):
            os.chdir("..")
        os.chroot(".")
        after = os.stat("/")
        os.rmdir(folder)
        same_root = (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino)
        own_mounts = os.readlink("/proc/self/ns/mnt") != HOST["namespaces"]["mnt"]
        return "inside" if same_root and own_mounts else "outside"

    return in_child(call)


@attempt
def file_by_handle() -> int:
    handle = ctypes.create_string_buffer(struct.pack("=Ii", 8, 1) + b"\2" + bytes(7))
    return linux("open_by_handle_at", os.open("/", os.O_RDONLY), handle, 0)


@attempt
def more_rights_by_a_program() -> str:
    with open("/proc/self/status") as status:
        return next(line.split()[1] for line in status if line.startswith("NoNewPrivs"))


@attempt
def terminal_input() -> int:
    return int(bool(fcntl.ioctl(0, 0x5412, b"x")))


@attempt
def terminal_input_with_high_bits() -> int:
    return linux("ioctl", 0, 1 << 32 | 0x5412, ctypes.create_string_buffer(b"x"))


# Sockets --------------------------------------------------------------------------------------------------------


@attempt
def abstract_socket() -> str:
    with socket.socket(socket.AF_UNIX) as one:
        one.connect("\0" + HOST["abstract"])
    return "connected"


@attempt
def loopback_of_the_host() -> str:
    with socket.socket() as one:
        one.settimeout(5)
        one.connect(("127.0.0.1", HOST["port"]))
    return "connected"


@attempt
def address_of_the_host() -> str:
    with socket.socket() as one:
        one.bind((HOST["address"], 0))
    return "bound"


@attempt
def interfaces_of_the_host() -> list[str]:
    return sorted(name for _, name in socket.if_nameindex() if name in HOST["interfaces"])


@attempt
def packet_socket() -> str:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3).close()
    return "made"


@attempt
def raw_socket() -> str:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, 255).close()
    return "made"


@attempt
def other_families() -> str:
    got = set()
    for family in (
        4,
        9,
        15,
        21,
        27,
        29,
        30,
        31,
        38,
        40,
        44,
    ):  # IPX, X.25, PF_KEY, RDS, IB, CAN, TIPC, Bluetooth, ALG, VSOCK, XDP
        got.add(outcome(partial(linux, "socket", family, socket.SOCK_DGRAM, 0)))
    return " ".join(sorted(got))


@attempt
def socket_with_high_bits() -> int:
    """The filter looks at the low half of an argument, as Linux does: the other one changes nothing."""
    return linux("socket", 1 << 32 | 17, socket.SOCK_RAW, 0)


def netlink(kind: int, body: bytes) -> str:
    """One request to rtnetlink, with NLM_F_REQUEST, ACK, CREATE."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as one:
        one.send(struct.pack("=IHHII", 16 + len(body), kind, 0x405, 1, 0) + body)
        code = -struct.unpack_from("=i", one.recv(4096), 16)[0]
    return errno.errorcode.get(code, "done")


@attempt
def link_down() -> str:
    return netlink(16, struct.pack("=BxHiII", 0, 0, socket.if_nametoindex("lo"), 0, 1))


@attempt
def address_added() -> str:
    body = struct.pack("=BBBBi", 2, 24, 0, 0, socket.if_nametoindex("lo"))
    return netlink(20, body + b"".join(struct.pack("=HH4s", 8, kind, b"\xc6\x33\x64\1") for kind in (1, 2)))


@attempt
def route_added() -> str:
    return netlink(24, struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0) + struct.pack("=HHi", 8, 4, 1))


# Messages -------------------------------------------------------------------------------------------------------


@attempt
def shared_memory_of_the_host() -> int:
    return linux("shmget", HOST["key"], 0, 0)


# The host's files -----------------------------------------------------------------------------------------------


@attempt
def file_of_the_host() -> object:
    return writable(HOST["folder"] + "/file")


@attempt
def file_of_the_host_by_its_descriptor() -> object:
    fd = os.open(HOST["folder"] + "/file", os.O_RDONLY)
    return writable(f"/proc/self/fd/{fd}")


@attempt
def attributes_of_a_file_of_the_host() -> None:
    os.chmod(HOST["folder"] + "/file", 0o600)


@attempt
def name_made_on_the_host() -> None:
    os.mkdir(HOST["folder"] + "/made")


@attempt
def name_removed_on_the_host() -> None:
    os.unlink(HOST["folder"] + "/file")


@attempt
def link_to_a_file_of_the_host() -> None:
    os.link(HOST["folder"] + "/file", "/tmp/linked")


@attempt
def users_of_the_host() -> object:
    return writable("/etc/passwd")


@attempt
def programs_of_the_host() -> None:
    os.unlink("/usr/bin/env")


@attempt
def root_of_the_host() -> None:
    os.mkdir("/made-by-a-program")


@attempt
def temporary_files_of_the_host() -> object:
    return os.listdir(HOST["unseen"])


@attempt
def runtime_files_of_the_host() -> object:
    return [
        os.path.join(folder, name)
        for place in ("/run", "/var/run", "/var/tmp")
        for folder, _, names in os.walk(place)
        for name in names
        if not os.path.islink(os.path.join(folder, name)) and name != "stub-resolv.conf"  # which is ours
    ]


@attempt
def unix_socket_of_the_host() -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(HOST["folder"] + "/listener")


@attempt
def unix_socket_in_tmp() -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(HOST["unseen"] + "/listener")


@attempt
def datagram_to_a_socket_of_the_host() -> object:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        return one.sendto(b"x", HOST["folder"] + "/datagrams")


def main() -> None:
    """Make all attempts."""
    for one in ATTEMPTS:
        print(f"{one.__name__}: {outcome(one)}", flush=True)


main()
