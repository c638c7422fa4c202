"""The superblock on disk: 1024 bytes at byte 1024, and copies in some groups.  Parsed and emitted here, judged in geometry.py.

Fields have the names of the format's description without "s_"; counts of two halves are whole numbers here.  What
a field means that this file system never touches is kept as it was.
"""

import struct
from typing import Final, final

from .features import BIT64, CSUM_SEED, GDT_CSUM, METADATA_CSUM, names

OFFSET: Final = 1024
"""Where the superblock lies on the device, in bytes."""
SIZE: Final = 1024
MAGIC: Final = 0xEF53
CHECKSUM_AT: Final = 0x3FC
CRC32C: Final = 1
"""checksum_type."""

STATE_VALID: Final = 1
STATE_ERROR: Final = 2
STATE_ORPHANS: Final = 4
"""state: cleanly unmounted; errors found; orphans being recovered."""

FLAG_SIGNED_HASH: Final = 1
FLAG_UNSIGNED_HASH: Final = 2

FIELDS: Final = (
    ("inodes_count", "I"),
    ("blocks_count", "I"),
    ("r_blocks_count", "I"),
    ("free_blocks_count", "I"),
    ("free_inodes_count", "I"),
    ("first_data_block", "I"),
    ("log_block_size", "I"),
    ("log_cluster_size", "I"),
    ("blocks_per_group", "I"),
    ("clusters_per_group", "I"),
    ("inodes_per_group", "I"),
    ("mtime", "I"),
    ("wtime", "I"),
    ("mnt_count", "H"),
    ("max_mnt_count", "H"),
    ("magic", "H"),
    ("state", "H"),
    ("errors", "H"),
    ("minor_rev_level", "H"),
    ("lastcheck", "I"),
    ("checkinterval", "I"),
    ("creator_os", "I"),
    ("rev_level", "I"),
    ("def_resuid", "H"),
    ("def_resgid", "H"),
    ("first_ino", "I"),
    ("inode_size", "H"),
    ("block_group_nr", "H"),
    ("feature_compat", "I"),
    ("feature_incompat", "I"),
    ("feature_ro_compat", "I"),
    ("uuid", "16s"),
    ("volume_name", "16s"),
    ("last_mounted", "64s"),
    ("algorithm_usage_bitmap", "I"),
    ("prealloc_blocks", "B"),
    ("prealloc_dir_blocks", "B"),
    ("reserved_gdt_blocks", "H"),
    ("journal_uuid", "16s"),
    ("journal_inum", "I"),
    ("journal_dev", "I"),
    ("last_orphan", "I"),
    ("hash_seed", "16s"),
    ("def_hash_version", "B"),
    ("jnl_backup_type", "B"),
    ("desc_size", "H"),
    ("default_mount_opts", "I"),
    ("first_meta_bg", "I"),
    ("mkfs_time", "I"),
    ("jnl_blocks", "68s"),
    ("blocks_count_hi", "I"),
    ("r_blocks_count_hi", "I"),
    ("free_blocks_count_hi", "I"),
    ("min_extra_isize", "H"),
    ("want_extra_isize", "H"),
    ("flags", "I"),
    ("raid_stride", "H"),
    ("mmp_update_interval", "H"),
    ("mmp_block", "Q"),
    ("raid_stripe_width", "I"),
    ("log_groups_per_flex", "B"),
    ("checksum_type", "B"),
    ("encryption_level", "B"),
    ("reserved_pad", "B"),
    ("kbytes_written", "Q"),
    ("snapshots", "20s"),
    ("error_count", "I"),
    ("first_error_time", "I"),
    ("first_error_ino", "I"),
    ("first_error_block", "Q"),
    ("first_error_func", "32s"),
    ("first_error_line", "I"),
    ("last_error_time", "I"),
    ("last_error_ino", "I"),
    ("last_error_line", "I"),
    ("last_error_block", "Q"),
    ("last_error_func", "32s"),
    ("mount_opts", "64s"),
    ("usr_quota_inum", "I"),
    ("grp_quota_inum", "I"),
    ("overhead_clusters", "I"),
    ("backup_bgs", "8s"),
    ("encrypt_algos", "4s"),
    ("encrypt_pw_salt", "16s"),
    ("lpf_ino", "I"),
    ("prj_quota_inum", "I"),
    ("checksum_seed", "I"),
    ("wtime_hi", "B"),
    ("mtime_hi", "B"),
    ("mkfs_time_hi", "B"),
    ("lastcheck_hi", "B"),
    ("error_times_hi", "4s"),
    ("encoding", "H"),
    ("encoding_flags", "H"),
    ("orphan_file_inum", "I"),
    ("reserved", "376s"),
    ("checksum", "I"),
)
LAYOUT: Final = struct.Struct("<" + "".join(kind for _, kind in FIELDS))
assert LAYOUT.size == SIZE
WIDE: Final = ("blocks_count", "r_blocks_count", "free_blocks_count")
"""Counts that have a high half with the feature 64bit."""


