"""TCP Fast Open, on either side (RFC 7413)."""

import pytest

from rumpkit.hyper.time import MILLISECOND
from rumpkit.kern.abi.errno import EALREADY, EINPROGRESS, EOPNOTSUPP
from rumpkit.kern.abi.fcntl import O_NONBLOCK
from rumpkit.kern.abi.poll import POLLHUP, POLLIN, POLLOUT
from rumpkit.kern.abi.socket import MSG_FASTOPEN
from rumpkit.net.transport.tcp.fastopen import FastOpen
from rumpkit.net.transport.tcp.settings import TcpSettings
from rumpkit.net.wire.segment import Segment
from rumpkit.net.wire.tcp_options import emit_options, parse_options
from tests.net.tcp_world import World
from tests.net.transport.tcp.script import Ack, Data, Fin, Rst, Seg, Syn, SynAck
from tests.net.transport.tcp.wire import Wire

COOKIE = b"cookie!!"


# The option


@pytest.mark.parametrize("cookie", [b"", b"1234", COOKIE, b"0123456789abcdef"])
def test_the_option_there_and_back(cookie):
    segment = Segment(1, 0, 2, 0)
    segment.mss = 1460
    segment.has_timestamp = segment.sack_permitted = True
    segment.window_scale = 7
    segment.fast_open = cookie
    data = emit_options(segment)
    assert len(data) % 4 == 0 and len(data) <= 40
    again = Segment(1, 0, 2, 0)
    assert parse_options(again, data, 0, len(data))
    assert again.fast_open == cookie
    assert (again.mss, again.window_scale, again.sack_permitted) == (1460, 7, True)


@pytest.mark.parametrize("size", [3, 4, 5, 7, 20])
def test_options_of_odd_sizes_are_none(size):
    again = Segment(1, 0, 2, 0)
    assert parse_options(again, bytes([34, size]) + bytes(size), 0, size)
    assert again.fast_open is None


# The server


def serving(bits=2, queue=5, **settings):
    wire = Wire(fastopen=bits, **settings)
    return wire, wire.listener(fast_open=queue)


def cookie_of(wire, peer):
    """What the kernel gives a peer that asks."""
    peer.send(Syn(fast_open=b""))
    cookie = peer.out[0].fast_open
    peer.send(Rst(1))
    peer.out.clear()
    wire.run(10)
    return cookie


def test_who_asks_gets_a_cookie():
    wire, _ = serving()
    peer = wire.peer()
    peer.send(Syn(fast_open=b""))
    assert len(peer.out[0].fast_open) == 8
    peer.expect(SynAck())
    assert wire.counter("fastopen_cookies_asked") == 1


def test_data_with_the_syn_is_there_before_the_handshake_is_done():
    wire, listener = serving()
    peer = wire.peer()
    cookie = cookie_of(wire, peer)
    peer.send(Syn(data=b"GET /", fast_open=cookie))
    peer.expect(SynAck(0, 6))
    assert listener.poll() & POLLIN
    server = wire.accept(listener)
    assert server.poll() & (POLLIN | POLLOUT) == POLLIN | POLLOUT
    assert wire.do(server.receive, 100, 0, wire.now).data == b"GET /"
    wire.do(server.send, b"200 OK", 0, 0, None, wire.now)
    peer.expect(Data(1, b"200 OK", ack=6))
    peer.send(Ack(6, 7))
    peer.silent()
    assert server.channel.connection.block.state == 1
    assert listener.listener.early == 0
    assert wire.counter("fastopen_passive") == 1
    peer.send(Data(6, b"more", ack=7))
    assert wire.do(server.receive, 100, 0, wire.now).data == b"more"


def test_a_wrong_cookie_gets_a_plain_handshake_and_a_new_one():
    wire, listener = serving()
    peer = wire.peer()
    cookie = cookie_of(wire, peer)
    peer.send(Syn(data=b"GET /", fast_open=COOKIE))
    assert peer.out[0].fast_open == cookie
    peer.expect(SynAck(0, 1))
    assert wire.accept(listener) is None
    peer.send(Data(1, b"GET /"))
    assert wire.do(wire.accept(listener).receive, 100, 0, wire.now).data == b"GET /"
    assert wire.counter("fastopen_passive_failed") == 1


