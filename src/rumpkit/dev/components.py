"""Components of the dev faction.  Interpreted; see kern/component.py."""

from typing import TYPE_CHECKING

from ..kern.component import component

if TYPE_CHECKING:
    from ..hyper.calls import Hypercalls
    from ..kern.device import DeviceSwitch
    from ..kern.kernel import RumpKernel
    from .console import ConsoleDevice
    from .disks import Disks
    from .memory import NullDevice
    from .random import RandomDevice


@component("mem", faction="dev")
def mem(devices: "DeviceSwitch") -> "NullDevice":
    """The devices null, zero and full."""
    from .memory import FullDevice, NullDevice, ZeroDevice

    null = NullDevice()
    for device in (null, ZeroDevice(), FullDevice()):
        devices.attach(device)
    return null


@component("random", faction="dev")
def random(hyper: "Hypercalls", devices: "DeviceSwitch") -> "RandomDevice":
    """The devices random and urandom, from the host's generator."""
    from ..kern.device import device_number
    from .random import RandomDevice

    device = RandomDevice(hyper, "random", device_number(1, 8))
    devices.attach(device)
    devices.attach(RandomDevice(hyper, "urandom", device_number(1, 9)))
    return device


@component("console", faction="dev")
def console(hyper: "Hypercalls", devices: "DeviceSwitch") -> "ConsoleDevice":
    """The device console, which the host shows."""
    from .console import ConsoleDevice

    device = ConsoleDevice(hyper)
    devices.attach(device)
    return device


@component("disks", faction="dev")
def disks(kernel: "RumpKernel", devices: "DeviceSwitch") -> "Disks":
    """Block devices over storage that a host gives, and ram disks."""
    from .disks import Disks

    return Disks(kernel, devices)
