"""squashfs 4.0: compressed images that are only read."""