def test_the_cookie_is_the_peers_own():
    wire, listener = serving()
    cookie = cookie_of(wire, wire.peer())
    thief = wire.peer("10.7.7.7")
    thief.send(Syn(data=b"GET /", fast_open=cookie))
    assert thief.out[0].fast_open != cookie
    thief.expect(SynAck(0, 1))
    assert wire.accept(listener) is None


def test_a_cookie_is_good_for_two_hours_at_most():
    wire, _ = serving()
    peer = wire.peer()
    cookie = cookie_of(wire, peer)
    wire.run(3_600_000)
    peer.send(Syn(data=b"x", fast_open=cookie))
    peer.expect(SynAck(0, 2))
    peer.send(Rst(2))
    wire.run(3_600_000)
    peer.send(Syn(data=b"x", fast_open=cookie))
    peer.expect(SynAck(0, 1))


@pytest.mark.parametrize(("bits", "queue"), [(0, 5), (1, 5), (2, 0)])
def test_it_is_off_unless_sysctl_and_listener_say_so(bits, queue):
    wire, listener = serving(bits, queue)
    peer = wire.peer()
    peer.send(Syn(data=b"GET /", fast_open=b""))
    assert peer.out[0].fast_open is None
    peer.expect(SynAck(0, 1))
    assert wire.accept(listener) is None


def test_all_listeners_by_sysctl():
    wire, _ = serving(0x402, 0)
    peer = wire.peer()
    peer.send(Syn(data=b"x", fast_open=cookie_of(wire, peer)))
    peer.expect(SynAck(0, 2))


def test_without_cookies_by_sysctl():
    wire, listener = serving(0x202)
    peer = wire.peer()
    peer.send(Syn(data=b"GET /"))
    peer.expect(SynAck(0, 6))
    assert wire.accept(listener) is not None


def test_early_connections_have_a_limit():
    wire, listener = serving(0x202, 2)
    for port in range(5000, 5004):
        wire.peer(port=port).send(Syn(data=b"x"))
        wire.peer(port=port).expect(SynAck(0, 2 if port < 5002 else 1))
    assert listener.listener.early == 2
    assert wire.counter("fastopen_overflows") == 2
    wire.peer(port=5000).send(Ack(2, 1))
    assert listener.listener.early == 1
    wire.peer(port=5001).send(Rst(2))
    assert listener.listener.early == 0


def test_resets_do_not_make_room_for_more_early_connections():
    """RFC 7413 section 5.1: the hosts whose addresses an attacker forges reset what they did not ask for."""
    wire, listener = serving(0x202, 2)
    for port in (5000, 5001):
        wire.peer(port=port).send(Syn(data=b"x"))
        wire.peer(port=port).expect(SynAck(0, 2))
        wire.peer(port=port).send(Rst(2))
    assert listener.listener.early == 0
    wire.peer(port=5002).send(Syn(data=b"x"))
    wire.peer(port=5002).expect(SynAck(0, 1))
    assert wire.counter("fastopen_overflows") == 1
    wire.run(60_001)
    wire.peer(port=5003).send(Syn(data=b"x"))
    wire.peer(port=5003).expect(SynAck(0, 2))


def test_what_is_reset_after_its_handshake_does_not_count():
    wire, listener = serving(0x202, 1)
    peer = wire.peer(port=5000)
    peer.send(Syn(data=b"x"))
    peer.expect(SynAck(0, 2))
    peer.send(Ack(2, 1))
    peer.send(Rst(2))
    assert listener.listener.early_load(wire.now) == 0
    wire.peer(port=5001).send(Syn(data=b"x"))
    wire.peer(port=5001).expect(SynAck(0, 2))


