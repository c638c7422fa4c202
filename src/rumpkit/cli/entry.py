"""Where the `rump` command begins: Ctrl-C is quiet from the first moment, long before a verb has said what it shall do.

Python answers it with a traceback of whatever was being imported.  Until a verb installs handlers of its own, it ends the
program as it ends any other.  Only for the program: importing `rumpkit.cli.main` changes no handler.
"""

# The module behind `signal`, without the imports of that one, in which Ctrl-C would find us.
import _signal  # type: ignore[import-not-found]
import gc
import sys

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # not where a shell or nohup has it ignored
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


GARBAGE_THRESHOLD = 50_000
"""New objects before Python looks for garbage: its 700 would have it look all the time while modules are loaded."""


def main() -> int:
    """Run the command line; returns the exit code."""
    gc.set_threshold(GARBAGE_THRESHOLD)
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _open_streams()
    from .main import main as run

    status = run()
    _leave(status)
    return status


def _leave(status: int) -> None:
    """End the process as its end would, but without taking Python apart object by object, which takes a fifth as long as a short
    program's whole run.  Returns where that can't be: a thread still works, or what was printed can't be written."""
    import atexit
    import os
    import threading

    if any(not one.daemon for one in threading.enumerate() if one is not threading.current_thread()):
        return
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError):  # Python says so in its own way
        return
    os._exit(status)


def _open_streams() -> None:
    """Give what was started without a standard stream (`>&-`) one that can't be used: else the next file that is opened would be
    taken for it, and an image get what is printed."""
    import os

    null = os.open(os.devnull, os.O_RDONLY)
    while null <= 2:
        null = os.dup(null)
    os.close(null)
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
