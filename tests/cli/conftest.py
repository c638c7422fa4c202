"""For all tests of the command that run it in this process."""

from collections.abc import Iterator

import pytest

from rumpkit.guests.linux.launcher import Share


@pytest.fixture(autouse=True)
def no_starter_is_left() -> Iterator[None]:
    """`rump run` begins with the starter of programs, which goes with its process; here that lives on, and other tests count children."""
    yield
    Share().close()
