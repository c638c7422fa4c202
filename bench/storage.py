"""File systems and disk images: what `rump fs` does with them, beside the tools that everybody has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rumpkit import O_CREAT, O_WRONLY, Kernel

from .local import PAGE
from .result import Result, best

FILES = 20_000
IN_A_FOLDER = 200
GIB = 1 << 30
MILLION = 1_000_000
MB = 1e6
RUMP = (sys.executable, "-m", "rumpkit.cli", "fs")
SMALLEST, LARGEST = 0, 8000
"""Bytes of the small files."""
GUESTFISH: Final = (
    {"LIBGUESTFS_BACKEND": "direct"},
    {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"},
)
"""What guestfish needs in its environment to run without libvirt; where there is no KVM, or none that works, the second."""


@contextmanager
def folder() -> Iterator[Path]:
    """A directory on a disk, or wherever RUMPKIT_BENCH_DIR says; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="rump-bench-", dir=os.environ.get("RUMPKIT_BENCH_DIR")) as name:
        yield Path(name)


def timed(*command: str | Path, stdout: int = subprocess.DEVNULL) -> float:
    """Seconds that a program takes."""
    started = time.perf_counter()
    subprocess.run([str(word) for word in command], check=True, stdout=stdout, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def make_tree(top: Path) -> None:
    """FILES small files in folders of IN_A_FOLDER, with every size from SMALLEST to LARGEST."""
    step = (LARGEST - SMALLEST) // IN_A_FOLDER
    for number in range(FILES // IN_A_FOLDER):
        place = top / f"d{number:04}"
        place.mkdir(parents=True)
        for index in range(IN_A_FOLDER):
            (place / f"file-{index:04}").write_bytes(b"%4d %4d\n" % (number, index) * (index * step // 10))


def blank(image: Path, size: str, *options: str) -> Path:
    """An empty ext4 image, as mke2fs makes it."""
    image.unlink(missing_ok=True)
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext4", *options, image, size],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return image


def trees() -> Iterator[Result]:
    """A tree of small files into an ext4 image, beside mke2fs -d; each is a whole command, and ours ends durable."""
    with folder() as top:
        tree, ours, theirs = top / "tree", top / "ours.img", top / "theirs.img"
        make_tree(tree)

        def peer() -> float:
            theirs.unlink(missing_ok=True)
            return timed("mke2fs", "-q", "-t", "ext4", "-d", tree, theirs, "512M")

        def copy(*options: str) -> Callable[[], float]:
            return lambda: timed(*RUMP, "cp", "-a", *options, tree, f"{blank(ours, '512M')}:/")

        def fill() -> float:
            ours.unlink(missing_ok=True)
            return timed(*RUMP, "mkfs", "-t", "ext4", "--size", "512M", "-d", tree, ours)

        speed = FILES / best(peer, 3) / 1e3
        name = "mke2fs -d"
        yield Result("ext4: copy 20,000 small files in", FILES / best(copy(), 3) / 1e3, "k files/s", name, speed, 10)
        value = FILES / best(copy("--in-place"), 3) / 1e3
        yield Result("ext4: the same in place, beside mke2fs -d", value, "k files/s", name, speed, 0.3, of_peer=True)
        value = FILES / best(fill, 3) / 1e3
        yield Result("ext4: mkfs -d with the same tree", value, "k files/s", name, speed, 0.3, of_peer=True)
        subprocess.run(["e2fsck", "-fn", ours], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        yield from _other_tools(tree, top, value)


def _other_tools(tree: Path, top: Path, filled: float) -> Iterator[Result]:
    """The same tree by debugfs, which writes into an image as rump fs cp --in-place does, and by genext2fs."""
    theirs, script = top / "theirs.img", top / "script"
    lines = []
    for place in sorted(tree.iterdir()):
        lines += [f"mkdir /{place.name}", f"cd /{place.name}"]
        lines += [f"write {path} {path.name}" for path in sorted(place.iterdir())]
    script.write_text("\n".join(lines) + "\n")
    taken = best(lambda: timed("debugfs", "-w", "-f", script, blank(theirs, "512M")), 1)
    name = "ext4: mkfs -d with the same tree, beside"
    yield Result(f"{name} debugfs", filled, "k files/s", "debugfs -w", FILES / taken / 1e3, None, of_peer=True)
    if shutil.which("genext2fs") is None:
        print("genext2fs: skipped, missing: genext2fs")
        return
    command = ("genext2fs", "-B", "4096", "-b", "131072", "-N", "32768", "-d", tree, theirs)
    taken = best(lambda: timed(*command), 2)
    yield Result(f"{name} genext2fs", filled, "k files/s", "genext2fs", FILES / taken / 1e3, None, of_peer=True)


def streams() -> Iterator[Result]:
    """One GiB into an ext4 image and out of it; the peers are cp between two files, with and without a sync."""
    with folder() as top:
        big, other, image = top / "big", top / "other", top / "image"
        with open(big, "wb") as file:
            for _ in range(64):
                file.write(os.urandom(GIB // 64))
        blank(image, "1200M")

        def into(*options: str) -> float:
            blank(image, "1200M")
            return timed(*RUMP, "cp", *options, big, f"{image}:/big")

        def peer() -> float:
            other.unlink(missing_ok=True)
            return timed("dd", f"if={big}", f"of={other}", "bs=1M", "conv=fdatasync", "status=none")

        speed = GIB / best(peer, 3) / MB
        name = "dd conv=fdatasync"
        yield Result(
            "ext4: stream 1 GiB in, in place", GIB / best(lambda: into("--in-place"), 3) / MB, "MB/s", name, speed, 800
        )
        yield Result("ext4: the same as a transaction", GIB / best(into, 3) / MB, "MB/s", name, speed, 800)
        speed = GIB / best(lambda: timed("cat", big), 3) / MB
        value = GIB / best(lambda: timed(*RUMP, "cat", f"{image}:/big"), 3) / MB
        yield Result("ext4: stream 1 GiB out", value, "MB/s", "cat of a file", speed, 1200)


def tmpfs() -> Iterator[Result]:
    """Files in the kernel's memory: the life of a small one, alone and among many."""
    with Kernel(mounts={"/": "tmpfs"}) as kernel:
        process = kernel.process()

        def life() -> float:
            started = time.perf_counter()
            for _ in range(5000):
                fd = process.open("/file", O_WRONLY | O_CREAT, 0o600)
                process.write(fd, PAGE)
                process.close(fd)
                process.unlink("/file")
            return time.perf_counter() - started

        alone = 5 / best(life, 5)
        recorded = "NetBSD rump kernel (recorded)"
        yield Result("tmpfs: create, write 4 KiB, close, unlink", alone, "k/s", recorded, 106, 100)
        for number in range(100_000):
            process.close(process.open(f"/other-{number}", O_WRONLY | O_CREAT))
        among = 5 / best(life, 5)
        yield Result("tmpfs: the same among 100,000 others", among, "k/s", "alone", alone, 0.8, of_peer=True)


def listing() -> Iterator[Result]:
    """`rump fs ls` on an image with a million files, nearly all in one directory: the first line, and memory; beside debugfs."""
    with folder() as top:
        image = top / "million.img"
        blank(image, "2G", "-N", str(MILLION + 20_000))
        make_million(image)
        for place, what in (("/", "the root"), ("/many", "900,000 in one directory")):
            peer = min(first_line("debugfs", "-R", f"ls -p {place}", image) for _ in range(3)) * 1e3
            for option in ((), ("-l",)):
                taken = min(first_line(*RUMP, "ls", *option, f"{image}:{place}") for _ in range(5)) * 1e3
                name = " ".join(("ls", *option, f"of {what}: first line"))
                yield Result(f"a million files: {name}", taken, "ms", "debugfs ls -p", peer, 300, at_most=True)
        peer = peak("debugfs", "-R", "ls -p /many", image)
        resident = peak(*RUMP, "ls", "-lR", image)
        yield Result("a million files: ls -lR: memory", resident, "MB", "debugfs ls -p", peer, 150, at_most=True)


def make_million(image: Path) -> None:
    """Nine hundred thousand empty files in one directory, and a hundred directories of a thousand."""
    command = [*RUMP, "tar", "-x", "--in-place", "-f", "-", f"{image}:/"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as unpack:
        assert unpack.stdin
        for number in range(MILLION // 10):
            unpack.stdin.write(entry(f"d{number // 1000:03}/f{number % 1000:03}"))
        for number in range(MILLION // 10 * 9):
            unpack.stdin.write(entry(f"many/f{number:06}"))
        unpack.stdin.write(bytes(1024))
    if unpack.returncode:
        raise subprocess.CalledProcessError(unpack.returncode, command)


def entry(name: str) -> bytes:
    """An empty file in a tar archive (POSIX ustar)."""
    head = name.encode().ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"00000000000\0" * 2
    tail = b"0".ljust(101, b"\0") + b"ustar\00000"
    total = sum(head) + sum(tail) + 8 * 32
    return (head + b"%06o\0 " % total + tail).ljust(512, b"\0")


def first_line(*command: str | Path) -> float:
    """Seconds to the first line of what a program says."""
    started = time.perf_counter()
    with subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as running:
        assert running.stdout and running.stdout.readline()
        first = time.perf_counter() - started
        running.stdout.close()
    return first


PEAK = """
import os, subprocess, sys
running = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(os.wait4(running.pid, 0)[2].ru_maxrss)
"""


def peak(*command: str | Path) -> float:
    """The most memory that a program had, in MB.  It is not our own child: Linux counts for a child what its parent had when it began."""
    words = [sys.executable, "-I", "-S", "-c", PEAK, *(str(word) for word in command)]
    return int(subprocess.run(words, capture_output=True, check=True).stdout) * 1024 / MB


def one_file() -> Iterator[Result]:
    """Copy one file out of an ext4 image, beside guestfish, end to end."""
    with folder() as top:
        image, out = blank(top / "image", "64M"), top / "out"
        (top / "file").write_bytes(b"content\n" * 1000)
        subprocess.run(["debugfs", "-w", "-R", f"write {top}/file file", image], check=True, capture_output=True)
        ours = best(lambda: timed(*RUMP, "cp", f"{image}:/file", out), 5)
        debugfs = best(lambda: timed("debugfs", "-R", f"dump /file {top}/dumped", image), 5)
        yield Result("copy one file out, beside debugfs", ours * 1e3, "ms", "debugfs", debugfs * 1e3, None)
        if shutil.which("guestfish") is None:
            print("guestfish: skipped, missing: guestfish")
            return
        command = ["guestfish", "--ro", "-a", str(image), "-m", "/dev/sda", "copy-out", "/file", str(top / "theirs")]
        (top / "theirs").mkdir()
        for settings in GUESTFISH:
            started = time.perf_counter()
            ran = subprocess.run(command, capture_output=True, env=os.environ | settings)
            theirs = time.perf_counter() - started
            if not ran.returncode:
                break
        else:
            print("guestfish: skipped, its appliance does not start here")
            return
        yield Result(
            "copy one file out, beside guestfish",
            ours * 1e3,
            "ms",
            "guestfish",
            theirs * 1e3,
            0.1,
            at_most=True,
            of_peer=True,
        )


ROWS: Final = (
    ("creates", "k/s", 15),
    ("opens", "k/s", 50),
    ("cached reads", "GB/s", 1),
    ("unlinks", "k/s", None),
    ("looks at what is there (stat)", "k/s", None),
    ("writes, then fsync", "GB/s", None),
)
"""What is measured in a mounted image, and the bars."""
MOUNT_TRIES: Final = 3


def mounted() -> Iterator[Result]:
    """An image mounted with FUSE: creates, opens, cached reads, as programs see them; beside fuse2fs, or the host's tmpfs."""
    with folder() as top:
        peer, command = "fuse2fs", ["fuse2fs", "-f", "-o", "fakeroot"]
        theirs: list[dict[str, float]] = []
        if shutil.which("fuse2fs") is None:
            print("fuse2fs: not there; beside the host's tmpfs")
            peer = "host tmpfs"
        ours: list[dict[str, float]] = []
        for _ in range(MOUNT_TRIES):
            ours.append(in_mount(top, [*RUMP, "mount", "--foreground"]))
            if peer == "fuse2fs":
                theirs.append(in_mount(top, command))
            else:
                with tempfile.TemporaryDirectory(dir="/dev/shm") as shared:
                    theirs.append(through(Path(shared)))
        for name, unit, bar in ROWS:
            value, other = (max(found[name] for found in rounds) for rounds in (ours, theirs))
            yield Result(f"mounted ext4 image: {name}", value, unit, peer, other, bar)


def in_mount(top: Path, command: list[str]) -> dict[str, float]:
    """What a server that mounts an empty image, with image and place as its last arguments, does."""
    image, place = blank(top / "image", "1G"), top / "mnt"
    place.mkdir(exist_ok=True)
    with subprocess.Popen([*command, str(image), str(place)], stdout=subprocess.DEVNULL) as server:
        try:
            while not os.path.ismount(place):
                if server.poll() is not None:
                    raise RuntimeError(f"{command[0]} ended with {server.returncode}")
                time.sleep(0.02)
            return through(place)
        finally:
            subprocess.run(["fusermount3", "-u", str(place)], check=False)


def through(place: Path) -> dict[str, float]:
    """What the host's system calls make of a mount, by the names of ROWS."""
    many, files, size = 20_000, 5000, 256 << 20

    def each(count: int, call: Callable[[int], object]) -> float:
        started = time.perf_counter()
        for number in range(count):
            call(number)
        return count / (time.perf_counter() - started) / 1e3

    found: dict[str, float] = {}
    made = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    found["creates"] = each(files, lambda number: os.close(os.open(f"{place}/f{number}", made)))
    found["looks at what is there (stat)"] = each(many, lambda number: os.stat(f"{place}/f{number % files}"))
    found["opens"] = each(many, lambda number: os.close(os.open(f"{place}/f{number % 1000}", os.O_RDONLY)))
    found["unlinks"] = each(files, lambda number: os.unlink(f"{place}/f{number}"))
    piece = bytes(1 << 20)
    with open(place / "big", "wb", buffering=0) as file:
        started = time.perf_counter()
        for _ in range(size >> 20):
            file.write(piece)
        os.fsync(file.fileno())
        found["writes, then fsync"] = size / (time.perf_counter() - started) / 1e9
    found["cached reads"] = size / best(lambda: _read(place / "big"), 3) / 1e9
    (place / "big").unlink()
    return found


def _read(path: Path) -> float:
    """Seconds that it takes to read a file."""
    started = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass
    return time.perf_counter() - started
