"""Run the tests in every form, and say in the last line how they went. `make test` and `make test-all` call this.

1. As root with apt-get: install the Debian packages of tools/debian-packages.txt that are missing (with --long all of them).
2. Interpreted, from src, with coverage and the lock checker (RUMPKIT_DEBUG=lock).
3. The installed wheel, native where there is a C compiler.
4. The kernel's tests under Pyodide, where node and npm are.

Options: --long runs the long tests too; --only=pure|native|pyodide runs one form; everything else goes to pytest.
Environment: RUMPKIT_TEST_APT=no leaves the machine's packages alone.
The exit status is not 0 if anything failed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
PYTHON = ROOT / ".venv" / "bin" / "python"
KERNEL = ["hyper", "kern", "net", "vfs", "fs", "dev"]
PARALLEL = [*KERNEL, "fuzz"]
"""Folders of tests that touch nothing outside their own process: they are spread over all cores one by one."""
NOTHING_COLLECTED = 5
SECOND_TRIES = 3
"""How many tests of one run may need a second try (tests/conftest.py says which get one)."""


def main(arguments: list[str]) -> int:
    """Run what the arguments ask for; return 0 if all of it passed."""
    forms = [name.removeprefix("--only=") for name in arguments if name.startswith("--only=")]
    forms = forms or ["pure", "native", "pyodide"]
    rest = [argument for argument in arguments if not argument.startswith("--only=")]
    started = time.monotonic()
    install_packages(long="--long" in rest)
    runs = Runs(rest)
    subprocess.run([sys.executable, ROOT / "tools" / "environment.py", "test"], check=True)
    if "pure" in forms:
        runs.pure()
    if "native" in forms:
        runs.native()
    if "pyodide" in forms:
        runs.pyodide()
    return runs.close(time.monotonic() - started)


def wanted_packages(long: bool) -> list[str]:
    """The names in tools/debian-packages.txt; those marked `# long` only for the long tests."""
    lines = (ROOT / "tools" / "debian-packages.txt").read_text("utf-8").splitlines()
    parts = [line.partition("#") for line in lines]
    return [name.strip() for name, _, mark in parts if name.strip() and (long or mark.strip() != "long")]


def install_packages(long: bool) -> None:
    """Install the missing Debian packages, where that is allowed; say which are missing otherwise."""
    wanted = wanted_packages(long)
    if shutil.which("dpkg-query") is None:
        return
    command = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *wanted]
    shown = subprocess.run(command, capture_output=True, text=True).stdout
    present = {line.split()[0] for line in shown.splitlines() if line.endswith(" installed")}
    missing = [name for name in wanted if name not in present]
    if not missing:
        return
    may = os.geteuid() == 0 and shutil.which("apt-get") is not None and os.environ.get("RUMPKIT_TEST_APT") != "no"
    if not may:
        _say(f"not installed (needs root and apt-get): {' '.join(missing)}; tests that need them are skipped by name")
        return
    _say(f"installing {' '.join(missing)}")
    # A server that a package brings must not start on this machine because of our tests.
    policy = Path("/usr/sbin/policy-rc.d")
    guard = not policy.exists()
    if guard:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        _apt_get(missing)
    finally:
        if guard:
            policy.unlink()


def _apt_get(packages: list[str]) -> None:
    """Install the packages: all at once, or else one by one, so that one unknown here does not cost the others."""
    CACHE.mkdir(exist_ok=True)
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"]
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    with open(CACHE / "apt.log", "w") as log:

        def run(command: list[str]) -> bool:
            return (
                subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment).returncode
                == 0
            )

        run(["apt-get", "update", "-q"])
        if run([*install, *packages]):
            return
        for name in packages:
            if not run([*install, name]):
                _say(f"could not install {name} (see .cache/apt.log)")


class Runs:
    """The runs so far: what they counted and which of them failed."""

    def __init__(self, arguments: list[str]) -> None:
        self.arguments = arguments
        self.counts: Counter[str] = Counter()
        self.missing: Counter[str] = Counter()
        self.again: list[str] = []
        self.failed: list[str] = []
        self.lines: list[str] = []

    def pure(self) -> None:
        """Run interpreted, from src, with coverage."""
        environment = {"PYTHONPATH": str(ROOT / "src"), "RUMPKIT_DEBUG": "lock", "RUMPKIT_EXPECT_FORM": "pure"}
        data = CACHE / "coverage.json"
        data.unlink(missing_ok=True)
        environment["COVERAGE_FILE"] = str(CACHE / "coverage.data")
        report = [f"--cov-report=json:{data}", "--cov-report=html:" + str(CACHE / "coverage")]
        self._pytest("interpreted", environment, ["--cov=src/rumpkit"], report)
        if data.is_file():
            self._print_coverage(json.loads(data.read_text("utf-8")))

    def native(self) -> None:
        """Run on the installed wheel."""
        found = subprocess.run(
            [PYTHON, "-c", "import rumpkit._form; print(rumpkit._form.form())"],
            cwd=CACHE,
            env=_clean_environment(),
            capture_output=True,
            text=True,
        ).stdout.strip()
        if found != "native":
            reason = self._why_pure()
            if reason is None:
                self._fail(
                    "compiled", "a C compiler is there, but the installed form is not native: see .cache/build.log"
                )
                return
            self._skip("compiled", f"{reason}; the installed pure wheel is tested instead")
        self._pytest("compiled" if found == "native" else "installed", {"RUMPKIT_EXPECT_FORM": found or "native"})

    def pyodide(self) -> None:
        """Run the kernel's tests under Pyodide, if node and npm are there."""
        absent = [name for name in ("node", "npm") if shutil.which(name) is None]
        if absent:
            self._skip("pyodide", f"missing: {', '.join(absent)}")
            self.missing.update(absent)
            return
        folders = [f"tests/{name}" for name in KERNEL if (ROOT / "tests" / name).is_dir()]
        if not folders:
            self._skip("pyodide", "there are no tests of the kernel yet")
            return
        own = [argument for argument in self.arguments if argument.startswith("tests/")]
        rest = [argument for argument in self.arguments if argument not in own]
        self._run("pyodide", ["node", str(ROOT / "tools/pyodide/run_tests.mjs"), *(own or folders), *rest], {})

    def close(self, seconds: float) -> int:
        """Print the summary; return the exit status."""
        print("\n" + "=" * 32 + " all forms " + "=" * 32)
        for line in self.lines:
            print(line)
        if self.missing:
            listed = ", ".join(f"{name}: {count}" for name, count in sorted(self.missing.items()))
            print(f"skipped because missing (tests in all forms): {listed}")
        for name in self.again:
            print(f"needed a second try: {name}")
        if self.failed:
            print(f"FAILED: {', '.join(self.failed)}")
        counts = self.counts
        failed = counts["failed"] + counts["error"] + counts["xpassed"]
        failed = failed or len(self.failed)
        minutes, rest = divmod(int(seconds), 60)
        print(f"{counts['passed']} passed, {failed} failed, {counts['skipped']} skipped in {minutes} min {rest} s")
        return 1 if self.failed or failed else 0

    def _pytest(
        self, name: str, environment: dict[str, str], cover: Sequence[str] = (), report: Sequence[str] = ()
    ) -> None:
        """Run the tests that were named, or else all: the kernel's on all cores, the others by file on three.

        With the options `cover` coverage is measured; those of `report` are for the last run, which adds to what the first found."""
        command = [
            *(str(PYTHON), "-m", "pytest", "--durations=10", "--durations-min=3", "--continue-on-collection-errors"),
            *cover,
            *self.arguments,
        ]
        if any(argument.startswith("tests") for argument in self.arguments):
            self._run(name, [*command, *report], environment)
            return
        folders = sorted(path.name for path in (ROOT / "tests").iterdir() if path.name != "__pycache__")
        kernel = [f"tests/{each}" for each in folders if each in PARALLEL]
        rest = [f"tests/{each}" for each in folders if each not in PARALLEL and each != "conftest.py"]
        spread = ["--numprocesses=auto", "--maxprocesses=8", "--dist=worksteal"]
        later = ["--cov-report="] if cover else []
        self._run(f"{name}, kernel", [*command, *later, *spread, *kernel], environment)
        # These have real processes, networks and clocks in them, and wait as much as they compute.
        spread = ["--numprocesses=3", "--dist=loadfile"]
        append = ["--cov-append", *report] if cover else []
        self._run(f"{name}, rest", [*command, *append, *spread, *rest], environment)

    def _run(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        print(f"\n{'=' * 32} {name} {'=' * 32}", flush=True)
        tally = CACHE / f"tally-{name.replace(', ', '-')}.json"
        tally.unlink(missing_ok=True)
        environment = _clean_environment() | environment | {"RUMPKIT_TEST_TALLY": str(tally)}
        started = time.monotonic()
        status = subprocess.run(command, cwd=ROOT, env=environment).returncode
        seconds = time.monotonic() - started
        if not tally.is_file():
            self._fail(name, f"ended with status {status} before it could count")
            return
        told = json.loads(tally.read_text("utf-8"))
        counts = Counter(told["counts"])
        self.counts += counts
        self.missing.update(told["missing"])
        self.lines.append(f"{name + ':':21}{_describe(counts)} in {seconds:.0f} s")
        if status not in (0, NOTHING_COLLECTED):
            self.failed.append(name)
        self.again += told["again"]
        if len(told["again"]) > SECOND_TRIES:
            self._fail(name, f"{len(told['again'])} tests needed a second try, more than {SECOND_TRIES}")

    def _skip(self, name: str, reason: str) -> None:
        self.lines.append(f"{name + ':':21}skipped ({reason})")
        self.counts["skipped"] += 1
        _say(f"{name} skipped: {reason}")

    def _fail(self, name: str, reason: str) -> None:
        self.lines.append(f"{name + ':':21}FAILED ({reason})")
        self.failed.append(name)
        _say(f"{name} failed: {reason}")

    def _why_pure(self) -> str | None:
        """Return why the installed form may be pure, or None if it may not."""
        if os.environ.get("RUMPKIT_BUILD") == "pure":
            return "RUMPKIT_BUILD=pure"
        probe = "import build_native; print(build_native.why_no_compiler() or '')"
        done = subprocess.run([PYTHON, "-c", probe], cwd=ROOT, capture_output=True, text=True, env=_clean_environment())
        return done.stdout.strip() or None

    def _print_coverage(self, report: dict[str, object]) -> None:
        """Print covered lines and branches by package; the lines themselves are in .cache/coverage/index.html."""
        files = report["files"]
        assert isinstance(files, dict)
        packages: dict[str, Counter[str]] = {}
        for name, file in files.items():
            parts = Path(name).parts
            inside = parts[parts.index("rumpkit") + 1 :]
            counts = packages.setdefault(inside[0] if len(inside) > 1 else "(top)", Counter())
            counts.update({key: value for key, value in file["summary"].items() if isinstance(value, int)})
            counts["files"] += 1
        total: Counter[str] = Counter()
        for counts in packages.values():
            total += counts
        print(f"\n{'coverage':12}{'files':>7}{'lines':>8}{'missed':>8}{'covered':>9}")
        for package, counts in [*sorted(packages.items()), ("total", total)]:
            reached = counts["covered_lines"] + counts["covered_branches"]
            all_ = counts["num_statements"] + counts["num_branches"]
            percent = 100 * reached / all_ if all_ else 100
            print(
                f"{package:12}{counts['files']:7}{counts['num_statements']:8}{counts['missing_lines']:8}{percent:8.1f}%"
            )
        print("line by line: .cache/coverage/index.html")
        self.lines.append(f"{'coverage:':21}{percent:.1f}% of lines and branches, interpreted")


def _describe(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no tests"


def _clean_environment() -> dict[str, str]:
    drop = ("PYTHONPATH", "PYTHONHOME", "RUMPKIT_DEBUG", "RUMPKIT_EXPECT_FORM")
    return {key: value for key, value in os.environ.items() if key not in drop}


def _say(text: str) -> None:
    print(f"rumpkit: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
