"""The host's kernel judges unions: random system calls on its files and on ours, then a layer over ours, and more calls: errno for errno.
What is below stays as it was."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rumpkit.kern.process import Credentials
from tests.system.helpers.hostdirs import memory_directory
from tests.system.helpers.randomcalls import STEPS, USER
from tests.system.helpers.samecalls import DEPTH, Host, Ours, Run
from tests.system.helpers.sameruns import same_tree, take

pytestmark = [pytest.mark.needs("root"), pytest.mark.once]
SUPPRESSED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
EXAMPLES = int(os.environ.get("RUMPKIT_TEST_EXAMPLES", "300"))
BELOW = pytest.mark.parametrize("kind", ["locked", "tmpfs", "union"])


class UnderLayer(Ours):
    """On a file system over which there will be a union."""

    def __init__(self, uid: int, kind: str):
        self.kind = kind
        super().__init__(uid, "/h")

    def prepare(self) -> None:
        source = ""
        if self.kind == "union":
            self.files.mount("locked", source := "/below")
        self.files.mount(self.kind, "/h", source)

    def cover(self, uid: int) -> None:
        """Go on in a union."""
        self.files.mount("union", "/u", "/h", vnodes=64)
        self.enter(uid)

    def enter(self, uid: int) -> None:
        """Have another user there."""
        self.client.exit()
        self.client = self.files.process()
        self.client.chdir("/u/" + "/".join(DEPTH))
        self.client.process.credentials = Credentials(uid, uid, ())

    def below(self, path: str = "/h") -> Any:
        """All that is there, with times and numbers."""
        found: dict[str, Any] = {}
        root = self.files.root
        for name in root.names(path):
            where = f"{path}/{name}"
            status = root.lstat(where)
            attributes = (
                {one: root.getxattr(where, one, 0) for one in root.listxattr(where, 0)} if _is_plain(status) else {}
            )
            content = root.pread(fd := root.open(where, os.O_RDONLY), 1 << 20, 0) if _is_file(status) else b""
            if _is_file(status):
                root.close(fd)
            found[where] = (status._replace(st_atime_ns=0), attributes, content)
            if status.st_mode & 0o170000 == 0o040000:
                found |= self.below(where)
        return found


def _is_file(status: Any) -> bool:
    return bool(status.st_mode & 0o170000 == 0o100000)


def _is_plain(status: Any) -> bool:
    return bool(status.st_mode & 0o170000 in (0o100000, 0o040000))


def run(kind: str, uid: int, first: list[Any], second: list[Any]) -> None:
    old_mask = os.umask(0o022)
    try:
        with memory_directory() as base:
            host = Host(base, uid)
            both = Run(ours := UnderLayer(uid, kind), host)
            try:
                take(both, first, True)
                while both.open:
                    both.on_file(0, "close")
                before = ours.below()
                ours.cover(uid)
                take(both, second, False)
                while both.open:
                    both.on_file(0, "close")
                ours.enter(0)
                same_tree(both, ".")
                assert ours.below() == before, "\n".join(both.log)
            finally:
                for _, fd in both.open:
                    os.close(fd)
                ours.finish()
                os.close(host.base)
    finally:
        os.umask(old_mask)


@BELOW
@pytest.mark.parametrize("uid", [0, USER])
@settings(suppress_health_check=SUPPRESSED, max_examples=30)
@given(first=st.lists(STEPS, max_size=30), second=st.lists(STEPS, max_size=60))
def test_like_the_hosts(kind: str, uid: int, first: list[Any], second: list[Any]) -> None:
    run(kind, uid, first, second)


@BELOW
@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("uid", [0, USER])
@settings(suppress_health_check=SUPPRESSED, max_examples=EXAMPLES, phases=[Phase.generate])
@given(first=st.lists(STEPS, min_size=20, max_size=60), second=st.lists(STEPS, min_size=60, max_size=120))
def test_like_the_hosts_for_long(kind: str, uid: int, first: list[Any], second: list[Any]) -> None:
    run(kind, uid, first, second)
