"""tmpfs: a file system in memory, with limits.  It never sleeps, so it needs no lock."""
