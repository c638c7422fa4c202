"""Components of other packages: the entry-point group `rumpkit.components`, read only when a name is unknown.

Each entry point names a module; importing it registers its components (`rumpkit.kern.component`).  Reading the group costs about
90 ms, so nobody pays who names only what comes along.
"""

from ..kern.component import add_late_source
from .errors import ConfigError

GROUP = "rumpkit.components"


def load(name: str) -> None:
    """Import the entry point called `name`, if a package has one.  Raises ConfigError if that fails."""
    from importlib.metadata import entry_points

    for entry in entry_points(group=GROUP, name=name):
        try:
            entry.load()
        except Exception as problem:
            package = entry.dist.name if entry.dist else entry.module
            raise ConfigError(f"component {name!r} of {package} cannot be loaded: {problem!r}") from problem


add_late_source(load)
