"""`python -m rumpkit.cli` is `rump`."""

import sys

from .entry import main

sys.exit(main())