def test_a_lost_syn_ack_is_sent_again_and_the_answer_after_the_handshake():
    wire, listener = serving(0x202)
    peer = wire.peer()
    peer.send(Syn(data=b"hi"))
    server = wire.accept(listener)
    wire.do(server.send, b"answer", 0, 0, None, wire.now)
    peer.expect(SynAck(0, 3), Data(1, b"answer", ack=3))
    wire.run(1100)
    peer.expect(SynAck(0, 3))
    peer.send(Ack(3, 1))
    wire.run(4000)
    assert peer.out, "the answer was lost with the SYN-ACK"
    assert all(segment.payload() == b"answer" for segment in peer.out)
    peer.out.clear()
    peer.send(Ack(3, 7))
    wire.run(10_000)
    peer.silent()


def test_a_syn_that_comes_twice_gets_the_syn_ack_twice_and_its_data_once():
    wire, listener = serving(0x202)
    peer = wire.peer()
    for _ in range(2):
        peer.send(Syn(data=b"once"))
        wire.run(20)
    peer.expect(SynAck(0, 5), SynAck(0, 5))
    assert wire.do(wire.accept(listener).receive, 100, 0, wire.now).data == b"once"


def test_an_early_connection_that_is_closed_at_once():
    wire, listener = serving(0x202)
    peer = wire.peer()
    peer.send(Syn(data=b"hi"))
    server = wire.accept(listener)
    wire.do(server.receive, 100, 0, wire.now)
    wire.do(server.send, b"bye", 0, 0, None, wire.now)
    wire.close(server)
    peer.expect(SynAck(0, 3), Data(1, b"bye", ack=3))
    peer.send(Ack(3, 4))
    peer.expect(Fin(4, 3))
    peer.send(Fin(3, 5))
    peer.expect(Ack(5, 4))
    assert not wire.tcp.channels


def test_closing_the_listener_resets_early_ones():
    wire, listener = serving(0x202)
    peer = wire.peer()
    peer.send(Syn(data=b"hi"))
    peer.expect(SynAck(0, 3))
    wire.close(listener)
    peer.expect(Rst(1, 3))
    assert not wire.tcp.channels


# The client


def connecting(bits=1, **settings):
    """A kernel that has connected to 10.1.2.3 once, asking for a cookie, and knows it now."""
    wire = Wire(fastopen=bits, **settings)
    first = wire.socket()
    peer = client(wire, first, b"one")
    assert peer.out[0].fast_open == b""
    assert peer.out[0].size == 0
    peer.expect(Seg("S", 0))
    peer.send(SynAck(0, 1, fast_open=COOKIE, mss=1000))
    peer.expect(Ack(1, 1))
    wire.do(first.abort, wire.now)
    peer.out.clear()
    return wire


def client(wire, socket, data, port=6000, flags=MSG_FASTOPEN):
    peer = wire.peer(port=9, to=port)
    peer.theirs = None
    wire.do(socket.bind, (bytes(4), port))
    wire.do(socket.send, data, 0, flags, (peer.address, 9), wire.now)
    return peer


def test_the_first_connection_asks_and_the_next_sends_data():
    wire = connecting()
    socket = wire.socket()
    peer = client(wire, socket, b"GET /", 6001)
    assert peer.out[0].fast_open == COOKIE
    peer.expect(Seg("S", 0, None, b"GET /"))
    peer.send(SynAck(0, 6))
    peer.expect(Ack(6, 1))
    assert socket.unacknowledged() == 0
    assert wire.counter("fastopen_active") == 1
    peer.send(Data(1, b"200 OK", ack=6))
    assert wire.do(socket.receive, 100, 0, wire.now).data == b"200 OK"


def test_data_that_was_not_taken_follows_the_handshake():
    wire = connecting()
    socket = wire.socket()
    peer = client(wire, socket, b"GET /", 6001)
    peer.expect(Seg("S", 0, None, b"GET /"))
    peer.send(SynAck(0, 1))
    peer.expect(Data(1, b"GET /", ack=1))
    peer.send(Ack(1, 6))
    assert socket.unacknowledged() == 0
    assert wire.counter("fastopen_active_failed") == 1


