"""FAT12, FAT16 and FAT32 with long names, after Microsoft's FAT specification (fatgen103, 2000; "Microsoft FAT Specification", 2005)."""
