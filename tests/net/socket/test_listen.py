"""Listeners between two kernels: backlogs, groups, deferred accepts, ports in TIME-WAIT."""

import pytest

from rumpkit.kern.abi.errno import EADDRINUSE, EADDRNOTAVAIL, EAGAIN, ECONNREFUSED, ECONNRESET, EINVAL, ENOTCONN
from rumpkit.kern.abi.poll import POLLIN, POLLOUT
from rumpkit.kern.abi.socket import SO_REUSEADDR, SOL_SOCKET
from rumpkit.net.transport.tcp.states import SYN_RECEIVED, SYN_SENT
from tests.net.tcp_world import World


def listening(world, port=80, backlog=16, node=None):
    listener = (node or world.b).socket()
    world.call(listener.bind, (bytes(4), port))
    world.call(listener.listen, backlog)
    return listener


def start(world, port=80):
    client = world.a.socket()
    world.attempt(client.connect, (world.b.address, port), world.now)
    return client


def ready(listener):
    return len(listener.listener.ready)


def state(socket):
    return socket.channel.connection.block.state


def test_a_full_accept_queue_makes_peers_wait():
    """As on Linux: one more than the backlog gets in, the next one's last ACK is dropped, further SYNs too."""
    world = World(delay=1_000_000)
    listener = listening(world, backlog=1)
    clients = [start(world) for _ in range(5)]
    world.run(0.1)
    assert len(listener.listener.ready) == 2
    # Those that came in the same moment have their SYN-ACK, and think that they are connected.
    assert [state(client) == SYN_SENT for client in clients] == [False] * 5
    assert world.b.counter("listen_overflows") == 3
    late = start(world)
    world.run(0.5)
    assert state(late) == SYN_SENT
    assert world.b.counter("listen_drops") == 1
    for _ in range(2):
        assert listener.poll() & POLLIN
        world.call(listener.accept, world.now).hold()
    world.run(5)
    assert len(listener.listener.ready) == 2
    for _ in range(4):
        world.call(listener.accept, world.now).hold()
    world.run(5)
    assert state(late) not in (SYN_SENT, SYN_RECEIVED)


def test_half_open_connections_have_a_limit():
    world = World(delay=1_000_000)
    world.b.kernel.sysctl.set("net.tcp.max_syn_backlog", 3)
    world.b.kernel.sysctl.set("net.tcp.syncookies", 0)
    listener = listening(world, backlog=100)
    clients = [start(world) for _ in range(5)]
    world.run(0.0035)
    assert len(listener.listener.half_open) == 3
    assert world.b.counter("listen_drops") == 2
    world.run(3)
    assert len(listener.listener.ready) == 5
    assert all(client.poll() & POLLOUT for client in clients)


def test_half_open_connections_go_away():
    world = World(delay=1_000_000)
    listener = listening(world)
    start(world)
    world.run(0.0015)
    world.switch.connected = False
    world.run(0.1)
    assert len(listener.listener.half_open) == 1
    world.run(100)
    assert not listener.listener.half_open
    assert not world.b.tcp.channels


def test_closing_a_listener_resets_what_nobody_accepted():
    world = World(delay=1_000_000)
    listener = listening(world)
    client = start(world)
    world.run(1)
    world.call(listener.release, world.now)
    world.run(1)
    assert client.reset_by() == ECONNRESET
    assert not world.b.tcp.channels
    with pytest.raises(OSError) as caught:
        world.call(world.a.socket().connect, (world.b.address, 80), world.now)
    assert caught.value.errno == ECONNREFUSED


def test_shutting_a_listener_down_ends_accepts():
    world = World()
    listener = listening(world)
    world.call(listener.shutdown, 0, world.now)
    with pytest.raises(OSError) as caught:
        world.call(listener.accept, world.now)
    assert caught.value.errno == EINVAL


def test_a_connection_reset_before_accept_is_accepted_all_the_same():
    world = World(delay=1_000_000)
    listener = listening(world)
    client = start(world)
    world.run(1)
    world.call(client.abort, world.now)
    world.run(1)
    server = world.call(listener.accept, world.now)
    assert server.origin() == client.local_address()
    with pytest.raises(OSError) as caught:
        world.call(server.receive, 1, 0, world.now)
    assert caught.value.errno == ECONNRESET
    with pytest.raises(OSError) as caught:
        server.peer_address()
    assert caught.value.errno == ENOTCONN


def test_defer_accept_waits_for_data():
    world = World(delay=1_000_000)
    listener = listening(world)
    listener.own_options().defer_accept = 3
    client = start(world)
    world.run(0.5)
    assert listener.poll() == 0
    world.send_all(client, b"now")
    world.run(0.5)
    server = world.call(listener.accept, world.now)
    assert server.readable() == 3


def test_defer_accept_gives_in_after_its_time():
    world = World(delay=1_000_000)
    listener = listening(world)
    listener.own_options().defer_accept = 2
    start(world)
    world.run(10)
    assert listener.poll() & POLLIN


