"""squashfs, tar archives and container images as roots of programs, and what an image says of its program."""

from __future__ import annotations

import io
import os
import pwd
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rumpkit import Kernel
from rumpkit.compose.spec import KernelSpec, Spec
from tests.compose.oci.ocimake import Layout
from tests.fs.tar.tarmake import archive
from tests.guests.linux.guest_helpers import Output
from tests.guests.linux.root_helpers import make_root
from tests.guests.linux.sandbox_helpers import as_nobody, in_child

pytestmark = [pytest.mark.needs("linux", "seccomp", "root", "fuse"), pytest.mark.once]


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="rumpkit-roots-", dir="/tmp"))
    made.chmod(0o755)
    yield make_root(made)
    shutil.rmtree(made)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def packed(tree: Path, mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as made:  # type: ignore[call-overload]
        made.add(tree, ".")
    return out.getvalue()


def shell(root: str, script: str) -> tuple[int, list[str]]:
    """Run a script with this root: its exit code, and the lines that it writes."""
    with Kernel(Spec(kernel=KernelSpec(root=root))) as kernel:
        output = Output()
        guest = kernel.run(["/bin/sh", "-c", script], stdout=output.fd, stderr=output.fd, cwd="/")
        try:
            return guest.wait(60), output.text().splitlines()
        finally:
            guest.close()


SCRIPT = "ls /; cat /etc/passwd | wc -l; touch /etc/new || echo refused; grep -c guest /etc/passwd"


def check(root: str) -> None:
    code, lines = shell(root, SCRIPT)
    assert code == 0, lines
    assert {"bin", "etc"} <= set(lines) and lines[-1] == "1" and lines[-2] == "refused"


@pytest.mark.needs("mksquashfs")
def test_squashfs_is_a_root(tree: Path, tmp_path: Path) -> None:
    image = tmp_path / "root.sqfs"
    subprocess.run(
        ["mksquashfs", tree, image, "-quiet", "-no-progress", "-comp", "gzip"], check=True, capture_output=True
    )
    check(str(image))


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_an_archive_is_a_root(tree: Path, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "root.tar"
    path.write_bytes(packed(tree, mode))
    check(str(path))


@pytest.mark.needs("nobody")
def test_images_are_roots_for_an_ordinary_user(tree: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="rumpkit-images-", dir="/tmp"))
    folder.chmod(0o777)
    try:
        roots = [folder / "root.tar.gz"]
        roots[0].write_bytes(packed(tree, "w:gz"))
        layout = Layout(folder / "image")
        layout.image(packed(tree), archive(("etc/group", b"")), Entrypoint=[], Cmd=[], User="", WorkingDir="")
        roots.append(layout.path)
        if shutil.which("mksquashfs"):
            roots.append(folder / "root.sqfs")
            words = ["mksquashfs", str(tree), str(roots[-1]), "-quiet", "-no-progress", "-comp", "gzip"]
            subprocess.run(words, check=True, capture_output=True)

        def test() -> None:
            os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
            for root in roots:
                check(str(root))

        in_child(test, as_nobody)
        assert (folder / "cache" / "rumpkit" / "unpacked").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    finally:
        shutil.rmtree(folder)


CONFIG = """
[kernel]
hostname = "contained"
control = false
root = "image:web"

[[run]]
env = {{ MINE = "two" }}
{more}
"""


def run(folder: Path, more: str = "") -> list[str]:
    """What the program of a config prints."""
    config = folder / "kernel.toml"
    config.write_text(CONFIG.format(more=more))
    done = subprocess.run(
        [sys.executable, "-m", "rumpkit.cli", "run", str(config)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_an_image_says_what_is_run(tree: Path, tmp_path: Path) -> None:
    script = "#!/bin/sh\necho $1; env; id -u; id -g; readlink /proc/self/cwd; cat greeting\n"
    upper = archive(
        ("srv/greeting", b"hello\n"),
        ("bin/start", {"data": script.encode(), "mode": 0o755}),
        ("etc/.wh.gone", b""),
    )
    layout = Layout(tmp_path / "image")
    said: dict[str, Any] = {
        "Entrypoint": ["/bin/start"],
        "Cmd": ["argument"],
        "Env": ["PATH=/bin", "MINE=one", "THEIRS=three"],
    }
    layout.image(packed(tree), upper, name="web", **said, WorkingDir="/srv", User="guest")
    lines = run(tmp_path)
    assert lines[0] == "argument"
    assert {"MINE=two", "THEIRS=three", "PATH=/bin", "HOME=/"} <= set(lines)
    assert lines[-4:] == ["1234", "1234", "/srv", "hello"]
    lines = run(tmp_path, 'command = ["/bin/start", "other"]\nuser = "4321:4321"')
    assert lines[0] == "other" and lines[-4:-2] == ["4321", "4321"]


def test_an_image_says_what_ends_its_program(tree: Path, tmp_path: Path) -> None:
    script = "trap 'echo told; exit 0' USR1; echo ready; while :; do env true || :; done"
    layout = Layout(tmp_path / "image")
    layout.image(
        packed(tree),
        name="web",
        Entrypoint=["/bin/sh", "-c", script],
        Cmd=[],
        User="",
        WorkingDir="/",
        StopSignal="SIGUSR1",
    )
    config = tmp_path / "kernel.toml"
    config.write_text(CONFIG.format(more=""))
    words = [sys.executable, "-m", "rumpkit.cli", "run", "--quiet", str(config)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.terminate()
        assert running.stdout.read() == "told\n"
        assert running.wait(100) == 0
    layout.manifests.clear()
    layout.image(
        packed(tree), name="web", Entrypoint=["/bin/ls"], Cmd=[], User="", WorkingDir="/", StopSignal="SIGSTOPP"
    )
    done = subprocess.run(words, capture_output=True, text=True, timeout=100)
    assert done.returncode != 0 and "run[0].stop_signal: the image says 'SIGSTOPP'" in done.stderr


def test_an_image_that_is_not_there_is_named(tmp_path: Path) -> None:
    config = tmp_path / "kernel.toml"
    config.write_text(CONFIG.format(more=""))
    done = subprocess.run(
        [sys.executable, "-m", "rumpkit.cli", "run", str(config)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode != 0 and "image:web" in done.stderr and "No such file" in done.stderr


def test_a_root_alone_is_run(tree: Path, tmp_path: Path) -> None:
    said: dict[str, Any] = {
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": ["echo from the image"],
        "User": "",
        "WorkingDir": "",
    }
    Layout(tmp_path / "image").image(packed(tree), **said)
    words = [sys.executable, "-m", "rumpkit.cli", "run", "--no-control", "--root", str(tmp_path / "image")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout, done.stderr) == (0, "from the image\n", "")

    words[-1] = str(tree)
    done = subprocess.run(words, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2 and "command: is empty (write" in done.stderr and "-- CMD" in done.stderr
