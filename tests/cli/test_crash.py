"""Reports of crashes: frames in a line, texts, and a bug of ours."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest

from rumpkit.cli.crash import FRAMES, CrashReports, LastFrames, as_text, summary
from rumpkit.compose.kernel import Kernel
from rumpkit.guests.linux.record import complain
from rumpkit.hyper.frame import Frame
from rumpkit.net.link.tap import OUTBOUND

ETHERNET = bytes(12)
IP = b"\x45\0\0\x28\0\0\0\0\x40\x06\0\0\x0a\0\2\x0f\x0a\0\2\2"
ARP = bytes(7) + b"\1" + bytes(6) + b"\x0a\0\0\1" + bytes(6) + b"\x0a\0\0\2"
TCP = b"\x1f\x90\0\x50\0\0\0\7\0\0\0\x09\x50\x12\1\0\0\0\0\0"


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (ETHERNET + b"\x08\0" + IP + TCP, "TCP 10.0.2.15:8080 > 10.0.2.2:80 [SA] seq 7 ack 9 win 256"),
        (ETHERNET + b"\x08\0" + IP.replace(b"\x40\x06", b"\x40\x11") + TCP, "UDP 10.0.2.15:8080 > 10.0.2.2:80"),
        (ETHERNET + b"\x08\0" + IP, "TCP 10.0.2.15 > 10.0.2.2"),
        (ETHERNET + b"\x86\xdd" + b"\x60\0\0\0\0\x08\x3a\xff" + bytes(15) + b"\1" + bytes(15) + b"\2", "ICMPv6 ::1 > ::2"),
        (ETHERNET + b"\x08\x06" + ARP, "ARP request 10.0.0.1 > 10.0.0.2"),
        (b"", "type 0x0000"),
        (ETHERNET + b"\x12\x34", "type 0x1234"),
    ],
)  # fmt: skip
def test_a_frame_in_a_line(frame: bytes, expected: str) -> None:
    assert summary(frame) == expected


def test_the_last_frames_are_kept_and_no_more() -> None:
    last = LastFrames()
    for number in range(FRAMES + 5):
        last.frame("vif0", Frame(ETHERNET + number.to_bytes(2, "big")), OUTBOUND, number)
    lines = last.lines(10**9)
    assert len(lines) == FRAMES
    assert lines[0].endswith("vif0 out type 0x0005, 14 bytes") and lines[0].startswith(" -1.000000")


def test_a_report_as_text() -> None:
    text = as_text("web died", "now", {"signal": "{}", "stack": [], "registers": {"rip": "0x1"}})
    assert text.startswith("web died\nnow\n\n== signal\n{}\n\n== stack (by frame pointers")
    assert text.endswith("none\n\n== registers\nrip        0x1\n")


@pytest.mark.needs("linux")
def test_a_bug_of_ours_leaves_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    hook = threading.excepthook
    monkeypatch.setattr(threading, "excepthook", lambda arguments: print("as ever", arguments.exc_type.__name__))
    with Kernel(net=f"switch:crash{id(tmp_path)}", address="10.9.0.1/24") as kernel:
        reports = CrashReports({"": kernel}, lambda name: "", list, quiet=False)
        try:
            raise ZeroDivisionError("a component's bug")
        except ZeroDivisionError as problem:
            complain(problem)
        reports.close()
    (text,) = (tmp_path / "rumpkit" / "crashes").glob("*.txt")
    assert stat.S_IMODE(text.stat().st_mode) == 0o600
    assert stat.S_IMODE(text.parent.stat().st_mode) == 0o700
    assert "test_a_bug_of_ours_leaves_its_traceback" in text.read_text()
    assert json.loads(text.with_suffix(".json").read_text())["traceback"][-1] == "ZeroDivisionError: a component's bug"
    output, errors = capfd.readouterr()
    assert output == "as ever ZeroDivisionError\n" and f"report: {text}" in errors
    monkeypatch.undo()
    assert threading.excepthook is hook
