"""`python -m bench [NAME...]`: run the benchmarks, print a table, write bench/results.json."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from rumpkit._form import form

from .result import RESULTS, Result, write

INSIDE = "RUMPKIT_BENCH_NAMESPACE"
"""Set in the copy of this process that has a network namespace of its own."""


class Bench(NamedTuple):
    """One group of rows."""

    name: str
    module: str
    needs: tuple[str, ...] = ()
    help: str = ""


BENCHES = (
    Bench("loading", "local", help="import and first kernel"),
    Bench("boot", "local", help="boot time and memory of further kernels"),
    Bench("calls", "local", help="getpid and small files"),
    Bench("fuse", "fuse", ("fuse",), "a FUSE mount: files made, opened, removed, read"),
    Bench("connections", "connections", help="TCP connections over one kernel's loopback: a second, and memory"),
    Bench("switch", "bulk", help="TCP between two kernels"),
    Bench("tap", "bulk", ("tap",), "TCP between a kernel and the host"),
    Bench("datagrams", "datagram", help="UDP round trips between two kernels"),
    Bench("goodput", "path", ("tap",), "TCP under loss, beside Linux on the same path"),
    Bench("fairness", "path", ("tap",), "one flow of ours beside one of Linux"),
    Bench("trees", "storage", ("mke2fs", "e2fsck"), "20,000 small files into an ext4 image, beside mke2fs -d"),
    Bench("squashfs", "squashfs", ("mksquashfs",), "files out of a squashfs image, beside unsquashfs"),
    Bench("streams", "storage", ("mke2fs",), "1 GiB into an ext4 image and out of it"),
    Bench("fat", "fat", ("mkfs.fat", "fsck.fat", "mcopy"), "small files and 1 GiB into a FAT image, beside mtools"),
    Bench("tmpfs", "storage", help="files in the kernel's memory"),
    Bench("listing", "storage", ("mke2fs",), "rump fs ls on an image with a million files"),
    Bench("one_file", "storage", ("mke2fs", "debugfs"), "one file out of an image, beside debugfs and guestfish"),
    Bench("mounted", "storage", ("mke2fs", "fusermount3"), "an image mounted with FUSE"),
    Bench("redis", "programs", ("tap", "redis-server", "redis-benchmark"), "redis GET on a kernel and natively"),
    Bench("nginx", "programs", ("tap", "nginx", "wrk"), "requests to nginx on a kernel and natively"),
    Bench("memcached", "programs", ("tap", "memcached", "memcaslap"), "memcached gets on a kernel and natively"),
    Bench(
        "notifications",
        "supervision",
        ("tap", "nginx", "wrk"),
        "what a call that the supervisor answers costs, and how many",
    ),
    Bench("start", "supervision", help="a program's start and end"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*", help="groups to run (default: all)")
    parser.add_argument("--list", action="store_true", help="list the groups")
    options = parser.parse_args()
    if options.list:
        for bench in BENCHES:
            print(f"{bench.name:10}{bench.help}")
        return 0
    unknown = set(options.names) - {bench.name for bench in BENCHES}
    if unknown:
        parser.error(f"no such group: {', '.join(sorted(unknown))} (see --list)")
    if INSIDE not in os.environ and in_namespace():
        return subprocess.call(
            ["unshare", "--net", sys.executable, "-m", "bench", *options.names], env={**os.environ, INSIDE: "1"}
        )
    if INSIDE in os.environ:
        from rumpkit.hosts.posix.netdev import set_up

        set_up("lo")
    return run([bench for bench in BENCHES if not options.names or bench.name in options.names])


def in_namespace() -> bool:
    """Whether a network namespace of our own can be had: all traffic then stays in it."""
    return os.geteuid() == 0 and shutil.which("unshare") is not None


def missing(bench: Bench) -> list[str]:
    """What the machine lacks for a group."""
    lacking = [name for name in bench.needs if name not in ("tap", "fuse") and shutil.which(name) is None]
    if "tap" in bench.needs and INSIDE not in os.environ:
        lacking.append("root, for a TAP in a network namespace of its own")
    if "fuse" in bench.needs:
        from rumpkit.clients.fuse.attach import why_missing

        lacking += [why_missing()] if why_missing() else []
    return lacking


def run(benches: list[Bench]) -> int:
    """Measure, print and write; 0 if every bar that was measured is met."""
    from importlib import import_module

    print(f"rumpkit {form()} form, Python {sys.version.split()[0]}, {os.cpu_count()} CPUs")
    print(f"{'':58}{'value':>10} {'unit':22}{'peer':>10} {'ratio':>7}  bar")
    results: list[Result] = []
    for bench in benches:
        lacking = missing(bench)
        if lacking:
            print(f"{bench.name}: skipped, missing: {', '.join(lacking)}")
            continue
        measure: Callable[[], Iterator[Result]] = getattr(import_module(f"bench.{bench.module}"), bench.name)
        for result in measure():
            results.append(result)
            show(result)
    write(results)
    met = sum(result.ok for result in results)
    print(f"{met} of {len(results)} bars met; written to {os.path.relpath(RESULTS)}")
    return 0 if met == len(results) else 1


def show(result: Result) -> None:
    """One row on the terminal."""
    mark = "ok" if result.ok else "MISSED"
    print(
        f"{result.name:58}{result.value:10.2f} {result.unit:22}{result.peer_value:10.2f} {result.ratio:7.3f}  "
        f"{result.bar_text()}: {mark}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
