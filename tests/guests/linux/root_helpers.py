"""Roots for programs, of the host's own programs and what they load."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

PROGRAMS = (
    "sh",
    "ls",
    "cat",
    "touch",
    "mkdir",
    "stat",
    "wc",
    "grep",
    "id",
    "chmod",
    "ln",
    "rm",
    "readlink",
    "dd",
    "env",
)


def make_root(folder: Path, programs: Sequence[str] = PROGRAMS) -> Path:
    """A directory with programs in /bin, and the libraries and the loader that they name; and with /etc/passwd."""
    for name in programs:
        found = shutil.which(name)
        assert found is not None, name
        add_program(folder, found, f"/bin/{name}")
    (folder / "etc").mkdir()
    (folder / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nguest:x:1234:1234::/:/bin/sh\n")
    for directory, _, _ in os.walk(folder):
        os.chmod(directory, 0o755)
    return folder


def add_program(folder: Path, program: str, place: str) -> None:
    """Copy a program of the host's, and what it loads."""
    copy(program, folder, place)
    said = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    for library in re.findall(r"(/\S+) \(0x", said):
        copy(library, folder, library)


def copy(source: str, folder: Path, place: str) -> None:
    """Copy one file, following links."""
    target = folder / place.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy(source, target)


def make_image(image: Path, folder: Path, megabytes: int = 32) -> Path:
    """An ext4 image with what is in a directory, which everyone may read and write."""
    words = ["mke2fs", "-q", "-t", "ext4", "-d", str(folder), str(image), f"{megabytes}M"]
    subprocess.run(words, check=True, capture_output=True)
    image.chmod(0o666)
    return image
