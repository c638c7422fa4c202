"""What programs have as their root: a directory, an image, or the host's without its own things; as root, and as an ordinary user."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rumpkit import Kernel
from rumpkit.compose.errors import ConfigError, ProgramError
from rumpkit.compose.spec import InterfaceSpec, KernelSpec, MountSpec, Spec
from tests.guests.linux.guest_helpers import Output
from tests.guests.linux.root_helpers import make_image, make_root
from tests.guests.linux.sandbox_helpers import as_nobody, as_root, in_child

pytestmark = [pytest.mark.needs("linux", "seccomp", "root", "fuse", "nobody"), pytest.mark.once]
USERS = pytest.mark.parametrize("user", [as_root, as_nobody])


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One that every user may get at and change."""
    made = Path(tempfile.mkdtemp(prefix="rumpkit-roots-", dir="/tmp"))
    made.chmod(0o777)
    make_root(made / "tree")
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def tree(folder: Path) -> Path:
    return folder / "tree"


@pytest.fixture
def image(folder: Path, tree: Path) -> Path:
    return make_image(folder / "root.img", tree)


def shell(kernel: Kernel, script: str, **options: object) -> tuple[int, list[str]]:
    """Run a script on the kernel: its exit code, and the lines that it writes."""
    output = Output()
    guest = kernel.run(["/bin/sh", "-c", script], stdout=output.fd, stderr=output.fd, **options)  # type: ignore[arg-type]
    try:
        return guest.wait(60), output.text().splitlines()
    finally:
        guest.close()


def kernel_with(root: Path, writable: bool = False, *mounts: MountSpec) -> Kernel:
    spec = Spec(kernel=KernelSpec(root=str(root), root_writable=writable), mount=list(mounts))
    spec.interface.append(InterfaceSpec("user"))
    return Kernel(spec)


def contents(tree: Path) -> list[str]:
    return sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))


KERNELS_OWN = """
test -c /dev/null && test -c /dev/urandom && echo x > /dev/null && test -d /dev/shm && test -e /dev/fd/0 || echo no dev
ls /sys/class/net
grep -c local_address /proc/net/tcp
cat /proc/self/comm
cat /etc/resolv.conf
grep -c 127.0.1.1 /etc/hosts
touch /tmp/mine /run/mine || echo no scratch
readlink /proc/1/exe
echo x > /proc/sys/kernel/hostname
"""
SAID = ["lo", "vif0", "1", "cat", "nameserver 10.0.2.3", "1"]


@USERS
@pytest.mark.parametrize("kind", ["directory", "image"])
def test_the_kernels_own_is_there_and_the_hosts_is_not(
    kind: str, user: Callable[[], None], tree: Path, image: Path
) -> None:
    before = contents(tree)

    def test() -> None:
        with kernel_with(tree if kind == "directory" else image) as kernel:
            code, lines = shell(kernel, KERNELS_OWN)
            assert lines[: len(SAID)] == SAID
            assert code != 0 and lines[-1].endswith(("Read-only file system", "Permission denied"))
            code, lines = shell(kernel, "ls /; ls /home /usr/bin/python3; pwd")
            assert not {"home", "root", "boot", "srv", "opt"} & set(lines) and lines[-1] == "/"
            assert "ls: cannot access '/usr/bin/python3': No such file or directory" in lines

    in_child(test, user)
    assert contents(tree) == before, "nothing is made in it"


@USERS
def test_a_directory_is_read_only(user: Callable[[], None], tree: Path) -> None:
    def test() -> None:
        with kernel_with(tree) as kernel:
            for script in ("touch /new", "rm /bin/ls", "chmod 777 /bin", "mkdir /etc/new", "touch /etc/passwd"):
                code, lines = shell(kernel, script)
                refused = lines[-1].endswith(("Read-only file system", "Permission denied"))
                assert code != 0 and refused, (script, lines)
                assert user is as_nobody or "Read-only" in lines[-1]

    in_child(test, user)


@USERS
def test_a_directory_that_may_be_written_to(user: Callable[[], None], folder: Path) -> None:
    tree = make_root(Path(tempfile.mkdtemp(dir=folder)), ("sh", "touch", "ls"))
    for directory in (tree, tree / "etc"):
        directory.chmod(0o777)

    def test() -> None:
        with kernel_with(tree, True) as kernel:
            assert shell(kernel, "echo hello > /new; touch /tmp/unseen") == (0, [])

    in_child(test, user)
    assert (tree / "new").read_text() == "hello\n"
    assert os.listdir(tree / "tmp") == []
    shutil.rmtree(tree)


