"""The program's memory, read and written from here with process_vm_readv(2).

That is a microsecond slower than a cached /proc/TID/mem, but a cached one goes stale in silence: after vfork and exec, or
when a thread id comes round again, it still shows the old program's memory.
"""

from collections.abc import Callable
from struct import Struct
from typing import Any, final

from ...kern.abi.errno import EFAULT, ESRCH, error
from . import libc

LIMIT = 4096
"""The most that is read or written at once; socket calls need far less."""

_VECTORS = Struct("<6Q")  # struct iovec: local address and size, twice remote address and size
_WORD = Struct("<I")
_ADDRESS = Struct("<Q")


@final
class Memory:
    """Reads and writes the memory of threads by thread id.  `guard` is told before each access: it may fault in a page
    of a file system that this process serves itself (`Hypercalls.assert_unscheduled`)."""

    def __init__(self, guard: Callable[[str], None]) -> None:
        import ctypes

        self._guard = guard
        self._buffer = bytearray(LIMIT)
        self._vectors = bytearray(_VECTORS.size)
        self._word = bytearray(_VECTORS.size)
        """The same for one word: all but its address stays."""
        self._keep = (
            (ctypes.c_char * LIMIT).from_buffer(self._buffer),
            (ctypes.c_char * _VECTORS.size).from_buffer(self._vectors),
            (ctypes.c_char * _VECTORS.size).from_buffer(self._word),
        )
        self._local = ctypes.addressof(self._keep[0])
        vector = ctypes.addressof(self._keep[1])
        self._ours, self._theirs = ctypes.c_void_p(vector), ctypes.c_void_p(vector + 16)
        word = ctypes.addressof(self._keep[2])
        _VECTORS.pack_into(self._word, 0, self._local, _WORD.size, 0, _WORD.size, 0, 0)
        self._our_word, self._their_word = ctypes.c_void_p(word), ctypes.c_void_p(word + 16)
        self._readv, self._reads = self._functions("process_vm_readv")
        self._writev, self._writes = self._functions("process_vm_writev")

    @staticmethod
    def _functions(name: str) -> tuple[Any, Any]:
        """The call, and the call with errno kept.  Without errno, and without declared types (small numbers go as int, pointers as the
        c_void_p they are), it takes half of the time."""
        import ctypes

        library = libc.library()
        quick, thorough = ctypes.CFUNCTYPE(ctypes.c_ssize_t), ctypes.CFUNCTYPE(ctypes.c_ssize_t, use_errno=True)
        return quick((name, library)), thorough((name, library))

    def _transfer(
        self, function: Any, again: Any, thread: int, address: int, size: int, then: int = 0, then_size: int = 0
    ) -> None:
        total = size + then_size
        _VECTORS.pack_into(self._vectors, 0, self._local, total, address, size, then, then_size)
        parts = 2 if then_size else 1
        if function(thread, self._ours, 1, self._theirs, parts, 0) == total:
            return
        # Once more, to hear why; nothing is lost where it works this time.
        done = again(thread, self._ours, 1, self._theirs, parts, 0)
        if done == total:
            return
        if done < 0:
            problem = libc.failed("guest memory")
            if problem.errno != ESRCH:  # EFAULT, EPERM; a thread that is gone gets no answer anyhow
                raise problem
        raise error(EFAULT)

    def read(self, thread: int, address: int, size: int) -> bytes:
        """`size` bytes (at most LIMIT).  Raises EFAULT unless all can be read, EPERM where tracing is forbidden."""
        if not size:
            return b""
        self._guard("guest memory")
        self._transfer(self._readv, self._reads, thread, address, min(size, LIMIT))
        return bytes(self._buffer[:size])

    def write(self, thread: int, address: int, data: bytes) -> None:
        """Raises EFAULT unless all of `data` (at most LIMIT) can be written.

        Thread ids are used again: write only for a call that still waits (`Listener.valid`), or right after it came."""
        if not data:
            return
        self._guard("guest memory")
        self._buffer[: len(data)] = data
        self._transfer(self._writev, self._writes, thread, address, len(data))

    def write_sized(self, thread: int, address: int, data: bytes, length: int, size: int) -> None:
        """Write `data`, and at `length` the number `size` (a socklen_t): what most calls that return data do."""
        if not data:
            self.write_word(thread, length, size)
            return
        self._guard("guest memory")
        end = len(data)
        self._buffer[:end] = data
        _WORD.pack_into(self._buffer, end, size)
        self._transfer(self._writev, self._writes, thread, address, end, length, _WORD.size)

    def read_word(self, thread: int, address: int) -> int:
        """An unsigned 32-bit integer, such as a socklen_t."""
        self._guard("guest memory")
        _ADDRESS.pack_into(self._word, 16, address)
        if self._readv(thread, self._our_word, 1, self._their_word, 1, 0) != _WORD.size:
            self._transfer(self._readv, self._reads, thread, address, _WORD.size)  # once more, to hear why
        word: int = _WORD.unpack_from(self._buffer)[0]
        return word

    def write_word(self, thread: int, address: int, value: int) -> None:
        """Write an unsigned 32-bit integer."""
        self.write(thread, address, _WORD.pack(value))
