"""${here} and ${tmp} in the strings of a [[run]]: the config's folder, and a private one that lasts as long as the run."""

import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from .errors import ConfigError, suggest
from .spec import RunSpec

_VARIABLE = re.compile(r"\$\{([^}]*)\}")


class Places:
    """The folders that the variables stand for; the private one is made when first asked for."""

    def __init__(self, here: Path) -> None:
        self.here = here.absolute()
        self._tmp: Path | None = None

    def get(self, name: str) -> str:
        """What `${name}` stands for.  Raises ConfigError."""
        if name == "here":
            return str(self.here)
        if name == "tmp":
            if self._tmp is None:
                self._tmp = Path(tempfile.mkdtemp(prefix="rump-"))
            return str(self._tmp)
        raise ConfigError(f"there is no variable ${{{name}}}", hint=suggest(name, ("here", "tmp")))

    def close(self) -> None:
        """Remove the private folder and all that is in it."""
        if self._tmp is not None:
            shutil.rmtree(self._tmp, ignore_errors=True)
            self._tmp = None


def expand(text: str, places: Places) -> str:
    """`text` with its variables replaced.  Raises ConfigError for unknown ones."""
    return _VARIABLE.sub(lambda match: places.get(match[1]), text)


def expand_run(run: RunSpec, places: Places) -> RunSpec:
    """The program with all variables replaced, and its folder relative to the config's."""
    cwd = str(places.here / expand(run.cwd, places)) if run.cwd else ""
    env = {name: expand(value, places) for name, value in run.env.items()}
    return replace(run, command=[expand(word, places) for word in run.command], env=env, cwd=cwd)
