"""The host's kernel judges ours: the same random system calls on a host directory and on a tmpfs, errno for errno."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.system.helpers.hostdirs import memory_directory
from tests.system.helpers.randomcalls import NAMELESS, STEPS, USER
from tests.system.helpers.samecalls import Host, OnHostfs, Ours
from tests.system.helpers.sameruns import compare

pytestmark = pytest.mark.needs("root")
SUPPRESSED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@pytest.mark.parametrize("uid", [0, USER])
@settings(suppress_health_check=SUPPRESSED)
@given(steps=st.lists(STEPS, max_size=60))
def test_same_calls_have_the_same_outcome(uid: int, steps: list[Any]) -> None:
    with memory_directory() as base:
        compare(lambda: Ours(uid), lambda: Host(base, uid), steps)


def _reaches_the_host(step: Any) -> bool:
    """Whether hostfs hands a step on: neither set-user-ID bits nor attributes that mean something to the host."""
    name, arguments = step
    if name == "open_file" and arguments[1] & NAMELESS == NAMELESS:
        return False
    if name == "on_file":
        arguments = arguments[1:]
    texts = [argument for argument in arguments if isinstance(argument, str)]
    if any(text.startswith(("trusted", "security", "system")) for text in texts):
        return False
    called = arguments[0] if name in ("both", "on_file") else name
    numbers = arguments[-1:] if called in ("mkdir", "mkfifo", "chmod", "open_file") else ()
    return not any(number & 0o7000 for number in numbers)


@pytest.mark.parametrize("uid", [0, USER])
@settings(suppress_health_check=SUPPRESSED, max_examples=50)
@given(steps=st.lists(STEPS.filter(_reaches_the_host), max_size=60))
def test_a_host_directory_is_like_a_host_directory(uid: int, steps: list[Any]) -> None:
    with memory_directory() as base, memory_directory() as directory:
        compare(lambda: OnHostfs(uid, directory), lambda: Host(base, uid), steps)
