"""The programs of a config: started on a kernel, waited for together, stopped together."""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..guests.linux.files import ShownMount
from ..guests.linux.guest import Guest
from ..hosts.posix.host import PosixHost
from ..hyper.time import FOREVER, SECOND
from ..kern.abi.errno import ENOENT
from .errors import ConfigError, ProgramError
from .expand import Places, expand_run
from .spec import RunSpec

if TYPE_CHECKING:
    from ..net.dhcp.service import Dhcp
    from ..net.ip.service import Ip
    from .interruption import Interruption
    from .kernel import Kernel

ONLINE_TIMEOUT = 30.0
"""Seconds that DHCP servers have to give addresses before programs start without."""
STOP_TIMEOUT = 5.0
"""Seconds that programs have to end after they were asked to."""
SETTLE_TIMEOUT = 5.0
"""Seconds that what programs have sent has to reach their peers after the programs' end."""
SETTLE_INTERVAL = 0.1
"""Seconds until an interruption is seen meanwhile."""
RESOLV_CONF, HOSTS = "/etc/resolv.conf", "/etc/hosts"


def start(
    kernel: "Kernel",
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: str | Path | None,
    stdio: tuple[int | None, int | None, int | None],
) -> Guest:
    """Start one program (see `Kernel.run`); it ends with its kernel at the latest."""
    host = kernel.host
    if not isinstance(host, PosixHost):
        raise ConfigError("programs need the posix host")
    descriptors = [default if given is None else given for default, given in enumerate(stdio)]
    try:
        guest = Guest.start(
            kernel.core,
            host,
            command,
            environment={**os.environ, **env},
            directory=str(cwd) if cwd is not None else None,
            files=_private_files(kernel),
            hostname=kernel.spec.kernel.hostname,
            stdio=(descriptors[0], descriptors[1], descriptors[2]),
            shown=_shown_mounts(kernel),
        )
    except OSError as problem:
        if problem.filename != command[0]:
            raise
        text = problem.strerror or ""
        if problem.errno == ENOENT and os.path.isfile(command[0]):
            text += " (not the program: the interpreter that it names)"
        raise ProgramError(problem.errno, text, problem.filename) from None
    kernel.on_close(guest.close)
    _require_mounts(kernel, guest)
    return guest


def _shown_mounts(kernel: "Kernel") -> list[ShownMount]:
    """The config's mounts that programs see, at the same paths."""
    shown = []
    for spec in kernel.spec.mount:
        if spec.path.strip("/") and spec.programs != "hide" and spec.kind != "devfs":
            shown.append(ShownMount(spec.path, spec.read_only))
    return shown


def _require_mounts(kernel: "Kernel", guest: Guest) -> None:
    """End the program where it lacks a mount that it can't be without.  Raises ConfigError."""
    for index, spec in enumerate(kernel.spec.mount):
        reason = guest.unseen.get(os.path.normpath(spec.path), "")
        if reason and spec.programs == "require":
            guest.close()
            raise ConfigError(f"programs can't see {spec.path}: {reason}", key=f"mount[{index}].programs")


def _private_files(kernel: "Kernel") -> dict[str, bytes]:
    """What the program sees instead of the host's files: the kernel's name servers, and its own host name."""
    files = {HOSTS: _hosts(kernel.spec.kernel.hostname)}
    service = kernel.core.service("Ip")
    text = cast("Ip", service).names.resolv_conf() if service is not None else ""
    if text:
        files[RESOLV_CONF] = text.encode()
    return files


def _hosts(hostname: str) -> bytes:
    try:
        text = Path(HOSTS).read_bytes()
    except OSError:
        text = b"127.0.0.1 localhost\n"
    return text + (b"" if text.endswith(b"\n") else b"\n") + f"127.0.1.1 {hostname}\n".encode()


