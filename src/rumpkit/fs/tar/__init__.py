"""Tar archives as file systems that are only read: one, or several that lie over each other as the layers of a container image do."""
