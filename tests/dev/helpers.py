"""A kernel with /dev for tests of devices."""

from tests.vfs.helpers import Files


def with_devices() -> Files:
    """A kernel whose devices are in /dev."""
    files = Files()
    files.mount("devfs", "/dev")
    return files
