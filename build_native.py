"""The build backend: setuptools, with the hot modules compiled by mypyc when that is wanted and possible.

`RUMPKIT_BUILD` says what is wanted:

* `auto` (the default): native if a C compiler and Python's headers are there and the compilation succeeds; otherwise a
  pure wheel, and one line on standard error that says why.
* `pure`: a `py3-none-any` wheel, nothing compiled.
* `native`: compiled, or the build fails.

The decision falls here, before anything is built, so that a pure wheel is tagged as one and asks for neither mypy at
build time nor librt at run time. There is no `prepare_metadata_for_build_wheel` on purpose: the metadata depends on how
the build went. `RUMPKIT_BUILD_JOBS` sets how many compilers run at once (default: one a CPU), `RUMPKIT_BUILD_OPT` the
optimization level (default 2).

An editable install is always pure: shared libraries in `src` would shadow later edits.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import sysconfig
import tempfile
import tomllib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from setuptools import Extension, build_meta
from setuptools.command.build_py import build_py

WISHES = ("auto", "pure", "native")

ROOT = Path(__file__).resolve().parent
SOURCE = ROOT / "src"
HOT_LIST = ROOT / "hot_modules.txt"
HEADER = ROOT / "build_native.h"
BUILD = ROOT / "build"
LIST = "_modules.txt"
"""What `rumpkit._finder` reads."""

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
DEPENDENCIES = PROJECT["tool"]["rumpkit"]["dependencies"]


class BuildError(Exception):
    """The native form cannot be built; the message is one line for the person who builds."""


def wish() -> str:
    """Return what RUMPKIT_BUILD asks for."""
    value = os.environ.get("RUMPKIT_BUILD", "auto")
    if value in WISHES:
        return value
    raise SystemExit(f"rumpkit: RUMPKIT_BUILD={value!r} is not one of auto, pure, native")


def hot_modules() -> list[str]:
    """Return the dotted names that hot_modules.txt lists, in its order."""
    lines = (line.partition("#")[0].strip() for line in HOT_LIST.read_text("utf-8").splitlines())
    return [line for line in lines if line]


def hot_files() -> list[str]:
    """Return the files of the hot modules, relative to the root of the repository.

    Raises BuildError if one is missing or listed twice.
    """
    files: list[str] = []
    for module in hot_modules():
        path = SOURCE.joinpath(*module.split(".")).with_suffix(".py")
        if not path.is_file():  # a package neither: it would be in the library of another
            raise BuildError(f"{HOT_LIST.name} lists {module}, which does not exist")
        name = path.relative_to(ROOT).as_posix()
        if name in files:
            raise BuildError(f"{HOT_LIST.name} lists {module} twice")
        files.append(name)
    return files


def why_no_compiler() -> str | None:
    """Compile and link an empty extension module; return None if that works, else the reason why not, as one line."""
    from setuptools._distutils import ccompiler
    from setuptools._distutils import sysconfig as dist_sysconfig

    compiler = ccompiler.new_compiler()
    dist_sysconfig.customize_compiler(compiler)
    command = getattr(compiler, "compiler", None) or ["cc"]
    if compiler.compiler_type == "unix" and shutil.which(command[0]) is None:
        return f"no C compiler ({command[0]} not found)"
    include = sysconfig.get_path("include")
    if not Path(include, "Python.h").is_file():
        return "Python's C headers are missing (on Debian: apt-get install python3-dev)"
    with tempfile.TemporaryDirectory(prefix="rumpkit-probe-") as folder, _quiet():
        source = Path(folder, "probe.c")
        source.write_text("#include <Python.h>\nint rumpkit_probe(void) { return PY_VERSION_HEX != 0; }\n")
        try:
            objects = compiler.compile([str(source)], output_dir=folder, include_dirs=[include])
            compiler.link_shared_object(objects, str(Path(folder, "probe.so")))
        except Exception as error:  # each version of setuptools has errors of its own
            return f"the C compiler does not work ({type(error).__name__})"
    return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Send file descriptors 1 and 2 to nowhere meanwhile: a failed probe is no error message."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for descriptor in (*saved, nowhere):
            os.close(descriptor)


def extensions() -> list[Extension]:
    """Translate the hot modules to C; return the extension modules to compile.

    The modules of one package make one compile unit: calls between them need no table, units compile side by side, and
    an edit compiles one of them. (8,400 lines on two processors: a unit a package 54 s, a unit a module 200 s, because
    each unit carries a copy of mypyc's run time; all in one 89 s. -O3 costs 15 % more than -O2 and gains little.)

    Raises BuildError on a type error.
    """
    files = hot_files()
    tag = sysconfig.get_config_var("SOABI") or f"py{sys.version_info[0]}{sys.version_info[1]}"
    target = BUILD / f"mypyc-{tag}"
    target.mkdir(parents=True, exist_ok=True)
    from mypyc.build import mypycify

    # mypyc caches its intermediate code beside mypy's types and, with units, cannot be told not to; out of a cache that
    # an earlier build left it makes wrong code or dies. So each build begins with an empty one.
    with tempfile.TemporaryDirectory(prefix="rumpkit-mypy-") as cache, _variable("MYPY_CACHE_DIR", cache):
        try:
            found = mypycify(
                # What hot modules import is read for its types; whether it is right is for `make lint` to say.
                ["--config-file", str(ROOT / "pyproject.toml"), "--follow-imports=silent", *files],
                separate=[(unit, name) for name, unit in units(files).items()],
                opt_level=optimization(),
                debug_level="0",
                target_dir=str(target.relative_to(ROOT)),
            )
        except SystemExit as error:
            raise BuildError("mypyc refuses the sources (its messages stand above)") from error
    extensions: list[Extension] = list(found)
    libraries = [extension for extension in extensions if extension.name.endswith("__mypyc")]
    for library in libraries:
        give_entries(library, [one for one in extensions if one not in libraries and unit_of(one) == library.name])
        if os.name == "posix":
            # What is hidden is called directly, not by a table of the loader's, which need not look its name up at each start.
            # (Not +=: mypycify gives all extensions the same list.)
            more = ["-fvisibility=hidden", "-include", str(HEADER)]
            library.extra_compile_args = [*library.extra_compile_args, *more]
            library.depends = [*library.depends, str(HEADER)]
    # The largest first: what is begun last must not keep one processor busy while the others have nothing to do.
    return sorted(libraries, key=lambda library: -sum(os.path.getsize(name) for name in library.sources))


def unit_of(shim: Extension) -> str:
    """Return the library that a module's shim belongs to."""
    (source,) = shim.sources
    found = re.search(r'PyImport_ImportModuleLevel\("([^"]+)"', Path(source).read_text("utf-8"))
    if found is None:
        raise BuildError(f"mypyc makes shims that name no library, such as {source}")
    return found[1]


def give_entries(library: Extension, shims: list[Extension]) -> None:
    """Compile the modules' shims, in which `import` finds their PyInit function, into the library itself.

    mypyc means each for a library of its own, two and a half hundred of them, which takes a minute to build, and at each start longer to
    load than what they lead to.  `rumpkit._finder` knows where modules are.
    """
    lines = []
    for shim in shims:
        (source,) = shim.sources
        name = shim.name.rpartition(".")[2]
        # Each also defines a function that only the linker of Windows wants: all of the same name.
        lines += [f"#define PyInit___init__ PyInit___init___{name}", f'#include "{Path(source).resolve()}"']
        lines += ["#undef PyInit___init__"]
    file = BUILD / "entries" / f"{library.name}.c"
    file.parent.mkdir(exist_ok=True)
    text = "\n".join(lines) + "\n"
    if not file.is_file() or file.read_text("utf-8") != text:
        file.write_text(text, "utf-8")
    library.sources = [*library.sources, file.relative_to(ROOT).as_posix()]


@contextlib.contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """Set an environment variable meanwhile."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def units(files: list[str]) -> dict[str, list[str]]:
    """Return the compile units: the hot files of each package, by the name of the library that they share."""
    found: dict[str, list[str]] = {}
    for name in files:
        package = Path(name).parent.relative_to("src").as_posix().replace("/", ".")
        found.setdefault(f"{package}._hot", []).append(name)
    return found


def jobs() -> int:
    """Return how many compilers may run at once."""
    return int(os.environ.get("RUMPKIT_BUILD_JOBS") or os.cpu_count() or 1)


def optimization() -> str:
    """Return the level at which C is compiled."""
    return os.environ.get("RUMPKIT_BUILD_OPT", "2")


# What setup.py asks for: the form that the running hook decided on.
_native = False


def setup_arguments() -> dict[str, Any]:
    """Return the arguments of setup() that depend on the form."""
    BUILD.mkdir(exist_ok=True)
    # Not in src: there the egg-info would be found as a second installed rumpkit when PYTHONPATH names src.
    options: dict[str, dict[str, Any]] = {"egg_info": {"egg_base": BUILD.name}}
    if not _native:
        return {"install_requires": DEPENDENCIES["both"], "options": options}
    options["build_ext"] = {"parallel": jobs()}
    return {
        "install_requires": DEPENDENCIES["both"] + DEPENDENCIES["native"],
        "ext_modules": extensions(),
        "cmdclass": {"build_py": ListingBuild},
        "options": options,
    }


class ListingBuild(build_py):  # type: ignore[misc]
    """Copies the sources, and writes for `rumpkit._finder` which modules there are."""

    def run(self) -> None:
        super().run()
        with open(self._list(), "w", encoding="ascii") as file:
            file.write(listed_modules())

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), self._list()]

    def _list(self) -> str:
        return os.path.join(self.build_lib, "rumpkit", LIST)


def listed_modules() -> str:
    """Return the names of packages, of modules that stay Python, and of those that do not and their libraries, each on a line."""
    files = sorted(
        path.relative_to(SOURCE).with_suffix("").as_posix().replace("/", ".") for path in SOURCE.rglob("*.py")
    )
    packages = [name.removesuffix(".__init__") for name in files if name.endswith(".__init__")]
    hot = set(hot_modules())
    modules = [name for name in files if name not in hot and not name.endswith(".__init__")]
    libraries = [f"{unit}__mypyc" for unit in units(hot_files())]
    return "\n".join(" ".join(names) for names in (packages, modules, [*sorted(hot), *libraries])) + "\n"


def _sweep(native: bool) -> None:
    """Remove what an earlier build left in build/lib*, which setuptools would pack along.

    A native build keeps the libraries of packages with hot modules that were compiled at the same level: what is up to date need not be
    compiled again.
    """
    keep: set[str] = set()
    level = BUILD / "level"
    if native and level.is_file() and level.read_text("utf-8") == optimization():
        keep = {f"{name.replace('.', '/')}__mypyc" for name in units(hot_files())}
    for library in BUILD.glob("lib*"):
        for path in library.rglob("*"):
            stem = path.relative_to(library).as_posix().partition(".")[0]
            if path.is_file() and not (path.suffix == ".so" and stem in keep):
                path.unlink()
    if native:
        level.write_text(optimization(), "utf-8")


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """Let one build at a time work in build/."""
    BUILD.mkdir(exist_ok=True)
    with open(BUILD / "lock", "w") as file:
        try:
            import fcntl
        except ImportError:  # not a POSIX host: builds side by side are the caller's business
            pass
        else:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _decide() -> bool:
    """Return whether to build native; say so in one line if that was left open and cannot be."""
    wanted = wish()
    if wanted == "pure":
        return False
    reason = why_no_compiler()
    if reason is None:
        return True
    if wanted == "native":
        raise SystemExit(f"rumpkit: cannot build the native form: {reason}")
    print(f"rumpkit: {reason}; building the pure form", file=sys.stderr)
    return False


def _build(native: bool, directory: str, settings: Any) -> str:
    global _native
    _native = native
    _sweep(native)
    return str(build_meta.build_wheel(directory, settings))


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    """PEP 517: build a wheel, native or pure as RUMPKIT_BUILD says."""
    with _lock():
        if not _decide():
            return _build(False, wheel_directory, config_settings)
        try:
            return _build(True, wheel_directory, config_settings)
        except (Exception, SystemExit) as error:
            if not isinstance(error, BuildError):
                traceback.print_exc()
            if wish() == "native":
                raise SystemExit(f"rumpkit: the native build failed: {error}") from error
            print(f"rumpkit: the native build failed ({error}); building the pure form", file=sys.stderr)
            return _build(False, wheel_directory, config_settings)


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """PEP 517: ask for mypy only if it will be used."""
    native = wish() == "native" or (wish() == "auto" and why_no_compiler() is None)
    if not native:
        return []
    mypy = [name for name in PROJECT["project"]["optional-dependencies"]["dev"] if name.startswith("mypy==")]
    return [*mypy, *DEPENDENCIES["native"]]


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    """PEP 517: pack the sources."""
    with _lock():
        return str(build_meta.build_sdist(sdist_directory, config_settings))


def build_editable(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    """PEP 660: an editable install, always pure."""
    with _lock():
        return str(build_meta.build_editable(wheel_directory, config_settings))