def wait_online(kernel: "Kernel", timeout: float, interruption: "Interruption | None" = None) -> bool:
    """See `Kernel.online`; an interruption ends the wait, too."""
    service = kernel.core.service("Dhcp")
    if service is None:
        return True
    dhcp = cast("Dhcp", service)
    queues = [dhcp.changes] if interruption is None else [dhcp.changes, interruption.queue]
    host = kernel.host
    host.enter()
    try:
        deadline = host.now + int(timeout * SECOND)
        parker = host.parker()
        while not dhcp.bound() and host.now < deadline and not (interruption is not None and interruption.pending):
            for queue in queues:
                queue.add(parker)
            try:
                parker.park(deadline)
            finally:
                for queue in queues:
                    queue.remove(parker)
        return dhcp.bound()
    finally:
        host.leave()


class Programs:
    """The running programs of one kernel."""

    def __init__(self, kernel: "Kernel", interruption: "Interruption | None" = None) -> None:
        """Every wait ends early once `interruption` is pending."""
        self._kernel = kernel
        self._interruption = interruption
        self._guests: list[Guest] = []
        self._main: Guest | None = None

    def start_all(self, runs: Sequence[RunSpec], places: Places) -> None:
        """Start them in order, once the kernel has its addresses, up to an interruption.  Raises as `Kernel.run`; what has
        been started ends with the kernel."""
        wait_online(self._kernel, ONLINE_TIMEOUT, self._interruption)
        for run in runs:
            if self.interrupted():
                return
            expanded = expand_run(run, places)
            guest = self._kernel.run(expanded.command, env=expanded.env, cwd=expanded.cwd or None)
            self._guests.append(guest)
            if run.main:
                self._main = guest

    def unseen(self) -> dict[str, str]:
        """The mounts that programs don't see, and why."""
        return {path: reason for guest in self._guests for path, reason in guest.unseen.items()}

    def started(self) -> bool:
        """Whether any has been started."""
        return bool(self._guests)

    def interrupted(self) -> bool:
        """Whether an interruption is pending."""
        return self._interruption is not None and self._interruption.pending != 0

    def running(self) -> list[Guest]:
        """Those that have not ended."""
        return [guest for guest in self._guests if guest.exit_code is None]

    def over(self) -> bool:
        """Whether the run is over: the main program has ended, or, where there is none, all have."""
        if self._main is not None:
            return self._main.exit_code is not None
        return not self.running()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the run is over; False if `timeout` seconds or an interruption come first."""
        return self._wait(self.over, timeout)

    def _wait(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        host = self._kernel.host
        host.enter()
        try:
            deadline = FOREVER if timeout is None else host.now + int(timeout * SECOND)
            parker = host.parker()
            while not condition() and not self.interrupted():
                queues = [guest.changes for guest in self.running()]
                if self._interruption is not None:
                    queues.append(self._interruption.queue)
                for queue in queues:
                    queue.add(parker)
                try:
                    parker.park(deadline)
                finally:
                    for queue in queues:
                        queue.remove(parker)
                if host.now >= deadline:
                    break
            return condition()
        finally:
            host.leave()

    def settle(self) -> None:
        """After the end: let what was sent reach its peers, for a while."""
        end = time.monotonic() + SETTLE_TIMEOUT
        for guest in self._guests:
            while guest.exit_code is not None and not guest.settle(SETTLE_INTERVAL):
                if self.interrupted() or time.monotonic() > end:
                    return

    def stop(self, number: int = signal.SIGTERM, tell: bool = True) -> None:
        """End what still runs: signal it (unless the terminal has done so), wait, kill.  An interruption ends the wait."""
        for guest in self.running() if tell else ():
            guest.send(number)
        if not self._wait(lambda: not self.running(), STOP_TIMEOUT):
            self.kill()

    def kill(self) -> None:
        """End what still runs at once."""
        for guest in self.running():
            guest.kill()

    def status(self) -> int:
        """The run's exit status: the main program's, or else the first that is not 0 (128 + N for signal N)."""
        counted = [self._main] if self._main is not None else self._guests
        codes = [guest.exit_code or 0 for guest in counted]
        first = next((code for code in codes if code), 0)
        return first if first >= 0 else 128 - first
