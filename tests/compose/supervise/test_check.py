"""Mistakes in [[run]]: each with its line, its key, and the way out."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from rumpkit.compose.errors import ConfigError
from rumpkit.compose.expand import Places, expand_run
from rumpkit.compose.load import load_checked, load_kernels
from rumpkit.compose.spec import RunSpec
from rumpkit.compose.supervise.plan import parse_signal, program_names
from rumpkit.compose.users import identity

RUN = '[[run]]\ncommand = ["true"]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'restart = "alway"',
            "c.toml:3: run[0].restart: 'alway' is none of 'no', 'on-failure', 'always' (did you mean \"always\"?)",
        ),
        ("restart_limit = -1", "c.toml:3: run[0].restart_limit: -1 is less than 0"),
        (
            'restart_delay = "1"',
            'c.toml:3: run[0].restart_delay: \'1\' is not a duration (write "20ms", "3s", "100us")',
        ),
        ('stop_signal = "TREM"', "c.toml:3: run[0].stop_signal: 'TREM' is no signal (did you mean \"TERM\"?)"),
        ('name = "a/b"', "c.toml:3: run[0].name: 'a/b' is not a name (letters, digits, - _ and ., at most 64)"),
        ('after = ["db"]', "c.toml:3: run[0].after[0]: there is no program 'db' (known: true)"),
        ('after = ["true"]', "c.toml:3: run[0].after[0]: it can't wait for itself"),
        (
            'after = ["true:well"]',
            "c.toml:3: run[0].after[0]: 'true:well' waits for 'well' (known: ended, healthy, started)",
        ),
        ('pipe = "tru"', "c.toml:3: run[0].pipe: there is no program 'tru' (did you mean \"true\"?)"),
        ('stdin = "log"', "c.toml:3: run[0].stdin: stdin cannot be 'log' ('inherit', 'null', or a file)"),
        ("main = true\nbackground = true", "c.toml:4: run[0].background: the run lasts as long as its main program"),
        ("health = {}", "c.toml:3: run[0].health: needs one check"),
        ("health = { port = 80, intervall = 3 }", 'run[0].health.intervall: unknown key (did you mean "interval"?)'),
        ("health = { port = 80000 }", "c.toml:3: run[0].health.port: 80000 is no port (1 to 65535)"),
        ('health = { http = "https://x/" }', "run[0].health.http: 'https://x/' is not of HTTP"),
        ('health = { http = "http://localhst/" }', "'localhst' is not an address (names are not looked up here)"),
        ('health = { port = 80, interval = "1ms" }', "run[0].health.interval: '1ms' is too short"),
        ('log_limit = "much"', "c.toml:3: run[0].log_limit: 'much' is not a size"),
    ],
)
def test_a_value_that_cannot_be(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(f"{RUN}{text}\n")
    with pytest.raises(ConfigError) as caught:
        load_checked(path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ('name = "a"', 'name = "a"', "run[1].name: there is another program 'a'"),
        (
            'name = "a"\nafter = ["b"]',
            'name = "b"\nafter = ["a:ended"]',
            "run[0].after: a, b wait for each other in a circle",
        ),
        ('name = "a"', 'name = "b"\nafter = ["a:healthy"]', "'a' has no health check"),
        ('name = "a"\nstdin = "null"', 'name = "b"\npipe = "a"', "run[1].pipe: 'a' reads 'null' already"),
        ('name = "a"', 'name = "b"\npipe = "a"\nstdout = "log"', "run[1].pipe: its output goes to 'log' already"),
        (
            'name = "a"',
            'name = "b"\npipe = "a"\nafter = ["a:ended"]',
            "one end of the pipe waits for the other one's end",
        ),
        ("main = true", "main = true", "run[1].main: there is a main program already"),
    ],
)
def test_two_programs_that_do_not_go_together(first: str, second: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(f"{RUN}{first}\n{RUN}{second}\n")
    with pytest.raises(ConfigError) as caught:
        load_checked(path)
    assert message in str(caught.value)


def test_two_writers_into_one_pipe(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(f'{RUN}name = "a"\n' + "".join(f'{RUN}name = "{name}"\npipe = "a"\n' for name in "bc"))
    with pytest.raises(ConfigError, match="'a' reads the output of another program already"):
        load_checked(path)


def test_several_kernels_and_their_programs(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(
        '[kernel.one]\n[[kernel.one.run]]\ncommand = ["a"]\n[kernel.two]\nhostname = "second"\n'
        '[[kernel.two.run]]\ncommand = ["a"]\nafter = ["one/a"]\n[[switch]]\nname = "lan"\n'
    )
    kernels = load_kernels(path)
    assert [(name, spec.kernel.hostname) for name, spec in kernels.items()] == [("one", "one"), ("two", "second")]
    assert kernels["one"].switch[0].name == "lan"
    with pytest.raises(ConfigError, match=r"has several kernels: one, two \(one is wanted here\)"):
        load_checked(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[kernel.a]\n[[kernel.a.run]]\ncommand=["x"]\nafter=["b/y"]\n',
            "c.toml:4: kernel.a.run[0].after[0]: there is no program 'b/y'",
        ),
        ('[kernel.a]\nhostnam="x"\n', 'c.toml:2: kernel.a.hostnam: unknown key (did you mean "hostname"?)'),
        (
            '[kernel]\nhostname="x"\n[kernel.a]\n',
            "c.toml:2: kernel.hostname: stands beside named kernels (give it to one of them)",
        ),
        ('[kernel.a]\n[[run]]\ncommand=["x"]\n', "c.toml:2: run: is of no kernel (write kernel.a.run)"),
        ('[kernel."a b"]\n', "c.toml:1: kernel.a b: 'a b' is not a kernel's name"),
        (
            '[[switch]]\nname="lan"\n[kernel.a]\n[[kernel.a.interface]]\nlink="switch:lna"\n',
            "c.toml:5: kernel.a.interface[0].link: there is no switch 'lna' (did you mean \"lan\"?)",
        ),
        ('[[switch]]\nname="a"\n[[switch]]\nname="a"\n', "switch[1].name: switch name 'a'"),
        ('[kernel.a]\nhostname=""\n', "c.toml:2: kernel.a.hostname: '' is not a host name"),
    ],
)
def test_mistakes_in_files_of_several_kernels(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_kernels(path)
    assert message in str(caught.value)


def test_names_come_from_commands() -> None:
    runs = [RunSpec(["/usr/bin/redis"]), RunSpec(["redis"]), RunSpec(["x"], "redis-2"), RunSpec(["redis/"])]
    assert program_names(runs) == ["redis", "redis-3", "redis-2", "redis-4"]


def test_signals_by_name_and_number() -> None:
    words = ("SIGINT", "int", "2", "USR1", "SIGRTMIN+3")
    assert [parse_signal(text) for text in words] == [2, 2, 2, 10, signal.SIGRTMIN + 3]


def test_an_environment_file(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("# comment\n\nexport A = ' x y '\nB=1=2\nC=\"\n")
    (tmp_path / "b.env").write_text("B=3\n")
    places = Places(tmp_path)
    run = expand_run(RunSpec(["x"], env_file=["a.env", "${here}/b.env"], env={"A": "${here}"}), places)
    assert run.env == {"A": str(tmp_path), "B": "3", "C": '"'}
    (tmp_path / "bad.env").write_text("A=1\nnothing\n")
    with pytest.raises(ConfigError, match=r"bad.env:2: is not NAME=VALUE"):
        expand_run(RunSpec(["x"], env_file="bad.env"), places)
    with pytest.raises(ConfigError, match=r"env_file: .*none.env cannot be read: No such file"):
        expand_run(RunSpec(["x"], env_file="none.env"), places)


def test_users_that_are_not_there() -> None:
    assert identity("") is None
    for text, message in (("no-such-user", "no user 'no-such-user'"), ("0:no-such-group", "no group 'no-such-group'")):
        with pytest.raises(ConfigError, match=message):
            identity(text)
