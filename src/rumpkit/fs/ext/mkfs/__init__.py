"""Making ext2, ext3 and ext4 file systems: what is asked for, how it is laid out, and the writing of it."""
