"""What there is to see of TCP."""

from rumpkit.net.socket.tcp_info import tcp_info
from rumpkit.net.transport.tcp import snapshot
from tests.net.tcp_world import World


def rows(node):
    return [row for page in snapshot.sockets(node.tcp) for row in page]


def test_listeners_connections_and_those_in_time_wait():
    world = World()
    listener = world.b.socket()
    world.call(listener.bind, (bytes(4), 80))
    world.call(listener.listen, 5)
    assert rows(world.a) == []
    [row] = rows(world.b)
    assert (row["state"], row["local"], row["local_port"], row["receive_queue"], row["send_queue"]) == (
        "LISTEN",
        "*",
        80,
        0,
        5,
    )
    client = world.a.socket()
    world.call(client.connect, (world.b.address, 80), world.now)
    world.run(0.1)
    assert rows(world.b)[0]["receive_queue"] == 1  # it waits for accept
    server = world.call(listener.accept, world.now)
    server.hold()
    [row] = rows(world.a)
    assert (row["state"], row["remote"], row["remote_port"]) == ("ESTABLISHED", "10.0.0.2", 80)
    world.call(client.release, world.now)
    world.run(0.1)
    assert [row["state"] for row in rows(world.a)] == ["FIN-WAIT-2"]
    assert sorted(row["state"] for row in rows(world.b)) == ["CLOSE-WAIT", "LISTEN"]
    world.call(server.release, world.now)
    world.run(0.1)
    [row] = rows(world.a)
    assert (row["state"], row["remote_port"]) == ("TIME-WAIT", 80)
    assert row["info"]["timer"]["name"] == "timewait" and row["info"]["timer"]["in"] > 50_000


def test_queues_and_what_was_sent_again():
    world = World()
    client, server = world.pair()
    world.call(world.b.ip.set_up, "eth0", False)
    world.call(client.send, b"x" * 3000, 0, 0, None, world.now)
    world.run(0.7)
    [row] = rows(world.a)
    assert row["send_queue"] == row["info"]["flight"] == 3000
    assert row["info"]["retries"] >= 1 and row["info"]["recovering"]
    assert row["info"]["timer"]["name"] == "on"
    world.call(world.b.ip.set_up, "eth0", True)
    world.run(3)
    [row] = rows(world.a)
    assert row["send_queue"] == 0 and row["info"]["bytes_acked"] == 3000
    assert row["info"]["retransmits"] == world.a.counter("retransmits") >= 2
    [channel] = world.a.tcp.channels.values()
    total = tcp_info(channel.connection.block, world.now)[100:104]
    assert int.from_bytes(total, "little") == row["info"]["retransmits"]
    [row] = rows(world.b)
    assert row["receive_queue"] == row["info"]["bytes_received"] == 3000
    assert server is not None
