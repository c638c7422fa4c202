"""The learning switch, on the simulated host."""

from __future__ import annotations

from rumpkit.hosts.sim.host import SimHost
from rumpkit.hosts.switch import Switch, SwitchPort
from rumpkit.hyper.frame import CHECKSUM_PARTIAL, FEATURES_ALL, GSO_TCPV4, Frame
from rumpkit.hyper.link import Receiver

BROADCAST = b"\xff" * 6


class Station(Receiver):
    def __init__(self, host: SimHost, port: SwitchPort, number: int) -> None:
        self.host = host
        self.port = port
        self.mac = bytes([2, 0, 0, 0, 0, number])
        self.frames: list[Frame] = []
        self.times: list[int] = []
        port.attach(self)

    def receive(self, frame: Frame, now: int) -> None:
        self.frames.append(frame)
        self.times.append(now)

    def send(self, to: bytes, payload: bytes = b"payload") -> Frame:
        frame = Frame(to + self.mac + b"\x08\x00" + payload)
        self.host.enter()
        self.port.transmit(frame)
        self.host.leave()
        return frame


def lan(size: int, **options) -> tuple[SimHost, Switch, list[Station]]:
    host = SimHost()
    switch = Switch(host, **options)
    return host, switch, [Station(host, switch.port(), number) for number in range(size)]


def counts(stations: list[Station]) -> list[int]:
    return [len(station.frames) for station in stations]


def test_unknown_and_group_addresses_flood_to_all_but_the_sender():
    _, switch, stations = lan(4)
    stations[0].send(stations[1].mac)
    stations[0].send(BROADCAST)
    assert counts(stations) == [0, 2, 2, 2]
    assert switch.floods == 2


def test_learned_addresses_get_their_frames_alone():
    _, switch, stations = lan(4)
    stations[1].send(BROADCAST)
    sent = stations[0].send(stations[1].mac)
    assert counts(stations) == [1, 1, 1, 1]
    assert stations[1].frames[0] is sent, "the same object, uncopied"
    assert switch.addresses() == [stations[1].mac, stations[0].mac]


def test_a_station_that_moves_is_learned_anew():
    _, _, stations = lan(3)
    stations[1].send(BROADCAST)
    stations[2].mac = stations[1].mac
    stations[2].send(BROADCAST)
    stations[0].send(stations[2].mac)
    assert counts(stations) == [2, 1, 2]


def test_a_frame_for_its_own_port_is_dropped():
    _, switch, stations = lan(2)
    stations[0].send(BROADCAST)
    stations[0].send(stations[0].mac)
    assert counts(stations) == [0, 1]
    assert switch.drops == 1


def test_group_addresses_are_never_learned():
    _, switch, stations = lan(2)
    stations[0].mac = BROADCAST
    stations[0].send(stations[1].mac)
    assert switch.addresses() == []


def test_the_table_is_limited_and_forgets_the_oldest():
    _, switch, stations = lan(2, max_addresses=3)
    for number in range(10, 15):
        stations[0].mac = bytes([2, 0, 0, 0, 0, number])
        stations[0].send(BROADCAST)
    assert [address[5] for address in switch.addresses()] == [12, 13, 14]


def test_malformed_and_oversized_frames_are_dropped_and_counted():
    host, switch, stations = lan(2)
    host.enter()
    stations[0].port.transmit(Frame(b"short"))
    stations[0].port.transmit(Frame(b""))
    host.leave()
    stations[0].send(stations[1].mac, bytes(1501 + 4))
    assert (switch.drops, counts(stations)) == (3, [0, 0])
    stations[0].send(stations[1].mac, bytes(1500))
    assert counts(stations) == [0, 1]


def test_super_segments_and_unfinished_checksums_go_through():
    host, switch, stations = lan(2)
    assert stations[0].port.features == FEATURES_ALL
    frame = Frame(stations[1].mac + stations[0].mac + b"\x08\x00" + bytes(40), bytes(60000), 0, 60000)
    frame.gso_type, frame.gso_size, frame.checksum = GSO_TCPV4, 1460, CHECKSUM_PARTIAL
    host.enter()
    stations[0].port.transmit(frame)
    host.leave()
    assert stations[1].frames == [frame]
    assert switch.drops == 0


def test_delay_of_switch_and_port():
    host = SimHost()
    switch = Switch(host, delay=1000)
    a, b = Station(host, switch.port(), 1), Station(host, switch.port(delay=5), 2)
    a.send(BROADCAST)
    b.send(BROADCAST)
    host.run()
    assert (b.times, a.times) == ([1000], [5])


def test_a_cut_cable_drops_until_it_is_healed():
    _, switch, stations = lan(2)
    switch.connected = False
    stations[0].send(BROADCAST)
    switch.connected = True
    stations[0].send(BROADCAST)
    assert counts(stations) == [0, 1]
    assert switch.drops == 1


def test_a_closed_port_is_forgotten():
    _, switch, stations = lan(3)
    for station in stations:
        station.send(BROADCAST)
    stations[1].port.close()
    stations[1].port.close()
    stations[0].send(stations[1].mac)
    stations[1].send(BROADCAST)
    assert counts(stations) == [2, 2, 3]
    assert switch.ports() == 2
    assert stations[1].mac not in switch.addresses()


def test_named_switches_of_a_host():
    host = SimHost()
    assert host.switches.named("lan") is host.switches.named("lan")
    assert host.switches.named("lan") is not host.switches.named("dmz")
    assert host.switches.names() == ["lan", "dmz"]
    assert SimHost().switches.named("lan") is not host.switches.named("lan")
