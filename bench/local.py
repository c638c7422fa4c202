"""The library: import, boot, memory, and calls of the local client."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator

from rumpkit import O_CREAT, O_WRONLY, Kernel
from rumpkit.compose.boot import NET
from rumpkit.compose.spec import KernelSpec, MountSpec, Spec
from rumpkit.hosts.posix.host import PosixHost

from .result import Result, median

FIRST = "from rumpkit import Kernel\nKernel(mounts={'/': 'tmpfs'}).close()"
PAGE = bytes(4096)


def everything() -> Spec:
    """A kernel with vfs and net."""
    return Spec(kernel=KernelSpec(components=list(NET)), mount=[MountSpec("/")])


def boot() -> Iterator[Result]:
    """Boot time and memory of further kernels."""
    host = PosixHost()
    Kernel(everything(), host=host).close()

    def once() -> float:
        started = time.perf_counter()
        kernel = Kernel(everything(), host=host)
        taken = time.perf_counter() - started
        kernel.close()
        return taken * 1e3

    yield Result("boot, vfs and net", median(once, 200), "ms", "NetBSD rump kernel (recorded)", 8.0, 1.0, at_most=True)
    kernels = [Kernel(everything(), host=host) for _ in range(10)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kernels += [Kernel(everything(), host=host) for _ in range(100)]
    size = (tracemalloc.get_traced_memory()[0] - before) / 100 / 1024
    tracemalloc.stop()
    resident = resident_growth(host, kernels)
    yield Result(
        "memory of a further kernel, traced", size, "KiB", "NetBSD rump kernel (recorded)", 2867, 150, at_most=True
    )
    yield Result(
        "memory of a further kernel, resident",
        resident,
        "KiB",
        "NetBSD rump kernel (recorded)",
        2867,
        150,
        at_most=True,
    )
    for kernel in kernels:
        kernel.close()
    host.close()


def resident_growth(host: PosixHost, kernels: list[Kernel]) -> float:
    """KiB of resident memory a kernel, over 200 kernels: what the allocator really takes (compiled objects are not traced)."""
    before = resident_kib()
    kernels += [Kernel(everything(), host=host) for _ in range(200)]
    return (resident_kib() - before) / 200


def resident_kib() -> float:
    """Resident memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def loading() -> Iterator[Result]:
    """Import and first kernel, over bare Python."""

    def run(code: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, cwd="/")
        return (time.perf_counter() - started) * 1e3

    run(FIRST)
    pairs = [(run("pass"), run(FIRST)) for _ in range(15)]
    bare = sorted(pair[0] for pair in pairs)[len(pairs) // 2]
    extra = sorted(pair[1] - pair[0] for pair in pairs)[len(pairs) // 2]
    yield Result("import and first kernel", extra, "ms over bare Python", "bare Python", bare, 80, at_most=True)


def calls() -> Iterator[Result]:
    """getpid, and the life of a small file."""
    with Kernel(mounts={"/": "tmpfs"}) as kernel:
        p = kernel.process()
        ours, theirs = per_call(p.getpid), per_call(os.getpid)
        yield Result("local getpid", ours, "us", "os.getpid", theirs, 0.3, at_most=True)

        def ours_once() -> None:
            fd = p.open("/file", O_WRONLY | O_CREAT, 0o600)
            p.write(fd, PAGE)
            p.close(fd)
            p.unlink("/file")

        folder = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        name = f"{folder}/file"

        def theirs_once() -> None:
            fd = os.open(name, os.O_WRONLY | os.O_CREAT, 0o600)
            os.write(fd, PAGE)
            os.close(fd)
            os.unlink(name)

        ours, theirs = 1e3 / per_call(ours_once, 5000), 1e3 / per_call(theirs_once, 5000)
        os.rmdir(folder)
        yield Result("tmpfs create+write 4 KiB+close+unlink", ours, "k/s", "host tmpfs, from Python", theirs, 60)


def per_call(call: object, count: int = 100_000) -> float:
    """Microseconds a call, the loop's own cost taken off; the best of five."""
    assert callable(call)

    def loop(function: object) -> float:
        assert callable(function)
        started = time.perf_counter()
        for _ in range(count):
            function()
        return time.perf_counter() - started

    def empty() -> None:
        return None

    overhead = min(loop(empty) for _ in range(3)) * 0.5
    return max(min(loop(call) for _ in range(5)) - overhead, 0.0) / count * 1e6
