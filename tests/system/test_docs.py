"""The documentation: its Python blocks run, its configs are valid, its reference is what the code says."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rumpkit.compose.load import parse_kernels

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")] if "reference" not in path.parts)
BLOCK = re.compile(r"^```(\w+)( notest)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)[^)]*\)")


def blocks(language: str) -> list[Any]:
    """(page, text) of each block in that language, but for those that say `notest`."""
    found = []
    for page in PAGES:
        for number, match in enumerate(BLOCK.finditer(page.read_text("utf-8"))):
            if match[1] == language and not match[2]:
                found.append(pytest.param(match[3], id=f"{page.relative_to(ROOT)}:{number}"))
    return found


@pytest.mark.parametrize("text", blocks("python"))
def test_python_blocks_run(text: str) -> None:
    if text.startswith(("host.enter()", "@component")):
        compile(text, "block", "exec")
        return
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    for line in text.splitlines():
        if (match := re.search(r"print\(.*\)  # (.+)$", line)) and "'" not in match[1]:
            assert match[1].partition(" (")[0] in done.stdout


@pytest.mark.parametrize("text", blocks("toml"))
def test_config_blocks_are_valid(text: str) -> None:
    assert parse_kernels(text)


def test_links_lead_somewhere() -> None:
    missing = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in LINK.findall(page.read_text("utf-8"))
        if not (page.parent / target).exists()
    ]
    assert missing == []


@pytest.mark.needs("pure")  # compiled methods have no signatures
def test_the_reference_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "reference.py"), "--check"], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