def test_reuse_port_shares_connections():
    world = World()
    listeners = []
    for _ in range(3):
        one = world.b.socket()
        one.options.reuse_port = True
        world.call(one.bind, (bytes(4), 80))
        world.call(one.listen, 100)
        listeners.append(one)
    for _ in range(60):
        start(world)
    world.run(0.1)
    counts = [ready(one) for one in listeners]
    assert sum(counts) == 60
    assert min(counts) > 5
    world.call(listeners[0].release, world.now)
    start(world)
    world.run(1)
    assert sum(ready(one) for one in listeners[1:]) == 61 - counts[0]


@pytest.mark.rfc("9293", "MUST-43")
def test_an_address_goes_before_the_wildcard():
    world = World()
    one = world.b.socket()
    world.call(one.bind, (world.b.address, 80))
    other = world.b.socket()
    for some in (one, other):
        world.call(some.set_option, SOL_SOCKET, SO_REUSEADDR, b"\1\0\0\0")
    world.call(one.listen, 10)
    with pytest.raises(OSError) as caught:
        world.call(other.bind, (bytes(4), 80))
    assert caught.value.errno == EADDRINUSE


def test_accepted_sockets_have_the_listeners_options():
    world = World()
    listener = listening(world)
    listener.own_options().nodelay = True
    listener.own_options().keepalive = True
    start(world)
    world.run(0.1)
    server = world.call(listener.accept, world.now)
    assert server.options.nodelay
    assert server.options.keepalive
    server.own_options().nodelay = False
    assert listener.options.nodelay


# TIME-WAIT -------------------------------------------------------------------------------------------------------------------------


def closed_by_server(world):
    client, server = world.pair()
    world.call(server.finish, world.now)
    world.run(0.1)
    world.call(client.release, world.now)
    world.call(server.release, world.now)
    world.run(0.1)
    assert world.b.tcp.time_waits == 1
    return client.channel


def test_a_port_in_time_wait_needs_reuse_address():
    world = World(delay=1_000_000)
    closed_by_server(world)
    again = world.b.socket()
    with pytest.raises(OSError) as caught:
        world.call(again.bind, (bytes(4), 80))
    assert caught.value.errno == EADDRINUSE
    world.run(61)
    world.call(again.bind, (bytes(4), 80))
    assert world.b.tcp.time_waits == 0


def test_a_new_syn_reopens_what_waits():
    """RFC 9293 3.10.7.4 and RFC 6191: the same four numbers, a later timestamp."""
    world = World(delay=1_000_000)
    old = closed_by_server(world)
    listener = world.b.socket()
    world.call(listener.bind, (world.b.address, 81))
    world.call(listener.listen, 5)
    assert listener.listener is not None
    # The listener on port 80 is gone; put one there that owns nothing of the old connection.
    world.b.tcp._listeners[world.b.address + b"\0\x50"] = [listener.listener]
    client = world.a.socket()
    world.call(client.bind, old.local)
    world.call(client.connect, (world.b.address, 80), world.now)
    world.run(0.1)
    assert world.b.tcp.time_waits == 0
    assert ready(listener) == 1


@pytest.mark.rfc("9293", "SHLD-4")
def test_connect_reuses_a_port_in_time_wait():
    world = World(delay=1_000_000)
    listener = listening(world)
    client = world.a.socket()
    world.call(client.bind, (world.a.address, 5000))
    world.call(client.connect, (world.b.address, 80), world.now)
    server = world.call(listener.accept, world.now)
    server.hold()
    world.call(client.finish, world.now)
    world.run(0.1)
    world.call(server.release, world.now)
    world.run(0.1)
    assert world.a.tcp.time_waits == 1
    again = world.a.socket()
    again.options.reuse_address = client.options.reuse_address = True
    world.call(client.release, world.now)
    assert not world.a.tcp.channels
    waiting = world.a.tcp.waits.records()[0]
    assert waiting.binding is not None
    waiting.binding.reuse_address = True
    world.call(again.bind, (world.a.address, 5000))
    with pytest.raises(OSError) as caught:
        world.call(again.connect, (world.b.address, 80), world.now)
    assert caught.value.errno == EADDRNOTAVAIL
    world.run(1)
    before = waiting.snd_nxt
    world.call(again.connect, (world.b.address, 80), world.now)
    assert world.a.tcp.time_waits == 0
    assert again.channel is not None
    assert 0 < (again.channel.connection.block.iss - before) % 2**32 < 1 << 31


def test_time_wait_has_a_limit():
    world = World(delay=1_000_000)
    world.b.kernel.sysctl.set("net.tcp.max_time_wait", 0)
    client, server = world.pair()
    world.call(server.finish, world.now)
    world.run(0.1)
    world.call(client.finish, world.now)
    world.run(0.1)
    assert world.b.tcp.time_waits == 0
    assert not world.b.tcp.channels
    assert world.b.counter("time_wait_overflows") == 1


def test_accept_without_connections_would_block():
    world = World()
    listener = listening(world)
    assert world.attempt(listener.accept, world.now) is None
    assert listener.accepting()
    assert EAGAIN == 11
