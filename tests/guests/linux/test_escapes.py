"""What a program tries to get out, and what comes of it: as root, and as a user without privileges.

All attempts of programs/escapes.py are made by one run for each user; a test looks at one of them.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from rumpkit import Kernel
from rumpkit.compose.asked import Asked, by_call
from rumpkit.compose.programs import launch
from rumpkit.compose.roots import Sees
from rumpkit.guests.linux.numbers import NUMBERS
from rumpkit.guests.linux.tracing.calls import CallViewer, Entry
from rumpkit.guests.linux.tracing.expression import parse
from rumpkit.guests.linux.tracing.tracer import Tracer
from rumpkit.kern.abi.errno import EISDIR, ENOTSUP
from tests.guests.linux.guest_helpers import PROGRAMS, Output, two_kernels
from tests.guests.linux.sandbox_helpers import PYTHON, become_nobody, in_child, lose_admin

pytestmark = [
    pytest.mark.needs("linux", "seccomp", "netns"),
    pytest.mark.once,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="missing: x86-64"),
]

NOBODYS = "198.51.100.77"
IPC_RMID = 0

EXPECTED = {
    "descriptors": "[]",
    "namespaces_are_others": "",
    "unshare": "EPERM",
    "clone": "EPERM",
    "clone_with_high_bits": "EPERM",
    "clone3": "ENOSYS",
    "setns_of_init": "EPERM",
    "io_uring": "ENOSYS",
    "x32": "ENOSYS",
    "i386": "SIGSYS",
    "nested_listener": "EBUSY",
    "a_filter_that_allows_all": "EPERM",
    "host_process_is_seen": "False",
    "a_mark_of_the_tracers": "EAFNOSUPPORT ENOSYS EPERM",
    "a_filter_that_asks_for_a_tracer": "ECONNREFUSED ENOSYS",
    "signal_to_the_host": "ESRCH",
    "signal_to_all": "nobody",
    "signal_to_init": "alive",
    "trace_init": "EPERM",
    "read_memory_of_init": "EPERM",
    "write_memory_of_init": "EPERM",
    "take_descriptor_of_init": "EPERM",
    "root_of_init": "EACCES",
    "directory_of_init": "EACCES",
    "descriptors_of_init": "EACCES",
    "memory_of_init": "EACCES",
    "program_of_init": "EACCES",
    "core_pattern": "EROFS EACCES",
    "modprobe_path": "EROFS EACCES ENOENT",
    "overcommit": "EROFS EACCES",
    "sysrq": "EROFS EACCES ENOENT",
    "kernel_memory": "EPERM EACCES ENOENT",
    "uevent_helper": "EROFS EACCES ENOENT",
    "anything_in_sysfs": "[]",
    "disks": "[]",
    "a_device_made": "EPERM",
    "mount": "EPERM",
    "unmount": "EPERM",
    "new_mounts": "EPERM",
    "pivot_root": "EPERM",
    "chroot_twice": "inside EPERM",
    "file_by_handle": "EPERM",
    "more_rights_by_a_program": "1",
    "terminal_input": "EPERM",
    "terminal_input_with_high_bits": "EPERM",
    "abstract_socket": "ECONNREFUSED",
    "loopback_of_the_host": "ECONNREFUSED",
    "address_of_the_host": "EADDRNOTAVAIL",
    "interfaces_of_the_host": "[]",
    "packet_socket": "EPERM",
    "raw_socket": "EPERM",
    "other_families": "EAFNOSUPPORT",
    "socket_with_high_bits": "EPERM",
    "link_down": "EPERM",
    "address_added": "EPERM",
    "route_added": "EPERM",
    "shared_memory_of_the_host": "ENOENT",
    "file_of_the_host": "EROFS",
    "file_of_the_host_by_its_descriptor": "EROFS",
    "attributes_of_a_file_of_the_host": "EROFS",
    "name_made_on_the_host": "EROFS",
    "name_removed_on_the_host": "EROFS",
    "link_to_a_file_of_the_host": "EXDEV",
    "users_of_the_host": "EROFS EACCES",
    "programs_of_the_host": "EROFS EACCES",
    "root_of_the_host": "EROFS EACCES",
    "temporary_files_of_the_host": "ENOENT",
    "runtime_files_of_the_host": "[]",
    "unix_socket_of_the_host": "ECONNREFUSED EACCES",
    "unix_socket_in_tmp": "ENOENT",
    "datagram_to_a_socket_of_the_host": "ECONNREFUSED EACCES",
}
"""What may come of an attempt: several words are several possibilities."""


@pytest.fixture(scope="module")
def host() -> Iterator[dict[str, object]]:
    """What there is to find on the host: a process, sockets, shared memory."""
    libc = ctypes.CDLL(None, use_errno=True)
    key = 0x72756D70 ^ os.getpid()
    shared = libc.shmget(key, 4096, 0o1666)  # IPC_CREAT, for all
    assert shared >= 0
    abstract = f"rumpkit-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as unix, socket.socket() as server, folders() as (folder, unseen):
        unix.bind(f"\0{abstract}")
        unix.listen()
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield {
            "pid": os.getpid(),
            "namespaces": {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "pid", "net", "uts", "ipc")},
            "abstract": abstract,
            "numbers": NUMBERS["x86_64"],
            "port": server.getsockname()[1],
            "address": _address(),
            "interfaces": [name for _, name in socket.if_nameindex() if name != "lo"],
            "key": key,
            "folder": folder,
            "unseen": unseen,
        }
    libc.shmctl(shared, IPC_RMID, None)


@contextmanager
def folders() -> Iterator[tuple[str, str]]:
    """Two folders in /tmp that everyone may write to, each with a file and sockets that somebody listens to."""
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as one,
        tempfile.TemporaryDirectory(dir="/tmp") as two,
        ExitStack() as stack,
    ):
        for folder in (one, two):
            os.chmod(folder, 0o777)
            Path(folder, "file").touch()
            os.chmod(f"{folder}/file", 0o666)
            for name, kind in (("listener", socket.SOCK_STREAM), ("datagrams", socket.SOCK_DGRAM)):
                bound = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
                bound.bind(f"{folder}/{name}")
                os.chmod(f"{folder}/{name}", 0o777)
                if kind == socket.SOCK_STREAM:
                    bound.listen()
        yield one, two


def _address() -> str:
    """Of this host, not on its loopback; where it has none, one that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect((NOBODYS, 9))
        except OSError:
            return NOBODYS
        return str(one.getsockname()[0])


