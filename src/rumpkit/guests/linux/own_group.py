"""Which control group this process is in (cgroups(7), version 2), as a directory.

Below `cgroups`, which makes some, and `spawn`, by which a program without limits of its own sees this one and no other.  Each start asks,
so nothing is loaded for it.
"""

from __future__ import annotations

import os
from typing import Final

PREFIX: Final = "rumpkit-"
"""Of the groups that we make."""


class Unavailable(Exception):
    """No group here, and why."""


def find() -> tuple[str, str]:
    """Where cgroup2 is mounted, and our own group there.  Raises Unavailable."""
    try:
        with open("/proc/self/cgroup") as file:
            inside = next((line[3:].rstrip("\n") for line in file if line.startswith("0::")), "")
        with open("/proc/self/mountinfo") as file:
            rows = [line.split(" - ") for line in file]
    except OSError as problem:
        raise Unavailable(str(problem)) from None
    for left in (row[0] for row in rows if row[1].split()[0] == "cgroup2"):
        root, place = left.split()[3:5]
        prefix = root.rstrip("/")
        if inside.startswith("/") and not inside.startswith("/..") and f"{inside}/".startswith(f"{prefix}/"):
            top = place.replace("\\040", " ")
            return top, os.path.normpath(f"{top}/{inside[len(prefix) :].strip('/')}")
    raise Unavailable("no cgroup version 2 is mounted where we see it")


def shown() -> str:
    """The group for a program to see that has none of its own: ours, or what it was before we moved into one that we have made.  "" where
    that is the root of all, or can't be seen."""
    try:
        _, own = find()
    except Unavailable:
        return ""
    own = own.partition(f"/{PREFIX}")[0]
    return own if os.path.exists(f"{own}/cgroup.type") else ""  # which only the root lacks
