"""FAT through the system calls against a model, with fsck.fat's word in the end."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from tests.fs.fat.fatlab import Lab
from tests.fs.fat.fatmachine import FatMachine


class Judged(FatMachine):
    def judge(self, lab: Lab) -> None:
        with tempfile.TemporaryDirectory() as folder:
            image = Path(folder, "image")
            image.write_bytes(lab.image())
            said = subprocess.run(["fsck.fat", "-n", str(image)], capture_output=True, text=True)
        assert said.returncode == 0, said.stdout + said.stderr


TestFat = pytest.mark.needs("fsck.fat")(pytest.mark.once(Judged.TestCase))
TestFat.settings = settings(max_examples=25, stateful_step_count=40)