def attempted(host: dict[str, object], user: str, trace: str = "") -> dict[str, str]:
    """What comes of each attempt, by that user; with `trace`, while these calls are traced."""
    output = Output()
    inherited = os.open("/etc", os.O_RDONLY)  # a descriptor that a careless caller would leave to programs
    os.set_inheritable(inherited, True)
    seen: list[Entry] = []

    def tried() -> None:
        with two_kernels() as (here, _):
            command = [PYTHON, "-S", str(PROGRAMS / "escapes.py"), json.dumps(host)]
            sees = Sees(visible=[str(host["folder"])])
            asked = by_call(here, command, None, "/", (None, output.fd, None), (), sees, "", None)
            if trace:
                asked = asked._replace(tracer=Tracer(CallViewer(seen.append, parse([trace]))))
            guest = launch(here, asked)
            try:
                assert guest.wait(100) == 0
            finally:
                guest.close()
        assert not trace or seen

    try:
        if user == "self":
            tried()
        else:
            in_child(tried, become_nobody if user == "nobody" else lose_admin)
    finally:
        os.close(inherited)
    return dict(line.split(": ", 1) for line in output.text().splitlines())


USERS = ["self", pytest.param("nobody", marks=pytest.mark.needs("nobody", "userns"))]
BOUND_ROOT = pytest.param("root without CAP_SYS_ADMIN", marks=pytest.mark.needs("root", "userns"))
"""Whose programs have a user namespace, and are root in it."""


@pytest.fixture(scope="module", params=[*USERS, BOUND_ROOT])
def outcomes(request: pytest.FixtureRequest, host: dict[str, object]) -> dict[str, str]:
    """What came of each attempt."""
    return attempted(host, request.param)


@pytest.mark.parametrize("name", EXPECTED)
def test_an_attempt_to_get_out_fails(name: str, outcomes: dict[str, str]) -> None:
    assert outcomes[name] in (EXPECTED[name], *EXPECTED[name].split())


def test_no_attempt_is_forgotten(outcomes: dict[str, str]) -> None:
    assert outcomes.keys() == EXPECTED.keys()


