"""The programs of a config as a whole: in which order they start, whether they are well, what follows their end.

plan       a [[run]] with its values parsed
states     what a program can be in, and what leads from one to the next: a table
machine    the supervisor without I/O: events and the time come in, orders go out
conductor  the thread that carries the orders out with real guests, and tells the machine what has become of them
probes     health checks
output     what programs print: to files, with a name before each line, into a log that remembers
usage      what a program costs: its process tree
service    what a running kernel's control socket is told and asked: ps, exec, logs, stop, stats
"""
