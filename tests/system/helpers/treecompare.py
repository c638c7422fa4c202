"""A tree of the host's and one of a kernel's compared: every name, attribute, byte and extended attribute."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable
from pathlib import Path

from rumpkit.kern.abi.fcntl import O_RDONLY
from tests.vfs.helpers import Client

COMPARED = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size")


def make_tree(root: Path) -> Path:
    """Files of many kinds and sizes."""
    noise = random.Random(3)
    root.mkdir(exist_ok=True)
    for size in (0, 1, 100, 4095, 4096, 4097, 70_000, 131_072, 131_073, 300_000):
        (root / f"noise-{size}").write_bytes(noise.randbytes(size))
    (root / "numbers").write_bytes(b"".join(b"%d\n" % number for number in range(150_000)))
    (root / "twin").write_bytes(noise.randbytes(5000) * 40)
    (root / "twin2").write_bytes((root / "twin").read_bytes())
    with open(root / "sparse", "wb") as file:
        for at in (0, 400_000, 2_000_000):
            file.seek(at)
            file.write(b"here" * 300)
        file.truncate(3_000_000)
    deep = root
    for level in range(8):
        deep = deep / f"level-{level}"
        deep.mkdir()
        (deep / "file").write_text(str(level))
    os.link(root / "numbers", deep / "hard")
    (root / "empty-directory").mkdir(mode=0o1777)
    (root / "link").symlink_to("level-0/level-1/file")
    (root / "long-link").symlink_to("x" * 1000)
    large = root / "large"
    large.mkdir()
    for number in range(1200):
        (large / f"a-name-that-is-not-short-{number * 7919 % 1200}").write_bytes(b"%d" % number)
    (root / ("n" * 255)).touch()
    (root / "caf\u00e9").touch()
    os.mkfifo(root / "fifo")
    os.chmod(root / "noise-1", 0o4711)
    for path in (root / "numbers", root / "large"):
        try:
            os.setxattr(path, "user.note", b"a value")
            os.setxattr(path, "user.long", b"0123456789" * 300)
        except OSError:
            break  # where the tests' folder can't have them
    if os.geteuid() == 0:
        os.mknod(root / "device", stat.S_IFCHR | 0o666, os.makedev(5, 300))
        os.chown(root / "noise-100", 1234, 70_000)
    return root


def compare(client: Client, base: str, root: Path, skip: Callable[[str], bool] = lambda path: False) -> int:
    """Compare all below `root` with what the kernel has below `base`; how many files there were."""
    count = 0
    for folder, names, files in os.walk(root):
        inside = base + folder[len(str(root)) :]
        assert sorted(client.names(inside)) == sorted(names + files), inside
        for name in names + files:
            path = os.path.join(folder, name)
            if not skip(path):
                compare_file(client, f"{inside}/{name}", path)
                count += 1
    return count


def compare_file(client: Client, inside: str, path: str) -> None:
    """Compare one file."""
    mine = client.lstat(inside)
    theirs = os.lstat(path)
    for field in COMPARED:
        if field in ("st_size", "st_nlink") and stat.S_ISDIR(theirs.st_mode):
            continue
        assert getattr(mine, field) == getattr(theirs, field), (path, field)
    assert mine.st_mtime_ns // 10**9 == theirs.st_mtime_ns // 10**9, path
    if stat.S_ISLNK(theirs.st_mode):
        assert client.readlink(inside) == os.readlink(path)
    elif stat.S_ISREG(theirs.st_mode):
        assert client.get(inside) == Path(path).read_bytes(), path
    elif stat.S_ISCHR(theirs.st_mode):
        assert mine.st_rdev == theirs.st_rdev
    if not stat.S_ISLNK(theirs.st_mode):
        mine_too = {name: client.getxattr(inside, name) for name in client.listxattr(inside)}
        assert mine_too == {name: os.getxattr(path, name) for name in os.listxattr(path)}, path


def read_all(client: Client, base: str, tolerate: Callable[..., object]) -> int:
    """Read all that can be, as far as `tolerate` (called with a call and its arguments) lets; how many files were reached."""
    pending, count = [base], 0
    while pending and count < 5000:
        path = pending.pop()
        status = tolerate(client.lstat, path)
        if status is None:
            continue
        count += 1
        mode = status.st_mode  # type: ignore[attr-defined]
        for name in tolerate(client.llistxattr, path) or ():  # type: ignore[attr-defined]
            tolerate(client.lgetxattr, path, name)
        if stat.S_ISDIR(mode):
            pending += [f"{path}/{name}" for name in tolerate(client.names, path) or ()]  # type: ignore[attr-defined]
        elif stat.S_ISLNK(mode):
            tolerate(client.readlink, path)
        elif stat.S_ISREG(mode):
            fd = tolerate(client.open, path, O_RDONLY)
            if fd is not None:
                total = 0
                while (data := tolerate(client.read, fd, 1 << 20)) and total < 64 << 20:
                    total += len(data)  # type: ignore[arg-type]
                client.close(fd)
    return count
