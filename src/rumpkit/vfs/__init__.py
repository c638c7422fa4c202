"""The vfs faction: vnodes, mounts, path resolution and the system calls on paths and files.

It knows no file system: those lie in `rumpkit.fs` and register their type here.
"""
