"""Where mounts appear to programs, on machines that have no directory for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rumpkit.guests.linux import places
from rumpkit.guests.linux.places import arrange, real

pytestmark = pytest.mark.needs("linux")


def test_a_directory_of_the_host_is_taken_as_it_is() -> None:
    assert arrange(["/usr", "/proc"]) == ({}, {})


def test_the_root_is_mirrored_for_what_it_lacks() -> None:
    assert arrange(["/no-such-place/a", "/none-here", "/none-here/within"]) == (
        {"/": ["/no-such-place/a", "/none-here"]},
        {},
    )


def test_directories_of_the_system_are_mirrored() -> None:
    assert arrange(["/usr/lib/none-here", "/none-here"]).mirrored == {
        "/": ["/none-here"],
        "/usr/lib": ["/usr/lib/none-here"],
    }


def test_where_programs_make_files_nothing_is_hidden(tmp_path: Path) -> None:
    place = f"{tmp_path}/none-here"
    mirrored, refused = arrange([place, place + "/within"])
    assert not mirrored and set(refused) == {place, place + "/within"}
    assert f"may make files in {tmp_path}" in refused[place]


def test_a_file_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "not a directory" in arrange([f"{tmp_path}/file"]).refused[f"{tmp_path}/file"]


def test_links_are_followed(tmp_path: Path) -> None:
    os.symlink("/usr/lib", tmp_path / "link")
    assert arrange([f"{tmp_path}/link/none-here"]).mirrored == {"/usr/lib": ["/usr/lib/none-here"]}


def test_there_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "ENTRIES", 1)
    assert "too large" in arrange(["/none-here"]).refused["/none-here"]


def test_a_path_is_what_links_make_of_it(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    (tmp_path / "lost").symlink_to("nowhere/else")
    (tmp_path / "loop").symlink_to("loop")
    for path in ("", "there", "link", "link/../there", "link/none", "lost", "loop", "loop/a", "there/../link/./."):
        assert real(f"{tmp_path}/{path}") == os.path.realpath(f"{tmp_path}/{path}")
