"""What the C library is asked to do for a whole process."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.needs("linux")

BUFFERS = """
import resource, sys, threading
from rumpkit.hosts.posix.libc import keep_heap

def work():
    def rounds(number):
        for _ in range(number):
            held = [b"x" * 200_000 for _ in range(5)]
    rounds(3)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    rounds(20)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

if sys.argv[1] == "keep":
    keep_heap()
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def faults(how: str) -> int:
    said = subprocess.run([sys.executable, "-c", BUFFERS, how], capture_output=True, text=True, check=True).stdout
    return int(said)


@pytest.mark.once
def test_large_buffers_that_come_and_go_need_no_new_pages():
    assert faults("leave") > 1000, "nothing to keep: this test shows nothing"
    assert faults("keep") < 100
