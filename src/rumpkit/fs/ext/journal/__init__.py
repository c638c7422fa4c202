"""The journal of ext3 and ext4 (JBD2): its format on the disk, replay at mount, and the transactions that fill it."""
