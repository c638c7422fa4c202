"""The base faction: processes, open files, wait queues, timers, components and the system calls over them.

`kern` knows neither files on disk nor sockets; the `vfs` and `net` factions register theirs with it.
"""
