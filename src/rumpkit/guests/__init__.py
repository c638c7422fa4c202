"""Programs that do not know where they run: unmodified Linux binaries (`linux`), later Python scripts and WASI modules."""
