"""Exit codes of `rump`, as documented in docs/reference/cli.md.

Where a program ran, its own exit status is the command's (128 + N if signal N ended it).
"""

from typing import Final

OK: Final = 0
NOTHING: Final = 1
"""`rump net`: nobody has answered, nothing of that name is counted."""
USAGE: Final = 2
"""A bad command line or config: nothing was started."""
FAILED: Final = 125
"""rumpkit could not do what was asked, for instance because a port is in use."""
NOT_EXECUTABLE: Final = 126
"""The program is there but can't be executed."""
NOT_FOUND: Final = 127
"""The program was not found."""
SIGNALLED: Final = 128
"""Added to the number of the signal that ended the program."""
