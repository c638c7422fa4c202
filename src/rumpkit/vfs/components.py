"""Components of the vfs faction.  Interpreted; see kern/component.py."""

from typing import TYPE_CHECKING

from ..kern.component import component

if TYPE_CHECKING:
    from ..kern.device import DeviceSwitch
    from ..kern.kernel import RumpKernel
    from .calls import VfsCalls
    from .vfs import Vfs


@component("vfs", faction="vfs")
def vfs(kernel: "RumpKernel", devices: "DeviceSwitch") -> "Vfs":
    """The tree of mounts; whoever composes the kernel mounts the root."""
    from .vfs import Vfs

    return Vfs(kernel, devices)


@component("vfs_calls", faction="vfs")
def vfs_calls(vfs: "Vfs") -> "VfsCalls":
    """System calls on paths and files."""
    from .calls import VfsCalls

    return VfsCalls(vfs)
