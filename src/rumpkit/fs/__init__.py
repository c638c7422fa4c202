"""File systems, one folder or file each.  They implement `rumpkit.vfs.vnode` and know nothing above it."""
