"""What the build makes of this checkout: a wheel that is tagged for what is in it, and the right words when it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

import build_native
from tests.house.files import ROOT, tracked_files

pytestmark = pytest.mark.once

BUILD = "import sys, build_native; build_native.build_{}(sys.argv[1])"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the build reads."""
    return copied(tmp_path / "tree")


def copied(copy: Path) -> Path:
    for path in tracked_files():
        relative = path.relative_to(ROOT)
        if relative.parts[0] in ("tests", "tools", "docs", "bench", "examples", ".ci"):
            continue
        (copy / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy / relative)
    return copy


def build(tree: Path, what: str = "wheel", **environment: str) -> subprocess.CompletedProcess[str]:
    """Call the build backend as pip does, in the copied tree; what it makes lies in tree/dist."""
    (tree / "dist").mkdir(exist_ok=True)
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("RUMPKIT_", "PYTHON", "COV_"))}
    command = [sys.executable, "-c", BUILD.format(what), "dist"]
    return subprocess.run(command, cwd=tree, env=clean | environment, capture_output=True, text=True)


def the_wheel(tree: Path) -> Path:
    (wheel,) = (tree / "dist").glob("*.whl")
    return wheel


def contents(wheel: Path) -> tuple[set[str], list[str]]:
    """Return the names of the files in a wheel, and what it requires at run time."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        headers = HeaderParser().parsestr(archive.read(metadata).decode())
    requires = [value for value in headers.get_all("Requires-Dist", []) if "extra ==" not in value]
    return names, requires


def requires_librt(requires: list[str]) -> bool:
    return any(name.startswith("librt") for name in requires)


def test_the_pure_wheel_is_for_every_machine(tree):
    done = build(tree, RUMPKIT_BUILD="pure")
    assert done.returncode == 0, done.stderr
    wheel = the_wheel(tree)
    assert wheel.name.endswith("-py3-none-any.whl")
    names, requires = contents(wheel)
    sources = {path.relative_to(ROOT / "src").as_posix() for path in tracked_files() if "src" in path.parts}
    assert sources <= names
    assert not [name for name in names if name.endswith((".so", ".c", ".pyc", "/_modules.txt"))]
    assert not requires_librt(requires)


def test_without_a_compiler_the_wheel_is_pure_and_one_line_says_why(tree):
    done = build(tree, CC="no-such-compiler")
    assert done.returncode == 0, done.stderr
    assert the_wheel(tree).name.endswith("-py3-none-any.whl")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("rumpkit:")]
    assert line == "rumpkit: no C compiler (no-such-compiler not found); building the pure form"


def test_a_compiler_that_fails_counts_as_none(tree):
    done = build(tree, CC="false")
    assert done.returncode == 0, done.stderr
    assert the_wheel(tree).name.endswith("-py3-none-any.whl")
    assert "the C compiler does not work" in done.stderr


def test_native_without_a_compiler_fails(tree):
    done = build(tree, CC="no-such-compiler", RUMPKIT_BUILD="native")
    assert done.returncode != 0
    assert "cannot build the native form: no C compiler" in done.stderr
    assert not list((tree / "dist").iterdir())


def test_another_wish_is_refused(tree):
    done = build(tree, RUMPKIT_BUILD="fast")
    assert done.returncode != 0
    assert "RUMPKIT_BUILD='fast' is not one of auto, pure, native" in done.stderr


def only_the_form_is_hot(tree: Path, *more: str) -> None:
    """Shrink the list of hot modules, and what the package names, so that the build is short."""
    (tree / "hot_modules.txt").write_text("\n".join(["rumpkit._form", *more]) + "\n")
    face = '"""Of which the types are not needed."""\n\nfrom ._finder import install\n\ninstall(__path__[0])\n'
    (tree / "src" / "rumpkit" / "__init__.py").write_text(face)


SPIN = """\
'''Multiply until the time is up.'''


def spin(times: int, left: int, right: int) -> int:
    product = 0
    for _ in range(times):
        product = left * right
    return product
"""

INTERRUPT = """\
import signal
import sys
from rumpkit.spin import spin

