"""socket, bind, listen, connect and accept: the handlers that make, name and join sockets.

A handler takes the guest's context and one call.  It returns the call's result, or None when it has answered, parked or
passed on the call itself; an OSError that it raises is the call's.
"""

import os
import socket as host_socket
from typing import Final

from ...hyper.time import FOREVER, Instant
from ...kern.abi.errno import (
    EADDRINUSE,
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EAGAIN,
    EALREADY,
    EINPROGRESS,
    EINVAL,
    EISCONN,
    ENETUNREACH,
    EOPNOTSUPP,
    EPERM,
    EPROTONOSUPPORT,
    error,
)
from ...kern.abi.socket import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    IPPROTO_ICMP,
    IPPROTO_ICMPV6,
    IPPROTO_UDP,
    SO_RCVTIMEO,
    SO_SNDTIMEO,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_STREAM,
    SOCK_TYPE_MASK,
    SOL_SOCKET,
)
from ...kern.socket import Socket, SocketAddress
from . import ends
from .calls_ending import disconnect, renew
from .carrier import Datagram
from .context import SOCKADDR_LIMIT, Context
from .descriptors import CAP_NET_RAW, has_capability
from .listener import Notification
from .network import DATAGRAM, DATAGRAM6, DUAL, PING, PING6, RAW, RAW6, STREAM
from .record import Record
from .sockaddr import ANY, decode, family_of, is_loopback6
from .stream import CONNECTED, CONNECTING, FAILED, FRESH, LISTENING, OVER, Stream

_INT: Final = 0xFFFFFFFF
_PROTOCOLS: Final = 263
"""IPPROTO_MAX."""
_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC
_RAW: Final = ((AF_INET, IPPROTO_ICMP), (AF_INET6, IPPROTO_ICMPV6))
"""What raw sockets may be for."""
_STOCK: Final = {
    (AF_INET, IPPROTO_UDP, AF_INET): DATAGRAM,
    (AF_INET, IPPROTO_ICMP, AF_INET): PING,
    (AF_INET6, IPPROTO_UDP, AF_INET): DATAGRAM6,
    (AF_INET6, IPPROTO_UDP, AF_INET6): DUAL,
    (AF_INET6, IPPROTO_ICMPV6, AF_INET6): PING6,
}
"""The native socket that stands for one of a family and protocol, by the family of the kernel's socket behind it."""


def _make(context: Context, family: int, kind: int, protocol: int) -> Socket:
    sockets = context.kernel.sockets
    made = sockets.make(family if sockets.knows(family) else AF_INET, kind, protocol)
    made.hold()
    return made


def call_socket(context: Context, call: Notification) -> int | None:
    """socket(2) for AF_INET and AF_INET6."""
    family, flags, protocol = (argument & _INT for argument in call.arguments[:3])
    kind = flags & SOCK_TYPE_MASK
    if flags & ~(SOCK_TYPE_MASK | _FLAGS):
        raise error(EINVAL)
    if protocol >= _PROTOCOLS:
        raise error(EINVAL)
    if kind == SOCK_RAW:
        if (family, protocol) not in _RAW or not has_capability(call.thread, CAP_NET_RAW):
            raise error(EPERM)
        if not context.kernel.sockets.knows(family):
            raise error(EAFNOSUPPORT)
    try:
        made = context.run(_make, context, family, kind, protocol)
    except OSError:
        if not context.kernel.sockets.knows(AF_INET):
            context.unnetworked += 1
        raise
    if kind == SOCK_DGRAM and (family, made.protocol or IPPROTO_UDP, made.family) not in _STOCK:
        context.run(made.release, context.host.now)
        raise error(EPROTONOSUPPORT)  # the kernel has it, but there is nothing that could stand for it in the program
    record: Record
    fd = capture = -1
    try:
        if kind == SOCK_STREAM:
            fd = context.factory.take(STREAM)
            record = Stream(context, os.fstat(fd).st_ino, family, made)
        else:
            wanted = made.protocol or IPPROTO_UDP
            if kind == SOCK_RAW and family == AF_INET6:
                capture, fd = context.factory.take_both(RAW6)
            else:
                fd = context.factory.take(RAW if kind == SOCK_RAW else _STOCK[family, wanted, made.family])
            record = Datagram(context.carrier, fd, family, made, wanted)
            record.raw = kind == SOCK_RAW
            if capture >= 0:
                context.carrier.begin_capture(record, capture)
    except OSError:
        context.run(made.release, context.host.now)
        for mine in (fd, capture):
            if mine >= 0:
                os.close(mine)
        raise
    if not context.hand_over(call, fd, record, flags):
        record.closed()
    return None


def _address(context: Context, call: Notification) -> bytes:
    size = call.arguments[2] & _INT
    if size > SOCKADDR_LIMIT:
        raise error(EINVAL)
    return context.memory.read(call.thread, call.arguments[1], size)


