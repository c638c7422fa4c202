"""The second, third and fourth extended file systems (ext2, ext3, ext4), from the published description of their format."""
