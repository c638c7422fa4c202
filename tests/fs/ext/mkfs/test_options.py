"""What is asked of a new file system: features by their names, presets, and what doesn't go together."""

import pytest

from rumpkit.fs.ext import features as f
from rumpkit.fs.ext.mkfs.options import Request, features_of
from rumpkit.hosts.sim.host import SimHost
from rumpkit.kern.abi.errno import EINVAL, ENOTSUP
from rumpkit.vfs.types import OptionValue
from tests.fs.ext.mkfs.mkhelp import complete


def request(device: int, options: dict[str, OptionValue]) -> Request:
    return Request("ext4", device, complete(options), SimHost())


def names(kind: str, text: str) -> set[str]:
    made = features_of(kind, text)
    return set(f.names(made.compat, made.incompat, made.ro_compat))


EXT2 = {"sparse_super", "large_file", "filetype", "resize_inode", "dir_index", "ext_attr"}
EXT4 = {"extent", "huge_file", "flex_bg", "metadata_csum", "64bit", "dir_nlink", "extra_isize", "has_journal"} | EXT2


def test_types_have_the_features_of_debian() -> None:
    assert names("ext2", "") == EXT2
    assert names("ext3", "") == EXT2 | {"has_journal"}
    assert names("ext4", "") == EXT4


def test_features_are_added_and_left_out_in_the_order_of_the_list() -> None:
    assert names("ext4", "^64bit,inline_data") == EXT4 - {"64bit"} | {"inline_data"}
    assert names("ext4", "none,extents,^filetype") == {"extent"}
    assert names("ext4", "uninit_bg") == EXT4, "metadata_csum has checksums of groups already"
    assert names("ext4", "^metadata_csum uninit_bg") == EXT4 - {"metadata_csum"} | {"uninit_bg"}


@pytest.mark.parametrize(("text", "errno"), [("extend", EINVAL), ("bigalloc", ENOTSUP), ("64bit,quota", ENOTSUP)])
def test_features_that_are_unknown_or_cannot_be_made_are_named(text: str, errno: int) -> None:
    with pytest.raises(OSError, match=text.rsplit(",", 1)[-1]) as caught:
        features_of("ext4", text)
    assert caught.value.errno == errno


WRONG: list[tuple[dict[str, OptionValue], str]] = [
    ({"features": "^extent"}, "64bit needs extent"),
    ({"features": "inline_data", "inode_size": 128}, "256 bytes"),
    ({"features": "meta_bg"}, "exclude"),
    ({"features": "^sparse_super"}, "sparse_super"),
    ({"features": "metadata_csum_seed,^metadata_csum"}, "metadata_csum"),
    ({"features": "^has_journal", "journal_size": 4}, "has_journal"),
    ({"block_size": 3000}, "power of two"),
    ({"block_size": 512}, "1024"),
    ({"inode_size": 8192}, "4096"),
    ({"inode_ratio": 1}, "1024"),
    ({"label": "a" * 17}, "16"),
    ({"uuid": "12"}, "UUID"),
    ({"root_owner": "root"}, "two numbers"),
    ({"usage": "medium"}, "largefile4"),
    ({"size": 1 << 31}, "device"),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_what_does_not_go_together_is_refused_with_a_reason(case: int) -> None:
    options, text = WRONG[case]
    with pytest.raises(OSError, match=text) as caught:
        request(1 << 30, options)
    assert caught.value.errno == EINVAL


@pytest.mark.parametrize(
    ("size", "block_size", "ratio"),
    [(1 << 20, 1024, 8192), (100 << 20, 1024, 4096), (1 << 30, 4096, 16384), (5 << 40, 4096, 32768)],
)
def test_presets_follow_the_size_of_the_device(size: int, block_size: int, ratio: int) -> None:
    made = request(size, {})
    assert (made.block_size, made.inode_ratio) == (block_size, ratio)


def test_a_uuid_is_taken_as_it_is_and_random_ones_are_of_version_4() -> None:
    made = request(1 << 30, {"uuid": "00112233-4455-6677-8899-aabbccddeeff"})
    assert made.uuid.hex() == "00112233445566778899aabbccddeeff"
    assert made.hash_seed[6] >> 4 == 4 and made.hash_seed[8] >> 6 == 2
