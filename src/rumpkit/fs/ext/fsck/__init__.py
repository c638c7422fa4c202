"""Checking ext2, ext3 and ext4 file systems, and repairing what a crash leaves behind."""