@final
class Superblock:
    """The fields of a superblock; a new one is all zeros."""

    inodes_count: int
    blocks_count: int
    r_blocks_count: int
    """Blocks that only the superuser may take."""
    free_blocks_count: int
    free_inodes_count: int
    first_data_block: int
    log_block_size: int
    log_cluster_size: int
    blocks_per_group: int
    clusters_per_group: int
    inodes_per_group: int
    mtime: int
    wtime: int
    mnt_count: int
    max_mnt_count: int
    magic: int
    state: int
    errors: int
    minor_rev_level: int
    lastcheck: int
    checkinterval: int
    creator_os: int
    rev_level: int
    def_resuid: int
    def_resgid: int
    first_ino: int
    inode_size: int
    block_group_nr: int
    """The group that this copy lies in."""
    feature_compat: int
    feature_incompat: int
    feature_ro_compat: int
    uuid: bytes
    volume_name: bytes
    last_mounted: bytes
    algorithm_usage_bitmap: int
    prealloc_blocks: int
    prealloc_dir_blocks: int
    reserved_gdt_blocks: int
    journal_uuid: bytes
    journal_inum: int
    journal_dev: int
    last_orphan: int
    """The first inode of the list of orphans; each has the next one's number in place of its time of deletion."""
    hash_seed: bytes
    def_hash_version: int
    jnl_backup_type: int
    desc_size: int
    default_mount_opts: int
    first_meta_bg: int
    mkfs_time: int
    jnl_blocks: bytes
    min_extra_isize: int
    want_extra_isize: int
    flags: int
    raid_stride: int
    mmp_update_interval: int
    mmp_block: int
    raid_stripe_width: int
    log_groups_per_flex: int
    checksum_type: int
    encryption_level: int
    reserved_pad: int
    kbytes_written: int
    snapshots: bytes
    error_count: int
    first_error_time: int
    first_error_ino: int
    first_error_block: int
    first_error_func: bytes
    first_error_line: int
    last_error_time: int
    last_error_ino: int
    last_error_line: int
    last_error_block: int
    last_error_func: bytes
    mount_opts: bytes
    usr_quota_inum: int
    grp_quota_inum: int
    overhead_clusters: int
    backup_bgs: bytes
    encrypt_algos: bytes
    encrypt_pw_salt: bytes
    lpf_ino: int
    prj_quota_inum: int
    checksum_seed: int
    wtime_hi: int
    mtime_hi: int
    mkfs_time_hi: int
    lastcheck_hi: int
    error_times_hi: bytes
    encoding: int
    encoding_flags: int
    orphan_file_inum: int
    reserved: bytes
    checksum: int
    blocks_count_hi: int
    r_blocks_count_hi: int
    free_blocks_count_hi: int

    def __init__(self, data: bytes = bytes(SIZE)) -> None:
        """Parse 1024 bytes, whatever they are."""
        for (name, _), value in zip(FIELDS, LAYOUT.unpack(data), strict=True):
            setattr(self, name, value)
        if self.feature_incompat & BIT64:
            self.blocks_count |= self.blocks_count_hi << 32
            self.r_blocks_count |= self.r_blocks_count_hi << 32
            self.free_blocks_count |= self.free_blocks_count_hi << 32

    def emit(self) -> bytes:
        """1024 bytes, with `checksum` as it is here (checksum.py makes it)."""
        values = {name: getattr(self, name) for name, _ in FIELDS}
        for name in WIDE:
            if self.feature_incompat & BIT64:
                values[name + "_hi"] = values[name] >> 32
            values[name] &= 0xFFFFFFFF
        return LAYOUT.pack(*values.values())

    @property
    def block_size(self) -> int:
        """Bytes of a block."""
        return 1024 << self.log_block_size

    @property
    def descriptor_size(self) -> int:
        """Bytes of a group descriptor."""
        return self.desc_size if self.feature_incompat & BIT64 else 32

    @property
    def groups(self) -> int:
        """How many block groups there are."""
        return -(-(self.blocks_count - self.first_data_block) // self.blocks_per_group)

    @property
    def has_checksums(self) -> bool:
        """Whether all metadata has CRC-32C checksums (metadata_csum)."""
        return self.feature_ro_compat & METADATA_CSUM != 0

    @property
    def has_group_checksums(self) -> bool:
        """Whether group descriptors have checksums, of either kind, and may thus say that a bitmap is not written."""
        return self.feature_ro_compat & (METADATA_CSUM | GDT_CSUM) != 0

    @property
    def has_seed(self) -> bool:
        """Whether checksums start from `checksum_seed` rather than the UUID."""
        return self.feature_incompat & CSUM_SEED != 0

    def features(self) -> tuple[str, ...]:
        """The names of the features."""
        return names(self.feature_compat, self.feature_incompat, self.feature_ro_compat)
