"""Each test of path calls runs on a file system that never sleeps and on one with a lock."""

import pytest

from tests.vfs.helpers import Files


@pytest.fixture(params=["tmpfs", "locked"])
def files(request: pytest.FixtureRequest) -> Files:
    return Files(root=request.param)
