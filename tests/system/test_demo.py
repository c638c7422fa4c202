"""The demo, as `make demo` runs it."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.house import resources
from tests.system.helpers.rump import interpreter, search_path

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.py"


@pytest.mark.needs("seccomp")
@pytest.mark.parametrize(
    "user",
    [
        pytest.param(0, id="ourselves"),
        pytest.param(65534, id="nobody", marks=pytest.mark.needs("root", "userns")),
    ],
)
def test_the_demo(user: int) -> None:
    ids = {"user": user, "group": user, "extra_groups": []} if user else {}
    done = subprocess.run(
        [interpreter(user), str(DEMO)],
        capture_output=True,
        text=True,
        timeout=110,
        cwd="/",
        env={**os.environ, "PYTHONPATH": search_path()},
        **ids,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, done.stderr
    said = dict(re.split(r"\s{2,}| (?=\d)", line, maxsplit=1) for line in done.stdout.splitlines())
    assert said["form"] == resources.form()
    assert said["bytes"] == "all the same"
    assert "Gbit/s" in said["fetched"]
    capture = Path(said["capture"].split(" ")[0])
    assert capture.stat().st_size > 100_000_000
    capture.unlink()
