"""Hammers files with reads, writes, truncations and holes through the local client, and knows what must be in them (after Apple's fsx)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from rumpkit.clients.local import LocalProcess
from rumpkit.kern.abi.errno import ENOSPC, ENOTSUP, ENXIO
from rumpkit.kern.abi.fcntl import (
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_ZERO_RANGE,
    O_APPEND,
    O_CREAT,
    O_RDWR,
    SEEK_DATA,
    SEEK_HOLE,
)

PUNCH: Final = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
ZERO: Final = FALLOC_FL_ZERO_RANGE


class File:
    """One file and what must be in it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.data = bytearray()
        self.fd = -1
        self.append = -1


class Fsx:
    """Some files that are hammered together.  Everything is decided by the seed."""

    def __init__(
        self, process: LocalProcess, folder: str, seed: int, largest: int, files: int = 3, full: bool = False
    ) -> None:
        """`largest` bytes in a file; `full`: the file system is too small for that, and says ENOSPC now and then."""
        self.process = process
        self.noise = random.Random(seed)
        self.largest = largest
        self.full = full
        self.log: list[str] = []
        self.refused = 0
        """How often there was no space."""
        self.files = [File(f"{folder}/fsx{number}") for number in range(files)]
        for file in self.files:
            self._open(file)
        self._steps: list[Callable[[File], None]] = [
            *[self._write] * 6,
            *[self._append] * 2,
            *[self._read] * 4,
            *[self._truncate] * 2,
            *[self._fallocate] * 4,
            self._seek,
            self._sync,
            self._reopen,
        ]

    def run(self, steps: int) -> None:
        """Take so many steps; all is compared now and then, and at the end."""
        for number in range(steps):
            file = self.noise.choice(self.files)
            step = self.noise.choice(self._steps)
            step(file)
            if number % 20 == 19:
                self.compare()
        self.compare()

    def compare(self) -> None:
        """Whether everything is in the files that must be there, and nothing else."""
        for file in self.files:
            assert self.process.fstat(file.fd).st_size == len(file.data), self._said(
                file, f"the size {self.process.fstat(file.fd).st_size} (not {len(file.data)})"
            )
            data = self.process.pread(file.fd, self.largest + 1, 0)
            assert data == file.data, self._said(file, f"byte {_differs(data, file.data)}")

    def close(self) -> None:
        """Close the files."""
        for file in self.files:
            self.process.close(file.fd)
            self.process.close(file.append)

    def reopen(self, process: LocalProcess) -> None:
        """Open them again, behind a remount."""
        self.process = process
        self.log.append("behind a remount:")
        for file in self.files:
            self._open(file)
        self.compare()

    def _open(self, file: File) -> None:
        file.fd = self.process.open(file.path, O_RDWR | O_CREAT, 0o644)
        file.append = self.process.open(file.path, O_RDWR | O_APPEND)

    def _said(self, file: File, text: str) -> str:
        return "\n".join([*self.log[-200:], f"{file.path}: {text} is wrong"])

    def _range(self, file: File, behind: bool) -> tuple[int, int]:
        """Where, and how many bytes; aligned to something now and then, `behind`: also behind the end of the file."""
        noise = self.noise
        size = len(file.data)
        offset = noise.randrange((self.largest if behind and noise.random() < 0.4 else size) + 1)
        if noise.random() < 0.3:
            offset &= -noise.choice((512, 1024, 4096))
        length = min(int(noise.expovariate(1 / noise.choice((20, 700, 5000, 60_000)))) + 1, self.largest)
        if noise.random() < 0.3:
            length = -(-length // 1024) * 1024
        return offset, max(min(length, self.largest - offset), 1)

    def _attempt(self, file: File, text: str, call: Callable[[], object]) -> bool:
        """Make a call; False where there was no space for it, and nothing has changed."""
        self.log.append(f"{file.path}: {text}")
        try:
            call()
        except OSError as problem:
            if problem.errno == ENOTSUP or (problem.errno == ENOSPC and self.full):
                self.log.append(f"  {problem}")
                self.refused += problem.errno == ENOSPC
                return False
            raise AssertionError(self._said(file, f"{problem!r}: the call")) from problem
        return True

    # Steps ---------------------------------------------------------------------------------------------

    def _write(self, file: File) -> None:
        offset, length = self._range(file, True)
        self._put(file, offset, self.noise.randbytes(length), file.fd)

    def _append(self, file: File) -> None:
        length = min(self._range(file, False)[1], self.largest - len(file.data))
        if length > 0:
            self._put(file, len(file.data), self.noise.randbytes(length), file.append)

    def _put(self, file: File, offset: int, data: bytes, fd: int) -> None:
        done = [0]

        def write() -> None:
            done[0] = self.process.write(fd, data) if fd == file.append else self.process.pwrite(fd, data, offset)

        if not self._attempt(file, f"write {offset}+{len(data)}", write):
            return
        assert done[0] == len(data) or (self.full and 0 < done[0] < len(data)), self._said(file, f"the result {done}")
        data = data[: done[0]]
        file.data += bytes(max(0, offset - len(file.data)))
        file.data[offset : offset + len(data)] = data

    def _read(self, file: File) -> None:
        offset, length = self._range(file, True)
        found = self.process.pread(file.fd, length, offset)
        self.log.append(f"{file.path}: read {offset}+{length}")
        expected = file.data[offset : offset + length]
        assert found == expected, self._said(file, f"byte {offset + _differs(found, expected)}")

    def _truncate(self, file: File) -> None:
        size = self._range(file, True)[0]
        if self._attempt(file, f"truncate {size}", lambda: self.process.ftruncate(file.fd, size)):
            del file.data[size:]
            file.data += bytes(size - len(file.data))

    def _fallocate(self, file: File) -> None:
        offset, length = self._range(file, True)
        mode = self.noise.choice((0, FALLOC_FL_KEEP_SIZE, PUNCH, PUNCH, ZERO, ZERO | FALLOC_FL_KEEP_SIZE))
        text = f"fallocate {mode} {offset}+{length}"
        done = self._attempt(file, text, lambda: self.process.fallocate(file.fd, mode, offset, length))
        end = offset + length
        if mode & (PUNCH | ZERO) & ~FALLOC_FL_KEEP_SIZE:
            stop = min(end, len(file.data))
            if done and stop > offset:
                file.data[offset:stop] = bytes(stop - offset)
            elif stop > offset:
                self._partly(file, offset, stop)
        if done and not mode & FALLOC_FL_KEEP_SIZE:
            file.data += bytes(max(end - len(file.data), 0))

    def _partly(self, file: File, offset: int, stop: int) -> None:
        """There was no space for making all of it zeros: a part may be."""
        old = file.data[offset:stop]
        found = self.process.pread(file.fd, stop - offset, offset)
        same = len(found) == len(old) and all(one in (0, other) for one, other in zip(found, old, strict=True))
        assert same, self._said(file, f"what is left at {offset}+{stop - offset}")
        file.data[offset:stop] = found

    def _seek(self, file: File) -> None:
        """What is said to be a hole reads as zeros, and holes and data take turns up to the end."""
        at = 0
        while at < len(file.data):
            try:
                data = self.process.lseek(file.fd, at, SEEK_DATA)
            except OSError as problem:
                assert problem.errno == ENXIO
                data = len(file.data)
            self.log.append(f"{file.path}: data from {at} is at {data}")
            assert at <= data <= len(file.data), self._said(file, "the place of data")
            assert not file.data[at:data].strip(b"\0"), self._said(file, "the hole")
            if data == len(file.data):
                break
            at = self.process.lseek(file.fd, data, SEEK_HOLE)
            assert data < at <= len(file.data), self._said(file, f"the hole at {at}")

    def _sync(self, file: File) -> None:
        self.log.append(f"{file.path}: sync")
        self.noise.choice((self.process.fsync, self.process.fdatasync))(file.fd)

    def _reopen(self, file: File) -> None:
        self.log.append(f"{file.path}: reopen")
        self.process.close(file.fd)
        self.process.close(file.append)
        if self.noise.random() < 0.3 and self._attempt(file, "unlink", lambda: self.process.unlink(file.path)):
            file.data.clear()
        self._open(file)


def _differs(found: bytes, expected: bytes | bytearray) -> int:
    """The first byte that is not the same."""
    for at, (one, other) in enumerate(zip(found, expected, strict=False)):
        if one != other:
            return at
    return min(len(found), len(expected))
