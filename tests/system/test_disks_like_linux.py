"""The host's kernel judges our disks: the same random system calls on its ext4 (its tmpfs, where it mounts none) and on ours, errno for
errno; on FAT against what Linux's vfat is documented to do.  What a run leaves is compared behind a remount, and fsck finds nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.system.helpers.extimages import check, make
from tests.system.helpers.hostdirs import SYSTEM_PATH, FatLike, loop_mounted, memory_directory, why_no_ext4
from tests.system.helpers.randomcalls import NAMELESS, STEPS, USER
from tests.system.helpers.samecalls import Host, OnDisk
from tests.system.helpers.sameruns import compare

pytestmark = [pytest.mark.needs("root", "mke2fs", "e2fsck"), pytest.mark.once]
SUPPRESSED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
SIZE = 8 << 20
EXAMPLES = int(os.environ.get("RUMPKIT_TEST_EXAMPLES", "300"))
"""How many long runs of each kind."""
FEATURES = {
    "ext2": "-t ext2 -b 1024",
    "ext4": "-t ext4 -b 4096",
    "ext4 small": "-t ext4 -b 1024 -I 128 -O ^metadata_csum,^64bit",
    "ext4 inline": "-t ext4 -b 1024 -O inline_data,^has_journal",
}


@cache
def image_of(options: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return make(Path(folder) / "image", SIZE, options).read_bytes()


@cache
def fat_image() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image"
        path.write_bytes(bytes(SIZE))
        subprocess.run(
            ["mkfs.fat", "-F", "16", "-s", "1", path], check=True, capture_output=True, env={"PATH": SYSTEM_PATH}
        )
        return path.read_bytes()


@pytest.fixture(scope="module")
def host_ext4(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The same images, mounted by the host; but without inline data, of which Linux (6.18) loses what is written far behind it."""
    if why := why_no_ext4():
        pytest.skip(f"the host mounts no ext4: {why}")
    base = tmp_path_factory.mktemp("host")
    mounts = []
    try:
        found = {}
        for name, options in FEATURES.items():
            image = base / f"{name}.image"
            image.write_bytes(image_of(options.replace("inline_data,", "")))
            (base / name).mkdir()
            mounts.append(loop_mounted(image, base / name))
            found[name] = mounts[-1].__enter__()
        yield found
    finally:
        for mount in mounts:
            mount.__exit__(None, None, None)


def judge(ours: OnDisk) -> None:
    """Other people's fsck finds nothing."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        path = Path(folder) / "image"
        path.write_bytes(ours.disk.read(0, ours.disk.size))
        if ours.kind != "vfat":
            check(path)
            return
        said = subprocess.run(["fsck.fat", "-n", path], capture_output=True, text=True, env={"PATH": SYSTEM_PATH})
        assert said.returncode == 0, said.stdout + said.stderr


def run(name: str, uid: int, base: Path, steps: list[Any]) -> None:
    directory = Path(tempfile.mkdtemp(dir=base))
    kind = name.split()[0]
    try:
        ours = compare(lambda: OnDisk(uid, kind, image_of(FEATURES[name])), lambda: Host(directory, uid), steps)
    finally:
        shutil.rmtree(directory)
    assert isinstance(ours, OnDisk)
    judge(ours)


@pytest.mark.parametrize("uid", [0, USER])
@pytest.mark.parametrize("name", FEATURES)
@settings(suppress_health_check=SUPPRESSED, max_examples=10)
@given(steps=st.lists(STEPS, max_size=60))
def test_like_the_hosts_ext4(name: str, uid: int, host_ext4: dict[str, Path], steps: list[Any]) -> None:
    run(name, uid, host_ext4[name], steps)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("uid", [0, USER])
@pytest.mark.parametrize("name", FEATURES)
@settings(suppress_health_check=SUPPRESSED, max_examples=EXAMPLES, phases=[Phase.generate])
@given(steps=st.lists(STEPS, min_size=60, max_size=120))
def test_like_the_hosts_ext4_for_long(name: str, uid: int, host_ext4: dict[str, Path], steps: list[Any]) -> None:
    run(name, uid, host_ext4[name], steps)


FOLDED = st.sampled_from(["A", "B", "a/B", "B/a"])


def _is_of_fat(step: Any) -> bool:
    """Whether vfat is documented to do something of its own."""
    name, arguments = step
    called = arguments[0] if name == "both" else arguments[1] if name == "on_file" else name
    if "xattr" in called or called == "link_file" or (called == "open_file" and arguments[1] & NAMELESS == NAMELESS):
        return False
    if called == "fallocate":
        return bool(arguments[2] != 1)
    return not (called == "rename" and arguments[3] & 2)


FAT_STEPS = st.one_of(
    STEPS.filter(_is_of_fat),
    STEPS.filter(_is_of_fat),
    st.tuples(st.just("open_file"), st.tuples(FOLDED, st.just(os.O_RDWR | os.O_CREAT), st.just(0o666))),
    st.tuples(st.just("both"), st.tuples(st.just("mkdir"), FOLDED, st.just(0o777))),
    st.tuples(st.just("both"), st.tuples(st.just("rename"), FOLDED, FOLDED, st.just(0))),
    st.tuples(st.just("both"), st.tuples(st.just("chmod"), FOLDED, st.sampled_from([0o555, 0o755, 0o777]))),
)


@pytest.mark.needs("mkfs.fat", "fsck.fat")
@pytest.mark.parametrize("uid", [0, USER])
@settings(suppress_health_check=SUPPRESSED, max_examples=20)
@given(steps=st.lists(FAT_STEPS, max_size=60))
def test_like_vfat(uid: int, steps: list[Any]) -> None:
    run_on_fat(uid, steps)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.needs("mkfs.fat", "fsck.fat")
@pytest.mark.parametrize("uid", [0, USER])
@settings(suppress_health_check=SUPPRESSED, max_examples=EXAMPLES, phases=[Phase.generate])
@given(steps=st.lists(FAT_STEPS, min_size=60, max_size=120))
def test_like_vfat_for_long(uid: int, steps: list[Any]) -> None:
    run_on_fat(uid, steps)


def run_on_fat(uid: int, steps: list[Any]) -> None:
    with memory_directory() as base:
        ours = compare(lambda: OnDisk(uid, "vfat", fat_image(), uid=uid, gid=uid), lambda: FatLike(base, uid), steps)
    assert isinstance(ours, OnDisk)
    judge(ours)
