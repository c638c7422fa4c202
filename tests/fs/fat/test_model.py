"""FAT through the system calls against a model: results, errors, the tree, and what our own fsck says in the end."""

from hypothesis import settings

from tests.fs.fat.fatmachine import FatMachine

TestFat = FatMachine.TestCase
TestFat.settings = settings(max_examples=15, stateful_step_count=40)
