"""The sources are tidy; and the tidy checks find what they are there to find."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.house import tidy
from tests.house.files import PACKAGE, ROOT, Finding, package_sources, parse, tracked_files

pytestmark = pytest.mark.once


def report(findings: Iterable[Finding]) -> str:
    return "".join(f"\n{finding}" for finding in findings)


def test_files_and_functions_are_tidy():
    findings = [finding for source in package_sources() for finding in tidy.check_source(source)]
    assert not findings, report(findings)


def test_files_are_short_as_a_rule():
    findings = tidy.check_median(package_sources())
    assert not findings, report(findings)


def test_public_faces_are_documented():
    findings = tidy.check_faces(package_sources())
    assert not findings, report(findings)


def test_tracked_files_name_no_machine_and_no_registry():
    findings = []
    for path in tracked_files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        findings += tidy.check_text(path.relative_to(ROOT).as_posix(), text)
    assert not findings, report(findings)


def test_modules_that_a_package_lists_are_there():
    missing = []
    for source in package_sources():
        if Path(source.path).name == "__init__.py":
            listed = re.findall(
                r"^    ([a-z_0-9]+(?:, [a-z_0-9]+)*)   *\S", ast.get_docstring(source.tree, False) or "", re.M
            )
            places = [ROOT / Path(source.path).parent / name for names in listed for name in names.split(", ")]
            missing += [str(place) for place in places if not place.is_dir() and not place.with_suffix(".py").exists()]
    assert not missing


def test_tests_mirror_the_package():
    tests = ROOT / "tests"
    files = [path for path in tracked_files() if path.is_relative_to(tests) and path.name.startswith("test_")]
    folders = sorted({path.parent for path in files})
    findings = tidy.check_mirror(folders, PACKAGE, tests)
    assert not findings, report(findings)


def complaints(text: str, path: str = "src/rumpkit/kern/x.py") -> list[str]:
    return [str(finding) for finding in tidy.check_source(parse(text, path))]


def test_a_long_file_is_found():
    text = '"""x"""\n' + "a = 1\n" * 600
    assert complaints(text) == ["src/rumpkit/kern/x.py:601: the file has 601 lines; at most 600"]


def test_a_long_function_is_found_and_its_docstring_does_not_count():
    body = "    a = 1\n" * 69
    fine = f'"""x"""\n\n\ndef f() -> None:\n    """One\n\n    two.\n    """\n{body}'
    assert not complaints(fine)
    (found,) = complaints(fine + "    a = 2\n")
    assert found == "src/rumpkit/kern/x.py:4: f has 71 lines without its docstring; at most 70"


def test_a_module_without_docstring_is_found():
    assert complaints("a = 1\n") == ["src/rumpkit/kern/x.py:1: the module has no docstring"]


@pytest.mark.parametrize("word", ["TODO", "FIXME", "XXX"])
def test_what_is_left_over_is_found(word):
    (found,) = complaints(f'"""x"""\na = 1  # {word}: more\n')
    assert found.startswith(f"src/rumpkit/kern/x.py:2: {word}: ")


def test_the_end_of_a_template_is_not_left_over():
    assert not complaints('"""x"""\nname = "tmpXXXXXX"\n')


def test_print_is_for_the_command_only():
    text = '"""x"""\nprint(1)\n'
    assert complaints(text) == ["src/rumpkit/kern/x.py:2: print() outside of cli"]
    assert not complaints(text, "src/rumpkit/cli/run.py")


def test_a_long_median_is_found():
    long, short = '"""x"""\n' + "a = 1\n" * 250, '"""x"""\n'
    sources = [parse(text, f"src/rumpkit/kern/x{i}.py") for i, text in enumerate([long, long, short])]
    (found,) = tidy.check_median(sources)
    assert "251" in found.text


def test_an_undocumented_face_is_found():
    package = parse('"""x"""\nfrom .a import A, f\n__all__ = ["A", "f"]\n', "src/rumpkit/kern/__init__.py")
    module = parse(
        '"""x"""\nclass A:\n    def m(self): ...\n    def _n(self): ...\ndef f(): ...\ndef g(): ...\n',
        "src/rumpkit/kern/a.py",
    )
    assert [finding.line for finding in tidy.check_faces([package, module])] == [2, 3, 5]


def test_an_undocumented_name_of_the_lazy_face_is_found():
    face = parse('"""x"""\n_FACE = {"Kernel": ".kern.a", "Switch": "rumpkit.kern.a"}\n', "src/rumpkit/__init__.py")
    module = parse('"""x"""\nclass Kernel: ...\nclass Switch: ...\nclass Other: ...\n', "src/rumpkit/kern/a.py")
    assert [finding.line for finding in tidy.check_faces([face, module])] == [2, 3]


# Escapes, so that this file does not hold what it looks for.
@pytest.mark.parametrize("path", ["\x2fwork/main", "\x2fhome/someone"])
def test_a_machine_path_is_found(path):
    (found,) = tidy.check_text("docs/x.md", f"one\nsee {path}/x\n")
    assert (found.path, found.line) == ("docs/x.md", 2)


@pytest.mark.parametrize("text", ["example.com/home/x", "in /home/alice/notes", "net/work/x", "$PREFIX/home/x"])
def test_other_paths_are_fine(text):
    assert not tidy.check_text("docs/x.md", text)


def test_a_registry_is_found():
    (found,) = tidy.check_text("docs/x.md", "from https://pypi\x2eorg/simple\n")
    assert found.line == 1


def test_a_stray_folder_of_tests_is_found(tmp_path: Path):
    package, tests = tmp_path / "src" / "rumpkit", tmp_path / "tests"
    (package / "kern").mkdir(parents=True)
    folders = [tests, tests / "kern", tests / "system" / "web", tests / "house", tests / "kern" / "gone"]
    (found,) = tidy.check_mirror(folders, package, tests)
    assert found.path == "tests/kern/gone"
