"""What a test may need of the machine, and whether it is there.

`why_missing(name)` returns None if it is there, else the reason why not ("" for a program that is not installed). Each
is tried for real and once a run: that /dev/net/tun exists says nothing about whether a TAP can be made.

`RUMPKIT_TEST_WITHOUT="nginx tap"` makes resources missing, to see what a lesser machine would run.
"""

from __future__ import annotations

import errno
import functools
import glob
import os
import shutil
import sys
from collections.abc import Callable

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
SECCOMP_GET_NOTIF_SIZES = 3
SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}
TUNSETIFF = 0x400454CA
IFF_TAP_NO_PI = 0x1002


def form() -> str:
    """Return the form of rumpkit under test: "native" or "pure"."""
    from rumpkit._form import form

    return form()


@functools.cache
def why_missing(name: str) -> str | None:
    """Return None if the resource or program is there, else why not."""
    if name in os.environ.get("RUMPKIT_TEST_WITHOUT", "").replace(",", " ").split():
        return "by RUMPKIT_TEST_WITHOUT"
    probe = PROBES.get(name)
    if probe is not None:
        return probe()
    if sys.platform == "emscripten" or shutil.which(name, path=_path()) is None:
        return ""
    return None


def _path() -> str:
    """Return the PATH with the folders of system programs, which an ordinary user's PATH may lack."""
    return os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"


def _root() -> str | None:
    return None if hasattr(os, "geteuid") and os.geteuid() == 0 else "not root"


def _ordinary_user() -> str | None:
    return None if hasattr(os, "geteuid") and os.geteuid() != 0 else "root"


def _nobody() -> str | None:
    """A user without privileges to become."""
    if _root():
        return "not root"
    import pwd

    try:
        pwd.getpwnam("nobody")
    except KeyError:
        return "no such user"
    return None


def _linux() -> str | None:
    return None if sys.platform == "linux" else sys.platform


def _in_child(attempt: Callable[[], None]) -> str | None:
    """Run the attempt in a child process; return None if it succeeds, else the name of its errno."""
    if not hasattr(os, "fork") or _linux():
        return sys.platform
    child = os.fork()
    if child == 0:
        status = 0
        try:
            attempt()
        except OSError as error:
            status = error.errno or 255
        except BaseException:
            status = 255
        os._exit(status)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return None if code == 0 else errno.errorcode.get(code, f"status {code}")


def _unshare(flags: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def _userns() -> str | None:
    return _in_child(lambda: _unshare(CLONE_NEWUSER))


def _netns() -> str | None:
    """A network namespace, outright or in a user namespace."""
    if _in_child(lambda: _unshare(CLONE_NEWNET)) is None:
        return None
    return _in_child(lambda: _unshare(CLONE_NEWUSER | CLONE_NEWNET))


def _tap() -> str | None:
    """A TAP in the network namespace that the tests run in."""

    def attempt() -> None:
        import fcntl
        import struct

        tun = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"", IFF_TAP_NO_PI))

    return _in_child(attempt)


def _in_namespace(program: str, arguments: str) -> Callable[[], str | None]:
    """A probe: whether a system program succeeds in a new network namespace."""

    def probe() -> str | None:
        import subprocess

        path = shutil.which(program, path=_path())
        if path is None:
            return f"no {program}"

        def attempt() -> None:
            try:
                _unshare(CLONE_NEWNET)
            except OSError:
                _unshare(CLONE_NEWUSER | CLONE_NEWNET)
            done = subprocess.run([path, *arguments.split()], capture_output=True)
            if done.returncode != 0:
                raise OSError(errno.EOPNOTSUPP, arguments)

        return _in_child(attempt)

    return probe


def _vlan() -> str | None:
    """VLAN interfaces in a new network namespace."""

    def attempt() -> None:
        import subprocess

        _unshare(CLONE_NEWNET)
        for command in ("tuntap add mode tap name vlan9", "link add link vlan9 name vlan9.5 type vlan id 5"):
            done = subprocess.run(["ip", *command.split()], capture_output=True)
            if done.returncode != 0:
                raise OSError(errno.EOPNOTSUPP, command)

    return _in_child(attempt) if shutil.which("ip", path=_path()) else "no ip"


def _seccomp() -> str | None:
    """Seccomp user notification (Linux 5.0; descriptors can be injected since 5.9)."""

    def attempt() -> None:
        import ctypes

        number = SYS_SECCOMP.get(os.uname().machine)
        if number is None:
            raise OSError(errno.ENOSYS, "seccomp")
        libc = ctypes.CDLL(None, use_errno=True)
        sizes = (ctypes.c_uint16 * 3)()
        if libc.syscall(number, SECCOMP_GET_NOTIF_SIZES, 0, sizes) != 0:
            raise OSError(ctypes.get_errno(), "seccomp")

    return _in_child(attempt)


def _device(path: str) -> Callable[[], str | None]:
    def probe() -> str | None:
        try:
            os.close(os.open(path, os.O_RDWR))
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, str(error))
        return None

    return probe


def _ipv6() -> str | None:
    import socket

    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return None


def _compiler() -> str | None:
    if sys.platform == "emscripten":
        return sys.platform
    import build_native

    return build_native.why_no_compiler()


def _processes() -> str | None:
    return None if hasattr(os, "fork") and sys.platform != "emscripten" else sys.platform


def _threads() -> str | None:
    return sys.platform if sys.platform in ("emscripten", "wasi") else None


def _native() -> str | None:
    return None if form() == "native" else "this is the pure form"


def _file(pattern: str) -> Callable[[], str | None]:
    """A program whose path has a version in it."""
    return lambda: None if glob.glob(pattern) else f"no {pattern}"


def _pure() -> str | None:
    return None if form() == "pure" else "this is the native form"


def _cgroup(*controllers: str) -> Callable[[], str | None]:
    """A control group (version 2) that we may make others in, with these controllers."""

    def probe() -> str | None:
        if _linux():
            return sys.platform
        from rumpkit.guests.linux.cgroups import why_missing

        return why_missing(controllers) or None

    return probe


PROBES: dict[str, Callable[[], str | None]] = {
    "root": _root,
    "ordinary-user": _ordinary_user,
    "nobody": _nobody,
    "linux": _linux,
    "userns": _userns,
    "netns": _netns,
    "netem": _in_namespace("tc", "qdisc add dev lo root netem delay 1ms"),
    "tbf": _in_namespace("tc", "qdisc add dev lo root tbf rate 1mbit burst 10kb latency 10ms"),
    "ifb": _in_namespace("ip", "link add ifb9 type ifb"),
    "tap": _tap,
    "bridge": _in_namespace("ip", "link add br9 type bridge vlan_filtering 1"),
    "vlan": _vlan,
    "seccomp": _seccomp,
    "fuse": _device("/dev/fuse"),
    "kvm": _device("/dev/kvm"),
    "cgroup2": _cgroup(),
    "cgroup-memory": _cgroup("memory"),
    "cgroup-cpu": _cgroup("cpu"),
    "cgroup-pids": _cgroup("pids"),
    "ipv6": _ipv6,
    "compiler": _compiler,
    "processes": _processes,
    "threads": _threads,
    "native": _native,
    "pure": _pure,
    "php-fpm": _file("/usr/sbin/php-fpm*"),
    "postgresql": _file("/usr/lib/postgresql/*/bin/postgres"),
}
