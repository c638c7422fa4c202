"""Archives as trees: names, links, layers with whiteouts, and what evil archives try."""

from __future__ import annotations

import tarfile

import pytest

from rumpkit.kern.abi import errno as abi
from tests.fs.tar.tarmake import DIRECTORY, archive, attach, hard, link, mounted
from tests.vfs.helpers import COMPONENTS, Files

FORMS = [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]


def refused(*archives: bytes, **options: object) -> OSError:
    files = Files(components=(*COMPONENTS, "tar"))
    source = attach(files, *archives)
    with pytest.raises(OSError) as caught:
        files.mount("tar", "/mnt", source, **options)
    assert caught.value.strerror
    for name in source.split(","):
        device = files.vfs.devices.named(name)
        assert device is not None and device.claims == 0
    return caught.value


@pytest.mark.parametrize("form", FORMS)
def test_files_of_all_kinds(form: int) -> None:
    data = archive(
        ("a/", {**DIRECTORY, "mode": 0o1750, "uid": 12, "gid": 34, "mtime": 1_000_000}),
        ("a/file", {"data": b"hello", "mode": 0o4755, "mtime": 1_234_567}),
        ("./a/deep/er/file", b"x" * 5000),
        ("a/link", link("file")),
        ("a/hard", hard("a/file")),
        ("null", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3, "mode": 0o666}),
        ("fifo", {"type": tarfile.FIFOTYPE}),
        ("/absolute", b"inside"),
        ("l" * 90 + "/" + "m" * 80, b"long"),
        form=form,
    )
    with mounted(data) as client:
        assert sorted(client.names("/mnt")) == ["a", "absolute", "fifo", "l" * 90, "null"]
        status = client.stat("/mnt/a")
        assert (status.st_mode, status.st_uid, status.st_gid, status.st_nlink) == (0o041750, 12, 34, 3)
        assert status.st_mtime_ns == 1_000_000 * 10**9
        assert client.get("/mnt/a/link") == client.get("/mnt/a/hard") == b"hello"
        assert client.stat("/mnt/a/file").st_mode == 0o104755
        assert client.stat("/mnt/a/file").st_nlink == 2
        assert client.stat("/mnt/a/hard").st_ino == client.stat("/mnt/a/file").st_ino
        assert client.stat("/mnt/a/deep").st_mode == 0o040755
        assert client.get("/mnt/a/deep/er/../er/file") == b"x" * 5000
        assert client.stat("/mnt/null").st_rdev == 0x103
        assert client.get("/mnt/absolute") == b"inside"
        assert client.get("/mnt/" + "l" * 90 + "/" + "m" * 80) == b"long"
        fd = client.open("/mnt/a/file", 0)
        assert client.pread(fd, 3, 2) == b"llo" and client.pread(fd, 3, 5) == b""
        client.close(fd)
        with pytest.raises(OSError) as caught:
            client.put("/mnt/a/file", b"new")
        assert caught.value.errno == abi.EROFS


def test_attributes_of_pax() -> None:
    headers = {"SCHILY.xattr.user.note": "value", "mtime": "12.000000345", "uid": "5000000"}
    data = archive(("file", {"data": b"1", "pax_headers": headers}), ("other", b"2"))
    with mounted(data) as client:
        assert client.getxattr("/mnt/file", "user.note") == b"value"
        assert client.stat("/mnt/file").st_mtime_ns == 12_000_000_345
        assert client.stat("/mnt/file").st_uid == 5_000_000
        assert client.listxattr("/mnt/other") == []


def test_what_comes_later_goes_before() -> None:
    data = archive(
        ("file", b"old"),
        ("file", b"new"),
        ("directory/inner", b""),
        ("directory", b"now a file"),
        ("other", b"a file"),
        ("other/inner", b"in a directory"),
    )
    with mounted(data) as client:
        assert client.get("/mnt/file") == b"new"
        assert client.get("/mnt/directory") == b"now a file"
        assert client.get("/mnt/other/inner") == b"in a directory"


