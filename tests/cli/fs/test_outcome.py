"""How `rump fs umount` hears what became of a mount."""

from __future__ import annotations

import os

import pytest

from rumpkit.cli.fs.outcome import Mounted, Outcome, ask, await_end, mounted_on

MOUNTED = Mounted(f"of test {os.getpid()}", "/disk.img", os.getuid())


def test_all_who_wait_hear_the_end() -> None:
    assert ask(MOUNTED) is None
    for said in ("", "disk.img: File exists"):
        outcome = Outcome()
        outcome.offer(MOUNTED)
        lines = [ask(MOUNTED), ask(MOUNTED), ask(MOUNTED)]
        gone = lines.pop()
        assert gone is not None
        gone.close()
        outcome.tell(said)
        for line in lines:
            assert line is not None
            with line:
                if not said:
                    await_end(line)
                    continue
                with pytest.raises(OSError, match=r"its server has failed: disk\.img: File exists"):
                    await_end(line)
        assert ask(MOUNTED) is None


def test_a_server_that_dies_has_not_made_the_image_complete() -> None:
    outcome = Outcome()
    outcome.offer(MOUNTED)
    line = ask(MOUNTED)
    assert line is not None
    del outcome
    with line, pytest.raises(OSError, match="before the image was complete"):
        await_end(line)


def test_somebody_else_is_not_believed() -> None:
    outcome = Outcome()
    outcome.offer(MOUNTED)
    line = ask(MOUNTED._replace(owner=os.getuid() + 1))
    assert (line is not None) == (os.getuid() == 0), "the superuser may serve for anybody"
    if line is not None:
        line.close()
    outcome.tell("")


def test_what_is_no_mount_of_ours() -> None:
    assert mounted_on("/proc") is None and mounted_on("/no such place") is None
