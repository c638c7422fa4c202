"""Write docs/reference/rfc-coverage.md: which test shows which requirement of an RFC; with `--check`, say whether all is well.

The requirements are tests/rfc/NUMBER.toml, the reasons why some have no test tests/rfc/reasons.toml, and the claims are markers
`@pytest.mark.rfc("9293", "MUST-58")` (several ids allowed) on tests, read from the sources without running them. Something is wrong
where a MUST has neither claim nor reason, where it has both, where a claim or a reason is unknown, and where a reason is not used.
"""

from __future__ import annotations

import argparse
import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
TARGET = ROOT / "docs" / "reference" / "rfc-coverage.md"
HEAD = "<!-- Written by tools/rfc_coverage.py from tests/rfc and the tests; do not edit. -->\n\n"
LEVELS = ("MUST", "MUST NOT", "SHOULD", "SHOULD NOT")


class Requirement(NamedTuple):
    """One row of an RFC's file."""

    rfc: str
    name: str
    level: str
    section: str
    text: str
    why: str
    """The reason that it has no test; empty if it should have one."""
    same: str = ""
    """The requirement of a later RFC that this one became, "9293 MUST-1": its tests and its reason are this one's too."""

    @property
    def binding(self) -> bool:
        """Whether it is a MUST or MUST NOT."""
        return self.level.startswith("MUST")


class Reason(NamedTuple):
    """Why a requirement has no test."""

    done: bool
    """It holds, or asks nothing of us; else it isn't met."""
    text: str


class Claim(NamedTuple):
    """A test says that it shows a requirement."""

    rfc: str
    name: str
    path: str
    """Of the test's file, from the root."""
    line: int
    test: str


class Rfc(NamedTuple):
    """One RFC's file."""

    number: str
    title: str
    requirements: dict[str, Requirement]


def load(folder: Path = TESTS / "rfc") -> tuple[dict[str, Rfc], dict[str, Reason]]:
    """The RFCs by number, in the order of their numbers, and the reasons by name."""
    rfcs = {}
    for path in sorted(folder.glob("[0-9]*.toml")):
        data = tomllib.loads(path.read_text("utf-8"))
        number = data["rfc"]
        rows = {
            name: Requirement(
                number, name, row["level"], row["section"], row["text"], row.get("why", ""), row.get("same", "")
            )
            for name, row in data["requirements"].items()
        }
        rfcs[number] = Rfc(number, data["title"], rows)
    data = tomllib.loads((folder / "reasons.toml").read_text("utf-8"))
    return rfcs, {name: Reason(row["done"], row["text"]) for name, row in data.items()}


def resolve(rfcs: dict[str, Rfc], row: Requirement) -> Requirement:
    """The requirement whose tests and reason are this one's.  Raises KeyError."""
    if not row.same:
        return row
    number, name = row.same.split()
    return rfcs[number].requirements[name]


def claims(tests: Path = TESTS) -> list[Claim]:
    """All claims of the tests, by path and line."""
    found = []
    for path in sorted(tests.rglob("*.py")):
        text = path.read_text("utf-8")
        if "mark.rfc" in text:
            found += claims_of(text, path.relative_to(tests.parent).as_posix())
    return found


def claims_of(text: str, path: str) -> list[Claim]:
    """The claims of one file."""
    found: list[Claim] = []
    tree = ast.parse(text, path)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                for call in _markers(decorator):
                    found += _claim(call, path, node.name)
    taken = {claim.line for claim in found}
    for call in _markers(tree):
        if call.lineno not in taken:
            # Outside a test's decorators, such as pytestmark: it would be for the whole file, which says too little.
            found.append(Claim("", "a marker that is on no test", path, call.lineno, ""))
    return sorted(found, key=lambda claim: (claim.path, claim.line))


