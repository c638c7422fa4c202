"""Where the `rump` command begins: Ctrl-C is quiet from the first moment, long before a verb has said what it shall do.

Python answers it with a traceback of whatever was being imported.  Until a verb installs handlers of its own, it ends the
program as it ends any other.  Only for the program: importing `rumpkit.cli.main` changes no handler.
"""

# The module behind `signal`, without the imports of that one, in which Ctrl-C would find us.
import _signal  # type: ignore[import-not-found]

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # not where a shell or nohup has it ignored
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


def main() -> int:
    """Run the command line; returns the exit code."""
    from .main import main as run

    return run()
