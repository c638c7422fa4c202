"""The program's /dev: what every program may use, and nothing of the host's."""

from __future__ import annotations

import os
import pty
from pathlib import Path

import pytest

from rumpkit.guests.linux.plan import ProgramPlan
from rumpkit.guests.linux.spawn import spawn
from tests.guests.linux.sandbox_helpers import PYTHON, become_nobody, in_child, run

pytestmark = [pytest.mark.needs("linux", "seccomp", "netns"), pytest.mark.once]


@pytest.fixture(params=["self", pytest.param("nobody", marks=pytest.mark.needs("nobody", "userns"))])
def as_user(request):
    if request.param == "self":
        return lambda function: function()
    return lambda function: in_child(function, become_nobody)


def says(code: str, **options) -> list[str]:
    status, out = run([PYTHON, "-c", "import os, sys\n" + code], **options)
    assert status == 0, out
    return out.splitlines()


def test_what_is_there(as_user):
    code = (
        "print(*sorted(os.listdir('/dev')))\n"
        "def disk(name): return os.path.exists(name) and os.stat(name).st_mode & 0o170000 == 0o060000\n"
        "print(*[name for name in os.listdir('/dev') if disk('/dev/' + name)])\n"
        "open('/dev/null', 'w').write('x'); print(open('/dev/zero', 'rb').read(2), len(open('/dev/urandom', 'rb').read(9)))\n"
        "try: open('/dev/full', 'w', buffering=1).write('x\\n')\n"
        "except OSError as e: print(e.errno)\n"
        "print(open('/dev/fd/0').fileno() > 0, os.listdir('/dev/shm'))\n"
    )

    def check_it():
        names, disks, *rest = says(code)
        wanted = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero".split()
        assert set(names.split()) - {"log", "console"} == set(wanted)
        assert disks == ""
        assert rest == ["b'\\x00\\x00' 9", "28", "True []"]

    with open("/dev/null") as null:
        stdin = os.dup(0)
        os.dup2(null.fileno(), 0)
        try:
            as_user(check_it)
        finally:
            os.dup2(stdin, 0)
            os.close(stdin)


def test_terminals_and_shared_memory_are_its_own(as_user):
    name = f"rumpkit-test-{os.getpid()}"
    code = (
        "import pty\n"
        "a, b = pty.openpty(); print(os.ttyname(b)); os.write(a, b'x\\n'); print(os.read(b, 9))\n"
        f"open('/dev/shm/{name}', 'w').write('here'); print(open('/dev/shm/{name}').read())\n"
    )

    def check_it():
        assert says(code) == ["/dev/pts/0", "b'x\\n'", "here"]
        assert not Path(f"/dev/shm/{name}").exists()

    as_user(check_it)


def test_the_terminal_it_was_started_on_has_a_name(as_user):
    ours, its = pty.openpty()

    reader, writer = os.pipe()

    def check_it():
        program = spawn(ProgramPlan(["tty"], stdio=(its, writer, 2)))
        assert program.wait(30) == 0
        program.close()

    try:
        as_user(check_it)
        assert os.read(reader, 99) == b"/dev/console\n"
    finally:
        for fd in (ours, its, reader, writer):
            os.close(fd)


@pytest.mark.needs("root")
def test_root_can_do_nothing_to_the_hosts_nodes():
    before = os.stat("/dev/null")
    code = (
        "def disk(name): os.mknod(name, 0o60600, os.makedev(7, 0))\n"
        "for change in (lambda: os.chmod('/dev/null', 0o600), lambda: os.chown('/dev/null', 1, 1), lambda: os.unlink('/dev/null'),\n"
        "               lambda: disk('/dev/disk'), lambda: disk('/tmp/disk')):\n"
        "  try: change(); print('done')\n"
        "  except OSError as e: print(e.errno)\n"
    )
    assert says(code) == ["30", "30", "16", "1", "1"]
    after = os.stat("/dev/null")
    assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)
