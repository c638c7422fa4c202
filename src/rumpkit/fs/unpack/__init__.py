"""Compressed pieces unpacked, within a limit: what squashfs has its blocks in."""
