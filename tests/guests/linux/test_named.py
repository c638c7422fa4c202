"""Unix sockets that a program connects to by name: those of programs on its kernel as natively, those of the host not at all."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from rumpkit.guests.linux.named import MOST_WAITING
from tests.guests.linux.guest_helpers import PROGRAMS, Output, two_kernels
from tests.guests.linux.sandbox_helpers import PYTHON, become_nobody, in_child, with_subordinate_ids

pytestmark = [pytest.mark.needs("linux", "seccomp", "netns"), pytest.mark.once]

UNCOVERED = ("/var/lib", "/srv", "/opt", "/home", os.path.expanduser("~"))
"""Where programs see the host's files."""
USERS = ["self", pytest.param("nobody", marks=pytest.mark.needs("root", "nobody", "userns"))]

SYSTEM = [place for place in ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache") if os.path.exists(place)]
Runner = Callable[[Callable[[], object]], object]


@pytest.fixture(params=USERS)
def as_user(request: pytest.FixtureRequest) -> Runner:
    """Calls a function as one user or another."""
    if request.param == "self":
        return lambda function: function()
    return lambda function: in_child(function, become_nobody)


@contextmanager
def folder() -> Iterator[str]:
    """One of the host's that all programs see, and everybody may write to."""
    place = next((one for one in UNCOVERED if os.access(one, os.W_OK) and not one.startswith(("/tmp", "/run"))), "")
    if not place:
        pytest.skip("missing: a folder outside /tmp to write to")
    with tempfile.TemporaryDirectory(dir=place) as one:
        os.chmod(one, 0o777)
        yield one


def differences(native: str, ours: str) -> list[tuple[str, str]]:
    return [pair for pair in zip(native.splitlines(), ours.splitlines(), strict=True) if pair[0] != pair[1]]


def test_a_programs_own_sockets_are_connected_as_natively(as_user: Runner) -> None:
    as_user(lambda: compare({}))


def test_and_in_a_root_of_its_own(tmp_path: Path) -> None:
    """Where Python is the host's."""
    os.chmod(tmp_path, 0o755)
    compare({"root": tmp_path, "visible": [*SYSTEM, str(PROGRAMS)]})


def compare(sees: dict[str, Any]) -> None:
    """What a program says of many ways to connect, natively and on a kernel, with these files."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        command = [PYTHON, "-S", str(PROGRAMS / "unixes.py"), place]
        native = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    output = Output()
    with two_kernels() as (here, _):
        making = here.run(["/bin/mkdir", place], **sees)
        assert making.wait(30) == 0
        making.close()
        guest = here.run(command, stdout=output.fd, **sees)
        try:
            assert guest.wait(60) == 0
        finally:
            guest.close()
    assert len(native.splitlines()) > 40
    assert differences(native, output.text()) == []


# The host's ------------------------------------------------------------------------------------------------------

TRIES = """
import errno, os, socket, sys
place = sys.argv[1]
print("started", flush=True)
sys.stdin.readline()
os.symlink(place + "/listener", "/tmp/link")
os.symlink(place, "/tmp/way")
def tried(name, kind):
    with socket.socket(socket.AF_UNIX, kind) as one:
        try:
            one.connect(name)
        except OSError as problem:
            return errno.errorcode[problem.errno]
        return "connected"
def all_of_it():
    for kind, name in ((socket.SOCK_STREAM, "listener"), (socket.SOCK_SEQPACKET, "packets"), (socket.SOCK_DGRAM, "datagrams")):
        os.chdir("/")
        yield tried(place + "/" + name, kind)
        yield tried("/proc/self/root" + place + "/" + name, kind)
        yield tried("/tmp/way/" + name, kind)
        os.chdir(place)
        yield tried(name, kind)
        yield tried("/proc/self/cwd/" + name, kind)
    yield tried("/tmp/link", socket.SOCK_STREAM)
print(" ".join(sorted(set(all_of_it()))))
"""
KINDS = (
    (socket.SOCK_STREAM, "listener"),
    (socket.SOCK_SEQPACKET, "packets"),
    (socket.SOCK_DGRAM, "datagrams"),
)


@contextmanager
def listening(place: str, relative: bool) -> Iterator[list[socket.socket]]:
    """Sockets of the host's, for all."""
    made = [socket.socket(socket.AF_UNIX, kind) for kind, _ in KINDS]
    before = os.getcwd()
    os.chdir(place)
    try:
        for one, (kind, name) in zip(made, KINDS, strict=True):
            one.bind(name if relative else f"{place}/{name}")
            os.chmod(f"{place}/{name}", 0o777)
            if kind != socket.SOCK_DGRAM:
                one.listen(50)
    finally:
        os.chdir(before)
    try:
        yield made
    finally:
        for one in made:
            one.close()


def outcome(place: str, before: bool, relative: bool, **options: object) -> str:
    """What comes of all tries; the host listens from before the start on, or later."""
    output = Output()
    reader, writer = os.pipe()
    with two_kernels() as (here, _):
        command = [PYTHON, "-S", "-c", TRIES, place]
        if before:
            with listening(place, relative):
                os.write(writer, b"\n")
                guest = here.run(command, stdin=reader, stdout=output.fd, **options)  # type: ignore[arg-type]
                assert guest.wait(60) == 0
        else:
            guest = here.run(command, stdin=reader, stdout=output.fd, **options)  # type: ignore[arg-type]
            with listening(place, relative):
                os.write(writer, b"\n")
                assert guest.wait(60) == 0
        guest.close()
    os.close(reader)
    os.close(writer)
    return output.text().split("\n")[1]


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("before", [True, False])
def test_the_hosts_sockets_refuse(before: bool, relative: bool, as_user: Runner) -> None:
    with folder() as place:

        def tried() -> None:
            assert outcome(place, before, relative) in ("ECONNREFUSED", "EACCES ECONNREFUSED")

        as_user(tried)


@pytest.mark.parametrize("before", [True, False])
def test_those_in_a_visible_folder_refuse_too(before: bool) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        os.chmod(place, 0o777)
        assert outcome(place, before, False, visible=[place]) in ("ECONNREFUSED", "EACCES ECONNREFUSED")


def test_those_in_a_writable_folder_are_reached(as_user: Runner) -> None:
    with folder() as place:

        def tried() -> None:
            assert outcome(place, False, False, writable=[place]) == "connected"

        as_user(tried)


EXCHANGE = """
import os, socket, sys, threading
place = sys.argv[1]
print("started", flush=True)
sys.stdin.readline()
os.mkdir("/tmp/own")
listener = socket.socket(socket.AF_UNIX)
listener.bind("/tmp/own/listener")
listener.listen(4096)
os.symlink(place, "/tmp/next")
os.symlink("/tmp/own", "/tmp/way")
over = False
def exchange():
    while not over:
        os.symlink(place, "/tmp/a")
        os.rename("/tmp/a", "/tmp/way")
        os.symlink("/tmp/own", "/tmp/a")
        os.rename("/tmp/a", "/tmp/way")
def exchange_descriptors():
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    while not over:
        fresh = socket.socket(socket.AF_UNIX)
        os.dup2(netlink.fileno(), 100)
        os.dup2(fresh.fileno(), 100)
        fresh.close()
threads = [threading.Thread(target=one) for one in (exchange, exchange_descriptors)]
os.dup2(listener.fileno(), 100)
for one in threads:
    one.start()
reached = refused = 0
swapped = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, 100)
while reached < 100 or refused < 100:
    with socket.socket(socket.AF_UNIX) as one:
        try:
            one.connect("/tmp/way/listener")
            reached += 1
            listener.accept()[0].close()
        except ConnectionRefusedError:
            refused += 1
    try:
        swapped.connect(place + "/listener")
    except OSError:
        pass
over = True
for one in threads:
    one.join()
print("done")
"""


def test_what_is_exchanged_meanwhile_leads_nowhere() -> None:
    """Names and descriptors change all the time while they are connected: nothing ever comes to the host."""
    output = Output()
    reader, writer = os.pipe()
    with folder() as place, two_kernels() as (here, _):
        guest = here.run([PYTHON, "-S", "-c", EXCHANGE, place], stdin=reader, stdout=output.fd)
        with listening(place, False) as made:
            os.write(writer, b"\n")
            assert guest.wait(90) == 0
            guest.close()
            made[0].setblocking(False)
            with pytest.raises(BlockingIOError):
                made[0].accept()
    os.close(reader)
    os.close(writer)
    assert output.text() == "started\ndone\n"


def test_netlink_is_connected_to_the_kernel_alone() -> None:
    code = """
import socket
one = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
one.connect((0, 0))
print(one.getpeername())
for name in ((1, 0), (0, 1)):
    try:
        one.connect(name)
    except PermissionError:
        print("refused")
"""
    output = Output()
    with two_kernels() as (here, _):
        guest = here.run([PYTHON, "-S", "-c", code], stdout=output.fd)
        assert guest.wait(30) == 0
        guest.close()
    assert output.text() == "(0, 0)\nrefused\nrefused\n"


def test_descriptors_in_names_are_the_callers() -> None:
    code = """
import os, socket
listener = socket.socket(socket.AF_UNIX)
listener.bind("/tmp/one")
listener.listen(5)
for place in ("/dev/fd", "/proc/self/fd", f"/proc/{os.getpid()}/fd"):
    socket.socket(socket.AF_UNIX).connect(f"{place}/{os.open('/tmp', os.O_RDONLY)}/one")
    print("connected")
os.symlink("/proc/self/cwd", "/tmp/here")
os.chdir("/tmp")
socket.socket(socket.AF_UNIX).connect("here/one")
print("connected")
"""
    output = Output()
    with two_kernels() as (here, _):
        guest = here.run([PYTHON, "-S", "-c", code], stdout=output.fd)
        assert guest.wait(30) == 0
        guest.close()
    assert output.text() == "connected\n" * 4


def test_a_program_ends_while_it_waits_for_room() -> None:
    code = """
import socket
listener = socket.socket(socket.AF_UNIX)
listener.bind("/tmp/full")
listener.listen(0)
for _ in range(3):
    print("once", flush=True)
    one = socket.socket(socket.AF_UNIX)
    one.connect("/tmp/full")
    listener = [listener, one]
"""
    output = Output()
    with two_kernels() as (here, _):
        guest = here.run([PYTHON, "-S", "-c", code], stdout=output.fd)
        while output.text().count("once") < 2 and guest.exit_code is None:
            time.sleep(0.01)
        assert guest.kill() == -9
        guest.close()


HELD_UP = """
import fcntl, os, socket, threading, time
full = socket.socket(socket.AF_UNIX)
full.bind("/tmp/full")
full.listen(0)
socket.socket(socket.AF_UNIX).connect("/tmp/full")
late = socket.socket(socket.AF_UNIX)
def clear():
    number = late.fileno()
    while True:
        fcntl.fcntl(number, fcntl.F_SETFL, 0)
for one in (clear, lambda: late.connect("/tmp/full")):
    threading.Thread(target=one, daemon=True).start()
for _ in range(300):
    socket.socket().close()
    time.sleep(0.003)
os._exit(7)
"""


def test_a_connection_that_is_made_to_wait_holds_nobody_up() -> None:
    """A program keeps its socket from being one that doesn't block, all the time.  Its own other calls go on, and so those of others."""
    with two_kernels() as (here, _):
        guest = here.run([PYTHON, "-S", "-c", HELD_UP])
        try:
            assert guest.wait(60) == 7
        finally:
            guest.close()


def test_many_that_wait_are_refused_or_get_their_turn() -> None:
    """More than may wait at once."""
    code = f"""
import os, socket, threading
full = socket.socket(socket.AF_UNIX)
full.bind("/tmp/full")
full.listen(0)
outcomes = []
def connect():
    one = socket.socket(socket.AF_UNIX)
    try:
        outcomes.append(one.connect("/tmp/full"))
    except BlockingIOError as problem:
        outcomes.append(problem.errno)
threads = [threading.Thread(target=connect) for _ in range({MOST_WAITING + 50})]
for one in threads:
    one.start()
while 11 not in outcomes:
    socket.socket().close()
def accept():
    while True:
        full.accept()[0].close()
threading.Thread(target=accept, daemon=True).start()
for one in threads:
    one.join()
print(outcomes.count(None) >= {MOST_WAITING}, set(outcomes) == {{None, 11}}, flush=True)
os._exit(0)
"""
    output = Output()
    with two_kernels() as (here, _):
        guest = here.run([PYTHON, "-S", "-c", code], stdout=output.fd)
        try:
            assert guest.wait(60) == 0
        finally:
            guest.close()
    assert output.text() == "True True\n"


MEETING_PLACE = """
import os, signal, socket
before = socket.create_server(("127.0.0.1", 0))
child = os.fork()
if not child:
    signal.pause()
with open(f"/proc/{child}/net/unix") as file:
    names = {word[1:] for word in file.read().split() if word.startswith("@")}
os.kill(child, signal.SIGKILL)
held = []
for name in names:
    for _ in range(40):
        one = socket.socket(socket.AF_UNIX)
        one.setblocking(False)
        held.append((one, one.connect_ex("\\0" + name)))
print(len(names), {error for _, error in held}, flush=True)
socket.create_server(("127.0.0.1", 0))
socket.create_connection(before.getsockname())
print("connected")
"""


def test_where_we_meet_a_programs_sockets_is_not_for_the_program() -> None:
    """It finds the name in what Linux says of its own namespace: with a full queue there, its supervisor would wait for itself."""
    output = Output()
    with two_kernels() as (here, _):
        guest = here.run([PYTHON, "-S", "-c", MEETING_PLACE], stdout=output.fd)
        try:
            assert guest.wait(30) == 0
        finally:
            guest.close()
    assert output.text() == "1 {111}\nconnected\n"


def test_inits_own_descriptors_lead_to_no_files_of_the_host() -> None:
    """Names are looked up by init, which may use them: what is found and is no socket refuses."""
    code = """
import socket
for number in range(64):
    try:
        socket.socket(socket.AF_UNIX).connect(f"/proc/1/fd/{number}/null")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass
    except ConnectionRefusedError:
        print("found")
"""
    output = Output()
    with two_kernels() as (here, _):
        guest = here.run([PYTHON, "-S", "-c", code], stdout=output.fd)
        assert guest.wait(30) == 0
        guest.close()
    assert output.text() == ""


WHO = """
import os, socket, struct
listener = socket.socket(socket.AF_UNIX)
listener.bind("/tmp/who")
os.chmod("/tmp/who", 0o777)
listener.listen(5)
os.mkdir("/tmp/closed", 0o700)
os.link("/tmp/who", "/tmp/closed/who")
for user in (0, 33):
    if not os.fork():
        os.setgroups([])
        os.setresgid(user + 1, user + 1, user + 1)
        os.setresuid(user, user, user)
        socket.socket(socket.AF_UNIX).connect("/tmp/who")
        try:
            socket.socket(socket.AF_UNIX).connect("/tmp/closed/who")
            print("reached", flush=True)
        except PermissionError:
            print("refused", flush=True)
        os._exit(0)
    os.wait()
    print(struct.unpack("3i", listener.accept()[0].getsockopt(socket.SOL_SOCKET, 17, 12))[1:], flush=True)
    if user == 0:
        listener.accept()
"""


@pytest.mark.needs("newuidmap", "root", "nobody", "userns")
def test_users_of_a_program_with_subordinate_numbers_are_told_apart(tmp_path: Path) -> None:
    """Who listens is told who of them has connected, though all of them are one ordinary user's."""

    def told() -> None:
        output = Output()
        with two_kernels() as (here, _):
            guest = here.run([PYTHON, "-S", "-c", WHO], stdout=output.fd, user="0")
            assert guest.wait(30) == 0
            guest.close()
        assert output.text() == "reached\n(0, 1)\nrefused\n(33, 34)\n"

    import_module("grp")  # now, where nobody may not read it
    in_child(told, lambda: with_subordinate_ids(tmp_path, "nobody:200000:70000\n"))


def test_datagrams_with_an_address_reach_none_that_was_there_at_the_start() -> None:
    """Also one that was bound by a relative name, as long as somebody is in its folder."""
    code = """
import errno, socket, sys
one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
for name in sys.argv[1:]:
    for send in (lambda: one.sendto(b"x", name), lambda: one.sendmsg([b"x"], [], 0, name)):
        try:
            send()
        except OSError as problem:
            print(errno.errorcode[problem.errno])
"""
    output = Output()
    with folder() as place, ExitStack() as stack:
        stack.callback(os.chdir, os.getcwd())
        os.chdir(place)
        names = [f"{place}/absolute", "relative"]
        for name in names:
            bound = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            bound.bind(name)
            os.chmod(name, 0o777)
        with two_kernels() as (here, _):
            command = [PYTHON, "-S", "-c", code, f"{place}/absolute", f"{place}/relative"]
            guest = here.run(command, stdout=output.fd, cwd="/")
            assert guest.wait(30) == 0
            guest.close()
    assert output.text() == "ECONNREFUSED\n" * 4
