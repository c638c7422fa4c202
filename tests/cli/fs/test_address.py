"""What arguments of `rump fs` mean."""

import pytest

from rumpkit.compose.image.address import parse, parse_image, parse_tree


@pytest.mark.parametrize(
    ("text", "image", "partition", "path"),
    [
        ("disk.img:/etc/fstab", "disk.img", "", "/etc/fstab"),
        ("disk.img@2:/etc", "disk.img", "2", "/etc"),
        ("disk.img@EFI system:/a:b", "disk.img", "EFI system", "/a:b"),
        ("/srv/disk.img:/x", "/srv/disk.img", "", "/x"),
        ("./disk.img:/x", "./disk.img", "", "/x"),
        ("disk.img:", "disk.img", "", "/"),
        ("./disk.img@1:", "./disk.img", "1", "/"),
        ("disk.img:etc/fstab", "disk.img", "", "/etc/fstab"),
        ("./a:b", "", "", "./a:b"),
        ("/a:b", "", "", "/a:b"),
        ("notes.txt", "", "", "notes.txt"),
        ("file:disk.img:/x", "", "", "disk.img:/x"),
        ("user@host", "", "", "user@host"),
        ("-", "", "", "-"),
        (":/x", "", "", ":/x"),
        ("@2:/x", "@2", "", "/x"),
        ("dir@x/disk.img:/x", "dir@x/disk.img", "", "/x"),
    ],
)
def test_addresses(tmp_path, monkeypatch, text, image, partition, path):
    monkeypatch.chdir(tmp_path)
    address = parse(text)
    assert (address.image, address.partition, address.path) == (image, partition, path)
    assert address.text == text


def test_an_at_sign_of_an_existing_image_is_its_own(tmp_path):
    (tmp_path / "a@2").write_bytes(b"")
    assert parse(f"{tmp_path}/a@2:/x")[1:3] == (f"{tmp_path}/a@2", "")
    assert parse(f"{tmp_path}/a@2@1:/x")[1:3] == (f"{tmp_path}/a@2", "1")


def test_where_an_image_or_a_directory_is_meant(tmp_path):
    image = tmp_path / "disk.img"
    image.write_bytes(b"")
    assert parse_image(f"{image}@2")[1:] == (str(image), "2", "/")
    assert parse_tree(str(image)).path == "/"
    assert parse_tree(f"{image}@2").partition == "2"
    assert not parse_tree(str(tmp_path)).inside
    assert not parse_tree("no such file").inside
    assert not parse(str(image)).inside


def test_below():
    assert parse("a.img@1:/").below("x").text == "a.img@1:/x"
    assert parse("a.img:/x/").below("y").path == "/x/y"
    assert parse("dir").below("y").text == "dir/y"
