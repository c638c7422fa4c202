"""The ways into a kernel for programs: local (plain calls), aio (awaited calls), and socket- and file-like objects.

Clients stand above the factions' system calls and the host's parkers; they own the only wait loops.
"""