def _markers(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.rfc":
            yield node


def _claim(call: ast.Call, path: str, test: str) -> Iterator[Claim]:
    words = [node.value if isinstance(node, ast.Constant) else None for node in call.args]
    if len(words) < 2 or not all(isinstance(word, str) for word in words) or call.keywords:
        yield Claim("", ast.unparse(call), path, call.lineno, test)
        return
    number, *names = (str(word) for word in words)
    for name in names:
        yield Claim(number, name, path, call.lineno, test)


def problems(rfcs: dict[str, Rfc], reasons: dict[str, Reason], made: list[Claim]) -> list[str]:
    """What is wrong, with where."""
    found = []
    claimed = {(claim.rfc, claim.name) for claim in made}
    for claim in made:
        if claim.rfc not in rfcs or claim.name not in rfcs[claim.rfc].requirements:
            found.append(f"{claim.path}:{claim.line}: there is no requirement RFC {claim.rfc} {claim.name}")
    used = set()
    for rfc in rfcs.values():
        for row in rfc.requirements.values():
            where = f"tests/rfc/{row.rfc}.toml: {row.name}"
            used.add(row.why)
            has = (row.rfc, row.name) in claimed
            if row.same:
                if _unknown(rfcs, row) or has or row.why:
                    found.append(f"{where}: `same` must name a requirement, and leaves nothing else to say")
                continue
            if row.level not in LEVELS:
                found.append(f"{where}: {row.level} is no level")
            if row.why and row.why not in reasons:
                found.append(f"{where}: there is no reason {row.why} in reasons.toml")
            if has and row.why:
                found.append(f"{where}: a test claims it, so `why` must go")
            if row.binding and not has and not row.why:
                found.append(f"{where}: no test claims this {row.level}, and no reason is given")
    found += [f"tests/rfc/reasons.toml: nothing is for the reason {name}" for name in reasons if name not in used]
    return found


def _unknown(rfcs: dict[str, Rfc], row: Requirement) -> bool:
    try:
        return bool(resolve(rfcs, row).same)
    except (KeyError, ValueError):
        return True


def page(rfcs: dict[str, Rfc], reasons: dict[str, Reason], made: list[Claim]) -> str:
    """The coverage page."""
    tests: dict[tuple[str, str], list[Claim]] = {}
    for claim in made:
        tests.setdefault((claim.rfc, claim.name), []).append(claim)
    text = HEAD + "# RFC coverage\n\nEach requirement, and the tests that fail if it is broken; MAYs are left out. "
    text += "A requirement without a test has a reason: *met* means that it holds all the same or asks nothing of a host like this, "
    text += "*not met* that it is not done. A SHOULD with neither is open.\n\n"
    text += "| RFC | MUST: tested | met otherwise | not met | SHOULD: tested | met otherwise | not met | open |\n"
    text += "|" + " --- |" * 8 + "\n"
    for rfc in rfcs.values():
        rows = [resolve(rfcs, row)._replace(level=row.level) for row in rfc.requirements.values()]
        counts = [*_counts([row for row in rows if row.binding], reasons, tests)[:3]]
        counts += _counts([row for row in rows if not row.binding], reasons, tests)
        text += f"| [{rfc.number}](#rfc-{rfc.number}) {rfc.title} | {' | '.join(map(str, counts))} |\n"
    for rfc in rfcs.values():
        text += f"\n## RFC {rfc.number}\n\n| requirement | section | level | what | shown by |\n|" + " --- |" * 5 + "\n"
        for row in rfc.requirements.values():
            shown = f"as RFC {row.same}" if row.same else _shown(row, reasons, tests)
            text += f"| {row.name} | {row.section} | {row.level} | {row.text} | {shown} |\n"
    return text


def _counts(
    rows: list[Requirement], reasons: dict[str, Reason], tests: dict[tuple[str, str], list[Claim]]
) -> list[int]:
    """How many are tested, met otherwise, not met, and open."""
    tested = sum((row.rfc, row.name) in tests for row in rows)
    done = sum(bool(row.why) and reasons[row.why].done for row in rows)
    missing = sum(bool(row.why) and not reasons[row.why].done for row in rows)
    return [tested, done, missing, len(rows) - tested - done - missing]


def _shown(row: Requirement, reasons: dict[str, Reason], tests: dict[tuple[str, str], list[Claim]]) -> str:
    if row.why:
        reason = reasons[row.why]
        return f"*{'met' if reason.done else 'not met'}*: {reason.text}"
    parts = [f"`{claim.path.removeprefix('tests/')}` {claim.test}" for claim in tests.get((row.rfc, row.name), [])]
    return "<br>".join(parts) or "*open*"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the page is out of date")
    parser.add_argument("--print", action="store_true", help="print the page, too")
    arguments = parser.parse_args()
    rfcs, reasons = load()
    made = claims()
    wrong = problems(rfcs, reasons, made)
    for line in wrong:
        print(line, file=sys.stderr)
    if wrong:
        return 1
    text = page(rfcs, reasons, made)
    if arguments.print:
        print(text, end="")
    if TARGET.exists() and TARGET.read_text("utf-8") == text:
        return 0
    if arguments.check:
        print("docs/reference/rfc-coverage.md is out of date: run make coverage-rfc", file=sys.stderr)
        return 1
    TARGET.write_text(text, "utf-8")
    print("docs/reference/rfc-coverage.md written", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
