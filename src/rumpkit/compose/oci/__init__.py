"""Container images and packed archives as what a kernel mounts: OCI's image layout, what `docker save` writes, and compressed tar.

Nothing is unpacked into files of the host's: layers become plain archives in a cache, which the file system type "tar" shows over each
other.
"""
