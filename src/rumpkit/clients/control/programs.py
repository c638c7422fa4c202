"""What a control socket asks of whoever runs programs on the kernel; the answers come from elsewhere, when they are there."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from errno import EOPNOTSUPP
from typing import TYPE_CHECKING, Any

from .live import Live
from .protocol import ControlError

if TYPE_CHECKING:
    from .server import ControlServer


class ProgramService(ABC):
    """Who runs the programs of a kernel."""

    @abstractmethod
    def request(self, name: str, parameters: dict[str, Any]) -> Live:
        """The answer to one of the methods below, on its way.  On the schedule.  Raises OSError."""


def asked(name: str) -> Callable[["ControlServer", dict[str, Any]], Live]:
    """The method called `name`."""

    def ask(server: "ControlServer", parameters: dict[str, Any]) -> Live:
        if server.programs is None:
            raise ControlError(EOPNOTSUPP, f"{server.name} is not run by `rump run`: it knows of no programs")
        return server.programs.request(name, parameters)

    return ask
