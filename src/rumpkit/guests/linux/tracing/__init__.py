"""Looking at a guest from outside with ptrace(2): its system calls (`calls`).

A guest is traced by its own supervisor, never by itself: its fence against ptrace stays up.  Beside `guest`; costs nothing
unless asked for.
"""
