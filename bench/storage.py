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

from rumpkit import O_CREAT, O_RDONLY, O_WRONLY, Kernel

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


def blank(image: Path, size: str) -> Path:
    """An empty ext4 image, as mke2fs makes it."""
    image.unlink(missing_ok=True)
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext4", image, size], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
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
    """`rump fs ls` on an image with a million files: the first line, and memory."""
    with folder() as top:
        image = top / "million.img"
        subprocess.run(
            ["mke2fs", "-q", "-t", "ext4", "-N", str(MILLION + 20_000), image, "2G"],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        make_million(image)
        first, resident = first_line(image)
        for _ in range(4):
            first = min(first, first_line(image)[0])
        yield Result("rump fs ls, a million files: first line", first * 1e3, "ms", "bar", 300, 300, at_most=True)
        yield Result("rump fs ls -lR, a million files: memory", resident, "MiB", "bar", 150, 150, at_most=True)


def make_million(image: Path) -> None:
    """A thousand directories of a thousand files."""
    from rumpkit import open_image

    with open_image(image, in_place=True) as root:
        process = root.image.process
        for number in range(MILLION // 1000):
            process.mkdir(f"/d{number:04}")
            for index in range(1000):
                process.close(process.open(f"/d{number:04}/f{index:04}", O_WRONLY | O_CREAT))


def first_line(image: Path) -> tuple[float, float]:
    """Seconds to the first line of `ls`, and the greatest resident memory of `ls -lR` in MiB."""
    started = time.perf_counter()
    with subprocess.Popen([*RUMP, "ls", str(image)], stdout=subprocess.PIPE) as ls:
        assert ls.stdout and ls.stdout.readline()
        first = time.perf_counter() - started
        ls.stdout.read()
    with subprocess.Popen([*RUMP, "ls", "-lR", str(image)], stdout=subprocess.DEVNULL) as ls:
        _, status, usage = os.wait4(ls.pid, 0)
        ls.returncode = status
    return first, usage.ru_maxrss / 1024


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
        started = time.perf_counter()
        ran = subprocess.run(command, capture_output=True)
        theirs = time.perf_counter() - started
        if ran.returncode:
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


def mounted() -> Iterator[Result]:
    """An image mounted with FUSE: creates, opens, cached reads, as programs see them."""
    with folder() as top:
        image, place = blank(top / "image", "1G"), top / "mnt"
        place.mkdir()
        with subprocess.Popen([*RUMP, "mount", "--foreground", str(image), str(place)]) as server:
            try:
                while not os.path.ismount(place):
                    if server.poll() is not None:
                        print(f"mounted: skipped, rump fs mount ended with {server.returncode}")
                        return
                    time.sleep(0.02)
                yield from through(place)
            finally:
                subprocess.run([*RUMP, "umount", str(place)], check=False)


def through(place: Path) -> Iterator[Result]:
    """What the host's system calls make of a mount."""

    def creates() -> float:
        started = time.perf_counter()
        for number in range(5000):
            os.close(os.open(f"{place}/f{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        taken = time.perf_counter() - started
        for number in range(5000):
            os.unlink(f"{place}/f{number}")
        return taken

    def opens() -> float:
        started = time.perf_counter()
        for _ in range(20_000):
            os.close(os.open(f"{place}/big", O_RDONLY))
        return time.perf_counter() - started

    def reads() -> float:
        started = time.perf_counter()
        fd = os.open(f"{place}/big", os.O_RDONLY)
        while os.read(fd, 1 << 20):
            pass
        os.close(fd)
        return time.perf_counter() - started

    size = 256 << 20
    with open(place / "big", "wb") as file:
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    yield Result("FUSE mount: creates", 5 / best(creates, 3), "k/s", "bar", 15, 15)
    yield Result("FUSE mount: opens", 20 / best(opens, 3), "k/s", "bar", 50, 50)
    yield Result("FUSE mount: cached reads", size / best(reads, 3) / 1e9, "GB/s", "bar", 1, 1)