assert not spin.__class__.__name__ == "function"
left, right = map(int, sys.argv[1:])
assert spin(1, left, right) == left * right
signal.signal(signal.SIGALRM, signal.default_int_handler)
try:
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    while True:
        assert spin(100_000, left, right) == left * right
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with a native wheel of two modules, which is also in `installed` there."""
    tree = copied(tmp_path_factory.mktemp("native"))
    (tree / "src" / "rumpkit" / "spin.py").write_text(SPIN)
    only_the_form_is_hot(tree, "rumpkit.spin")
    done = build(tree, RUMPKIT_BUILD="native", RUMPKIT_BUILD_OPT="1")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(the_wheel(tree)) as archive:
        archive.extractall(tree / "installed")
    return tree


def python(native: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run what is installed."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PYTHONPATH"] = str(native / "installed")
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=native / "installed", env=environment, capture_output=True, text=True)


@pytest.mark.needs("compiler")
def test_the_native_wheel_has_both_and_runs(native: Path) -> None:
    wheel = the_wheel(native)
    assert "none-any" not in wheel.name
    names, requires = contents(wheel)
    assert "rumpkit/_form.py" in names
    assert [name.partition(".")[0] for name in names if name.endswith(".so")] == ["rumpkit/_hot__mypyc"]
    assert "rumpkit/_modules.txt" in names
    assert requires_librt(requires)
    shown = python(native, "-c", "from rumpkit._form import COMPILED, form; print(COMPILED, form())")
    assert shown.stdout == "True native\n", shown.stderr


@pytest.mark.needs("compiler")
def test_a_signal_does_not_abort_compiled_arithmetic(native: Path) -> None:
    for left, right in [(3_000_000_000, 2), (2, 3_000_000_000), (-5, 7), (2**61, -2), (2**61, 2), (2**80, -(2**90))]:
        for _ in range(5):
            shown = python(native, "-c", INTERRUPT, str(left), str(right))
            assert shown.stdout == "interrupted\n", (left, right, shown.stderr)


@pytest.mark.needs("compiler")
def test_a_pure_build_after_a_native_one_has_nothing_compiled_in_it(native: Path, tmp_path: Path) -> None:
    tree = shutil.copytree(native, tmp_path / "tree", ignore=shutil.ignore_patterns("installed"))
    the_wheel(tree).unlink()
    assert build(tree, RUMPKIT_BUILD="pure").returncode == 0
    assert not [name for name in contents(the_wheel(tree))[0] if name.endswith((".so", "/_modules.txt"))]


@pytest.mark.needs("compiler")
def test_a_type_error_in_a_hot_module_gives_the_pure_form_or_fails(tree):
    (tree / "src" / "rumpkit" / "wrong.py").write_text('"""x"""\n\nanswer: int = "x"\n')
    only_the_form_is_hot(tree, "rumpkit.wrong")
    done = build(tree)
    assert done.returncode == 0, done.stderr
    assert the_wheel(tree).name.endswith("-py3-none-any.whl")
    assert "rumpkit: the native build failed (mypyc refuses the sources" in done.stderr
    assert not [name for name in contents(the_wheel(tree))[0] if name.endswith(".so")]
    done = build(tree, RUMPKIT_BUILD="native")
    assert done.returncode != 0
    assert "wrong.py:3: error:" in done.stdout + done.stderr


@pytest.mark.needs("compiler")
def test_a_hot_module_that_does_not_exist_is_an_error(tree):
    only_the_form_is_hot(tree, "rumpkit.gone")
    done = build(tree, RUMPKIT_BUILD="native")
    assert done.returncode != 0
    assert "hot_modules.txt lists rumpkit.gone, which does not exist" in done.stderr


def test_what_the_build_asks_for_depends_on_the_form(monkeypatch):
    monkeypatch.setenv("RUMPKIT_BUILD", "pure")
    assert build_native.get_requires_for_build_wheel() == []
    monkeypatch.setenv("RUMPKIT_BUILD", "native")
    assert any(name.startswith("mypy==") for name in build_native.get_requires_for_build_wheel())


def test_the_lazy_face_and_components_are_never_compiled():
    hot = build_native.hot_modules()
    assert "rumpkit" not in hot
    assert not [name for name in hot if name.endswith(".components")]
    assert len(hot) == len(set(hot))
    build_native.hot_files()
