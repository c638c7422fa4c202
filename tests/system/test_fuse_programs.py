"""Unmodified programs on a kernel's files: in a guest's own mount namespace, and over a mount on the host."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rumpkit import Kernel
from rumpkit.compose.spec import InterfaceSpec, MountSpec, Spec
from tests.clients.fuse.fuse_helpers import mounted
from tests.guests.linux.guest_helpers import Output

pytestmark = [pytest.mark.needs("fuse", "root", "seccomp"), pytest.mark.timeout(300)]

SQLITE = """
PRAGMA journal_mode={mode};
CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<2000) INSERT INTO t SELECT i, randomblob(500) FROM n;
BEGIN; DELETE FROM t WHERE a % 3 = 0; ROLLBACK;
DELETE FROM t WHERE a % 2 = 0;
VACUUM;
PRAGMA integrity_check;
SELECT count(*) FROM t;
"""


MAKERS = {"ext4": ["mke2fs", "-q", "-t", "ext4"], "vfat": ["mkfs.fat", "-F", "32"]}
CHECKERS = {"ext4": ["e2fsck", "-fn"], "vfat": ["fsck.fat", "-n"]}


@contextmanager
def kernel_with_data(kind: str = "tmpfs", folder: Path | None = None, **interface: Any) -> Iterator[Kernel]:
    """A kernel with a file system of this kind on /data; an image is checked afterwards by the file system's own tool."""
    spec = Spec(interface=[InterfaceSpec("user", **interface)] if interface else [])
    if kind == "tmpfs":
        spec.mount.append(MountSpec("/data"))
    else:
        assert folder is not None
        image = folder / "disk.img"
        with open(image, "wb") as file:
            file.truncate(200 << 20)
        subprocess.run([*MAKERS[kind], str(image)], check=True, stdout=subprocess.DEVNULL)
        spec.mount.append(MountSpec("/data", kind, str(image)))
    with Kernel(spec) as kernel:
        yield kernel
    if kind != "tmpfs":
        done = subprocess.run([*CHECKERS[kind], str(image)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


ON_EACH = pytest.mark.parametrize(
    "kind",
    [
        "tmpfs",
        pytest.param("ext4", marks=pytest.mark.needs("mke2fs", "e2fsck")),
        pytest.param("vfat", marks=[pytest.mark.needs("mkfs.fat", "fsck.fat"), pytest.mark.long]),
    ],
)
ON_EXT4 = pytest.mark.parametrize(
    "kind",
    [
        pytest.param("tmpfs", marks=pytest.mark.long),
        pytest.param("ext4", marks=pytest.mark.needs("mke2fs", "e2fsck")),
        pytest.param("vfat", marks=[pytest.mark.needs("mkfs.fat", "fsck.fat"), pytest.mark.long]),
    ],
)


def ran(kernel: Kernel, script: str, folder: Path | None = None) -> str:
    """What a script writes, which succeeds.  It may write to `folder`."""
    output = Output()
    writable = [folder] if folder else []
    guest = kernel.run(["/bin/sh", "-ec", script], stdout=output.fd, stderr=output.fd, cwd="/", writable=writable)
    try:
        assert guest.wait(120) == 0, output.text()
        return output.text()
    finally:
        guest.close()


@pytest.mark.once
@pytest.mark.needs("sqlite3")
@pytest.mark.parametrize("mode", ["delete", "wal"])
@ON_EACH
def test_sqlite(mode: str, kind: str, tmp_path: Path) -> None:
    """With a rollback journal, and with a write-ahead log, whose index is a shared mapping."""
    with kernel_with_data(kind, tmp_path) as kernel:
        text = ran(kernel, f"sqlite3 /data/test.db <<'END'\n{SQLITE.format(mode=mode)}\nEND")
        assert text.split() == [mode, "ok", "1000"]
        two = "sqlite3 /data/test.db '.timeout 60000' \"INSERT INTO t(b) SELECT randomblob(10) FROM t LIMIT 50\""
        again = f"{two} & {two} & {two} & wait; sqlite3 /data/test.db 'PRAGMA integrity_check; SELECT count(*) FROM t'"
        assert ran(kernel, again).split() == ["ok", "1150"]


@pytest.mark.once
@pytest.mark.needs("git")
@ON_EXT4
def test_git(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(200):
        (source / f"file{number}").write_text("line\n" * number)
    identity = "-c user.name=a -c user.email=a@example.com"
    make = f"cd {source} && git init -q && git add -A && git {identity} commit -qm first"
    subprocess.run(["sh", "-ec", make], check=True, env={**os.environ, "HOME": str(tmp_path)})
    with kernel_with_data(kind, tmp_path) as kernel:
        script = f"""
export HOME=/data
git config --global safe.directory '*'
git clone -q {source} /data/clone
cd /data/clone
echo more >> file7
git {identity} commit -qam second
git {identity} rm -q file9 && git {identity} commit -qm third
git gc -q --prune=now
git fsck --strict
git status --short
git log --oneline | wc -l
git checkout -q HEAD~2 && cmp file9 {source}/file9
"""
        assert ran(kernel, script, tmp_path).split() == ["3"]


@pytest.mark.once
@pytest.mark.needs("tar")
def test_tar_brings_everything_back(tmp_path: Path) -> None:
    script = f"""
cd /data && mkdir -p in/deep/er && seq 1 50000 > in/text && ln in/text in/hard && ln -s text in/soft && mkfifo in/pipe
truncate -s 10M in/sparse && echo x | dd of=in/sparse bs=1 seek=5000000 conv=notrunc status=none
chmod 2711 in/deep && touch -d @123456789.123456789 in/text
tar --format=posix -cS in -f {tmp_path}/a.tar && mkdir out && tar -xp -f {tmp_path}/a.tar -C out
cd in && find . -printf '%p %m %s %n %l %T@\\n' | grep -v '^[.] ' | sort > {tmp_path}/one
cd ../out/in && find . -printf '%p %m %s %n %l %T@\\n' | grep -v '^[.] ' | sort > {tmp_path}/two
cmp ../../in/text text && cmp ../../in/sparse sparse && du -k sparse
"""
    with kernel_with_data() as kernel:
        assert int(ran(kernel, script, tmp_path).split()[0]) < 1000, "the hole is one again"
    assert (tmp_path / "one").read_text() == (tmp_path / "two").read_text()


@pytest.mark.once
@pytest.mark.needs("redis-server", "redis-cli")
@ON_EXT4
def test_redis_keeps_its_append_only_file(tmp_path: Path, kind: str) -> None:
    with kernel_with_data(kind, tmp_path, dns=["192.0.2.1"]) as kernel:
        words = ["redis-server", "--dir", "/data", "--appendonly", "yes", "--appendfsync", "always", "--port", "6379"]
        for already in (0, 500):
            guest = kernel.run(words, stdout=os.open(os.devnull, os.O_WRONLY), cwd="/")
            guest.wait_listening(6379, 60)
            script = f"""
until redis-cli ping > /dev/null 2>&1; do sleep 0.1; done
redis-cli dbsize
seq 1 500 | sed 's/.*/set key{already}& value&/' | redis-cli > /dev/null
redis-cli bgrewriteaof > /dev/null
redis-cli get key{already}77
"""
            assert ran(kernel, script).split() == [str(already), "value77"]
            guest.send(9)
            guest.wait(60)
            guest.close()
        assert "appendonlydir" in names(kernel, "/data")


def names(kernel: Kernel, path: str) -> list[str]:
    process = kernel.process()
    return [entry.d_name for entry in process.readdir(process.open(path, os.O_RDONLY | os.O_DIRECTORY))]


@pytest.mark.once
@pytest.mark.needs("nginx")
@ON_EXT4
def test_nginx_serves_files_by_sendfile(tmp_path: Path, kind: str) -> None:
    config = tmp_path / "nginx.conf"
    config.write_text(
        "daemon off; user root; pid /data/pid; error_log stderr; events {}\n"
        "http { access_log off; sendfile on; server { listen 80; root /data/www; } }\n"
    )
    with kernel_with_data(kind, tmp_path, forward=["127.0.0.1:0 -> 80"]) as kernel:
        process = kernel.process()
        process.mkdir("/data/www")
        content = os.urandom(3_000_000)
        fd = process.open("/data/www/file", os.O_CREAT | os.O_WRONLY, 0o644)
        process.write(fd, content)
        process.close(fd)
        guest = kernel.run(["nginx", "-c", str(config), "-p", "/data"], cwd="/")
        guest.wait_listening(80, 60)
        address = kernel.forwards()[0].partition(" ")[0]
        for _ in range(3):
            with urllib.request.urlopen(f"http://{address}/file", timeout=60) as answer:
                assert hashlib.sha256(answer.read()).digest() == hashlib.sha256(content).digest()
        guest.stop()


@pytest.mark.once
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["test_shutil", "test_tempfile", "test_mmap", "test_pathlib", "test_glob", "test_os"])
def test_pythons_own_tests(tmp_path: Path, name: str) -> None:
    """With their temporary files on a mount.  Some of test_os counts on what the host's file system alone can do."""
    if subprocess.run([sys.executable, "-c", f"import test.{name}"], capture_output=True).returncode:
        pytest.skip("missing: Python's own tests")
    with mounted(tmp_path) as (_, place):
        (place / "tmp").mkdir()
        words = [sys.executable, "-m", "test", "-w", "--tempdir", str(place / "tmp"), name]
        environment = {**os.environ, "TMPDIR": str(place / "tmp")}
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(words, cwd=place / "tmp", capture_output=True, text=True, env=environment, timeout=800)
        shutil.rmtree(place / "tmp", ignore_errors=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.once
def test_a_tree_is_copied_in_and_removed(tmp_path: Path) -> None:
    """Python's library, as cp -a and diff see it."""
    library = Path(os.__file__).parent / "json"
    with mounted(tmp_path) as (kernel, place):
        subprocess.run(["cp", "-a", str(library), str(place / "copy")], check=True)
        subprocess.run(["diff", "-r", str(library), str(place / "copy")], check=True)
        assert (place / "copy" / "__init__.py").stat().st_mtime_ns == (library / "__init__.py").stat().st_mtime_ns
        shutil.rmtree(place / "copy")
        assert names(kernel, "/") == [".", "..", "dev"]
