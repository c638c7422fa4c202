"""Signals for all of a program's processes, as a terminal's Ctrl-C or timeout(1) reach them; beside `spawn`, which starts them.

A signal that only the first process got would end nothing where that is a shell: it waits for its child before it looks at
signals.  Who has left the program's process group (daemons, the jobs of an interactive shell) is not meant.
"""

import os
import signal

MAX_PROCESSES = 65536


def send_to_group(init: int, leader: int, number: int) -> int:
    """Send `number` to every process in the pid namespace of `init` that is in the process group of `leader`, but for these two;
    how many there were.  Processes that end meanwhile, or that are not ours to look at, are left out."""
    try:
        space, group = _space(init), os.getpgid(leader)
    except OSError:
        return 0
    sent = 0
    for process in below(init):
        if process == leader:
            continue
        try:
            descriptor = os.pidfd_open(process)
        except OSError:
            continue
        try:
            # Asked behind the descriptor's back, yet of the same process if it is still there to be signalled.
            if _space(process) == space and os.getpgid(process) == group:
                signal.pidfd_send_signal(descriptor, number)
                sent += 1
        except OSError:
            continue
        finally:
            os.close(descriptor)
    return sent


def pid_of(descriptor: int) -> int:
    """The process that a pidfd stands for, -1 if it has ended."""
    with open(f"/proc/self/fdinfo/{descriptor}") as file:
        for line in file:
            if line.startswith("Pid:"):
                return int(line[4:])
    return -1


def _space(process: int) -> int:
    return os.stat(f"/proc/{process}/ns/pid").st_ino


def below(process: int) -> list[int]:
    """The processes that have come from this one, of any generation, and are there still."""
    found: list[int] = []
    waiting = [process]
    while waiting and len(found) < MAX_PROCESSES:
        one = waiting.pop()
        try:
            threads = os.listdir(f"/proc/{one}/task")
        except OSError:
            continue
        for thread in threads:
            try:
                with open(f"/proc/{one}/task/{thread}/children") as file:
                    children = [int(word) for word in file.read().split()]
            except OSError:
                continue
            found += children
            waiting += children
    return found
