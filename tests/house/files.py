"""The files of this checkout that the house looks at."""

from __future__ import annotations

import ast
import functools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "rumpkit"
PASSED_OVER = {".git", ".venv", ".cache", "__pycache__", "build", "dist", "node_modules", ".hypothesis", ".mypy_cache"}


class Finding(NamedTuple):
    """One breach of a rule of the house."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


class Source(NamedTuple):
    """A Python file of the package, read and parsed."""

    path: str
    """From the root of the repository, with slashes."""
    module: str
    """Its dotted name; a package's is that of the folder."""
    text: str
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        return self.path.endswith("/__init__.py")


def parse(text: str, path: str) -> Source:
    """Parse the text as if it stood in the file `path` (from the root of the repository)."""
    parts = Path(path).with_suffix("").parts
    names = parts[1:] if parts[0] == "src" else parts
    if names[-1] == "__init__":
        names = names[:-1]
    return Source(path, ".".join(names), text, ast.parse(text, path))


@functools.cache
def package_sources() -> list[Source]:
    """Return all files of the package, by path."""
    files = sorted(PACKAGE.rglob("*.py"))
    return [parse(file.read_text("utf-8"), file.relative_to(ROOT).as_posix()) for file in files]


@functools.cache
def tracked_files() -> list[Path]:
    """Return the files that git tracks or would track; without git, all that are not made by a build."""
    if (ROOT / ".git").exists() and shutil.which("git") is not None:
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
        return sorted(ROOT / name for name in listed if name and (ROOT / name).is_file())
    return sorted(_walk(ROOT))


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name in PASSED_OVER or path.name.endswith(".egg-info"):
            continue
        if path.is_dir():
            yield from _walk(path)
        elif path.is_file():
            yield path
