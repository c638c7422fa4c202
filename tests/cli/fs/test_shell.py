"""What TAB offers in `rump fs shell`, and modes as chmod reads them."""

import pytest

from rumpkit.cli.fs.modes import parse_mode
from rumpkit.cli.fs.shell import Shell
from rumpkit.compose.image.address import HERE, Address, parse


def test_plain_paths_are_the_images_own():
    HERE.append(Address("d.img", "d.img", "2", "/etc"))
    try:
        assert parse("fstab")[1:] == ("d.img", "2", "/etc/fstab")
        assert parse("/x")[1:] == ("d.img", "2", "/x")
        assert parse("file:y")[1:] == ("", "", "y")
        assert parse("e.img:/z").image == "e.img"
        assert not parse("-").inside
    finally:
        HERE.pop()


def test_completion():
    shell = Shell(Address("d.img", "d.img", "", "/"))
    assert shell._completions("ch", "") == ["chmod ", "chown "]
    assert shell._completions("--in", "rm -r ") == ["--in-place "]
    assert "-maxdepth " in shell._completions("-m", "find ")


def test_completion_of_host_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one").mkdir()
    (tmp_path / "only file").write_bytes(b"")
    shell = Shell(Address("d.img", "d.img", "", "/"))
    assert shell._completions("file:on", "cp ") == ["file:'only file' ", "file:one/"]
    assert shell._completions(f"file:{tmp_path}/one", "cp ") == [f"file:{tmp_path}/one/"]


@pytest.mark.parametrize(
    ("text", "old", "directory", "new"),
    [
        ("644", 0o4755, False, 0o644),
        ("755", 0o2700, True, 0o2755),
        ("u+x", 0o644, False, 0o744),
        ("go-rwx", 0o777, False, 0o700),
        ("a=rX", 0o700, False, 0o555),
        ("a=rX", 0o600, False, 0o444),
        ("a=rX", 0o600, True, 0o555),
        ("g=u", 0o640, False, 0o660),
        ("u=rw,go=r", 0o777, False, 0o644),
        ("+x", 0o600, False, 0o711),
        ("u+s,+t", 0o755, False, 0o5755),
        ("o=", 0o777, False, 0o770),
        ("u+r-w", 0o200, False, 0o400),
    ],
)
def test_modes(text, old, directory, new):
    assert oct(parse_mode(text)(old, directory)) == oct(new)


@pytest.mark.parametrize("text", ["", "888", "u", "x", "u+y", "u+x,", "77777"])
def test_what_are_no_modes(text):
    with pytest.raises(ValueError):
        parse_mode(text)
