"""A stub of gdb's remote serial protocol: `target remote` reaches a guest (gdb's manual, appendix "Remote Protocol").

gdb --- unix socket or loopback --- `line` (a thread: packets in, Ctrl-C) --- `session` (what packets mean)
                                                                                    |
                                          `debugger` (the tracer's thread: stops, resumes) with `threads`, `breakpoints`, `registers`
"""
