"""The threads of a program under a debugger: which of them runs, and what has happened to whom that gdb has not heard of yet."""

from enum import Enum
from typing import Final, final

from .. import ptrace
from .registers import Layout, Register, get, put

MAX_THREADS: Final = 32768


class Mode(Enum):
    """How a thread goes on."""

    STOPPED = "stopped"
    RUNNING = "running"
    STEPPING = "stepping"


@final
class Thread:
    """One thread, and its registers while it is stopped: they are written back before it goes on."""

    def __init__(self, id: int, layout: Layout) -> None:
        self.id = id
        self.mode = Mode.RUNNING
        self.event: tuple[int, int] | None = None
        """What has stopped it and is still to be told: a signal, an event of ptrace."""
        self._layout = layout
        self._sets: dict[int, bytes] = {}
        self._changed: set[int] = set()

    def sets(self) -> dict[int, bytes]:
        """All registers as Linux has them.  Raises OSError."""
        for which in (ptrace.NT_PRSTATUS, ptrace.NT_FPREGSET):
            if which not in self._sets:
                self._sets[which] = ptrace.registers(self.id, which)
        return self._sets

    def get(self, register: Register) -> bytes:
        """One register.  Raises OSError."""
        return get(register, self.sets())

    def put(self, register: Register, value: bytes) -> None:
        """Change one.  Raises OSError."""
        put(register, self.sets(), value)
        self._changed.add(register.set)

    def pc(self) -> int:
        """Where it is.  Raises OSError."""
        return int.from_bytes(self.get(self._layout.pc), "little")

    def resume(self, mode: Mode, signal: int = 0) -> None:
        """Go on, by one instruction where `mode` says so, with a signal.  Raises OSError."""
        self.write_back()
        self.mode = mode
        ptrace.ptrace(ptrace.SINGLESTEP if mode is Mode.STEPPING else ptrace.CONT, self.id, 0, signal)

    def write_back(self) -> None:
        """Give Linux the registers that were changed.  Raises OSError."""
        for which in self._changed:
            ptrace.set_registers(self.id, self._sets[which], which)
        self._changed.clear()
        self._sets.clear()
