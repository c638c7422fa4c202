"""Limits in a config: what they are to Linux, mistakes with their place, and `rump describe`."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from rumpkit.compose import limits
from rumpkit.compose.describe import describe
from rumpkit.compose.errors import ConfigError
from rumpkit.compose.limits import describe_limits, resource_limits
from rumpkit.compose.load import load_checked
from rumpkit.compose.spec import LimitsSpec

RUN = '[[run]]\ncommand = ["true"]\n'
ALL = 'limits = { files = 1024, processes = 256, memory = "512M", cpu_time = "1.5s", file_size = "1G", core = "0" }'


def written(folder: Path, text: str) -> Path:
    path = folder / "c.toml"
    path.write_text(f"{RUN}{text}\n")
    return path


def test_what_they_are_to_linux(tmp_path: Path) -> None:
    (run,) = load_checked(written(tmp_path, ALL)).run
    assert resource_limits(run.limits) == [
        (resource.RLIMIT_NOFILE, 1024, 1024),
        (resource.RLIMIT_NPROC, 256, 256),
        (resource.RLIMIT_DATA, 512 << 20, 512 << 20),
        (resource.RLIMIT_CPU, 2, 3),
        (resource.RLIMIT_FSIZE, 1 << 30, 1 << 30),
        (resource.RLIMIT_CORE, 0, 0),
    ]


def test_none_at_all() -> None:
    assert resource_limits(None) == resource_limits(LimitsSpec()) == []
    assert describe_limits(None) == describe_limits(LimitsSpec()) == ""


def test_the_numbers_are_linuxs() -> None:
    for name in ("CPU", "FSIZE", "DATA", "CORE", "NPROC", "NOFILE"):
        assert getattr(limits, f"RLIMIT_{name}") == getattr(resource, f"RLIMIT_{name}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("files = 3", "c.toml:3: run[0].limits.files: 3 is not within 16 to"),
        ("files = 9223372036854775807000", "c.toml"),
        ("processes = 0", "c.toml:3: run[0].limits.processes: 0 is not within 1 to"),
        ('memory = "1K"', "c.toml:3: run[0].limits.memory: '1K' is not within 1048576 to"),
        ('memory = "much"', "c.toml:3: run[0].limits.memory: 'much' is not a size"),
        ('cpu_time = "60"', "c.toml:3: run[0].limits.cpu_time: '60' is not a duration"),
        ('cpu_time = "0s"', "c.toml:3: run[0].limits.cpu_time: '0s' is too short (at least \"1s\")"),
        ('file_size = "99999999T"', "c.toml:3: run[0].limits.file_size: '99999999T' is not within 0 to"),
        ("core = 0", "run[0].limits.core"),
        ("file = 3", 'run[0].limits.file: unknown key (did you mean "files"?)'),
    ],
)
def test_a_value_that_cannot_be(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_checked(written(tmp_path, f"limits = {{ {text} }}"))
    assert message in str(caught.value)


def test_describe_shows_them(tmp_path: Path) -> None:
    (one,) = describe(written(tmp_path, 'limits = { files = 1024, memory = "512M" }'))
    (program,) = one.as_json()["programs"]
    assert program["limits"] == "files 1024, memory 512M"


def test_what_all_of_a_program_gets(tmp_path: Path) -> None:
    path = written(tmp_path, 'limits = { memory = "64M", cpus = 1.5, strict = true }')
    (run,) = load_checked(path).run
    assert limits.limit_numbers(run.limits) == {"memory": 64 << 20, "cpus": 1.5}
    assert describe_limits(run.limits) == "memory 64M, cpus 1.5, strict"
    for text in ("cpus = 0", "cpus = 10000"):
        with pytest.raises(ConfigError, match=r"is not within 0.01 to 4096 processors"):
            load_checked(written(tmp_path, f"limits = {{ {text} }}"))
