"""getsockname and getpeername."""

from ...kern.abi.errno import ENOTCONN, error
from ...kern.abi.socket import IPPROTO_UDP
from ...kern.socket import SocketAddress
from .carrier import Datagram
from .context import Context
from .listener import Notification
from .record import Record
from .sockaddr import encode
from .stream import CONNECTED, Stream


def call_getsockname(context: Context, call: Notification) -> int | None:
    """getsockname(2)."""
    record = context.find(call)
    if record is None:
        context.listener.proceed(call.id)
        return None
    if isinstance(record, Stream):
        name = _local(context, record)
    else:
        assert isinstance(record, Datagram)
        context.carrier.drain()  # sending gives a name
        name = _local(context, record)
        if record.protocol != IPPROTO_UDP and name[1]:
            name = name[0], record.port_number  # the identifier that the program sees in answers
    context.write_name(call, encode(name, record.family))
    return 0


def _local(context: Context, record: Record) -> SocketAddress:
    host = context.host
    host.enter()
    try:
        return record.socket.local_address()
    finally:
        host.leave()


def call_getpeername(context: Context, call: Notification) -> int | None:
    """getpeername(2)."""
    record = context.find(call)
    if record is None:
        context.listener.proceed(call.id)
        return None
    if isinstance(record, Stream) and record.state != CONNECTED:
        raise error(ENOTCONN)
    name = context.run(record.socket.peer_address)
    if name[1] == 0:
        raise error(ENOTCONN)  # so says Linux of whoever has a peer without a port
    context.write_name(call, encode(name, record.family))
    return 0
