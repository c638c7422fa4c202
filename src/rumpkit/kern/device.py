"""Devices and the device switch: what special files stand for, whatever file system they lie in.

`dev` makes devices and registers them here; `vfs` opens special files through the switch, by kind and number, as
BSD's cdevsw and bdevsw do.  Neither knows the other.
"""

from typing import Final, final

from mypy_extensions import mypyc_attr

from ..hyper.time import Instant
from .abi.errno import EBUSY, EEXIST, EINVAL, ENOTTY, ENXIO, error
from .abi.fcntl import S_IFBLK
from .abi.poll import POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM
from .wait import Blocked, WaitQueue

ALWAYS_READY: Final = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM


def device_number(major: int, minor: int) -> int:
    """The dev_t of a device as Linux encodes it: major in bits 8-19 and 32-, minor in bits 0-7 and 20-31."""
    return (major & 0xFFF) << 8 | (major & ~0xFFF) << 32 | minor & 0xFF | (minor & ~0xFF) << 12


@mypyc_attr(allow_interpreted_subclasses=True)
class Device:
    """One device.  All methods are called on the schedule; a block device gives it up around its backend's calls."""

    def __init__(self, name: str, kind: int, number: int, mode: int = 0o600) -> None:
        self.name: str = name
        """Its file's name in /dev."""
        self.kind: int = kind
        """S_IFCHR or S_IFBLK."""
        self.number: int = number
        """dev_t, as `device_number` makes it."""
        self.mode: int = mode
        """Permission bits of its file in /dev."""
        self.queue: WaitQueue = WaitQueue()
        """Woken whenever `poll` may answer differently."""
        self.claims: int = 0
        """Mounts of what is on it that only read; -1: one that writes, which nobody may be beside."""

    def claim(self, write: bool) -> None:
        """What is on the device is about to be mounted.  Raises EBUSY where somebody else has it mounted who writes, or who would
        not expect that it is written."""
        if self.claims < 0 or (write and self.claims):
            raise OSError(EBUSY, f"{self.name} is mounted already" + ("" if write else ", for writing"))
        self.claims = -1 if write else self.claims + 1

    def reclaim(self, write: bool) -> None:
        """The one mount becomes writable or read-only.  Raises EBUSY as `claim`."""
        claims = self.claims
        self.disclaim()
        try:
            self.claim(write)
        except OSError:
            self.claims = claims
            raise

    def disclaim(self) -> None:
        """The mount is gone."""
        self.claims = 0 if self.claims < 0 else self.claims - 1

    def open(self, flags: int) -> "Device":
        """A descriptor is about to be made: return the device that it shall use (itself, unless it clones).

        Raises ENXIO, EBUSY, EROFS and the like.
        """
        return self

    def close(self, now: Instant) -> None:
        """The last reference to an open file of this device has gone."""
        return None

    def read(self, offset: int, size: int) -> bytes | Blocked:
        """Up to `size` bytes from byte `offset` (which character devices ignore); b"" at the end."""
        raise error(EINVAL)

    def write(self, offset: int, data: bytes) -> int | Blocked:
        """Write at byte `offset` (which character devices ignore), returning how much was taken."""
        raise error(EINVAL)

    def write_durable(self, offset: int, data: bytes) -> None:
        """Write all of `data` at byte `offset`, and return once that is durable (FUA)."""
        raise error(EINVAL)

    def flush(self) -> None:
        """Return once what was written is durable."""
        return None

    def discard(self, offset: int, size: int) -> bool:
        """Give the storage of these bytes back, which read as zeros then.  False where a device can't: nothing has changed."""
        return False

    def size(self) -> int:
        """Bytes of a block device; 0 for others."""
        return 0

    def poll(self) -> int:
        """Which POLL* bits hold now."""
        return ALWAYS_READY

    def ioctl(self, request: int, argument: bytes) -> bytes:
        """Device control; the meaning of request and argument is the device's."""
        raise error(ENOTTY)


@mypyc_attr(allow_interpreted_subclasses=True)
class DeviceObserver:
    """Somebody who wants to know which devices there are, such as the file system at /dev."""

    def attached(self, device: Device) -> None:
        """A device is there from now on."""
        raise NotImplementedError

    def detached(self, device: Device) -> None:
        """A device is there no longer."""
        raise NotImplementedError


@final
class DeviceSwitch:
    """All devices of a kernel, by number."""

    def __init__(self) -> None:
        self._characters: dict[int, Device] = {}
        self._blocks: dict[int, Device] = {}
        self._observers: list[DeviceObserver] = []

    def attach(self, device: Device) -> None:
        """Add a device.  Raises EEXIST where its number or its name is taken."""
        devices = self._devices(device.kind)
        if device.number in devices or self.named(device.name) is not None:
            raise error(EEXIST, device.name)
        devices[device.number] = device
        for observer in self._observers:
            observer.attached(device)

    def detach(self, device: Device) -> None:
        """Remove a device; files that have it open keep it.  Raises ENXIO where it is not there."""
        if self._devices(device.kind).pop(device.number, None) is None:
            raise error(ENXIO, device.name)
        for observer in self._observers:
            observer.detached(device)

    def find(self, kind: int, number: int) -> Device:
        """The device behind a special file.  Raises ENXIO."""
        device = self._devices(kind).get(number)
        if device is None:
            raise error(ENXIO)
        return device

    def named(self, name: str) -> Device | None:
        """The device called `name`, or None."""
        for device in self.devices():
            if device.name == name:
                return device
        return None

    def devices(self) -> list[Device]:
        """All devices: character devices first, each kind in the order of attachment."""
        return [*self._characters.values(), *self._blocks.values()]

    def observe(self, observer: DeviceObserver) -> None:
        """Tell `observer` of every device that is here, and of every change from now on."""
        self._observers.append(observer)
        for device in self.devices():
            observer.attached(device)

    def ignore(self, observer: DeviceObserver) -> None:
        """Stop telling `observer`."""
        if observer in self._observers:
            self._observers.remove(observer)

    def _devices(self, kind: int) -> dict[int, Device]:
        return self._blocks if kind == S_IFBLK else self._characters
