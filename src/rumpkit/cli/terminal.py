"""What the terminal says about who uses it."""

import os
import sys
import termios

LOCAL_FLAGS = 3
"""Index of c_lflag in what tcgetattr returns."""


def reads_keys() -> bool:
    """Whether a program has the terminal to itself: it reads key by key, as shells, editors and Python's prompt do."""
    try:
        return not termios.tcgetattr(sys.stderr.fileno())[LOCAL_FLAGS] & termios.ICANON
    except (termios.error, OSError, ValueError):
        return False


def in_foreground() -> bool:
    """Whether our process group is the one that the terminal sends its Ctrl-C to, so that programs have got it, too."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
