"""Memberships and source filters: one socket's, and what an interface makes of several."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpkit.hosts.sim.host import SimHost
from rumpkit.kern.abi.errno import EADDRINUSE, EADDRNOTAVAIL, EINVAL, ENOBUFS
from rumpkit.net.ip.groups import ANYBODY, NOTHING, GroupListener, Groups, Memberships, SourceFilter, merged
from rumpkit.net.link.loopback import LoopbackInterface
from rumpkit.net.wire.address import multicast_mac

GROUP, OTHER = b"\xef\1\2\3", b"\xef\1\2\4"
A, B, C = b"\1\0\0\1", b"\1\0\0\2", b"\1\0\0\3"

filters = st.builds(SourceFilter, st.booleans(), st.frozensets(st.sampled_from([A, B, C])))


def fails(number, call, *arguments):
    with pytest.raises(OSError) as caught:
        call(*arguments)
    assert caught.value.errno == number


class Log(GroupListener):
    def __init__(self):
        self.lines = []

    def changed(self, interface, group, before, after):
        self.lines.append((group, *(("ex" if one.exclude else "in", sorted(one.sources)) for one in (before, after))))

    def forget(self, interface):
        self.lines.append("forgotten")


def world():
    groups = Groups()
    groups.listener = Log()
    return groups, LoopbackInterface("x", 3, SimHost())


@given(st.lists(filters, min_size=1, max_size=4), st.sampled_from([A, B, C, b"\x09\0\0\1"]))
def test_an_interface_takes_in_what_any_member_wants(wanted, source):
    """But for what the RFC's merging may let through beside it: nothing that a member wants is missing."""
    together = merged(wanted)
    assert together.allows(source) == any(one.allows(source) for one in wanted)


def test_joining_and_leaving():
    groups, interface = world()
    one, other = Memberships(groups), Memberships(groups)
    one.join(interface, GROUP)
    other.join(interface, GROUP)
    fails(EADDRINUSE, one.join, interface, GROUP)
    assert groups.listener.lines == [(GROUP, ("in", []), ("ex", []))]
    assert interface.group_macs == {multicast_mac(GROUP): 1}
    assert groups.allows(interface, GROUP, A)
    one.leave(0, GROUP)
    fails(EADDRNOTAVAIL, one.leave, 0, GROUP)
    fails(EADDRNOTAVAIL, other.leave, 4, GROUP)
    other.close()
    assert groups.listener.lines[1:] == [(GROUP, ("ex", []), ("in", []))]
    assert interface.group_macs == {}
    assert not groups.allows(interface, GROUP, A)


def test_groups_that_share_an_ethernet_address():
    groups, interface = world()
    one = Memberships(groups)
    twin = b"\xe0\x81\2\3"
    assert multicast_mac(twin) == multicast_mac(GROUP)
    one.join(interface, GROUP)
    one.join(interface, twin)
    one.leave(0, GROUP)
    assert multicast_mac(GROUP) in interface.group_macs
    one.leave(0, twin)
    assert interface.group_macs == {}


def test_sources_one_by_one():
    groups, interface = world()
    one = Memberships(groups)
    one.join_source(interface, GROUP, A)
    one.join_source(interface, GROUP, B)
    fails(EADDRNOTAVAIL, one.join_source, interface, GROUP, B)
    fails(EINVAL, one.block, 0, GROUP, C, True)
    assert (one.allows(3, GROUP, A), one.allows(3, GROUP, C)) == (True, False)
    one.leave_source(0, GROUP, A)
    fails(EADDRNOTAVAIL, one.leave_source, 0, GROUP, A)
    one.leave_source(0, GROUP, B)
    assert one.rows() == []
    assert [line[2] for line in groups.listener.lines] == [("in", [A]), ("in", [A, B]), ("in", [B]), ("in", [])]


def test_blocking_sources():
    groups, interface = world()
    one = Memberships(groups)
    fails(EINVAL, one.block, 0, GROUP, A, True)
    one.join(interface, GROUP)
    one.block(0, GROUP, A, True)
    fails(EADDRNOTAVAIL, one.block, 0, GROUP, A, True)
    fails(EINVAL, one.join_source, interface, GROUP, B)
    fails(EINVAL, one.leave_source, 0, GROUP, B)
    assert (one.allows(3, GROUP, A), one.allows(3, GROUP, B)) == (False, True)
    assert not groups.allows(interface, GROUP, A)
    one.block(0, GROUP, A, False)
    fails(EADDRNOTAVAIL, one.block, 0, GROUP, A, False)
    assert one.filter(0, GROUP).same(ANYBODY)


def test_replacing_a_filter():
    groups, interface = world()
    one = Memberships(groups)
    one.join(interface, GROUP)
    one.set_filter(3, GROUP, SourceFilter(False, frozenset((A,))))
    assert groups.listener.lines[-1] == (GROUP, ("ex", []), ("in", [A]))
    one.set_filter(3, GROUP, NOTHING)
    assert one.rows() == []
    fails(EADDRNOTAVAIL, one.set_filter, 3, GROUP, ANYBODY)


def test_groups_of_others_are_heard_unless_one_says_no():
    groups, _ = world()
    one = Memberships(groups)
    assert one.allows(3, OTHER, A)
    one.every = False
    assert not one.allows(3, OTHER, A)


def test_limits():
    groups, interface = world()
    groups.settings.max_memberships, groups.settings.max_sources, groups.settings.max_groups = 2, 3, 3
    one, other = Memberships(groups), Memberships(groups)
    for number in range(2):
        one.join(interface, bytes((239, 0, 0, number)))
    fails(ENOBUFS, one.join, interface, GROUP)
    other.join_source(interface, GROUP, A)
    fails(ENOBUFS, other.join, interface, OTHER)
    for number in range(2):
        other.join_source(interface, GROUP, bytes((1, 0, 1, number)))
    fails(ENOBUFS, other.join_source, interface, GROUP, B)
    fails(ENOBUFS, other.set_filter, 3, GROUP, SourceFilter(True, frozenset((A, B, C, GROUP))))


def test_an_interface_that_goes_takes_its_groups_along():
    groups, interface = world()
    one = Memberships(groups)
    one.join(interface, GROUP)
    groups.forget(interface)
    assert groups.listener.lines[-1] == "forgotten"
    assert not groups.allows(interface, GROUP, A)
    one.close()
    assert one.rows() == []
