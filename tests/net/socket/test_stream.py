"""TCP sockets between two kernels."""

from tests.net.tcp_world import World


def test_a_megabyte_arrives_and_both_sides_close():
    world = World()
    client, server = world.pair()
    data = bytes(range(256)) * 4096
    world.transfer(client, server, data)
    world.call(client.finish, world.now)
    assert world.receive_all(server) == b""
    world.call(server.finish, world.now)
    assert world.receive_all(client) == b""
    world.call(client.release, world.now)
    world.call(server.release, world.now)
    world.run()
    assert not world.a.tcp.channels and not world.b.tcp.channels
