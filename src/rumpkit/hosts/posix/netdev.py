"""Network devices of the host, by ioctl: TAPs, and the few settings that we make on the host's side of one."""

import errno
import fcntl
import os
import socket
import struct
from typing import Final

TUN_DEVICE: Final = "/dev/net/tun"

TUNSETIFF: Final = 0x400454CA
TUNSETOFFLOAD: Final = 0x400454D0
TUNSETVNETHDRSZ: Final = 0x400454D8
IFF_TUN: Final = 0x0001
IFF_TAP: Final = 0x0002
IFF_NO_PI: Final = 0x1000
IFF_VNET_HDR: Final = 0x4000
TUN_F_CSUM: Final = 0x01
TUN_F_TSO4: Final = 0x02
TUN_F_TSO6: Final = 0x04
TUN_F_USO: Final = 0x60
"""USO4 and USO6, which belong together (Linux 6.2)."""

SIOCGIFFLAGS: Final = 0x8913
SIOCSIFFLAGS: Final = 0x8914
SIOCSIFADDR: Final = 0x8916
SIOCSIFNETMASK: Final = 0x891C
SIOCGIFMTU: Final = 0x8921
SIOCSIFMTU: Final = 0x8922
IFF_UP: Final = 0x1

NAME_MAX: Final = 15


class DeviceError(OSError):
    """A network device that can't be had or set; the message says what to do about it."""


def open_device(name: str, vnet_header: bool, mode: int = IFF_TAP) -> tuple[int, str]:
    """Open the TAP (or, with IFF_TUN as `mode`, the TUN) called `name`, or a new one (also where `name` is ""): its
    descriptor, non-blocking, and its name.

    Raises DeviceError: ENOENT, EACCES or EPERM with the way out, EBUSY if another process has it.
    """
    if len(name.encode()) > NAME_MAX:
        raise DeviceError(errno.EINVAL, f"the name of a network device has at most {NAME_MAX} bytes", name)
    try:
        fd = os.open(TUN_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _explain(error.errno or errno.EIO, name, "open", mode) from None
    flags = mode | IFF_NO_PI | (IFF_VNET_HDR if vnet_header else 0)
    try:
        answer = fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    except OSError as error:
        os.close(fd)
        raise _explain(error.errno or errno.EIO, name, "attach", mode) from None
    return fd, answer[:16].rstrip(b"\0").decode()


def _explain(number: int, name: str, step: str, mode: int) -> DeviceError:
    kind = "tun" if mode == IFF_TUN else "tap"
    shown = name or f"{kind}0"
    make = f"sudo ip tuntap add mode {kind} user $USER name {shown} && sudo ip link set {shown} up"
    reasons = {
        ("open", errno.ENOENT): f"there is no {TUN_DEVICE}: the host's kernel has no TUN/TAP (modprobe tun)",
        ("open", errno.EACCES): f"{TUN_DEVICE} may not be opened: allow it (chmod 0666 {TUN_DEVICE}), and {make}",
        ("open", errno.EPERM): f"{TUN_DEVICE} may not be opened here (a container without that device?)",
        ("attach", errno.EPERM): f"you may neither make a {kind.upper()} nor use {shown}: let root do once: {make}",
        ("attach", errno.EBUSY): f"the {kind.upper()} {shown} is used by another process",
        ("attach", errno.EINVAL): f"{shown} is there and is not a {kind.upper()} (or the name is not allowed)",
    }
    reason = reasons.get((step, number), f"cannot {step} the {kind.upper()} {shown}: {os.strerror(number)}")
    return DeviceError(number, reason)


def set_offload(fd: int) -> int:
    """Switch on all offloads of a TAP that the host's kernel knows; the TUN_F_* bits that it took."""
    basic = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6
    for wanted in (basic | TUN_F_USO, basic, TUN_F_CSUM):
        try:
            fcntl.ioctl(fd, TUNSETOFFLOAD, wanted)
        except OSError:
            continue
        return wanted
    return 0


def exists(name: str) -> bool:
    """Whether the host has a network device of that name."""
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def _request(number: int, name: str, what: str, argument: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        try:
            return fcntl.ioctl(any_socket, number, struct.pack("16s24s", name.encode(), argument))[16:]
        except OSError as error:
            code = error.errno or errno.EIO
            raise DeviceError(code, f"cannot {what} of {name}: {os.strerror(code)}") from None


def mtu(name: str) -> int:
    """The MTU of a device in bytes."""
    return int(struct.unpack_from("i", _request(SIOCGIFMTU, name, "read the MTU", b""))[0])


def set_mtu(name: str, size: int) -> None:
    """Set the MTU of a device.  Raises DeviceError (EPERM without CAP_NET_ADMIN, EINVAL)."""
    _request(SIOCSIFMTU, name, "set the MTU", struct.pack("i", size))


def set_up(name: str) -> None:
    """Bring a device up.  Raises DeviceError."""
    flags = struct.unpack_from("H", _request(SIOCGIFFLAGS, name, "read the flags", b""))[0]
    if not flags & IFF_UP:
        _request(SIOCSIFFLAGS, name, "set the flags", struct.pack("H", flags | IFF_UP))


def set_address(name: str, address: bytes, prefix: int) -> None:
    """Give the host's side of a device an IPv4 address (4 bytes) in a network of `prefix` bits.  Raises DeviceError."""
    mask = (0xFFFFFFFF << (32 - prefix) & 0xFFFFFFFF).to_bytes(4, "big")
    _request(SIOCSIFADDR, name, "set the address", _socket_address(address))
    _request(SIOCSIFNETMASK, name, "set the network mask", _socket_address(mask))


def _socket_address(address: bytes) -> bytes:
    return struct.pack("HH4s", socket.AF_INET, 0, address)
