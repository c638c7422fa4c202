"""`python -m rumpkit.cli` is `rump`."""

import sys

try:
    from .entry import main
except KeyboardInterrupt:  # which `entry` was about to make quiet
    sys.exit(130)

sys.exit(main())
