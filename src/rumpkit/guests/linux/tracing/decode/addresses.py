"""Socket addresses, message headers, control messages: what the socket calls point to (unix(7), ip(7), ipv6(7), netlink(7), cmsg(3))."""

from ipaddress import IPv6Address
from struct import Struct
from typing import Final

from . import names, options
from .call import LIST_SIZE, Call, quoted

AF_UNIX: Final = 1
AF_INET: Final = 2
AF_INET6: Final = 10
AF_NETLINK: Final = 16
_MESSAGE: Final = Struct("<QI4xQQQQI4x")
"""struct msghdr: name, its length, iovec, their count, control, its length, flags."""
MESSAGE_SIZE: Final = _MESSAGE.size
_VECTOR: Final = Struct("<QQ")
_CONTROL: Final = Struct("<Qii")
MAX_ADDRESS: Final = 128
MAX_CONTROL: Final = 4096


def address(call: Call, where: int, length: int) -> str:
    """A struct sockaddr.  Raises EFAULT."""
    if not where:
        return "NULL"
    data = call.read(where, min(length, MAX_ADDRESS))
    return written(data) if len(data) >= 2 else f"{where:#x}"


def written(data: bytes) -> str:
    """The same of its bytes."""
    family = int.from_bytes(data[:2], "little")
    name = names.FAMILIES.get(family, f"{family:#x}")
    if family == AF_INET and len(data) >= 8:
        host = ".".join(map(str, data[4:8]))
        return f'{{sa_family={name}, sin_port=htons({int.from_bytes(data[2:4], "big")}), sin_addr=inet_addr("{host}")}}'
    if family == AF_INET6 and len(data) >= 24:
        port, flow = int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:8], "big")
        text = f'inet_pton(AF_INET6, "{IPv6Address(data[8:24])}", &sin6_addr)'
        scope = f", sin6_scope_id={int.from_bytes(data[24:28], 'little')}" if len(data) >= 28 else ""
        return f"{{sa_family={name}, sin6_port=htons({port}), sin6_flowinfo=htonl({flow}), {text}{scope}}}"
    if family == AF_UNIX:
        path = data[2:]
        if not path:
            return f"{{sa_family={name}}}"
        if path[0]:
            path = path.split(b"\0", 1)[0]
            return f"{{sa_family={name}, sun_path={quoted(path, len(path), len(path))}}}"
        return f"{{sa_family={name}, sun_path=@{quoted(path[1:], len(path), len(path) - 1)}}}"
    if family == AF_NETLINK and len(data) >= 12:
        port, groups = int.from_bytes(data[4:8], "little"), int.from_bytes(data[8:12], "little")
        return f"{{sa_family={name}, nl_pid={port}, nl_groups={'00000000' if not groups else f'{groups:#010x}'}}}"
    return f"{{sa_family={name}, sa_data={quoted(data[2:], len(data), len(data) - 2)}}}"


def vectors(call: Call, where: int, count: int, size: int) -> str:
    """An array of struct iovec, of whose memory `size` bytes are shown.  Raises EFAULT."""
    if not where:
        return "NULL"
    parts: list[str] = []
    for place in range(min(count, LIST_SIZE)):
        base, length = call.unpack(_VECTOR, where + place * _VECTOR.size)
        used = min(length, size)
        size -= used
        text = call.buffer(base, used) if used or not length else '""'
        parts.append(f"{{iov_base={text}, iov_len={length}}}")
    return f"[{', '.join(parts)}{', ...' if count > LIST_SIZE else ''}]"


def message(call: Call, where: int, size: int, room: int = -1) -> str:
    """A struct msghdr, of whose data `size` bytes are shown; `room`: for the name, before the call.  Raises EFAULT."""
    if not where:
        return "NULL"
    name, length, vector, count, control, controls, flags = call.unpack(_MESSAGE, where)
    said = f"{room} => {length}" if room not in (-1, length) else str(length)
    parts = [
        f"msg_name={address(call, name, length) if length else 'NULL' if not name else hex(name)}",
        f"msg_namelen={said}",
    ]
    parts += [f"msg_iov={vectors(call, vector, count, size)}", f"msg_iovlen={count}"]
    if control and controls:
        parts.append(f"msg_control={control_messages(call.read(control, min(controls, MAX_CONTROL)))}")
    parts += [f"msg_controllen={controls}", f"msg_flags={names.flags(flags, names.MESSAGE_FLAGS)}"]
    return f"{{{', '.join(parts)}}}"


def name_room(call: Call, where: int) -> int:
    """The room for an address in a struct msghdr, before the call; -1 if it can't be read."""
    try:
        return call.unpack(_MESSAGE, where)[1]
    except OSError:
        return -1


def control_messages(data: bytes) -> str:
    """A buffer of struct cmsghdr."""
    parts: list[str] = []
    at = 0
    while at + _CONTROL.size <= len(data) and len(parts) < LIST_SIZE:
        length, level, kind = _CONTROL.unpack_from(data, at)
        if length < _CONTROL.size:
            break
        body = data[at + _CONTROL.size : at + length]
        kinds = names.CMSG_SOCKET if level == options.SOL_SOCKET else options.OPTIONS.get(level, {})
        shown = f"cmsg_level={names.named(level, options.LEVELS)}, cmsg_type={names.named(kind, kinds)}"
        parts.append(f"{{cmsg_len={length}, {shown}, cmsg_data={_control_data(level, kind, body)}}}")
        at += length + 7 & ~7
    return f"[{', '.join(parts)}]"


def _control_data(level: int, kind: int, body: bytes) -> str:
    words = [int.from_bytes(body[at : at + 4], "little", signed=True) for at in range(0, len(body) & ~3, 4)]
    if level == options.SOL_SOCKET and kind == 1:
        return f"[{', '.join(map(str, words[:LIST_SIZE]))}]"
    if level == options.SOL_SOCKET and kind == 2 and len(words) == 3:
        return f"{{pid={words[0]}, uid={words[1]}, gid={words[2]}}}"
    if level == 0 and kind == 8 and len(body) == 12:
        local, peer = (".".join(map(str, body[at : at + 4])) for at in (4, 8))
        return f'{{ipi_ifindex={words[0]}, ipi_spec_dst=inet_addr("{local}"), ipi_addr=inet_addr("{peer}")}}'
    if len(body) == 4:
        return f"[{words[0]}]"
    return quoted(body, LIST_SIZE, len(body))
