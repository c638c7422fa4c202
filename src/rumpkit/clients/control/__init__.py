"""The control socket: how programs of the same user look into a running kernel, and `rump net` among them.

`protocol` is what both ends speak, `place` where the sockets are; `server`, `session` and `methods` are the kernel's end, `client`
the other one.  The kernel knows nothing of all this: what is shown comes from counters, sysctls and `snapshot` functions.
"""
