"""The TOML of `rump fs mkdisk`: every mistake names its file, line and key."""

import pytest

from rumpkit.compose.errors import ConfigError
from rumpkit.compose.image.diskspec import load_disk

MISTAKES = [
    ('table = "mbr"', 1, "table"),
    ('size = "12X"', 1, "size"),
    ("", 0, "partition"),
    ('[[partition]]\nsize = "1M"\nfilesytem = "ext4"', 3, "partition[0].filesytem"),
    ('[[partition]]\nsize = "auto"', 2, "partition[0].size"),
    ('[[partition]]\nsize = "rest"', 2, "partition[0].size"),
    ('size = "1G"\n[[partition]]\nsize = "rest"\n[[partition]]\nsize = "1M"', 3, "partition[0].size"),
    ('[[partition]]\nsize = "1M"\nraw = "x"\nfilesystem = "ext4"', 3, "partition[0].raw"),
    ('[[partition]]\nsize = "1M"\nlabel = "x"', 3, "partition[0].label"),
    ("[[partition]]\nsize = 5", 2, "partition[0].size"),
    ("x = =", 1, ""),
]


@pytest.mark.parametrize(("text", "line", "key"), MISTAKES)
def test_mistakes(tmp_path, text, line, key):
    path = tmp_path / "disk.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_disk(path)
    assert (caught.value.file, caught.value.line, caught.value.key) == (str(path), line, key)


def test_content_is_beside_the_file(tmp_path):
    path = tmp_path / "disk.toml"
    path.write_text('[[partition]]\nfilesystem = "vfat"\ncontent = "tree"\n[[partition]]\nraw = "/abs/boot.bin"\n')
    first, second = load_disk(path).partition
    assert (first.content, first.size, second.raw) == (str(tmp_path / "tree"), "auto", "/abs/boot.bin")
