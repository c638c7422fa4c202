"""Trees as tar archives: ours read by GNU tar and by us, GNU tar's read by us, evil ones by nobody."""

import bz2
import gzip
import io
import lzma
import os
import shutil
import subprocess
import tarfile

import pytest

from rumpkit.compose.image.archive import Writer
from rumpkit.compose.image.compare import Comparison
from rumpkit.compose.image.outside import outside
from rumpkit.compose.image.unpacking import Reader
from tests.compose.image.trees_for_tests import make_tree, memory


def host(path):
    return outside(os.fsencode(path))


def packed(node, **options):
    stream = io.BytesIO()
    writer = Writer(stream, **options)
    writer.add(node, b".")
    writer.close()
    stream.seek(0)
    return stream


@pytest.mark.parametrize("compression", ["", "gz"])
def test_out_and_in_is_the_same(tmp_path, compression):
    tree = make_tree(tmp_path / "tree")
    with memory() as (root, _):
        Reader(packed(host(tree), compression=compression), root).unpack()
        assert list(Comparison().compare(host(tree), root)) == []
        assert root.get(b"dir").stat().st_mtime_ns == 1_500_000_002_000_000_000
        assert root.get(b"sparse").stat().st_blocks * 512 < 1 << 20
        assert packed(root).getvalue() == packed(host(tree)).getvalue()


@pytest.mark.needs("tar")
def test_gnu_tar_reads_ours(tmp_path):
    tree = make_tree(tmp_path / "tree")
    (tmp_path / "out").mkdir()
    subprocess.run(
        ["tar", "--xattrs", "-xpf", "-", "-C", tmp_path / "out"], input=packed(host(tree)).getvalue(), check=True
    )
    assert list(Comparison().compare(host(tree), host(tmp_path / "out"))) == []
    assert os.stat(tmp_path / "out" / "sparse").st_blocks * 512 < 1 << 20


@pytest.mark.needs("tar")
@pytest.mark.parametrize(
    "how", [["--xattrs", "--format=pax", "--sparse"], ["--format=gnu", "--sparse"], ["--xattrs", "--format=pax"]]
)
def test_we_read_gnu_tars(tmp_path, how):
    tree = make_tree(tmp_path / "tree")
    done = subprocess.run(["tar", *how, "-cf", "-", "-C", tree, "."], capture_output=True, check=True)
    with memory() as (root, _):
        Reader(io.BytesIO(done.stdout), root).unpack()
        exact = "--format=gnu" not in how  # which has whole seconds only, and no attributes
        found = [one for one in Comparison(times=exact).compare(host(tree), root) if exact or one.what != ("xattrs",)]
        assert found == []


def archive_of(*members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    stream.seek(0)
    return stream


def member(name, data=b"", kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data)
    return info, data


def test_names_don_t_leave_the_directory(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "victim").mkdir()
    evil = archive_of(
        member("../victim/a", b"1"),
        member("ok/../../victim/b", b"1"),
        member("link", kind=tarfile.SYMTYPE, link=str(tmp_path / "victim")),
        member("link/c", b"1"),
        member("hard", kind=tarfile.LNKTYPE, link="../victim"),
        member(f"/{tmp_path.name}/absolute", b"2"),
    )
    said = []
    Reader(evil, host(tmp_path / "out"), lambda path, problem: said.append(path)).unpack()
    assert said == [b"../victim/a", b"ok/../../victim/b", b"link/c", b"hard"]
    assert not list((tmp_path / "victim").iterdir())
    assert (tmp_path / "out" / tmp_path.name / "absolute").read_bytes() == b"2"


def test_what_is_no_archive():
    with memory() as (root, _):
        with pytest.raises(OSError, match="no tar archive"):
            Reader(io.BytesIO(b"nonsense" * 1000), root)
        whole = archive_of(member("a", b"x" * 100_000)).getvalue()
        with pytest.raises(OSError, match="archive"):
            Reader(io.BytesIO(whole[:50_000]), root).unpack()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_what_is_wrong_with_a_compressed_archive(pack):
    """And not that it is compressed."""
    large, _ = member("a", b"", tarfile.XHDTYPE)
    large.size = 1 << 40
    with memory() as (root, _):
        with pytest.raises(OSError, match=r"unpacked \(\w+\).* a header of 1099511627776 bytes; the limit is"):
            Reader(io.BytesIO(pack(large.tobuf(tarfile.GNU_FORMAT))), root)
        with pytest.raises(OSError, match=r"unpacked \(\w+\), it is no tar archive"):
            Reader(io.BytesIO(pack(b"nonsense" * 1000)), root)
        with pytest.raises(OSError, match="compressed by lz4; unpack it first"):
            Reader(io.BytesIO(b"\x04\x22\x4d\x18" + bytes(1000)), root)


def test_what_describes_members_has_limits(tmp_path):
    """A header of gigabytes takes megabytes of a compressed archive, and what a general one says is there for each member."""
    large = tarfile.TarInfo("x")
    large.type, large.size = tarfile.XHDTYPE, 1 << 30
    with pytest.raises(OSError, match="the limit is"), memory() as root:
        Reader(io.BytesIO(large.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 16)), root)
    headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1"}
    for text in (b"%d\n" % (1 << 30) + b"0\n" * 1000, b"1\n-1\n0\n", b"x" * 5000, b"2\n0\n"):
        sparse = tarfile.TarInfo("s")
        sparse.size, sparse.pax_headers = 1 << 20, headers
        said = io.BytesIO(sparse.tobuf(tarfile.PAX_FORMAT) + text + bytes(-len(text) % 512))
        with pytest.raises(OSError, match=r"sparse file of more|map of holes"), memory() as root:
            Reader(said, root).unpack()
    general = {f"SCHILY.xattr.user.{number}": "value" for number in range(100)} | {"mtime": "7"}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers=general) as made:
        for name in "ab":
            made.addfile(tarfile.TarInfo(name))
    reader = Reader(io.BytesIO(out.getvalue()), host(tmp_path))
    assert [(info.name, info.mtime, dict(info.pax_headers)) for info in reader.names()] == [
        (name, 7, {"mtime": "7"}) for name in "ab"
    ]


def test_later_times_are_held_back(tmp_path):
    tree = make_tree(tmp_path / "tree")
    first = packed(host(tree), newest=10**18).getvalue()
    os.utime(tree / "small", ns=(0, 2 * 10**18))
    assert packed(host(tree), newest=10**18).getvalue() == first
    shutil.rmtree(tree)
