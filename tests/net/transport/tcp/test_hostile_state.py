"""What strangers may make a kernel remember: connections without sockets, neighbours, fragments, path MTUs."""

from rumpkit.net.wire.arp import REPLY, REQUEST, ArpPacket
from rumpkit.net.wire.ethernet import ETHERTYPE_ARP, ETHERTYPE_IPV4, emit_ethernet
from rumpkit.net.wire.icmp import DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED
from rumpkit.net.wire.ipv4 import MORE_FRAGMENTS, PROTOCOL_ICMP, PROTOCOL_UDP, emit_ipv4_header
from rumpkit.net.wire.segment import ACK, FIN, Segment
from tests.net.transport.tcp.siege import HIS_MAC, Siege

MASK = 0xFFFFFFFF


def icmp(world, kind, code, rest, quoted, source=b"\x0a\0\0\x09"):
    """An ICMP error to b, about a packet of b's."""
    from rumpkit.net.wire.checksum import fold, sum_bytes

    body = bytes([kind, code, 0, 0]) + rest + quoted
    checksum = fold(sum_bytes(body, 0, len(body))) ^ 0xFFFF
    body = body[:2] + checksum.to_bytes(2, "big") + body[4:]  # type: ignore[attr-defined]
    header = emit_ipv4_header(source, world.b.address, PROTOCOL_ICMP, len(body))
    mac = world.b.ip.interfaces.get("eth0").mac
    world.send(emit_ethernet(mac, HIS_MAC, ETHERTYPE_IPV4) + header + body)


# Connections that no socket holds


def serve(world, count, backlog=50):
    """`count` connections to b, accepted there; their clients."""
    listener = world.b.socket()
    world.call(listener.bind, (bytes(4), 80))
    world.call(listener.listen, backlog)
    pairs = []
    for _ in range(count):
        client = world.a.socket()
        world.call(client.connect, (world.b.address, 80), world.now)
        server = world.call(listener.accept, world.now)
        server.hold()
        pairs.append((client, server))
    return pairs


def test_peers_that_never_close_leave_fin_wait_2_after_a_minute():
    """The server has closed; a hundred peers acknowledge that and never say good-bye."""
    world = Siege()
    pairs = serve(world, 100)
    for _, server in pairs:
        world.call(server.release, world.now)
    world.run(1)
    assert world.b.tcp.orphans == 100
    assert all(channel.connection.block.state == 5 for channel in world.b.tcp.channels.values())
    world.run(60)
    assert world.b.tcp.orphans == 0
    assert not world.b.tcp.channels


def test_orphans_have_a_limit():
    world = Siege(max_orphans=10)
    pairs = serve(world, 50)
    for _, server in pairs:
        world.call(server.release, world.now)
        assert world.b.tcp.orphans <= 11
    world.run(1)
    assert world.b.tcp.orphans <= 11
    assert world.b.counter("orphan_overflows") == 40 - (world.b.tcp.orphans - 10)


def test_peers_that_vanish_leave_nothing():
    """Data on its way to nobody: given up after `orphan_retries`."""
    world = Siege(orphan_retries=3)
    pairs = serve(world, 20)
    for _, server in pairs:
        world.call(server.send, b"x" * 1000, 0, 0, None, world.now)
    world.switch.connected = False
    for _, server in pairs:
        world.call(server.release, world.now)
    world.run(60)
    assert world.b.tcp.orphans == 0
    assert not world.b.tcp.channels


def test_time_waits_have_a_limit_and_are_small():
    world = Siege(max_time_wait=20)
    for client, server in serve(world, 60):
        world.call(server.release, world.now)
        world.run(0.01)
        world.call(client.release, world.now)
        world.run(0.01)
    assert world.b.tcp.time_waits == 20
    assert not world.b.tcp.channels


def test_a_storm_of_fins_does_not_keep_a_time_wait_for_ever_or_grow():
    world = Siege()
    client, server = serve(world, 1)[0]
    local, remote = server.channel.local, server.channel.remote
    block = server.channel.connection.block
    world.call(server.release, world.now)
    world.run(0.01)
    world.call(client.release, world.now)
    world.run(0.01)
    fin = block.rcv_nxt - 1
    for step in range(2000):
        world.forge(Segment(fin & MASK, block.snd_max & MASK, FIN | ACK, 1000), remote[0], remote[1], local[1])
        if step % 100 == 0:
            world.run(0.01)
    assert len(world.b.tcp.waits) == len(world.b.tcp.waits._queue) == 1
    world.run(125)
    assert not world.b.tcp.waits