def test_layers_with_whiteouts() -> None:
    lower = archive(
        ("etc/", DIRECTORY),
        ("etc/keep", b"keep"),
        ("etc/gone", b"gone"),
        ("var/log/a", b"a"),
        ("var/log/b", b"b"),
        ("lib", link("usr/lib")),
        ("usr/lib/", DIRECTORY),
        ("tree/sub/file", b"1"),
        ("first", b"one"),
    )
    upper = archive(
        ("etc/.wh.gone", b""),
        ("var/log/c", b"c"),
        ("var/log/.wh..wh..opq", b""),
        ("lib/new", b"through the link"),
        ("tree/.wh.sub", b""),
        ("second", hard("first")),
        (".wh..wh.plnk", b""),
    )
    top = archive(("tree/sub/other", b"2"), ("tree/.wh.sub", b""), ("etc/gone", b"back"))
    with mounted(lower, upper, top, whiteouts=True) as client:
        assert sorted(client.names("/mnt")) == ["etc", "first", "lib", "second", "tree", "usr", "var"]
        assert client.get("/mnt/etc/gone") == b"back"
        assert client.names("/mnt/var/log") == ["c"]
        assert client.get("/mnt/usr/lib/new") == b"through the link"
        assert client.names("/mnt/tree/sub") == ["other"]
        assert client.stat("/mnt/second").st_ino == client.stat("/mnt/first").st_ino
        assert client.get("/mnt/second") == b"one"
    with mounted(archive(("etc/.wh.gone", b""))) as client:
        assert client.names("/mnt/etc") == [".wh.gone"]


def test_nothing_leads_out() -> None:
    """There is no outside; names that want to be there are refused, links end in the tree."""
    assert refused(archive(("../evil", b""))).errno == abi.EUCLEAN
    assert refused(archive(("a/../../evil", b""))).errno == abi.EUCLEAN
    data = archive(("out", link("/../../etc")), ("out/passwd", b"mine"), ("up", link("..")), ("up/here", b"2"))
    with mounted(data) as client:
        assert client.get("/mnt/etc/passwd") == b"mine"
        assert client.get("/mnt/here") == b"2"


def test_evil_archives() -> None:
    good = archive(("file", b"x" * 2000), ("other", b""))
    assert refused(good[:1000]).errno == abi.EUCLEAN
    damaged = bytearray(good)
    damaged[2560 + 3] ^= 1
    assert refused(bytes(damaged)).errno == abi.EUCLEAN
    assert refused(archive(("a", hard("missing")))).errno == abi.EUCLEAN
    assert refused(archive(("d/", DIRECTORY), ("a", hard("d")))).errno == abi.EUCLEAN
    assert refused(archive(("a", link("b")), ("b", link("a")), ("a/file", b""))).errno == abi.EUCLEAN
    assert refused(archive(("n" * 256, b""))).errno == abi.EUCLEAN
    assert refused(b"\1" * 2048).errno == abi.EINVAL
    for key, value in (("size", "99999999999"), ("mtime", "soon"), ("GNU.sparse.map", "0,1,2"), ("uid", "-1")):
        assert refused(archive(("a", {"data": b"1", "pax_headers": {key: value}}))).errno == abi.EUCLEAN
    for size in ("99999999999999999999", "-1"):
        headers = {"GNU.sparse.map": "0,0", "GNU.sparse.size": size}
        assert refused(archive(("a", {"pax_headers": headers}))).errno == abi.EUCLEAN
    for device in ({"devmajor": 1 << 40}, {"devminor": -1}):
        evil = {"type": tarfile.CHRTYPE, **device}
        assert refused(archive(("a", evil), form=tarfile.GNU_FORMAT)).errno == abi.EUCLEAN
    late = bytearray(archive(("a", b""))[:512])
    late[136:156] = b"\x80" + b"\x7f" * 11 + b" " * 8
    late[148:155] = b"%06o\0" % sum(late)
    assert refused(bytes(late) + bytes(1024)).errno == abi.EUCLEAN
    many = archive(*[(f"file-{number}", b"") for number in range(200)])
    assert refused(many, index_bytes=1 << 16).errno == abi.EFBIG
    assert refused(*[archive(("a", b""))] * 2, read_only=False).errno == abi.EROFS