@USERS
def test_what_is_written_to_an_image_is_forgotten(user: Callable[[], None], image: Path) -> None:
    before = hashlib.sha256(image.read_bytes()).digest()

    def test() -> None:
        with kernel_with(image) as kernel:
            assert shell(kernel, "echo hello > /new; rm /bin/ls; mkdir /etc/more") == (0, [])
            assert shell(kernel, "cat /new; test ! -e /bin/ls") == (0, ["hello"]), "programs share it"
        with kernel_with(image) as kernel:
            assert shell(kernel, "test ! -e /new; ls /bin/ls") == (0, ["/bin/ls"])

    in_child(test, user)
    assert hashlib.sha256(image.read_bytes()).digest() == before


@USERS
@pytest.mark.needs("e2fsck")
def test_what_is_written_to_an_image_is_kept_if_it_shall_be(user: Callable[[], None], image: Path) -> None:
    def test() -> None:
        with kernel_with(image, True) as kernel:
            assert shell(
                kernel, "echo hello > /new; mkdir /etc/more; dd if=/dev/zero of=/big bs=64k count=40 2>/dev/null"
            ) == (0, [])

    in_child(test, user)
    done = subprocess.run(["e2fsck", "-fn", str(image)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    with kernel_with(image) as kernel:
        assert shell(kernel, "cat /new; stat -c %s /big; ls -d /etc/more") == (0, ["hello", str(40 << 16), "/etc/more"])


def test_a_kernels_mounts_and_the_hosts_in_another_root(tree: Path, folder: Path) -> None:
    given = folder / "given"
    given.mkdir()
    (given / "file").write_text("of the host\n")
    with kernel_with(tree, False, MountSpec("/data/inner"), MountSpec("/etc/more")) as kernel:
        script = f"touch /data/inner/a /etc/more/b; cat {given}/file; touch {given}/file {given}/new; ls /data/inner /etc/more"
        _, lines = shell(kernel, script, visible=[given])
        assert lines[0] == "of the host" and sum("Read-only file system" in line for line in lines) == 2
        assert lines[-5:] == ["/data/inner:", "a", "", "/etc/more:", "b"]
        assert shell(kernel, f"echo new > {given}/new", writable=[given]) == (0, [])
        assert (given / "new").read_text() == "new\n"
    shutil.rmtree(given)


@USERS
def test_what_linux_has_in_proc_net_at_another_place(user: Callable[[], None], tree: Path) -> None:
    def test() -> None:
        with kernel_with(tree, False, MountSpec("/net", "procnet")) as kernel:
            _, lines = shell(kernel, "grep -c vif0 /net/dev; ls /net/tcp /net/udp; touch /net/new")
            assert lines[:3] == ["1", "/net/tcp", "/net/udp"]
            assert lines[3].endswith(("Read-only file system", "Permission denied"))
            process = kernel.process()
            socket = process.socket("tcp")
            socket.bind(("0.0.0.0", 4711))
            socket.listen()
            text = process.read(process.open("/net/tcp", 0), 1 << 16)
            assert f":{4711:04X} 00000000:0000 0A".encode() in text

    in_child(test, user)


ESCAPE = """
import os
os.mkdir("/tmp/jail")
here = os.open("/", os.O_RDONLY)
os.chroot("/tmp/jail")
os.fchdir(here)
for _ in range(64):
    os.chdir("..")
os.chroot(".")
print(sorted(os.listdir("/")))
"""


def test_links_and_chroot_lead_nowhere(folder: Path) -> None:
    """As root, who may chroot; a root whose links want out, and one that puts a link where the kernel's own goes."""
    evil = make_root(Path(tempfile.mkdtemp(dir=folder)), ("sh", "cat", "ls", "readlink"))
    (folder / "secret").write_text("secret")
    (evil / "etc" / "resolv.conf").symlink_to("../../../../../../.." + str(folder / "secret"))
    (evil / "etc" / "hosts").symlink_to(folder / "secret")
    (evil / "out").symlink_to("../../../../../../..")
    (evil / "tmp").symlink_to("../../../../etc")
    (evil / "run").symlink_to("/../etc")
    (evil / "sys").symlink_to("sys")
    with pytest.raises(OSError, match=rf"/sys of {evil}"), kernel_with(evil) as kernel:
        kernel.run(["/bin/sh"])
    (evil / "sys").unlink()
    with kernel_with(evil) as kernel:
        _, lines = shell(
            kernel, f"ls /out/; cat {folder}/secret /etc/resolv.conf; readlink -f /out; echo x > /tmp/made"
        )
        assert not {"home", "root", "srv"} & set(lines) and "secret" not in lines
        assert lines[-2:] == ["nameserver 10.0.2.3", "/"]
    assert (folder / "secret").read_text() == "secret" and not (evil / "etc" / "made").exists()
    shutil.rmtree(evil)


@USERS
@pytest.mark.parametrize("place", [".", "etc", "..", "../../../.."])
def test_a_directory_without_a_slash_begins_at_the_root(place: str, user: Callable[[], None], tree: Path) -> None:
    """An image may say so, too, as its WorkingDir."""

    def test() -> None:
        os.chdir("/usr/share")  # of the host
        with kernel_with(tree) as kernel:
            code, lines = shell(kernel, "readlink /proc/self/cwd; ls -d ../usr/share ../../usr/share", cwd=place)
            assert lines[0] == ("/etc" if place == "etc" else "/")
            assert code != 0 and not any(line.startswith("..") for line in lines[1:]), "nothing of the host's"

    in_child(test, user)


@USERS
def test_a_directory_without_a_slash_shows_nothing_of_the_hosts_own(user: Callable[[], None], folder: Path) -> None:
    """The host's root: what is above the working directory in /tmp stays covered."""
    (folder / "beside").write_text("beside\n")
    (folder / "here").mkdir(exist_ok=True)

    def test() -> None:
        os.chdir(folder / "here")
        with Kernel() as kernel:
            for place in (".", "../here"):
                assert shell(kernel, "pwd; ls -d ../beside", cwd=place)[1][0] == str(folder / "here")
                assert shell(kernel, "cat ../beside", cwd=place)[0] != 0

    in_child(test, user)


@pytest.mark.parametrize("kind", ["directory", "image"])
def test_users_are_those_of_the_root(kind: str, folder: Path, tree: Path) -> None:
    own = Path(tempfile.mkdtemp(dir=folder))
    shutil.copytree(tree, own, dirs_exist_ok=True)
    (own / "etc" / "passwd").unlink()
    (own / "etc" / "passwd").symlink_to("/lists/../../../../lists/passwd")  # which leads within it
    (own / "lists").mkdir()
    (own / "lists" / "passwd").write_text("bad\nnobody:x:4321:4322::/srv/it:/bin/sh\n")
    (own / "etc" / "group").write_text("more:x:4400:other,nobody\nelse:x:4500:\n")
    for path in (own, own / "etc", own / "lists"):
        path.chmod(0o755)
    root = own if kind == "directory" else make_image(folder / "users.img", own)
    if kind == "image":  # whose links lead within the kernel's files
        subprocess.run(
            ["debugfs", "-w", "-f", "-", str(root)],
            input=b"rm /etc/passwd\nln /lists/passwd /etc/passwd\n",
            check=True,
            capture_output=True,
        )
    with kernel_with(root) as kernel:
        said = "id -u; id -g; id -G; echo $HOME $USER"
        assert shell(kernel, said, user="nobody") == (0, ["4321", "4322", "4322 4400", "/srv/it nobody"])
        assert shell(kernel, said, user="nobody:else")[1][1:3] == ["4500", "4500 4400"]
        assert shell(kernel, "id -u; id -g", user="77:78") == (0, ["77", "78"])
        assert shell(kernel, "id -u", user="daemon") == (0, ["1"]), "the host's"
        with pytest.raises(ConfigError, match="there is no user 'nobody-at-all'"):
            shell(kernel, "id", user="nobody-at-all")
    shutil.rmtree(own)


def test_a_list_of_users_that_is_a_pipe_is_none(folder: Path, tree: Path) -> None:
    own = Path(tempfile.mkdtemp(dir=folder))
    shutil.copytree(tree, own, dirs_exist_ok=True)
    (own / "etc" / "passwd").unlink()
    os.mkfifo(own / "etc" / "passwd")
    for root in (own, make_image(folder / "pipe.img", own)):
        with kernel_with(root) as kernel:
            assert shell(kernel, "id -u", user="daemon") == (0, ["1"])
    shutil.rmtree(own)


def test_machine_settings_behind_a_link_of_the_root_are_sealed(folder: Path) -> None:
    """As root, who may write to /sys by his number alone."""
    evil = make_root(Path(tempfile.mkdtemp(dir=folder)), ("sh", "cat", "grep"))
    (evil / "inner").mkdir()
    (evil / "sys").symlink_to("inner")
    with kernel_with(evil) as kernel:
        code, lines = shell(
            kernel, "grep ' /inner' /proc/self/mountinfo; : >> /sys/kernel/mm/transparent_hugepage/enabled"
        )
        assert lines and code != 0 and "Read-only file system" in lines[-1]
        mounted = [line.split()[5] for line in lines[:-1]]
        assert mounted and all(options.startswith("ro") for options in mounted)
    shutil.rmtree(evil)


@pytest.mark.needs("python3")
def test_a_second_chroot_ends_at_the_programs_root(tree: Path) -> None:
    with kernel_with(tree) as kernel:
        output = Output()
        # Python comes from the host, by keys; its root is the directory all the same.
        shown = [path for path in ("/usr", "/lib", "/lib64") if os.path.isdir(path)]
        guest = kernel.run(["/usr/bin/python3", "-S", "-c", ESCAPE], visible=shown, stdout=output.fd, stderr=output.fd)
        try:
            assert guest.wait(60) == 0, output.text()
        finally:
            guest.close()
        assert "bin" in output.text() and "home" not in output.text() and "root" not in output.text()


@pytest.mark.parametrize("kind", ["directory", "image"])
def test_what_a_root_lacks_is_named(kind: str, tree: Path, image: Path, folder: Path) -> None:
    root = tree if kind == "directory" else image
    with kernel_with(root) as kernel:
        with pytest.raises(ProgramError, match=rf"No such file or directory in {root}") as problem:
            kernel.run(["/bin/bash"])
        assert problem.value.filename == "/bin/bash"
        with pytest.raises(OSError, match="No such file or directory: '/nowhere'"):
            kernel.run(["/bin/sh"], cwd="/nowhere")
    bare = Path(tempfile.mkdtemp(dir=folder))
    (bare / "bin").mkdir()
    shutil.copy("/bin/ls", bare / "bin" / "ls")
    bare.chmod(0o755)
    root = bare if kind == "directory" else make_image(folder / "bare.img", bare)
    with kernel_with(root) as kernel, pytest.raises(ProgramError, match="the interpreter that it names"):
        kernel.run(["/bin/ls"])
    shutil.rmtree(bare)


def test_a_root_that_is_none(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.img' cannot be opened: No such file") as problem:
        kernel_with(folder / "nowhere.img")
    assert problem.value.key == "kernel.root"
    (folder / "noise.img").write_bytes(b"noise" * 1000)
    with pytest.raises(ConfigError, match=r"noise.img' can't be a root"):
        kernel_with(folder / "noise.img")


# The host's root ------------------------------------------------------------------------------------------------


@USERS
def test_programs_of_a_kernel_share_scratch_files(user: Callable[[], None]) -> None:
    name = f"rumpkit-scratch-{os.getpid()}"

    def test() -> None:
        with Kernel() as kernel, Kernel() as other:
            assert shell(kernel, f"echo one > /tmp/{name}; echo two > /var/tmp/{name}; echo three > /run/{name}") == (
                0,
                [],
            )
            script = f"cat /tmp/{name} /var/tmp/{name} /run/{name}"
            assert shell(kernel, script) == (0, ["one", "two", "three"])
            assert shell(other, script)[0] == 1, "another kernel's"
            assert not os.path.exists(f"/tmp/{name}")

    in_child(test, user)


def test_scratch_files_have_a_limit() -> None:
    with Kernel(Spec(kernel=KernelSpec(scratch="1M"))) as kernel:
        code, lines = shell(kernel, "dd if=/dev/zero of=/tmp/big bs=64k count=32")
        assert code != 0 and "No space left on device" in lines[0]


@USERS
def test_files_by_keys(user: Callable[[], None], folder: Path) -> None:
    folder = Path(tempfile.mkdtemp(dir=folder))
    folder.chmod(0o755)
    for name in ("read", "write", "unseen", "secret"):
        (folder / name).mkdir()
        (folder / name).chmod(0o777)
        (folder / name / "file").write_text(f"{name}\n")
        (folder / name / "file").chmod(0o666)

    def test() -> None:
        kernel_spec = KernelSpec(visible=[str(folder / "read")], hidden=["/etc/passwd", "/usr/share"])
        with Kernel(Spec(kernel=kernel_spec)) as kernel:
            script = f"cd {folder}; ls; cat read/file write/file; echo x >> write/file; echo x >> read/file; ls /usr/share; cat /etc/passwd"
            code, lines = shell(kernel, script, writable=[folder / "write"])
            assert lines[:4] == ["read", "write", "read", "write"]
            assert "Read-only file system" in lines[4]
            assert code != 0 or lines[5:] == [], "of the hidden ones nothing is seen"
            assert not any("root:" in line for line in lines)

    in_child(test, user)
    assert (folder / "write" / "file").read_text() == "write\nx\n"


def test_everything_may_be_writable(folder: Path) -> None:
    with Kernel() as kernel:
        assert shell(kernel, f"echo x > {folder}/made", writable=["/"]) == (0, [])
    assert (folder / "made").read_text() == "x\n"


def test_what_is_to_be_shown_must_be_there() -> None:
    with Kernel() as kernel, pytest.raises(ConfigError, match="is not there on the host") as problem:
        kernel.run(["true"], writable=["/nowhere/at/all"])
    assert problem.value.key == "writable" and problem.value.hint == "mkdir -p /nowhere/at/all"
