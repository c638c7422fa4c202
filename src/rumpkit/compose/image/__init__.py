"""Disk images opened as kernels: the layer between the verbs of `rump fs` and the file systems.

`address` says what an argument means, `session` opens it, and what is found is a `node`: a file of an image (`inside`) or of the
host (`outside`), which the engines (`copying`, `compare`, `archive`, ...) treat alike.
"""
