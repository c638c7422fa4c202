"""What runs inside the machine of `machine.py`: first as /init of its initramfs, then on the host's files.

The first stage has little more than Python itself: it loads modules, mounts the host's root file system read-only with
fresh folders where programs write, moves there and becomes the second stage. That one is process 1's child, runs the
job's commands one after the other and writes a line of JSON for each to the second serial port. Process 1 only reaps.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time

MS_RDONLY, MS_BIND, MS_MOVE = 1, 4096, 8192
SYS_FINIT_MODULE = 313  # x86-64
RB_AUTOBOOT = 0x01234567
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
ANSWERS = "/dev/ttyS1"
FRESH = [
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", ""),
    ("devpts", "/dev/pts", "ptmxmode=666"),
    ("cgroup2", "/sys/fs/cgroup", ""),
    ("tmpfs", "/dev/shm", "mode=1777"),
    ("tmpfs", "/run", "mode=755"),
    ("tmpfs", "/tmp", "mode=1777"),
]
"""Type, place and options of what is mounted over the host's files; the host's /tmp and /run are hidden by it."""

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int) -> None:
    """Raise what a call of the C library says in errno."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """mount(2), which makes its mount point where it may."""
    os.makedirs(target, exist_ok=True)
    check(libc.mount(source.encode(), target.encode(), kind and kind.encode(), flags, options.encode()))


def load(modules: list[str]) -> None:
    """Load modules, in whichever order they need each other: one that comes too early misses symbols (ENOENT)."""
    while modules:
        early = []
        for module in modules:
            fd = os.open(f"/modules/{module}", os.O_RDONLY)
            if libc.syscall(SYS_FINIT_MODULE, fd, b"", 0):
                early.append(module)
            os.close(fd)
        if len(early) == len(modules):
            raise OSError(ctypes.get_errno(), f"cannot load {early}: {os.strerror(ctypes.get_errno())}")
        modules = early


def first_stage() -> None:
    """Process 1, in the initramfs."""
    with open("/job.json") as file:
        job = json.load(file)
    load(job["modules"])
    mount("host", "/host", "9p", MS_RDONLY, "trans=virtio,version=9p2000.L,cache=loose,msize=262144")
    mount("/host", "/bare", None, MS_BIND)
    for kind, place, options in FRESH:
        mount(kind, "/host" + place, kind, 0, options)
    for path in job["keep"]:
        mount("/bare" + path, "/host" + path, None, MS_BIND)
    os.chdir("/host")
    check(libc.mount(b".", b"/", None, MS_MOVE, None))
    os.chroot(".")
    child = os.fork()
    if not child:
        os.execv(job["python"], [job["python"], "-I", job["inside"], json.dumps(job)])
    while os.wait()[0] != child:
        pass  # an orphan: process 1 reaps those
    libc.reboot(RB_AUTOBOOT)


def loopback_up() -> None:
    """As every machine has it."""
    import fcntl
    import socket
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        name, flags = struct.unpack("16sh", fcntl.ioctl(one, SIOCGIFFLAGS, struct.pack("16sh", b"lo", 0)))
        fcntl.ioctl(one, SIOCSIFFLAGS, struct.pack("16sh", name, flags | IFF_UP))


GROUPS = "/sys/fs/cgroup"


def own_group(user: int) -> str:
    """A control group of the user's own, as a service manager gives one to who asks for it."""
    group = f"{GROUPS}/user-{user}"
    with open(f"{GROUPS}/cgroup.subtree_control", "w") as file:
        file.write("+memory +cpu +pids")
    os.makedirs(group, exist_ok=True)
    for name in ("", "cgroup.procs", "cgroup.subtree_control"):
        os.chown(f"{group}/{name}", user, user)
    return group


def enter(group: str) -> None:
    """What is started from now on is in this one."""
    with open(f"{group}/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))


def second_stage(job: dict) -> None:
    """Run the commands."""
    import subprocess
    import termios
    import tty

    loopback_up()
    port = os.open(ANSWERS, os.O_WRONLY | os.O_NOCTTY)
    tty.setraw(port)

    def tell(**said: object) -> None:
        line = json.dumps(said).encode() + b"\n"
        while line:
            line = line[os.write(port, line) :]
        termios.tcdrain(port)

    tell(release=os.uname().release)
    for command in job["commands"]:
        enter(own_group(command["user"]))
        started = time.monotonic()
        ids = {"user": command["user"], "group": command["user"], "extra_groups": []}
        process = subprocess.Popen(
            command["words"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=job["folder"],
            env=job["environment"],
            **ids,
        )
        enter(GROUPS)  # the other one has nobody in it but the command
        output = process.communicate()[0].decode("utf-8", "replace")
        tell(status=process.returncode, output=output, seconds=time.monotonic() - started)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        second_stage(json.loads(sys.argv[1]))
    else:
        first_stage()
