"""The device switch: devices by kind and number, and who hears of them."""

from rumpkit.kern.abi.errno import EEXIST, EINVAL, ENOTTY, ENXIO
from rumpkit.kern.abi.fcntl import O_RDWR, S_IFBLK, S_IFCHR
from rumpkit.kern.device import ALWAYS_READY, Device, DeviceObserver, DeviceSwitch, device_number
from tests.vfs.helpers import fails


class Log(DeviceObserver):
    def __init__(self) -> None:
        self.events: list[str] = []

    def attached(self, device: Device) -> None:
        self.events.append("+" + device.name)

    def detached(self, device: Device) -> None:
        self.events.append("-" + device.name)


def test_device_numbers_are_those_of_linux():
    assert device_number(1, 3) == 0x103
    assert device_number(259, 0) == 259 << 8
    assert device_number(0x12345, 0x54321) == 0x12000 << 32 | 0x345 << 8 | 0x21 | 0x54300 << 12


def test_attach_and_find():
    switch = DeviceSwitch()
    block, character = Device("b", S_IFBLK, 7), Device("c", S_IFCHR, 7)
    switch.attach(block)
    switch.attach(character)
    assert switch.find(S_IFBLK, 7) is block and switch.find(S_IFCHR, 7) is character
    assert switch.devices() == [character, block]
    assert switch.named("b") is block and switch.named("x") is None
    fails(EEXIST, switch.attach, Device("d", S_IFCHR, 7))
    fails(EEXIST, switch.attach, Device("b", S_IFCHR, 8))
    fails(ENXIO, switch.find, S_IFBLK, 8)
    switch.detach(block)
    fails(ENXIO, switch.detach, block)
    fails(ENXIO, switch.find, S_IFBLK, 7)


def test_observers_hear_of_what_is_and_what_changes():
    switch = DeviceSwitch()
    first, second = Device("a", S_IFCHR, 1), Device("b", S_IFCHR, 2)
    switch.attach(first)
    log = Log()
    switch.observe(log)
    switch.attach(second)
    switch.detach(first)
    switch.ignore(log)
    switch.ignore(log)
    switch.detach(second)
    assert log.events == ["+a", "+b", "-a"]


def test_a_device_that_can_do_nothing():
    device = Device("x", S_IFCHR, 1)
    assert device.open(O_RDWR) is device
    fails(EINVAL, device.read, 0, 1)
    fails(EINVAL, device.write, 0, b"")
    fails(ENOTTY, device.ioctl, 0, b"")
    device.flush()
    device.close(0)
    assert device.size() == 0 and device.poll() == ALWAYS_READY
