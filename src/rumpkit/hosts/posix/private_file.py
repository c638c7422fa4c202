"""Files for what nobody else may read, such as captures."""

import os
import stat
from pathlib import Path


def create_private(path: str | Path) -> int:
    """A descriptor to write to `path`, which is created, or emptied, and its owner's alone (mode 0600) from then on; pipes and
    devices are left as they are.  Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            os.fchmod(fd, 0o600)
    except OSError:
        os.close(fd)
        raise
    return fd
