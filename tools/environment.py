"""Make the `.venv` of this checkout, as far as a target of the Makefile needs it, and do nothing if it is up to date.

    python3 tools/environment.py runtime    # the installed wheel (native if it can be) and what it needs at run time
    python3 tools/environment.py dev        # the tools of the `dev` extra, for make lint
    python3 tools/environment.py test       # both; a wheel that has to be built is built in half of the time, a little slower
    python3 tools/environment.py demo       # the installed wheel, whichever of the two it is

A step is done again when the content of what it depends on has changed; the stamps in `.venv` hold the digests. This
file runs on the machine's own Python before anything is installed: it needs the standard library only.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
CACHE = ROOT / ".cache"
PYTHON = VENV / "bin" / "python"

BUILD_FILES = ["setup.py", "build_native.py", "build_native.h", "hot_modules.txt", "README.md", "LICENSE"]
BUILD_VARIABLES = ["RUMPKIT_BUILD", "CC", "CFLAGS"]
LEVELS = {"runtime": ("2",), "test": ("1", "2"), "demo": ("2", "1")}
"""Optimization levels of the native form that serve; the first one is built where none is installed."""

NO_VENV = """\
rumpkit: {python} cannot make virtual environments: its ensurepip is missing, and pip is not there either.
         On Debian and Ubuntu:  apt-get install python3-venv
         Or name another Python:  make PYTHON=/path/to/python3.11 ..."""


def main(arguments: list[str]) -> int:
    """Do the steps that the one argument names."""
    what = arguments[0] if len(arguments) == 1 else ""
    if what not in ("runtime", "dev", "test", "demo"):
        print(__doc__, file=sys.stderr)
        return 2
    if sys.version_info < (3, 11):  # noqa: UP036 - this file may meet any Python
        print(f"rumpkit: needs Python 3.11 or later; {sys.executable} is {sys.version.split()[0]}", file=sys.stderr)
        return 1
    with _lock():
        try:
            ensure_venv()
            if what in ("dev", "test"):
                ensure_dev()
            if what in LEVELS:
                chosen = os.environ.get("RUMPKIT_BUILD_OPT")
                ensure_installed((chosen,) if chosen else LEVELS[what])
        except subprocess.CalledProcessError as error:
            print(
                f"rumpkit: this failed with status {error.returncode}: {' '.join(map(str, error.cmd))}", file=sys.stderr
            )
            return 1
    return 0


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """Let one make at a time work on .venv."""
    CACHE.mkdir(exist_ok=True)
    with open(CACHE / "environment.lock", "w") as file:
        try:
            import fcntl
        except ImportError:
            pass
        else:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def ensure_venv() -> None:
    """Make `.venv` anew if there is none, or if pyproject.toml or the Python beneath has changed."""
    digest = _digest(
        [], _project("project", "build-system", "tool.rumpkit"), sys.version, os.path.realpath(sys.executable)
    )
    if _is_current("venv", digest) and PYTHON.exists():
        return
    ensurepip = importlib.util.find_spec("ensurepip") is not None
    if not ensurepip and importlib.util.find_spec("pip") is None:
        raise SystemExit(NO_VENV.format(python=sys.executable))
    _say(f"making {VENV.name} with Python {sys.version.split()[0]}")
    if VENV.exists():
        shutil.rmtree(VENV)
    _run([sys.executable, "-m", "venv", *([] if ensurepip else ["--without-pip"]), VENV])
    _stamp("venv", digest)


def ensure_dev() -> None:
    """Install the tools of the `dev` extra."""
    digest = _digest([], _project("project", "build-system", "tool.rumpkit"))
    if _is_current("dev", digest):
        return
    project = _read_project()
    tools = project["project"]["optional-dependencies"]["dev"] + project["build-system"]["requires"]
    runtime = project["tool"]["rumpkit"]["dependencies"]  # mypy reads what the sources import
    _say("installing the tools of the dev extra")
    _pip("install", "--quiet", *tools, *runtime["both"], *runtime["native"])
    _stamp("dev", digest)


def ensure_installed(levels: tuple[str, ...]) -> None:
    """Build the wheel, native if that can be, at the first of the optimization levels, and install it with what it needs; unless it is
    installed already, at any of them."""
    sources = sorted(path for path in (ROOT / "src").rglob("*") if path.suffix in (".py", ".toml", ".typed"))
    settings = _project("project", "build-system", "tool.rumpkit", "tool.setuptools", "tool.mypy")
    files = [*sources, *(ROOT / name for name in BUILD_FILES)]
    digests = [_digest(files, settings, *_build_variables(), f"optimized={level}") for level in levels]
    if any(_is_current("installed", digest) for digest in digests):
        return
    os.environ["RUMPKIT_BUILD_OPT"] = levels[0]
    _say("building and installing rumpkit (the native form takes a while)")
    wheels = CACHE / "wheel"
    shutil.rmtree(wheels, ignore_errors=True)
    log = CACHE / "build.log"
    _pip("wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, "--log", log, ROOT)
    (wheel,) = wheels.glob("*.whl")
    _pip("install", "--quiet", "--force-reinstall", "--no-deps", wheel)
    _pip("install", "--quiet", wheel)
    native = not wheel.name.endswith("py3-none-any.whl")
    _say(f"installed the {'native' if native else 'pure'} form")
    if not native and os.environ.get("RUMPKIT_BUILD", "auto") == "auto":
        for line in log.read_text("utf-8", "replace").splitlines():
            if "building the pure form" in line:
                _say(line.partition("rumpkit: ")[2])
                break
    _stamp("installed", digests[0])


def _read_project() -> dict[str, Any]:
    import tomllib  # here, because this file may meet a Python that has none

    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def _project(*tables: str) -> str:
    """Return what the tables of pyproject.toml say: the settings of a checker are no reason to build anew."""
    texts = []
    for name in tables:
        table = _read_project()
        for part in name.split("."):
            table = table.get(part, {})
        texts.append(f"{name}={json.dumps(table, sort_keys=True)}")
    return "\n".join(texts)


def _build_variables() -> Iterator[str]:
    for name in BUILD_VARIABLES:
        yield f"{name}={os.environ.get(name, '')}"
    yield f"cc={shutil.which(os.environ.get('CC', 'cc').split()[0])}"


def _digest(files: Iterable[Path], *more: str) -> str:
    """Digest the names and contents of the files (one that is not there counts as empty) and the further strings."""
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes() if path.is_file() else b""
        digest.update(f"{path.relative_to(ROOT)}\0{len(content)}\0".encode() + content)
    for text in more:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


def _is_current(step: str, digest: str) -> bool:
    stamp = VENV / f".stamp-{step}"
    return stamp.is_file() and stamp.read_text() == digest


def _stamp(step: str, digest: str) -> None:
    (VENV / f".stamp-{step}").write_text(digest)


def _pip(*arguments: str | Path) -> None:
    """Run pip on `.venv`: its own, or else that of the Python beneath."""
    own = next(VENV.glob("lib/python*/site-packages/pip"), None) is not None
    command: list[str | Path] = [PYTHON, "-m", "pip"] if own else [sys.executable, "-m", "pip", "--python", PYTHON]
    _run([*command, "--disable-pip-version-check", *arguments])


def _run(command: list[str | Path]) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    subprocess.run(command, check=True, env=environment)


def _say(text: str) -> None:
    print(f"rumpkit: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