def test_a_part_of_the_data_may_be_taken():
    wire = connecting()
    peer = client(wire, wire.socket(), b"GET /", 6001)
    peer.expect(Seg("S", 0, None, b"GET /"))
    peer.send(SynAck(0, 3))
    peer.expect(Data(3, b"T /", ack=1))


def test_more_than_a_segment_follows_the_handshake():
    """What is known of the peer's MSS limits what goes with the SYN."""
    wire = connecting()
    data = bytes(range(250)) * 12
    peer = client(wire, wire.socket(), data, 6001)
    size = peer.out[0].size
    assert 900 < size <= 1000
    peer.expect(Seg("S", 0, None, data[:size]))
    peer.send(SynAck(0, 1 + size, mss=1000))
    sent = b"".join(segment.payload() for segment in peer.out)
    assert sent == data[size:]


def test_a_lost_syn_is_sent_again_without_data_and_without_the_option():
    wire = connecting()
    socket = wire.socket()
    peer = client(wire, socket, b"GET /", 6001)
    peer.expect(Seg("S", 0, None, b"GET /"))
    wire.run(1100)
    assert peer.out[0].fast_open is None
    peer.expect(Seg("S", 0, None, b""))
    peer.send(SynAck(0, 1))
    peer.expect(Data(1, b"GET /", ack=1))


def test_a_server_that_lost_a_syn_with_data_gets_none_for_an_hour():
    wire = connecting(fastopen_blackhole=3_600_000)
    peer = client(wire, wire.socket(), b"GET /", 6001)
    wire.run(1100)
    peer.send(SynAck(0, 1))
    later = wire.socket()
    peer = client(wire, later, b"GET /", 6002)
    assert peer.out[0].fast_open is None
    peer.expect(Seg("S", 0, None, b""))
    wire.run(3_600_000)
    peer = client(wire, wire.socket(), b"GET /", 6003)
    assert peer.out[0].fast_open == COOKIE


def test_each_loss_doubles_the_time_until_one_gets_through():
    wire = connecting(fastopen_blackhole=1_000_000)
    port = 6001
    for period in (1_000_000, 2_000_000, 4_000_000):
        peer = client(wire, wire.socket(), b"GET /", port)
        assert peer.out[0].fast_open == COOKIE
        wire.run(1100)
        peer.send(SynAck(0, 1))
        wire.run(period - 10)
        peer = client(wire, wire.socket(), b"GET /", port + 1)
        assert peer.out[0].fast_open is None
        wire.run(20)
        port += 2
    peer = client(wire, wire.socket(), b"GET /", port)
    peer.expect(Seg("S", 0, None, b"GET /"))
    peer.send(SynAck(0, 6))
    peer = client(wire, wire.socket(), b"GET /", port + 1)
    peer.expect(Seg("S", 0, None, b"GET /"))
    wire.run(1100)
    peer.send(SynAck(0, 1))
    wire.run(1_000_010)
    peer = client(wire, wire.socket(), b"GET /", port + 2)
    assert peer.out[0].fast_open == COOKIE, "it began anew"


def test_a_server_that_resets_a_syn_with_data_gets_none_for_a_while():
    wire = connecting()
    peer = client(wire, wire.socket(), b"GET /", 6001)
    peer.expect(Seg("S", 0, None, b"GET /"))
    peer.send(Rst(0, 6))
    peer = client(wire, wire.socket(), b"GET /", 6002)
    assert peer.out[0].fast_open is None
    peer.expect(Seg("S", 0, None, b""))


def test_data_without_a_cookie_by_sysctl():
    wire = Wire(fastopen=5)
    peer = client(wire, wire.socket(), b"GET /", 6001)
    assert peer.out[0].fast_open is None
    peer.expect(Seg("S", 0, None, b"GET /"))


def test_refused():
    wire = connecting()
    socket = wire.socket()
    peer = client(wire, socket, b"GET /", 6001)
    peer.expect(Seg("S", 0, None, b"GET /"))
    peer.send(Rst(0, 6))
    assert socket.take_error() == 111
    assert not wire.tcp.channels


