"""squashfs, tar archives and container images as roots of programs, and what an image says of its program."""

from __future__ import annotations

import gzip
import io
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rumpkit import Kernel
from rumpkit.compose.errors import ConfigError
from rumpkit.compose.spec import KernelSpec, Spec
from tests.compose.oci.ocimake import Layout, docker_save
from tests.fs.tar.tarmake import archive, link
from tests.guests.linux.guest_helpers import Output
from tests.guests.linux.root_helpers import PROGRAMS, make_image, make_root
from tests.guests.linux.sandbox_helpers import as_nobody, in_child

pytestmark = [pytest.mark.needs("linux", "seccomp", "root", "fuse"), pytest.mark.once]


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="rumpkit-roots-", dir="/tmp"))
    made.chmod(0o755)
    yield make_root(made, (*PROGRAMS, "mv", "tail"))
    shutil.rmtree(made)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def packed(tree: Path, mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as made:  # type: ignore[call-overload]
        made.add(tree, ".")
    return out.getvalue()


def shell(root: str, script: str, **keys: Any) -> tuple[int, list[str]]:
    """Run a script with this root: its exit code, and the lines that it writes."""
    with Kernel(Spec(kernel=KernelSpec(root=root, **keys))) as kernel:
        return shell_on(kernel, script)


def shell_on(kernel: Kernel, script: str, cwd: str | None = "/") -> tuple[int, list[str]]:
    output = Output()
    guest = kernel.run(["/bin/sh", "-c", script], stdout=output.fd, stderr=output.fd, cwd=cwd)
    try:
        return guest.wait(60), output.text().splitlines()
    finally:
        guest.close()


SCRIPT = "ls /; cat /etc/passwd | wc -l; touch /etc/new || echo refused; grep -c guest /etc/passwd"


WRITES = """
echo more >> /etc/passwd && echo new > /etc/new && rm /bin/ls && mkdir -p /srv/deep && mv /etc /srv/deep/etc && mv /srv/deep/etc /etc
ln /etc/new /srv/hard && ln -s new /etc/soft && cat /etc/soft && chmod 700 /srv
exec 3< /etc/passwd && echo last >> /etc/passwd && tail -n 1 <&3
"""


def check(root: str, **keys: Any) -> None:
    """It can be read, and not written to."""
    code, lines = shell(root, SCRIPT, **keys)
    assert code == 0, lines
    assert {"bin", "etc"} <= set(lines) and lines[-1] == "1" and lines[-2] == "refused"


def check_layer(root: str, **keys: Any) -> None:
    """What programs write the next one on the same kernel sees, and no other kernel's."""
    with Kernel(Spec(kernel=KernelSpec(root=root, **keys))) as kernel:
        assert shell_on(kernel, WRITES) == (0, ["new", "last"])
        said = "cat /srv/hard; test -e /bin/ls || echo gone; tail -n 2 /etc/passwd; stat -c %a /srv"
        assert shell_on(kernel, said) == (0, ["new", "gone", "more", "last", "700"])
    assert shell(root, "ls /bin/ls; test ! -e /etc/new && test ! -e /srv/hard", **keys) == (0, ["/bin/ls"])


@pytest.mark.needs("mksquashfs")
def test_squashfs_is_a_root(tree: Path, tmp_path: Path) -> None:
    image = tmp_path / "root.sqfs"
    subprocess.run(
        ["mksquashfs", tree, image, "-quiet", "-no-progress", "-comp", "gzip"], check=True, capture_output=True
    )
    check(str(image))
    check_layer(str(image), root_writable=True)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_an_archive_is_a_root(tree: Path, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "root.tar"
    path.write_bytes(packed(tree, mode))
    check(str(path))
    check_layer(str(path), root_writable=True)
    assert path.read_bytes() == packed(tree, mode) or mode != "w"


@pytest.mark.parametrize("kind", ["layout", "docker save"])
def test_a_container_image_has_a_layer_for_the_run(tree: Path, tmp_path: Path, kind: str) -> None:
    layers = packed(tree), archive(("srv-link", link("/opt")))
    if kind == "layout":
        layout = Layout(tmp_path / "image")
        layout.image(*layers, WorkingDir="/srv-link/made/here", User="")
        root = layout.path
    else:
        root = docker_save(tmp_path / "saved.tar", *layers)
    check_layer(str(root))
    check(str(root), root_writable=False)
    if kind == "layout":  # its directory is in no layer, and behind a link that leads within the root
        with Kernel(Spec(kernel=KernelSpec(root=str(root)))) as kernel:
            code, lines = shell_on(
                kernel, "readlink /proc/self/cwd; touch it; ls -d /opt/made/here/it; stat -c %a .", None
            )
            assert (code, lines) == (0, ["/opt/made/here", "/opt/made/here/it", "755"])
        with pytest.raises(OSError, match="No such file or directory: '/srv-link/made/here'"):
            shell_on_first(str(root))
    with Kernel(Spec(kernel=KernelSpec(root=str(root), scratch="1M"))) as kernel:
        # Linux lets go of a removed file a moment later.
        freed = "rm /big; until echo more 2>/dev/null > /etc/new; do :; done"
        code, lines = shell_on(kernel, f"dd if=/dev/zero of=/big bs=64k count=32; {freed}")
        assert code == 0 and "No space left on device" in lines[0]


def test_linux_is_never_asked_to_forget_what_is_mounted_upon(tree: Path, tmp_path: Path) -> None:
    """Else a program that looks at very many files would lose /proc with the name."""
    path = tmp_path / "root.tar"
    with tarfile.open(path, "w") as made:
        made.add(tree, ".")
        for name in ("proc", "dev", "tmp"):
            place = tarfile.TarInfo(name)
            place.type, place.mode = tarfile.DIRTYPE, 0o755
            made.addfile(place)
    ours, theirs = socket.socketpair()
    with ours, theirs, Kernel(Spec(kernel=KernelSpec(root=str(path)))) as kernel:
        words = ["/bin/sh", "-c", "stat /etc/passwd > /dev/null; echo known; read go"]
        guest = kernel.run(words, stdin=theirs.fileno(), stdout=theirs.fileno(), cwd="/")
        assert ours.recv(100) == b"known\n"
        assert guest._files is not None
        (server,) = guest._files._servers
        kernel.host.enter()
        nodes = server.operations.nodes
        known = {node.name for node in nodes._nodes.values()}
        named = {node.name for _ in range(len(nodes)) for node in nodes.oldest()}
        kernel.host.leave()
        ours.sendall(b"go\n")
        assert guest.wait(60) == 0
    mounted = {b"proc", b"dev", b"tmp"}
    assert (known & mounted, named & mounted) == (mounted, set())
    assert b"stat" in named


def shell_on_first(root: str) -> None:
    with Kernel(Spec(kernel=KernelSpec(root=root, root_writable=False))) as kernel:
        shell_on(kernel, "true", None)


@pytest.mark.needs("mke2fs", "nobody")
def test_a_disk_that_cannot_be_written_to(tree: Path, tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="rumpkit-images-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        image = make_image(folder / "root.img", tree)
        small = folder / "root.img.gz"
        small.write_bytes(gzip.compress(image.read_bytes(), 1))
        check_layer(str(small))
        with pytest.raises(ConfigError, match="root_writable writes to it, and it is compressed") as problem:
            shell(str(small), "true", root_writable=True)
        assert problem.value.key == "kernel.root_writable" and "leave root_writable out" in problem.value.hint
        image.chmod(0o444)

        def test() -> None:
            with pytest.raises(ConfigError, match="root_writable writes to it, and you may not"):
                shell(str(image), "true", root_writable=True)

        in_child(test, as_nobody)
    finally:
        shutil.rmtree(folder)


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
                check(str(root), root_writable=False)
                check_layer(str(root), root_writable=None if root is layout.path else True)

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
