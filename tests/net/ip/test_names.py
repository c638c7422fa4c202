"""Name servers and search domains from several tellers, and the resolv.conf that comes of them."""

from rumpkit.hyper.calls import Waiter
from rumpkit.net.ip.names import CONFIG, DHCP, MAX_KEPT, ROUTER, NameSettings
from rumpkit.net.wire.address import parse_address


def servers(*texts):
    return [parse_address(text) for text in texts]


class Bell(Waiter):
    rung = 0

    def wake(self) -> None:
        self.rung += 1


def test_nothing_is_known_at_first():
    assert NameSettings().resolv_conf() == ""


def test_the_config_comes_first_and_everything_once():
    names = NameSettings()
    names.tell("vif0 ra", ROUTER, servers("fe80::1", "2001:db8::1"), ["b.example"], "vif0")
    names.tell("vif0 dhcp", DHCP, servers("10.0.0.1", "10.0.0.2"), ["a.example", "b.example"])
    assert names.resolv_conf() == (
        "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver fe80::1%vif0\nsearch a.example b.example\n"
    )
    names.tell("vif1 config", CONFIG, servers("10.0.0.2"), [])
    assert names.servers() == servers("10.0.0.2", "10.0.0.1", "fe80::1", "2001:db8::1")
    names.tell("vif0 dhcp", DHCP, [], [])
    assert names.resolv_conf() == (
        "nameserver 10.0.0.2\nnameserver fe80::1%vif0\nnameserver 2001:db8::1\nsearch b.example\n"
    )


def test_changes_are_told_and_only_changes():
    names, bell = NameSettings(), Bell()
    for told, rung in ((["10.0.0.1"], 1), (["10.0.0.1"], 1), (["10.0.0.2"], 2), ([], 3), ([], 3)):
        names.changes.add(bell)
        names.tell("one", DHCP, servers(*told), [])
        names.changes.remove(bell)
        assert bell.rung == rung


def test_limits():
    names = NameSettings()
    names.tell("one", DHCP, [bytes((10, 0, 0, number)) for number in range(99)], [f"d{number}" for number in range(99)])
    assert len(names.servers()) == len(names.search()) == MAX_KEPT
    text = names.resolv_conf()
    assert text.count("nameserver") == 3
    assert text.splitlines()[-1] == "search d0 d1 d2 d3 d4 d5"
