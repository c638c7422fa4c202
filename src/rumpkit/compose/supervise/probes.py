"""Health checks: whether a port of the kernel takes a connection, whether an HTTP server answers well.  Each in a thread of its own,
by system calls of a process of the same kernel, with a timeout; checks by a program are the conductor's."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from ...hyper.named import NamedTuple
from ..errors import ConfigError

if TYPE_CHECKING:
    from ...clients.socketlike import SocketLike
    from ..kernel import Kernel

MAX_HEAD: Final = 8192
"""Bytes of an answer that are looked at."""
LOOPBACK: Final = "127.0.0.1"
GOOD: Final = range(200, 400)


class Target(NamedTuple):
    """What is asked."""

    address: str
    port: int
    path: str
    """"": whether there is a connection is all."""
    host: str = ""
    """What the Host field says."""


def parse_target(port: int, http: str) -> Target:
    """Of a health check's `port` or `http`.  Raises ConfigError."""
    if not http:
        if not 1 <= port <= 65535:
            raise ConfigError(f"{port} is no port", hint="1 to 65535")
        return Target(LOOPBACK, port, "")
    from ...net.wire.address import parse_address

    scheme, _, rest = http.partition("://")
    host, slash, path = rest.partition("/")
    if scheme != "http" or not host:
        raise ConfigError(f"{http!r} is not of HTTP", hint='write "http://127.0.0.1:8080/"')
    address, colon, number = host.rpartition(":")
    if not colon or (address.startswith("[") and not address.endswith("]")):
        address, number = host, "80"
    address = address.strip("[]")
    address = LOOPBACK if address == "localhost" else address
    try:
        parse_address(address)
    except ValueError:
        raise ConfigError(f"{address!r} is not an address", hint="names are not looked up here") from None
    if not number.isdecimal() or not 1 <= int(number) <= 65535:
        raise ConfigError(f"{number!r} is no port", hint="1 to 65535")
    return Target(address, int(number), slash + path or "/", host)


@final
class SocketProbe:
    """One check under way; `tell` is called with what it has found, in its thread, unless it is dropped before."""

    def __init__(self, kernel: "Kernel", target: Target, timeout: float, tell: Callable[[bool, str], None]) -> None:
        self._target = target
        self._timeout = timeout
        self._tell = tell
        self._dropped = False
        self._process = kernel.process()
        self._thread = threading.Thread(target=self._run, name="rumpkit probe", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        family = "tcp6" if ":" in self._target.address else "tcp"
        try:
            with self._process.socket(family) as socket:
                socket.settimeout(self._timeout)
                socket.connect((self._target.address, self._target.port))
                well, text = self._ask(socket) if self._target.path else (True, "")
        except OSError as problem:
            well, text = False, f"port {self._target.port}: {problem.strerror or problem}"
        self._process.exit()
        if not self._dropped:
            self._tell(well, text)

    def _ask(self, socket: "SocketLike") -> tuple[bool, str]:
        target = self._target
        socket.sendall(f"GET {target.path} HTTP/1.0\r\nHost: {target.host}\r\nUser-Agent: rumpkit\r\n\r\n".encode())
        head = b""
        while b"\n" not in head and len(head) < MAX_HEAD:
            data = socket.recv(MAX_HEAD)
            if not data:
                break
            head += data
        words = head.split(b"\n", 1)[0].split()
        if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
            return False, f"port {target.port} does not speak HTTP"
        return int(words[1]) in GOOD, f"{target.path} gives {int(words[1])}"

    def drop(self) -> None:
        """Nobody waits for it any more.  Off the schedule."""
        self._dropped = True
        self._process.interrupt()

    def under_way(self) -> bool:
        """Whether its thread is still there."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Drop it, and wait until it has let go of the kernel."""
        self.drop()
        while self._thread.is_alive():
            self._process.interrupt()
            self._thread.join(0.05)