# Neighbours


def test_a_flood_from_invented_neighbours_pushes_out_nobody_who_is_there():
    world = Siege(syncookies=2)
    world.b.kernel.sysctl.set("net.arp.max_neighbours", 32)
    client, server = world.pair(81)
    listener = world.b.socket()
    world.call(listener.bind, (bytes(4), 80))
    world.call(listener.listen, 5)
    table = world.b.ip.interfaces.get("eth0").neighbours  # type: ignore[attr-defined]

    def attack(step):
        for _ in range(20):
            world.syn()
        assert world.a.address in [address for address, mac, _ in table.rows() if mac]
        assert len(table.rows()) <= 32

    assert world.under(attack, client, server) < 300
    assert world.b.kernel.counters.get("arp.evicted") > 1000
    world.run(10)
    assert len(table.rows()) <= 2


def test_unasked_arp_answers_and_questions_fill_no_table():
    world = Siege()
    world.b.kernel.sysctl.set("net.arp.max_neighbours", 32)
    client, server = world.pair()
    mac = world.b.ip.interfaces.get("eth0").mac

    def attack(step):
        for number in range(10):
            sender = b"\x0a\0\0" + bytes([10 + (step * 10 + number) % 240])
            kind = REQUEST if number & 1 else REPLY
            packet = ArpPacket(kind, b"\x02\xee\0\0\1" + sender[3:], sender, mac, world.b.address)
            world.send(emit_ethernet(mac, HIS_MAC, ETHERTYPE_ARP) + packet.emit())

    assert world.under(attack, client, server) < 300
    assert len(world.b.ip.interfaces.get("eth0").neighbours.rows()) <= 32  # type: ignore[attr-defined]


# Fragments


def test_fragments_that_never_become_whole():
    world = Siege()
    client, server = world.pair()
    mac = world.b.ip.interfaces.get("eth0").mac
    reassembly = world.b.ip.reassembly
    worst = 0

    def attack(step):
        nonlocal worst
        for number in range(10):
            source = b"\x0a\0\0" + bytes([world.random.randrange(3, 250)])
            data = bytes(800)
            header = emit_ipv4_header(
                source, world.b.address, PROTOCOL_UDP, len(data), step * 10 + number, MORE_FRAGMENTS | number
            )
            world.send(emit_ethernet(mac, HIS_MAC, ETHERTYPE_IPV4) + header + data)
        worst = max(worst, reassembly.waiting())

    assert world.under(attack, client, server) < 300
    assert worst <= 256
    world.run(40)
    assert reassembly.waiting() == 0


# Path MTUs


def test_a_forged_report_needs_a_number_that_is_in_flight():
    """RFC 5927: who can't see the connection can't make it send crumbs."""
    world = Siege()
    client, server = world.pair()
    local, remote = server.channel.local, server.channel.remote
    before = server.channel.connection.block.snd_mss

    def attack(step):
        for _ in range(10):
            tcp = local[1].to_bytes(2, "big") + remote[1].to_bytes(2, "big") + world.random.randbytes(4)
            quoted = emit_ipv4_header(local[0], remote[0], 6, 1460) + tcp
            icmp(world, DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, b"\0\0\2\x28", quoted)

    assert world.under(attack, server, client) < 300
    assert server.channel.connection.block.snd_mss == before
    assert not world.b.ip.v4.path_mtus.rows()


def test_a_believable_report_of_a_tiny_mtu_has_a_floor():
    world = Siege(delay=50_000_000)
    client, server = world.pair()
    local, remote = server.channel.local, server.channel.remote
    block = server.channel.connection.block
    world.call(server.send, bytes(5000), 0, 0, None, world.now)
    tcp = local[1].to_bytes(2, "big") + remote[1].to_bytes(2, "big") + (block.snd_una & MASK).to_bytes(4, "big")
    quoted = emit_ipv4_header(local[0], remote[0], 6, 1460) + tcp
    icmp(world, DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, b"\0\0\0\x44", quoted)
    world.run(0.06)
    assert block.snd_mss == 552 - 40 - 12
    assert world.receive_all(client, 5000) == bytes(5000)


def test_reports_about_many_destinations_stop_at_a_limit():
    world = Siege()
    world.b.kernel.sysctl.set("net.ip.path_mtu_entries", 16)
    for number in range(200):
        world.b.ip.v4.path_mtus.learn(b"\x0a\1\0" + bytes([number]), 1000, 1500, world.now)
    assert len(world.b.ip.v4.path_mtus.rows()) == 16
