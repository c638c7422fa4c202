"""The health checks under way: a socket's in a thread of its own (`probes`), a program's as a guest.  In the conductor's thread."""

import os
from time import monotonic_ns
from typing import TYPE_CHECKING, final

from ...guests.linux.guest import Guest
from ...hyper.time import SECOND
from ..asked import by_check
from ..errors import ConfigError
from ..expand import Places, expand_run
from ..programs import launch

if TYPE_CHECKING:
    from .conductor import Conductor
    from .probes import SocketProbe


@final
class Checker:
    """Makes checks for a conductor, and tells its machine what they have found."""

    def __init__(self, conductor: "Conductor", places: Places) -> None:
        self._conductor = conductor
        self._places = places
        self._number = 0
        self._under_way: dict[str, tuple[int, SocketProbe | Guest | None]] = {}
        """By program: which check it is, so that what a dropped one has said is not taken for the next one's."""
        self._dropped: list[SocketProbe] = []
        """Whose threads may not have ended yet."""

    def begin(self, name: str) -> None:
        """Check a program."""
        conductor = self._conductor
        plan = conductor.machine.programs[name].plan
        spec, timed = plan.spec.health, plan.health
        assert spec is not None and timed is not None
        self._number += 1
        number = self._number
        self._under_way[name] = (number, None)

        def tell(well: bool, text: str) -> None:
            conductor.leave_word(lambda: self._found(name, number, well, text))

        if not spec.command:
            from .probes import SocketProbe, parse_target

            target = parse_target(spec.port, spec.http)
            probe = SocketProbe(conductor.kernels[plan.kernel], target, timed.timeout / SECOND, tell)
            self._under_way[name] = (number, probe)
            return
        try:
            self._under_way[name] = (number, self._launch(name))
        except OSError as problem:
            tell(False, f"{problem.filename or spec.command[0]}: {problem.strerror}")
        except ConfigError as problem:
            tell(False, str(problem))

    def _launch(self, name: str) -> Guest:
        plan = self._conductor.machine.programs[name].plan
        run = expand_run(plan.spec, self._places)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            kernel = self._conductor.kernels[plan.kernel]
            name = plan.name.replace("/", ".")
            return launch(kernel, by_check(kernel, run, self._conductor.sees(run), (null, null, null), name))
        finally:
            os.close(null)

    def _found(self, name: str, number: int, well: bool, text: str) -> None:
        if self._under_way.get(name, (0, None))[0] == number:
            self._forget(name)
            self._conductor.machine.probed(name, well, text, monotonic_ns())

    def _forget(self, name: str) -> "SocketProbe | Guest | None":
        _, probe = self._under_way.pop(name, (0, None))
        if probe is not None and not isinstance(probe, Guest):
            self._dropped.append(probe)
        return probe

    def guests(self) -> list[Guest]:
        """Those whose end is waited for."""
        return [probe for _, probe in self._under_way.values() if isinstance(probe, Guest)]

    def look(self) -> None:
        """See which of them have ended."""
        for name, (number, probe) in list(self._under_way.items()):
            if isinstance(probe, Guest) and probe.exit_code is not None:
                self._conductor.retire(probe)
                text = f"{probe.name} ended with {probe.exit_code}"
                self._found(name, number, probe.exit_code == 0, text)
        self._dropped = [one for one in self._dropped if one.under_way()]

    def drop(self, name: str) -> None:
        """End a check."""
        probe = self._forget(name)
        if probe is None:
            return
        if isinstance(probe, Guest):
            probe.kill()
            self._conductor.retire(probe)
        else:
            probe.drop()

    def close(self) -> None:
        """End all of them."""
        for name in list(self._under_way):
            self.drop(name)
        for probe in self._dropped:
            probe.close()
        self._dropped.clear()
