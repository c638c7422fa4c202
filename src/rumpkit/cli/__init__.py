"""The `rump` command: one file a verb."""
