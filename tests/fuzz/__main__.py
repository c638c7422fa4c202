"""`make fuzz`: fuzz each target for a while, and say what was found.

    python -m tests.fuzz                              # every target, a minute each
    python -m tests.fuzz frames --seconds 600         # one of them, for longer
    python -m tests.fuzz frames --replay 00010203     # one input, which raises if it is a bug
    python -m tests.fuzz --save                       # and keep what reaches more code in tests/fuzz/corpus

With atheris (libFuzzer) where it is installed, else with the engine of this folder.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import subprocess
import sys
import traceback
from pathlib import Path

from tests.fuzz.engine import Crash, Fuzzer, distil, shrink
from tests.fuzz.targets import CORPUS, TARGETS, corpus_of

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".cache" / "fuzz"
MAX_KEPT = 150
"""Inputs that are kept in the tree for a target."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"one of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target (60)")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations (1)")
    parser.add_argument("--engine", choices=("auto", "own", "atheris"), default="auto")
    parser.add_argument("--save", action="store_true", help="keep inputs that reach more code in tests/fuzz/corpus")
    parser.add_argument("--replay", metavar="HEX", help="run this one input")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.targets if name not in TARGETS]
    if unknown:
        parser.error(f"there is no target {unknown[0]}")
    names = arguments.targets or list(TARGETS)
    if arguments.replay is not None:
        for name in names:
            TARGETS[name][0](bytes.fromhex(arguments.replay))
        return 0
    there = importlib.util.find_spec("atheris") is not None
    engine = arguments.engine if arguments.engine != "auto" else "atheris" if there else "own"
    failed = 0
    for name in names:
        run = _atheris if engine == "atheris" else _own
        failed += not run(name, arguments.seconds, arguments.seed)
        if arguments.save:
            _save(name)
    return 1 if failed else 0


def _own(name: str, seconds: float, seed: int) -> bool:
    target, _ = TARGETS[name]
    fuzzer = Fuzzer(target, [*corpus_of(name), *_found(name)], seed)
    try:
        fuzzer.run(seconds=seconds)
    except Crash as crash:
        _report(name, crash.data, crash.cause)
        return False
    finally:
        fuzzer.close()
        folder = WORK / name
        folder.mkdir(parents=True, exist_ok=True)
        for data in fuzzer.corpus:
            (folder / hashlib.sha1(data).hexdigest()[:16]).write_bytes(data)
    print(f"{name}: {fuzzer.executions} inputs, {fuzzer.places()} places, {len(fuzzer.corpus)} kept", flush=True)
    return True


def _atheris(name: str, seconds: float, seed: int) -> bool:
    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    for index, data in enumerate(corpus_of(name)):
        (folder / f"kept-{index}").write_bytes(data)
    command = [sys.executable, "-m", "tests.fuzz.with_atheris", name, str(folder), str(int(seconds)), str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace")
    if done.returncode == 0:
        last = [line for line in done.stderr.splitlines() if "cov:" in line or "Done" in line][-2:]
        print(f"{name}: {' / '.join(last)}", flush=True)
        return True
    for path in sorted(folder.parent.glob(f"{name}.crash-*")):
        data = path.read_bytes()
        try:
            TARGETS[name][0](data)
        except Exception as failure:
            _report(name, data, failure)
            path.unlink()
            return False
    print(f"{name}: atheris failed\n{done.stderr[-2000:]}", file=sys.stderr)
    return False


def _found(name: str) -> list[bytes]:
    folder = WORK / name
    return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []


def _report(name: str, data: bytes, cause: BaseException) -> None:
    small = shrink(TARGETS[name][0], data, type(cause))
    traceback.print_exception(cause, limit=-6)
    print(f"{name}: {type(cause).__name__}: {cause}\n  python -m tests.fuzz {name} --replay {small.hex()}", flush=True)


def _save(name: str) -> None:
    target, seeds = TARGETS[name]
    best = distil(target, [*corpus_of(name), *_found(name)])
    kept = [data for data in best if data not in seeds][:MAX_KEPT]
    text = "".join(f"{data.hex()}\n" for data in kept if data)
    if text:
        CORPUS.mkdir(exist_ok=True)
        (CORPUS / f"{name}.hex").write_text(text, "ascii")


if __name__ == "__main__":
    sys.exit(main())