def call_bind(context: Context, call: Notification) -> int | None:
    """bind(2)."""
    record = context.find(call)
    if record is None:
        context.listener.proceed(call.id)
        return None
    address = decode(_address(context, call), record.family, record.six)
    if record.v6only:
        if address[0] != ANY:
            raise error(EADDRNOTAVAIL)
        if isinstance(record, Stream):
            record.inert = True
        return 0
    try:
        context.run(record.socket.bind, address)
    except OSError as problem:
        if problem.errno != EADDRINUSE:
            raise
        # The port may be that of a socket which the program has closed, and nobody has looked since.
        context.sweep()
        context.run(record.socket.bind, address)
    if isinstance(record, Datagram):
        context.reachability_changed()
    return 0


def call_listen(context: Context, call: Notification) -> int | None:
    """listen(2)."""
    record = context.find(call)
    if record is None:
        context.listener.proceed(call.id)
        return None
    if not isinstance(record, Stream):
        raise error(EOPNOTSUPP)
    if record.state == OVER:
        renew(context, call, record)
    if record.state not in (FRESH, LISTENING):
        raise error(EINVAL)
    backlog = call.arguments[1] & _INT
    record.listen(ends.stream(context.copy(call)), backlog if backlog < 1 << 31 else 0)
    return 0


# connect ---------------------------------------------------------------------------------------------------------


def call_connect(context: Context, call: Notification) -> int | None:
    """connect(2)."""
    record = context.find(call)
    if record is None:
        return context.named().connect(call, _address, _deadline)
    data = _address(context, call)
    if isinstance(record, Datagram):
        if record.protocol != IPPROTO_UDP and family_of(data) not in (AF_UNSPEC, record.family):
            raise error(EAFNOSUPPORT)
        address = None if family_of(data) == AF_UNSPEC else _destination(data, record)
        record.connect(context.copy(call), address)
        return 0
    assert isinstance(record, Stream)
    if family_of(data) == AF_UNSPEC:
        return disconnect(context, call, record)
    if record.state == FAILED:
        number, record.error = record.error, 0
        if number:
            raise error(number)
        renew(context, call, record)
    if record.state == FRESH:
        return _connect_fresh(context, call, record, _destination(data, record))
    if record.state == CONNECTING:
        with ends.stream(context.copy(call)) as copy:
            if not os.get_blocking(copy.fileno()):
                raise error(EALREADY)
            deadline = _deadline(context, copy, SO_SNDTIMEO)
        record.parked.add(call, 0, deadline, EALREADY)
        context.deadlines.add(deadline)
        return None
    if record.state == CONNECTED and not record.connect_heard:
        record.connect_heard = True
        return 0
    raise error(EISCONN)


def _connect_fresh(context: Context, call: Notification, record: Stream, address: SocketAddress) -> int | None:
    copy = ends.stream(context.copy(call))
    blocking = os.get_blocking(copy.fileno())
    deadline = _deadline(context, copy, SO_SNDTIMEO) if blocking else FOREVER
    record.place = (call.thread, call.arguments[0] & _INT)
    done = record.connect(copy, address, blocking)
    if not blocking:
        raise error(EINPROGRESS)  # even if it is there already, which Java's NIO insists on
    if done:
        return 0
    record.parked.add(call, 0, deadline, EINPROGRESS)
    context.deadlines.add(deadline)
    return None


def _destination(data: bytes, record: Record) -> SocketAddress:
    family = record.family
    if family_of(data) == AF_INET and not (record.six and isinstance(record, Stream)):
        family = AF_INET  # an AF_INET6 socket for datagrams may be given either
    try:
        return decode(data, family, record.six)
    except OSError as problem:
        if problem.errno == EADDRNOTAVAIL and not is_loopback6(data):
            raise error(ENETUNREACH) from None
        raise


def _deadline(context: Context, copy: host_socket.socket, option: int) -> Instant:
    value = copy.getsockopt(SOL_SOCKET, option, 16)
    limit = int.from_bytes(value[:8], "little") * 1_000_000_000 + int.from_bytes(value[8:], "little") * 1000
    return context.host.now + limit if limit else FOREVER


# accept ----------------------------------------------------------------------------------------------------------


def call_accept(context: Context, call: Notification) -> int | None:
    """accept(2)."""
    return _accept(context, call, 0)


def call_accept4(context: Context, call: Notification) -> int | None:
    """accept4(2)."""
    flags = call.arguments[3] & _INT
    if flags & ~_FLAGS:
        raise error(EINVAL)
    return _accept(context, call, flags)


def _accept(context: Context, call: Notification, flags: int) -> int | None:
    record, own = context.find_copied(call)
    if record is None:
        context.listener.proceed(call.id)
        return None
    try:
        if not isinstance(record, Stream):
            raise error(EOPNOTSUPP)
        if record.state != LISTENING:
            raise error(EINVAL)
        there = record.pull()
        if there:
            record.take_back(own, there)
        elif not os.get_blocking(own):
            raise error(EAGAIN)
        else:
            copy = ends.stream(own)
            try:
                deadline = _deadline(context, copy, SO_RCVTIMEO)
            finally:
                copy.detach()
    finally:
        os.close(own)
    if there:
        record.accept(call, flags, there)
        return None
    record.parked.add(call, flags, deadline, EAGAIN)
    context.deadlines.add(deadline)
    return None
