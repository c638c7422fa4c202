"""The documentation: its Python blocks run, its configs are valid, its reference is what the code says."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rumpkit
from rumpkit.compose.load import parse_kernels

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")] if "reference" not in path.parts)
BLOCK = re.compile(r"^```(\w+)( notest)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
LINKING = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
"""Pages whose links are followed: the generated ones, too."""


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


@pytest.mark.once
@pytest.mark.needs("tar")
def test_the_chapter_on_images_can_be_followed(tmp_path: Path) -> None:
    """Each command does what it should, and prints what is said behind it."""
    page = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
    chapter = page[page.index("## 6. A disk image") : page.index("## Where next")]
    rump = tmp_path / "bin" / "rump"
    rump.parent.mkdir()
    rump.write_text(f'#!/bin/sh\nexec {sys.executable} -m rumpkit.cli "$@"\n')
    rump.chmod(0o755)
    lines: list[str] = []
    for language, _, text in BLOCK.findall(chapter):
        if language == "python":
            (tmp_path / "block.py").write_text(text)
            lines.append(f"{sys.executable} block.py")
            lines += [f"# {said}" for said in re.findall(r"print\(.*\)  # (.*)", text)]
        else:
            lines += text.splitlines()
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        lines = [line for line in lines if "mount" not in line]
    script = re.sub(r"^(rump fs diff .*?)(  #.*)?$", r"\1 || test $? = 1\2", "\n".join(lines), flags=re.MULTILINE)
    (tmp_path / "chapter").write_text(script)
    ours = {"PATH": f"{rump.parent}:{os.environ['PATH']}", "PYTHONPATH": str(Path(rumpkit.__file__).parents[1])}
    done = subprocess.run(
        ["sh", "-e", "chapter"],
        stdin=subprocess.DEVNULL,
        env={**os.environ, **ours},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    expected = [
        said.strip() for said in re.findall(r"  #\s(.*)$|^#(.*)$", script, re.MULTILINE) for said in said if said
    ]
    assert len(expected) > 6
    for said in expected:
        assert said in done.stdout or "partition by its label" in said, (said, done.stdout)


@pytest.mark.parametrize("text", blocks("toml"))
def test_config_blocks_are_valid(text: str) -> None:
    assert parse_kernels(text)


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them of its headings: small letters, no punctuation, - for each space."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = (re.sub(r"[^\w\- ]", "", title.strip().lower()) for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE))
    return {title.replace(" ", "-") for title in found}


@pytest.mark.once
@pytest.mark.parametrize("page", LINKING, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    missing = []
    for target, anchor in LINK.findall(page.read_text("utf-8")):
        there = page.parent / target if target else page
        if not there.exists() or (anchor and anchor not in headings(there)):
            missing.append(f"{target}#{anchor}")
    assert missing == []


@pytest.mark.needs("pure")  # compiled methods have no signatures
def test_the_reference_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "reference.py"), "--check"], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
