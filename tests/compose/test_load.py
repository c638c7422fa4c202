"""Config files: what is accepted, and what an error says."""

from pathlib import Path

import pytest

from rumpkit.compose.check import check
from rumpkit.compose.errors import ConfigError
from rumpkit.compose.load import load, parse

GOOD = """
[kernel]
hostname = "cache"

[[interface]]
name = "vif0"
link = "user"
address = ["10.0.2.15/24"]
gateway = "10.0.2.2"
forward = ["127.0.0.1:6379 -> 6379"]

[[mount]]
path = "/data"
type = "tmpfs"
size = "64M"

[[run]]
command = ["redis-server", "--dir", "/data"]

[sysctl]
"net.tcp.send_buffer" = 65536
"""


def test_a_whole_file() -> None:
    spec = parse(GOOD)
    assert spec.kernel.hostname == "cache"
    assert spec.interface[0].forward == ["127.0.0.1:6379 -> 6379"]
    assert spec.mount[0].size == "64M"
    assert spec.run[0].command[0] == "redis-server"
    assert spec.sysctl == {"net.tcp.send_buffer": 65536}


def test_an_empty_file_is_a_kernel_of_defaults() -> None:
    spec = parse("")
    assert spec.kernel.hostname == "rump"
    assert spec.interface == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[[interface]]\nlink = "user"\nadress = ["10.0.2.15/24"]\n',
            'c.toml:3: interface[0].adress: unknown key (did you mean "address"?)',
        ),
        ('[kernel]\nhostname = "x"\n\n[kernl]\n', 'c.toml:4: kernl: unknown key (did you mean "kernel"?)'),
        ("[kernel]\nhostname = 7\n", "c.toml:2: kernel.hostname: expected a string, got an integer"),
        (
            '[[interface]]\nlink = "user"\n\n[[interface]]\nlink = "user"\nmtu = "big"\n',
            "c.toml:6: interface[1].mtu: expected an integer, got a string",
        ),
        ("[[mount]]\ntype = 'tmpfs'\n", "c.toml:1: mount[0]: lacks the key `path`"),
        ("[kernel]\nhostname = \n", "c.toml:2: is not valid TOML: Invalid value"),
        ('[[run]]\ncommand = ["a", 7]\n', "c.toml:2: run[0].command[1]: expected a string, got an integer"),
    ],
)
def test_a_mistake_names_file_line_key_and_remedy(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "c.toml")
    assert str(caught.value) == message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        load(missing)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"[kernel]\n\xff\xfe")
    with pytest.raises(ConfigError, match=r"binary.toml:2: is not UTF-8 text"):
        load(binary)
    huge = tmp_path / "huge.toml"
    huge.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(ConfigError, match="larger than"):
        load(huge)


def test_a_search_domain_is_no_name_of_an_interface() -> None:
    one = '[[interface]]\nlink = "switch:{}"\nsearch = ["example.org"]\n'
    vlan = '[[interface]]\nlink = "vlan:vif0.10"\n'
    check(parse(one.format("a") + one.format("b") + vlan))
