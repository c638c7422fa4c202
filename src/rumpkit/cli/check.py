"""`rump check`: what works on this machine, and how to allow the rest."""

import argparse
import os
import shutil
from typing import NamedTuple

from . import exit as code
from .table import show, show_json

DESCRIPTION = """\
Show what this machine allows: unmodified programs, their mounts, TAP links, control groups, the compiled form; and how to allow the
rest."""
EPILOG = """\
examples:
  rump check            a table
  rump check --json     the same for programs

exits with 0 if programs can run on kernels here, else with 125
"""


class Finding(NamedTuple):
    """One thing that is there or not."""

    what: str
    present: bool
    needed_for: str
    remedy: str


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Probe and print."""
    guests = _guest_findings()
    findings = [*guests, *_fuse(), _tap(), *_groups(), _form()]
    if arguments.json:
        show_json([finding._asdict() for finding in findings])
    else:
        rows = [
            (
                finding.what,
                "yes" if finding.present else "no",
                finding.needed_for,
                "" if finding.present else finding.remedy,
            )
            for finding in findings
        ]
        show("what this machine allows", ("what", "there", "needed", "how to allow it"), rows)
    return code.OK if all(finding.present for finding in guests) else code.FAILED


def _guest_findings() -> list[Finding]:
    from ..guests.linux.check import requirements

    return [
        Finding(one.name, not reason, one.purpose, f"{one.remedy} ({reason})" if reason else one.remedy)
        for one, reason in requirements()
    ]


def _fuse() -> list[Finding]:
    """What it takes to show a kernel's files to programs, and on the host."""
    from ..clients.fuse.attach import HELPER, privileged, why_missing

    reason = why_missing()
    device = Finding("/dev/fuse", not reason, "for programs to see a kernel's mounts", reason)
    may = privileged() or shutil.which(HELPER) is not None
    return [device, Finding(HELPER, may, "for mounts on the host by ordinary users", "install fuse3, or run as root")]


def _tap() -> Finding:
    """Opening the device makes nothing: an interface appears only once it is named."""
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
        reason = ""
    except OSError as failure:
        reason = failure.strerror or str(failure)
    remedy = f"run as root, or let your user open /dev/net/tun ({reason})"
    return Finding("/dev/net/tun", not reason, 'for "tap:NAME" and "tun:NAME" links', remedy)


def _groups() -> list[Finding]:
    """What keeps limits of whole programs."""
    from ..guests.linux.cgroups import why_missing

    found = []
    for controller, key in (("memory", "memory"), ("cpu", "cpus"), ("pids", "processes")):
        reason = why_missing([controller])
        purpose = f"for limits = {{ {key} }} of a whole program; else of each process, or none"
        found.append(Finding(f"control group: {controller}", not reason, purpose, reason))
    return found


def _form() -> Finding:
    from .._form import COMPILED

    remedy = "install a C compiler and the Python headers, then install rumpkit again"
    return Finding("compiled form", COMPILED, "for speed only", remedy)
