"""Pings and ICMP errors between kernels."""

from rumpkit.hyper.frame import Frame
from rumpkit.hyper.time import SECOND
from rumpkit.net.wire.icmp import ECHO_REPLY, parse_icmp
from tests.net.lan import pair


def test_a_ping_is_answered():
    host, a, b = pair()
    socket = a.ping("10.0.0.2", b"hello", sequence=3)
    host.run(host.now + SECOND)
    received = a.receive(socket)
    assert received is not None
    assert received.source == (b"\x0a\0\0\2", 0)
    message = parse_icmp(Frame(received.data), 0, len(received.data))
    assert message is not None
    assert (message.kind, message.sequence(), message.data) == (ECHO_REPLY, 3, b"hello")
    assert message.identifier() == socket.local_address()[1]
    assert a.receive(socket) is None
    assert b.counter("icmp.echo_replies_out") == 1
