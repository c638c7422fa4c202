"""The files that Linux knows of, when their mount is taken away."""

from __future__ import annotations

from rumpkit.clients.fuse.nodes import NodeTable
from rumpkit.kern.abi.fcntl import S_IFREG
from rumpkit.vfs.revoke import DeadMount, DeadVnode
from rumpkit.vfs.vnode import Mount, Vnode
from tests.vfs.helpers import Files


class Slow(Vnode):
    """A file whose storage is freed with its last hold, while other requests are served."""

    table: NodeTable
    forgotten: tuple[int, ...] = ()

    def inactive(self) -> None:
        for number in self.forgotten:
            self.table.forget(number, 1)


def test_linux_forgets_files_while_they_are_taken_away() -> None:
    files = Files()
    files.host.enter()
    table = NodeTable(files.vfs.root(), 100, files.vfs.events)
    mount = Mount(files.host, "slow", "")
    dead = DeadMount(files.host, mount)
    vnodes = [Slow(mount, number, S_IFREG | 0o644, 0, 0, 0) for number in range(2, 5)]
    nodes = [table.enter(vnode, 1, b"%d" % vnode.number) for vnode in vnodes]
    vnodes[0].table = table
    vnodes[0].forgotten = (nodes[0].number, nodes[1].number)

    def exchange(vnode: Vnode) -> Vnode:
        gone = DeadVnode(dead, vnode.number, vnode.mode)
        gone.hold()
        vnode.release()
        return gone

    assert table.revoke(mount, exchange) == [nodes[0], nodes[2]]
    assert len(table) == 2 and table.get(nodes[2].number).vnode.mount is dead
    assert [vnode.references for vnode in vnodes] == [0, 0, 0] and mount.references == 0
    assert table.of(vnodes[0]) == table.of(vnodes[2]) == []
    table.clear()
    assert dead.references == 0
    files.host.leave()
