"""A directory's table of names: stable cookies, and no work that grows with the directory."""

from hypothesis import given
from hypothesis import strategies as st

from rumpkit.fs.tmpfs.names import NameTable
from rumpkit.fs.tmpfs.node import SpecialNode
from rumpkit.fs.tmpfs.pool import Pool
from rumpkit.kern.abi.fcntl import S_IFIFO
from rumpkit.vfs.vnode import FIRST_COOKIE, Vnode
from tests.vfs.helpers import Files

MOUNT = Files().vfs.mounts()[0]


def vnode() -> Vnode:
    return SpecialNode(MOUNT, Pool(0, 1 << 30, 0, 0), S_IFIFO, 0, 0, 0, 0)


def names(table: NameTable, step: int = 1000) -> list[bytes]:
    found: list[bytes] = []
    cookie = FIRST_COOKIE
    while entries := table.read(cookie, step):
        found += [entry.name for entry in entries]
        cookie = entries[-1].cookie
    return found


def test_names_keep_their_order():
    table = NameTable()
    for name in (b"c", b"a", b"b"):
        table.add(name, vnode())
    assert names(table) == names(table, 1) == [b"c", b"a", b"b"]
    table.remove(b"a")
    table.add(b"a", vnode())
    assert names(table) == [b"c", b"b", b"a"]
    assert len(table) == 3 and table.get(b"x") is None


def test_a_replaced_name_is_not_missed():
    table = NameTable()
    table.add(b"a", vnode())
    table.add(b"b", vnode())
    first = table.read(FIRST_COOKIE, 1)[0]
    new = vnode()
    table.replace(b"b", new)
    assert table.get(b"b") is new
    assert [entry.name for entry in table.read(first.cookie, 9)] == [b"b"]


def test_removed_names_do_not_pile_up():
    table = NameTable()
    table.add(b"first", vnode())
    table.add(b"second", vnode())
    file = vnode()
    for _ in range(1000):
        table.add(b"x", file)
        table.add(b"y", file)
        table.remove(b"x")
        table.remove(b"y")
    assert len(table._order) < 50
    assert names(table) == [b"first", b"second"]


def test_emptied_from_the_front():
    table = NameTable()
    count = 20_000
    file = vnode()
    for number in range(count):
        table.add(b"%d" % number, file)
    for number in range(count):
        # What a program does that removes a directory's files as it reads them.
        entry = table.read(FIRST_COOKIE, 1)[0]
        assert entry.name == b"%d" % number
        table.remove(entry.name)
    assert len(table) == 0 and names(table) == []


CHANGES = st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=120)


@given(CHANGES, CHANGES, st.integers(1, 7))
def test_what_stays_is_read_once(before, during, step):
    table = NameTable()
    file = vnode()

    def change(add, number):
        name = b"%d" % number
        if add and table.get(name) is None:
            table.add(name, file)
        elif not add and table.get(name) is not None:
            table.remove(name)

    for add, number in before:
        change(add, number)
    stays = set(names(table))
    end = table.end()
    found: list[bytes] = []
    cookie = FIRST_COOKIE
    while entries := [entry for entry in table.read(cookie, step) if entry.cookie <= end]:
        found += [entry.name for entry in entries]
        cookie = entries[-1].cookie
        for add, number in during[:step]:
            change(add, number)
            if not add:
                stays.discard(b"%d" % number)
        del during[:step]
    assert stays <= set(found)
    for name in stays:
        assert found.count(name) == 1


def test_removed_from_the_middle_then_from_both_ends():
    table = NameTable()
    for name in (b"a", b"b", b"c"):
        table.add(name, vnode())
    for name in (b"b", b"c", b"a"):
        table.remove(name)
    assert names(table) == []
    table.add(b"d", vnode())
    assert names(table) == [b"d"]
