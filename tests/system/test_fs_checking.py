"""`rump fs fsck`, changes in place, and images that are broken or evil: an answer each time, and never a traceback."""

import os
import random
import signal
import subprocess

import pytest

from tests.compose.image.trees_for_tests import make_tree
from tests.system.fs_tools import RUMP, clean, rump, run

TYPES = [
    pytest.param("vfat", marks=pytest.mark.needs("fsck.fat")),
    pytest.param("ext4", marks=pytest.mark.needs("e2fsck", "debugfs")),
]


@pytest.fixture(params=TYPES)
def kind(request):
    return request.param


@pytest.fixture
def image(tmp_path, kind):
    tree = make_tree(tmp_path / "tree")
    for path in ("dir/soft", "dangling", "fifo", "dir/naïve \n name", "sparse"):
        os.unlink(tree / path)
    path = tmp_path / "disk.img"
    rump("mkfs", "-t", kind, "--size", "20M", "-d", tree, path)
    return path


def damage(image, kind):
    """Something that a check finds and a repair mends: the free space is counted wrongly."""
    if kind == "ext4":
        command = ["debugfs", "-w", "-R", "set_super_value free_blocks_count 5", image]
        subprocess.run(command, check=True, capture_output=True)
        return
    with open(image, "r+b") as stream:  # two copies of the FAT that differ, FAT16: the second one's last entry
        stream.seek(14)
        reserved = int.from_bytes(stream.read(2), "little")
        stream.seek(22)
        length = int.from_bytes(stream.read(2), "little")
        stream.seek((reserved + 2 * length) * 512 - 2)
        stream.write(b"\x34\x12")


def test_found_and_mended(image, kind):
    assert run("fsck", image)[0] == 0
    damage(image, kind)
    damaged = image.read_bytes()
    code, said, _ = run("fsck", "-n", image)
    assert code == 4 and said
    assert image.read_bytes() == damaged
    assert run("fsck", "-y", image)[0] == 1
    clean(image, kind=kind)
    assert run("fsck", image)[0] == 0
    assert run("fsck", image.parent / "none.img")[0] == 8


def test_in_place(image, kind, tmp_path):
    rump("cp", "--in-place", "-r", tmp_path / "tree" / "dir", f"{image}:/new")
    clean(image, kind=kind)
    rump("rm", "--in-place", "-r", f"{image}:/dir", f"{image}:/new/hard")
    clean(image, kind=kind)
    assert rump("ls", f"{image}:/new") == b"below\n"


def test_a_signal_in_place_is_heeded_between_two_steps(image, kind):
    running = subprocess.Popen([*RUMP, "cp", "--in-place", "-", f"{image}:/x"], stdin=subprocess.PIPE)
    assert running.stdin is not None
    running.stdin.write(bytes(2 << 20))
    running.stdin.flush()
    running.send_signal(signal.SIGTERM)
    running.communicate(bytes(1 << 20))
    assert running.returncode == 130
    clean(image, kind=kind)


@pytest.mark.parametrize("seed", range(6))
def test_broken_images_get_an_answer(image, kind, seed):
    """Bits are flipped where something is: every verb says something, and reading changes nothing."""
    chance = random.Random(f"{kind} {seed}")
    data = bytearray(image.read_bytes())
    used = [place for place in range(0, len(data), 512) if any(data[place : place + 512])]
    for _ in range(chance.randrange(1, 50)):
        data[chance.choice(used[: len(used) // 2]) + chance.randrange(512)] ^= 1 << chance.randrange(8)
    image.write_bytes(data)
    for words in (["ls", "-lRa", image], ["hash", f"{image}:/"], ["info", image], ["fsck", image], ["df", image]):
        assert run(*words)[0] in (0, 1, 4, 8)
    assert image.read_bytes() == data
    for words in (["cp", "-", f"{image}:/dir/new"], ["rm", "-rf", f"{image}:/dir"], ["fsck", "-y", image]):
        assert run(*words)[0] in (0, 1, 4, 5, 8, 125)