@pytest.mark.parametrize(
    "trace",
    [
        "network",
        pytest.param("all", marks=pytest.mark.long),
        pytest.param("file,process", marks=pytest.mark.long),
        pytest.param("ptrace,unshare,setns,clone,mount,ioctl,socket,connect,io_uring_setup", marks=pytest.mark.long),
        pytest.param("!network", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("user", USERS)
def test_attempts_fail_as_well_while_they_are_traced(user: str, trace: str, host: dict[str, object]) -> None:
    """Then the filter and a tracer share the decisions."""
    found = attempted(host, user, trace)
    assert found.keys() == EXPECTED.keys()
    got_out = {name: what for name, what in found.items() if what not in (EXPECTED[name], *EXPECTED[name].split())}
    assert got_out == {}


# Streams that are sockets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
def test_a_socket_of_the_hosts_network_is_no_stream(kind: int, stream: str) -> None:
    with two_kernels() as (here, _), socket.socket(socket.AF_INET, kind) as one:
        given: dict[str, Any] = {stream: one.fileno()}
        with pytest.raises(OSError, match=r"standard \w+ is a socket of the host's network") as problem:
            here.run(["true"], **given)
        assert problem.value.errno == ENOTSUP


def test_a_directory_is_no_stream(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with two_kernels() as (here, _), pytest.raises(OSError, match="is a directory of the host") as problem:
            here.run(["true"], stdin=folder)
        assert problem.value.errno == EISDIR
    finally:
        os.close(folder)


def test_a_unix_socket_is_one() -> None:
    ours, its = socket.socketpair()
    with two_kernels() as (here, _), ours:
        with its:
            guest = here.run(["echo", "well"], stdout=its.fileno())
        assert guest.wait(30) == 0
        guest.close()
        assert ours.recv(100) == b"well\n"


# A directory of the host ----------------------------------------------------------------------------------------

READER = """
import errno, os, sys
seen = set()
def look(path, mode):
    try:
        fd = os.open(path, mode)
    except OSError:
        return
    try:
        if mode == os.O_RDONLY:
            seen.add(os.read(fd, 100))
        else:
            os.write(fd, b"overwritten")
    except OSError as problem:
        # A host file is opened when it is first read or written; by then its name may be another's.
        if problem.errno not in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT, errno.ESTALE):
            raise
    os.close(fd)
print("reading", flush=True)
rounds = last = 0
while os.path.exists("/shared/on"):
    look("/shared/file", os.O_RDONLY)
    look("/shared/folder/file", os.O_RDONLY)
    look("/shared/folder/file", os.O_WRONLY)
    look("/shared/../secrets/file", os.O_RDONLY)
    look("/shared/folder/../../secrets/file", os.O_RDONLY)
    rounds += 1
    if seen and rounds >= 50 > last:
        print("often enough", flush=True)
        last = rounds
print(sorted(seen))
print(os.listdir("/shared/.."))
"""
SWAPS = 1500
"""At least; more until the program has had its rounds, however slow it is."""


@pytest.mark.needs("root", "fuse", "nobody")
def test_links_exchanged_while_they_are_opened_lead_nowhere(tmp_path: Path) -> None:
    """Rump, which is root, opens the files for a program of nobody's: never one outside, whatever the names become meanwhile."""
    with tempfile.TemporaryDirectory(dir=tmp_path) as above:
        shared, secrets = Path(above, "shared"), Path(above, "secrets")
        for folder in (shared, shared / "folder", secrets):
            folder.mkdir()
        for file in (shared / "plain", shared / "folder" / "file"):
            file.write_text("plain")
            file.chmod(0o666)
        (shared / "on").touch()
        (secrets / "file").write_text("secret")
        (secrets / "file").chmod(0o600)

        def exchange(guest: Any) -> None:
            os.symlink("../secrets/file", shared / "link")
            os.symlink("../secrets", shared / "away")
            swaps = 0
            while swaps < SWAPS or ("often enough" not in output.text() and guest.exit_code is None):
                swaps += 1
                os.link(shared / "plain", shared / "next")
                os.rename(shared / "next", shared / "file")
                os.rename(shared / "folder", shared / "kept")
                os.rename(shared / "away", shared / "folder")
                os.symlink("../secrets/file", shared / "next")
                os.rename(shared / "next", shared / "file")
                os.rename(shared / "folder", shared / "away")
                os.rename(shared / "kept", shared / "folder")
            os.unlink(shared / "file")
            os.rename(shared / "plain", shared / "file")
            os.unlink(shared / "on")

        output = Output()
        mounts: dict[str, Any] = {"/": "tmpfs", "/shared": {"type": "hostfs", "source": str(shared)}}
        with Kernel(mounts=mounts) as kernel:
            command = [PYTHON, "-S", "-c", READER]
            asked = Asked(command, cwd="/", stdio=(None, output.fd, None), user=(65534, 65534, [65534]))
            guest = launch(kernel, asked)
            try:
                while not output.text() and guest.exit_code is None:
                    time.sleep(0.01)
                exchange(guest)
                assert guest.wait(60) == 0
            finally:
                guest.close()
        _, _, seen, names = output.text().splitlines()
        assert "plain" in seen or "overwritten" in seen
        assert "secret" not in seen
        assert "secrets" not in names
        assert (secrets / "file").read_text() == "secret"
        assert os.listdir(secrets) == ["file"]
