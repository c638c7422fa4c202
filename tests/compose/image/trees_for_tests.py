"""Trees for tests of the engines: a kernel's tmpfs as if it were an image, and a tree that has some of everything."""

import os
from contextlib import contextmanager

from rumpkit.compose.image.inside import Inside
from rumpkit.compose.image.session import Session


@contextmanager
def memory():
    """The root of an empty file system in memory, and its session."""
    with Session() as session:
        yield Inside(session.vfs().root()), session


def make_tree(where):
    """A tree on the host with some of everything that needs no root."""
    where.mkdir()
    (where / "empty").write_bytes(b"")
    (where / "small").write_bytes(b"small\n")
    (where / "large").write_bytes(bytes(range(256)) * 12345)
    with open(where / "sparse", "wb") as stream:
        stream.seek(3 << 20)
        stream.write(b"x" * 5000)
        stream.truncate(9 << 20)
    (where / "dir" / "below").mkdir(parents=True)
    os.link(where / "small", where / "dir" / "hard")
    os.link(where / "small", where / "dir" / "below" / "harder")
    os.symlink("../small", where / "dir" / "soft")
    os.symlink("nowhere", where / "dangling")
    os.mkfifo(where / "fifo", 0o600)
    (where / "dir" / "naïve \n name").write_bytes(b"1")
    os.chmod(where / "small", 0o4711)
    os.chmod(where / "dir" / "below", 0o1700)
    try:
        os.setxattr(where / "large", "user.comment", b"a value")
        os.setxattr(where / "dir", "user.kind", b"directory")
    except OSError:
        pass  # a host without them
    os.utime(where / "large", ns=(1_600_000_000_123_456_789, 1_500_000_000_987_654_321))
    os.utime(where / "dir" / "soft", ns=(1_600_000_001_000_000_000, 1_500_000_001_000_000_000), follow_symlinks=False)
    os.utime(where / "dir" / "below", ns=(1_600_000_002_000_000_000, 1_500_000_002_000_000_000))
    os.utime(where / "dir", ns=(1_600_000_002_000_000_000, 1_500_000_002_000_000_000))
    return where
