"""Users and groups inside of a program's namespace: those asked for, as real as the machine lets them be."""

from __future__ import annotations

import os

import pytest

from rumpkit.clients.fuse import Owner
from rumpkit.guests.linux import ids
from rumpkit.guests.linux.ids import Mapped
from tests.guests.linux.sandbox_helpers import PYTHON, become_nobody, in_child, run, with_subordinate_ids

pytestmark = [pytest.mark.needs("linux", "seccomp", "netns", "nobody", "userns"), pytest.mark.once]

DROP = """
import os
print(os.getresuid(), os.getresgid())
fd = os.open('/dev/shm', os.O_TMPFILE | os.O_RDWR, 0o600); os.fchown(fd, 33, 34); print(os.fstat(fd).st_uid, os.fstat(fd).st_gid)
os.setgroups([33, 44]); os.setgid(34); os.setuid(33); print(os.getresuid(), os.getresgid(), os.getgroups())
print(int(open('/proc/self/status').read().split('CapEff:')[1].split()[0], 16) == 0)
"""


def test_without_subordinate_numbers_changes_are_answered_and_not_made():
    def check_it():
        code, out = run([PYTHON, "-c", DROP], user=(0, 0, [0]))
        assert code == 0 and out.splitlines()[:2] == ["(0, 0, 0) (0, 0, 0)", "0 0"]
        assert out.splitlines()[2].startswith("(0, 0, 0) (0, 0, 0)")
        assert run(["id", "-u"], user=(33, 34, [34])) == (0, "33\n")
        # He is himself where he asks for nobody else, and may not be another.
        code, out = run(
            [PYTHON, "-c", "import os; print(os.getuid()); os.setuid(33)"], user=(os.getuid(), os.getgid(), [])
        )
        assert (code, out) == (1, f"{os.getuid()}\n")

    in_child(check_it, become_nobody)


@pytest.mark.needs("newuidmap", "root")
def test_with_them_they_are_real(tmp_path):
    def check_it():
        code, out = run([PYTHON, "-c", DROP], user=(0, 0, [0]))
        assert code == 0
        assert out.splitlines() == [
            "(0, 0, 0) (0, 0, 0)",
            "33 34",
            "(33, 33, 33) (34, 34, 34) [33, 44]",
            "True",
        ]
        assert run(["id", "-G"], user=(33, 34, [34, 55])) == (0, "34 55\n")
        # Root there is nobody's root outside.
        code, _ = run(
            ["sh", "-c", "mount -t tmpfs none /mnt || ip link set lo down || : > /etc/passwd"], user=(0, 0, [0])
        )
        assert code != 0
        # Numbers beyond the range are not there: then there is only one.
        assert run(["id", "-u"], user=(80_000, 80_000, [])) == (0, "80000\n")

    in_child(check_it, lambda: with_subordinate_ids(tmp_path, "nobody:200000:70000\n"))


def test_what_a_file_of_subordinate_numbers_says(tmp_path):
    name, uid = "root" if os.geteuid() == 0 else "", os.geteuid()
    file = tmp_path / "subuid"
    file.write_text(
        f"somebody:1:2\n{uid}:100000:65536\nnonsense\n{uid}:x:1\n{uid}:7:0\n{name or uid}:300000:5\n{uid}:1:2:3\n"
    )
    assert ids.subordinate(file) == [(100000, 65536), (300000, 5)]
    assert ids.subordinate(tmp_path / "none") == []


def test_plans():
    own = os.geteuid(), os.getegid()
    for user in (None, (*own, [])):
        plan = ids.plan(user)
        assert plan == ids.Ids([Mapped(own[0], own[0], 1)], [Mapped(own[1], own[1], 1)], []) and not plan.virtual
        assert plan.owner() == Owner(*own)
    plan = ids.plan((1 << 31, 5, [5]))
    assert plan.users == [Mapped(1 << 31, own[0], 1)] and plan.virtual and plan.owner() == Owner(1 << 31, 5)
