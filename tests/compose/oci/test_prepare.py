"""Container images and packed archives as mounts: which image, which layers, what is refused, what the cache keeps."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import subprocess
from pathlib import Path

import pytest

from rumpkit import Kernel
from rumpkit.compose.check import check
from rumpkit.compose.errors import ConfigError
from rumpkit.compose.load import parse
from rumpkit.compose.oci.cache import MOST_NOTES, PROOF
from rumpkit.compose.oci.prepare import defaults_of, prepare
from rumpkit.compose.roots import IMAGES
from rumpkit.compose.spec import KernelSpec, Spec
from rumpkit.kern.abi import errno as abi
from tests.compose.oci.ocimake import INDEX, Layout, digest, docker_save
from tests.fs.tar.tarmake import DIRECTORY, archive, link

pytestmark = pytest.mark.once

LOWER = archive(
    ("bin/", DIRECTORY), ("bin/server", {"data": b"#!program", "mode": 0o755}), ("etc/old", b"old"), ("etc/both", b"1")
)
UPPER = archive(("etc/.wh.old", b""), ("etc/both", b"2"), ("sbin", link("bin")))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RUMPKIT_CACHE_BYTES", raising=False)
    return tmp_path / "cache" / "rumpkit" / "unpacked"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "image")


def check_mounted(source: Path | str, kind: str = "oci") -> None:
    with Kernel(mounts={"/image": {"type": kind, "source": str(source)}}) as kernel:
        client = kernel.process()
        fd = client.open("/image/sbin/server")
        assert client.read(fd, 100) == b"#!program"
        client.close(fd)
        fd = client.open("/image/etc/both")
        assert client.read(fd, 100) == b"2"
        client.close(fd)
        with pytest.raises(OSError) as gone:
            client.stat("/image/etc/old")
        assert gone.value.errno == abi.ENOENT
        with pytest.raises(OSError) as refused:
            client.mkdir("/image/new")
        assert refused.value.errno == abi.EROFS


def refused(source: Path | str, code: int) -> str:
    with pytest.raises(OSError) as caught:
        prepare(str(source))
    assert caught.value.errno == code, caught.value
    return str(caught.value)


@pytest.mark.parametrize("compress", [gzip.compress, None, lzma.compress])
def test_a_layout_is_mounted(layout: Layout, cache: Path, compress) -> None:
    layout.image(LOWER, UPPER, compress=compress)
    check_mounted(layout.path)
    assert files(cache) == sorted(digest(data).replace(":", "-") + ".tar" for data in (LOWER, UPPER))
    assert cache.stat().st_mode & 0o777 == 0o700
    check_mounted(layout.path, "auto")  # from the cache


@pytest.mark.needs("zstd")
def test_layers_of_zstd(layout: Layout) -> None:
    layout.image(
        LOWER,
        UPPER,
        compress=lambda data: subprocess.run(["zstd", "-c"], input=data, capture_output=True, check=True).stdout,
    )
    check_mounted(layout.path)


def test_archives_of_images(layout: Layout, tmp_path: Path) -> None:
    layout.image(LOWER, UPPER)
    check_mounted(layout.packed(tmp_path / "layout.tar"))
    saved = docker_save(tmp_path / "saved.tar", LOWER, UPPER)
    check_mounted(saved, "auto")
    check_mounted(f"{saved}:latest")
    assert "web:latest" in refused(f"{saved}:other", abi.ENOENT)


def test_what_an_image_says_of_its_program(layout: Layout) -> None:
    layout.image(LOWER)
    found = defaults_of(str(layout.path))
    assert found is not None
    assert found.command == ["/bin/server", "--port", "80"] and found.entrypoint == ["/bin/server"]
    assert found.env == {"PATH": "/usr/bin:/bin", "MODE": "a=b"}
    assert (found.cwd, found.user, found.stop_signal) == ("/srv", "1000:1000", "SIGINT")


def test_which_image(layout: Layout) -> None:
    first = layout.image(LOWER, name="one")
    layout.image(LOWER, UPPER, name="two")
    layout.image(archive(("foreign", b"")), name="two", architecture="pdp11")
    assert len(prepare(f"{layout.path}:one").places) == 1
    assert len(prepare(f"{layout.path}:two").places) == 2
    assert len(prepare(f"{layout.path}@{first}").places) == 1
    said = refused(layout.path, abi.EINVAL)
    assert "one, two" in said and "say which one" in said
    assert "one, two" in refused(f"{layout.path}:three", abi.ENOENT)
    layout.image(UPPER, name="latest")
    assert len(prepare(str(layout.path)).places) == 1


def test_an_index_that_names_another_very_often(layout: Layout) -> None:
    layout.image(LOWER)
    for _ in range(4):
        inner = layout.blob(json.dumps({"manifests": layout.manifests}).encode())
        layout.manifests = [{**inner, "mediaType": INDEX}] * 4000
    layout.write_index()
    assert len(prepare(str(layout.path)).places) == 1


def test_an_index_of_indexes(layout: Layout) -> None:
    layout.image(LOWER, UPPER)
    inner = layout.blob(json.dumps({"manifests": layout.manifests}).encode())
    layout.manifests = [{**inner, "mediaType": INDEX, "annotations": {"org.opencontainers.image.ref.name": "multi"}}]
    layout.write_index()
    assert len(prepare(f"{layout.path}:multi").places) == 2


def test_images_for_other_machines(layout: Layout) -> None:
    layout.image(LOWER, architecture="pdp11")
    assert "no image for" in refused(layout.path, abi.ENOENT)
    del layout.manifests[0]["platform"]
    layout.write_index()
    assert "pdp11" in refused(layout.path, abi.ENOENT)


def blobs(layout: Layout) -> list[Path]:
    return sorted((layout.path / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)


def test_an_image_of_several_platforms(layout: Layout) -> None:
    layout.image(LOWER)
    layout.image(LOWER, UPPER, architecture="pdp11")
    layout.image(UPPER, architecture="vax")
    layout.manifests[1]["platform"]["variant"] = "v20"
    layout.manifests.append({**layout.manifests[2], "platform": {"architecture": "unknown", "os": "unknown"}})
    layout.write_index()
    assert len(prepare(str(layout.path)).places) == 1, "this machine's"
    for platform in ("linux/pdp11", "linux/pdp11/v20"):
        assert len(prepare(str(layout.path), platform=platform).places) == 2
    for platform in ("linux/pdp11/v40", "linux/pdp8", "plan9/vax"):
        with pytest.raises(OSError, match=f"no image for {platform}; it has .*linux/pdp11/v20, linux/vax"):
            prepare(str(layout.path), platform=platform)
    for platform in ("vax", "linux/", "linux/vax/1/2"):
        with pytest.raises(OSError, match="is no platform"):
            prepare(str(layout.path), platform=platform)
    with Kernel(spec_with(layout.path, root_platform="linux/pdp11")) as kernel:
        assert kernel.process().stat(f"{IMAGES}/0/etc/both")
    with pytest.raises(ConfigError, match=r"no image for linux/pdp8; it has linux/.*linux/pdp11/v20"):
        Kernel(spec_with(layout.path, root_platform="linux/pdp8"))
    plain = layout.path.with_name("plain.tar")
    plain.write_bytes(LOWER)
    with pytest.raises(ConfigError, match="chooses among a container image's"):
        Kernel(spec_with(plain, root_platform="linux/pdp8"))


def spec_with(root: Path, **keys: object) -> Spec:
    return Spec(kernel=KernelSpec(root=str(root), **keys))  # type: ignore[arg-type]


def test_who_knows_a_digest_has_not_the_layer(layout: Layout, tmp_path: Path, cache: Path) -> None:
    """What is in the cache is for images that have it themselves."""
    layout.image(LOWER)
    prepare(str(layout.path))
    thief = Layout(tmp_path / "thief")
    thief.image(UPPER)
    manifest = json.loads((thief.path / "blobs" / "sha256" / thief.manifests[0]["digest"][7:]).read_bytes())
    config = json.loads((thief.path / "blobs" / "sha256" / manifest["config"]["digest"][7:]).read_bytes())
    config["rootfs"]["diff_ids"] = [digest(LOWER)]
    manifest["config"] = thief.blob(json.dumps(config).encode())
    thief.manifests = [thief.blob(json.dumps(manifest).encode())]
    thief.write_index()
    assert "unpacks to" in refused(thief.path, abi.EUCLEAN)
    # Not with the digest of its blob, either.
    theirs = gzip.compress(LOWER)
    (thief.path / "blobs" / "sha256" / digest(theirs)[7:]).write_bytes(b"nothing")
    manifest["layers"] = [{"digest": digest(theirs), "size": len(theirs)}]
    thief.manifests = [thief.blob(json.dumps(manifest).encode())]
    thief.write_index()
    assert "digest" in refused(thief.path, abi.EUCLEAN)
    saved = docker_save(tmp_path / "saved.tar", UPPER)
    saved.write_bytes(saved.read_bytes().replace(digest(UPPER).encode(), digest(LOWER).encode()))
    assert "unpacks to" in refused(saved, abi.EUCLEAN)
    assert len(files(cache)) == 1
    # Who has it: a copy is looked at once.
    copy = Layout(tmp_path / "copy")
    copy.image(LOWER, compress=None)
    prepare(str(copy.path))
    notes = len(list(cache.iterdir()))
    prepare(str(copy.path))
    prepare(str(layout.path))
    assert len(list(cache.iterdir())) == notes == 3


def test_notes_on_layers_do_not_become_ever_more(layout: Layout, tmp_path: Path, cache: Path) -> None:
    layout.image(LOWER)
    prepare(str(layout.path))
    (layer,) = files(cache)
    for number in range(MOST_NOTES + 9):
        note = cache / f"{layer}{PROOF}{number}"
        note.touch()
        os.utime(note, ns=(number, number))
    (cache / f"gone.tar{PROOF}1").touch()
    copy = Layout(tmp_path / "copy")
    copy.image(LOWER, compress=None)
    prepare(str(copy.path))
    notes = {one.name for one in cache.iterdir()} - {layer}
    assert len(notes) == MOST_NOTES and f"{layer}{PROOF}10" not in notes and f"{layer}{PROOF}11" in notes
    prepare(str(copy.path))
    prepare(str(layout.path))
    assert {one.name for one in cache.iterdir()} - {layer} == notes, "those in use are the newest"


def files(cache: Path) -> list[str]:
    """What is in the cache, without the notes on it."""
    return sorted(one.name for one in cache.iterdir() if PROOF not in one.name)


def test_bytes_that_are_others(layout: Layout, cache: Path) -> None:
    layout.image(LOWER)
    for path in blobs(layout):
        good = path.read_bytes()
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        refused(layout.path, abi.EUCLEAN if good[:2] != b"\x1f\x8b" else abi.EINVAL)
        path.write_bytes(good)
        assert not cache.exists() or not list(cache.iterdir())
    name = layout.manifests[0]["digest"][7:]
    manifest = json.loads((layout.path / "blobs" / "sha256" / name).read_bytes())
    config = json.loads((layout.path / "blobs" / "sha256" / manifest["config"]["digest"][7:]).read_bytes())
    config["rootfs"]["diff_ids"] = [digest(b"something else")]
    manifest["config"] = layout.blob(json.dumps(config).encode())
    layout.manifests = [layout.blob(json.dumps(manifest).encode())]
    layout.write_index()
    assert "unpacks to" in refused(layout.path, abi.EUCLEAN)
    assert not list(cache.iterdir())


@pytest.mark.parametrize("contents", ["", "file-x", "sha256:../x"])
def test_a_layer_that_names_no_contents(contents: str, layout: Layout, cache: Path) -> None:
    """Else it would be found in the cache by the next image that names none."""
    layout.image(LOWER)
    name = layout.manifests[0]["digest"][7:]
    manifest = json.loads((layout.path / "blobs" / "sha256" / name).read_bytes())
    config = json.loads((layout.path / "blobs" / "sha256" / manifest["config"]["digest"][7:]).read_bytes())
    config["rootfs"]["diff_ids"] = [contents]
    manifest["config"] = layout.blob(json.dumps(config).encode())
    layout.manifests = [layout.blob(json.dumps(manifest).encode())]
    layout.write_index()
    refused(layout.path, abi.EINVAL)
    assert not cache.exists() or not list(cache.iterdir())


def test_evil_layouts(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(LOWER)
    layout.image(LOWER)
    (layout.path / "blobs" / "sha256" / digest(gzip.compress(LOWER))[7:]).unlink(missing_ok=True)
    for text in ("[]", "{", '{"manifests": 3}', "[" * 100_000, '{"manifests": [{"digest": "sha256:../../../secret"}]}'):
        (layout.path / "index.json").write_text(text)
        refused(layout.path, abi.EINVAL)
    layout.manifests = [{"digest": "md5:" + "0" * 32}]
    layout.write_index()
    refused(layout.path, abi.EINVAL)
    # A blob that is a link out of the layout.
    outside = digest(LOWER)
    (layout.path / "blobs" / "sha256" / outside[7:]).symlink_to(secret)
    layout.manifests = [{"digest": outside}]
    layout.write_index()
    assert "leads out" in refused(layout.path, abi.EINVAL)
    with open(layout.path / "index.json", "wb") as file:
        file.truncate(1 << 30)
    refused(layout.path, abi.EFBIG)
    # Much that comes out of little.
    monkeypatch.setenv("RUMPKIT_CACHE_BYTES", "2M")
    other = Layout(tmp_path / "bomb")
    other.image(archive(("zeros", bytes(5 << 20))))
    assert "RUMPKIT_CACHE_BYTES" in refused(other.path, abi.EFBIG)
    assert not list(cache.iterdir())


def test_a_layer_that_wants_out_stays_in(layout: Layout, tmp_path: Path) -> None:
    layout.image(archive(("out", link("/../../../etc")), ("out/passwd", b"mine")))
    with Kernel(mounts={"/image": {"type": "oci", "source": str(layout.path)}}) as kernel:
        client = kernel.process()
        assert client.read(client.open("/image/etc/passwd"), 10) == b"mine"
    other = Layout(tmp_path / "other")
    other.image(archive(("../../etc/evil", b"")))
    with pytest.raises(ConfigError, match="leads out"):
        Kernel(mounts={"/image": {"type": "oci", "source": str(other.path)}})


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_archives(tmp_path: Path, pack, cache: Path) -> None:
    path = tmp_path / "root.tar.packed"
    data = archive(("bin/server", b"#!program"), ("sbin", link("bin")), ("etc/both", b"2"))
    path.write_bytes(pack(data[: len(data) // 2]) + pack(data[len(data) // 2 :]))
    check_mounted(path, "tar")
    check_mounted(path, "auto")
    assert len(list(cache.iterdir())) == 1
    path.write_bytes(pack(data)[:-20])
    refused(path, abi.EINVAL)


def test_the_cache_forgets_what_was_used_the_longest_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setenv("RUMPKIT_CACHE_BYTES", "100K")
    paths = []
    for number in range(4):
        path = tmp_path / f"{number}.tar.gz"
        path.write_bytes(gzip.compress(archive((f"file-{number}", bytes(30_000)))))
        paths.append(prepare(str(path)).places[0].path)
        os.utime(paths[-1], (number, number))
    assert [os.path.exists(path) for path in paths] == [False, False, True, True]
    monkeypatch.setenv("RUMPKIT_CACHE_BYTES", "many")
    refused(tmp_path / "0.tar.gz", abi.EINVAL)
    monkeypatch.delenv("RUMPKIT_CACHE_BYTES")
    cache.chmod(0o755)
    assert "chmod 700" in refused(tmp_path / "0.tar.gz", abi.EPERM)


@pytest.mark.long
@pytest.mark.needs("skopeo")
def test_what_skopeo_copies(layout: Layout, tmp_path: Path) -> None:
    layout.image(LOWER, UPPER, name="web")
    for target in (
        f"oci:{tmp_path}/copy:again",
        f"oci-archive:{tmp_path}/copy.tar:again",
        f"docker-archive:{tmp_path}/docker.tar:web:1",
    ):
        subprocess.run(["skopeo", "copy", "--insecure-policy", "-q", f"oci:{layout.path}:web", target], check=True)
    check_mounted(f"{tmp_path}/copy:again")
    check_mounted(f"{tmp_path}/copy.tar")
    check_mounted(f"{tmp_path}/docker.tar")


def test_a_program_without_a_command_needs_a_root() -> None:
    text = "[[run]]\nenv = {}\n"
    with pytest.raises(ConfigError, match=r"run\[0\].command: is empty"):
        check(parse(text), "c.toml", text)
    check(parse("[kernel]\nroot = 'image'\n" + text), "c.toml", text)


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(archive(("file", b""))))
    assert "XDG_CACHE_HOME" in refused(path, abi.ENOTDIR)