def test_little_of_a_general_header_is_kept() -> None:
    """As each member behind it has what it says: megabytes of it would be there, and gone through, for each."""
    headers = {f"SCHILY.xattr.user.{number}": "value" for number in range(1000)} | {"mtime": "7"}
    data = archive(*[(f"file-{number}", b"") for number in range(100)], pax_headers=headers)
    files = tarfile.TarInfo.create_pax_global_header(headers) + archive(("file", b"1"), form=tarfile.USTAR_FORMAT)
    assert refused(data, index_bytes=1 << 20).errno == abi.EFBIG
    with mounted(files) as client:
        assert client.listxattr("/mnt/file") == []
        assert client.stat("/mnt/file").st_mtime_ns == 7_000_000_000


def test_a_directory_that_comes_again_counts_again() -> None:
    headers = {f"SCHILY.xattr.user.{number}": "value" for number in range(1000)}
    plain = [(f"d{number}", DIRECTORY) for number in range(10)]
    more = [(name, DIRECTORY | {"pax_headers": headers}) for name, _ in plain]
    assert refused(archive(*plain, *more), index_bytes=1 << 20).errno == abi.EFBIG
    with mounted(archive(*plain, *more), index_bytes=8 << 20) as client:
        assert len(client.listxattr("/mnt/d3")) == 1000


def test_links_on_links_end() -> None:
    """Forty links are allowed on a path, and each may have two thousand names: that is too much for each member."""
    links = [(f"l{number}", link("a/../" * 700 + f"l{number + 1}")) for number in range(20)]
    data = archive(("a/", DIRECTORY), *links, ("l20/", DIRECTORY), ("l19/file", b"1"), ("l0/file", b"1"))
    assert "4096" in str(refused(data).strerror)
    assert "4096" in str(refused(archive(("a/", DIRECTORY), *links, ("x", hard("l0/file")))).strerror)


def test_what_is_opaque_once_more() -> None:
    opaque = ("d/.wh..wh..opq", b"")
    upper = archive(opaque, ("d/s/new", b""), opaque, ("d/t", b""), opaque, ("d/.wh.s", b""))
    with mounted(archive(("d/s/old", b""), ("d/old", b"")), upper, archive(("d/u", b""), opaque), whiteouts=True) as c:
        assert c.names("/mnt/d") == ["u"]
    with mounted(archive(("d/s/old", b""), ("d/old", b"")), upper, whiteouts=True) as c:
        assert sorted(c.names("/mnt/d")) == ["s", "t"]
        assert c.names("/mnt/d/s") == ["new"]


def test_every_cut_and_flip_is_an_error_or_a_tree() -> None:
    headers = {
        "SCHILY.xattr.user.a": "b",
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.realsize": "30",
    }
    sparse = (b"1\n10\n20\n").ljust(512, b"\0") + b"d" * 20
    data = archive(
        ("a/b", b"1"), ("sparse", {"data": sparse, "pax_headers": headers}), ("l", link("a")), ("h", hard("a/b"))
    )
    with mounted(data) as client:
        assert client.get("/mnt/sparse") == bytes(10) + b"d" * 20
    for place in range(0, len(data) - 10240 + 4000, 7):
        bad = bytearray(data)
        bad[place % len(bad)] ^= 0x11
        files = Files(components=(*COMPONENTS, "tar"))
        try:
            files.mount("tar", "/mnt", attach(files, bytes(bad)))
        except OSError as problem:
            assert problem.errno in (abi.EUCLEAN, abi.EINVAL)
            continue
        for name in files.root.names("/mnt"):
            try:
                files.root.get(f"/mnt/{name}")
            except OSError as problem:
                assert problem.errno in (abi.EISDIR, abi.EIO, abi.ENOENT, abi.ELOOP)


def test_a_directory_is_read_on_from_a_cookie() -> None:
    data = archive(*[(f"file-{number}", b"") for number in range(500)])
    with mounted(data) as client:
        assert len(set(client.names("/mnt"))) == 500