def test_errors_of_send():
    wire = Wire()
    with pytest.raises(OSError) as caught:
        wire.do(wire.socket().send, b"x", 0, MSG_FASTOPEN, (b"\x0a\1\2\3", 9), wire.now)
    assert caught.value.errno == EOPNOTSUPP
    wire.sysctl("fastopen", 1)
    with pytest.raises(OSError) as caught:
        wire.do(wire.socket().send, b"x", 0, MSG_FASTOPEN, None, wire.now)
    assert caught.value.errno == EOPNOTSUPP
    socket = wire.socket()
    socket.flags |= O_NONBLOCK
    with pytest.raises(OSError) as caught:
        wire.do(socket.send, b"x", 0, MSG_FASTOPEN, (b"\x0a\1\2\3", 9), wire.now)
    assert caught.value.errno == EINPROGRESS


def test_connect_waits_for_the_first_write():
    wire = connecting()
    socket = wire.socket()
    socket.own_options().fast_open_connect = True
    peer = wire.peer(port=9, to=6001)
    wire.do(socket.bind, (bytes(4), 6001))
    assert wire.do(socket.connect, (peer.address, 9), wire.now) is None
    peer.silent()
    assert socket.poll() & (POLLOUT | POLLHUP) == POLLOUT
    with pytest.raises(OSError) as caught:
        wire.do(socket.connect, (peer.address, 9), wire.now)
    assert caught.value.errno == EALREADY
    assert wire.do(socket.send, b"GET /", 0, 0, None, wire.now) == 5
    peer.expect(Seg("S", 0, None, b"GET /"))


def test_connect_without_a_cookie_does_not_wait():
    wire = Wire(fastopen=1)
    socket = wire.socket()
    socket.own_options().fast_open_connect = True
    peer = wire.peer(port=9, to=6001)
    wire.do(socket.bind, (bytes(4), 6001))
    wire.do(socket.connect, (peer.address, 9), wire.now)
    assert peer.out[0].fast_open == b""


def test_two_kernels():
    """The second connection has its answer after one round trip."""
    world = World(delay=10 * MILLISECOND)
    for node in (world.a, world.b):
        node.kernel.sysctl.set("net.tcp.fastopen", 3)
    listener = world.b.socket()
    listener.own_options().fast_open = 5
    world.call(listener.bind, (bytes(4), 80))
    world.call(listener.listen, 5)
    took = []
    for _ in range(3):
        began = world.now
        client = world.a.socket()
        world.call(client.send, b"question", 0, MSG_FASTOPEN, (world.b.address, 80), world.now)
        server = world.call(listener.accept, world.now)
        server.hold()
        assert world.receive_all(server, 8) == b"question"
        world.send_all(server, b"answer")
        assert world.receive_all(client, 6) == b"answer"
        took.append((world.now - began) // MILLISECOND)
        for one in (client, server):
            world.call(one.release, world.now)
        world.run(1)
    assert took[0] >= 40
    assert took[1] == took[2] == 20
    assert world.a.counter("fastopen_active") == world.b.counter("fastopen_passive") == 2


# The cache


def test_the_cache_has_a_limit():
    settings = TcpSettings()
    settings.fastopen_cache = 10
    cache = FastOpen(bytes, settings)
    for number in range(50):
        cache.learn(bytes([10, 0, 0, number]), COOKIE, 1460)
        cache.suspect(bytes([10, 0, 1, number]), 0)
    assert cache.size() == 10
    assert cache.knows(bytes([10, 0, 0, 49]), 0)
    assert not cache.knows(bytes([10, 0, 0, 39]), 0)
    assert len(cache._suspects) <= 10


def test_a_client_that_gives_up_itself_blames_no_server():
    wire = connecting()
    given_up = wire.socket()
    peer = client(wire, given_up, b"GET /", port=6001)
    assert peer.out[0].fast_open == COOKIE
    wire.close(given_up)
    wire.run(50)
    again = client(wire, wire.socket(), b"GET /", port=6002)
    assert again.out[0].fast_open == COOKIE and again.out[0].payload() == b"GET /"
