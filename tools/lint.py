"""Run every checker, also after one has failed, and say at the end which failed. `make lint` calls this."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"

CHECKERS: dict[str, list[str | Path]] = {
    "ruff check": [BIN / "ruff", "check", "."],
    "ruff format (make format mends it)": [BIN / "ruff", "format", "--check", "."],
    "mypy": [BIN / "mypy"],
    "import-linter": [BIN / "lint-imports"],
    "house rules": [BIN / "python", "-m", "pytest", "-q", "tests/house/test_rules.py", "tests/house/test_tidy.py"],
}


def main() -> int:
    """Return 0 if all checkers are content."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT / "src"))
    failed = []
    for name, command in CHECKERS.items():
        print(f"== {name}", flush=True)
        if subprocess.run(command, cwd=ROOT, env=environment).returncode != 0:
            failed.append(name)
    print(f"lint: failed: {', '.join(failed)}" if failed else "lint: all clean")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
