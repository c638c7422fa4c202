"""How a FUSE mount behaves, and its limits."""

from typing import Final

from ...hyper.named import NamedTuple

PAGE: Final = 4096
MOST_PAGES: Final = 256
"""Pages that the Linux kernel lets one request have."""


class Owner(NamedTuple):
    """One user who owns everything, for who is the only one in a mount."""

    uid: int
    gid: int


class FuseOptions(NamedTuple):
    """What `mount` takes; times in seconds, sizes in bytes."""

    read_only: bool = False
    """Refuse every change (EROFS)."""
    allow_other: bool = False
    """Let other users in; without privileges /etc/fuse.conf must say `user_allow_other`."""
    permissions: bool = True
    """Let Linux check modes and owners (default_permissions): it asks for a directory's attributes after each change in it, so a new file
    takes three requests.  False: two, and who gets in may do everything, which is more than it seems: into root's mount come processes
    of root that have no capabilities, or are in a user namespace of their own."""
    owner: Owner | None = None
    """Show everything as this user's; what is made belongs to the kernel's superuser.  None: owners are shown as they are."""
    name_timeout: float = 1.0
    """How long Linux may believe that a name means the same file, where it isn't told of a change."""
    attribute_timeout: float = 1.0
    """How long Linux may believe what a file's attributes are."""
    missing_timeout: float = 0.0
    """How long Linux may believe that there is no such name."""
    writeback: bool = False
    """Let Linux gather writes and keep times and sizes itself: for a mount that is the only way to its files.  It can't find holes
    then (SEEK_HOLE): Linux asks for them without having written what it has gathered."""
    max_nodes: int = 262144
    """Files that Linux may know of at once; from seven eighths of it on it is asked to forget the oldest.  With a name it gives up what is
    mounted there (`FuseServer.keep`)."""
    max_request: int = MOST_PAGES * PAGE
    """Bytes that one read or write request may have."""
    max_readahead: int = 1 << 20
    """Bytes that Linux may read ahead of a reader."""
    max_background: int = 64
    """Requests that wait in the background (read-ahead, writing back) at most."""
    source: str = "rump"
    """What lists of mounts show as the source."""


SOLE: Final = FuseOptions(name_timeout=3600.0, attribute_timeout=3600.0, missing_timeout=3600.0)
"""For a mount that is the only way to its files, as that of an image is."""


def checked(options: FuseOptions) -> FuseOptions:
    """The options with their limits in what Linux takes.  Raises ValueError for what makes no sense."""
    if not options.max_nodes >= 16:
        raise ValueError(f"max_nodes is {options.max_nodes}; at least 16")
    if not 1 <= options.max_background <= 65535:
        raise ValueError(f"max_background is {options.max_background}; from 1 to 65535")
    if not 0 <= options.max_readahead <= 1 << 30:
        raise ValueError(f"max_readahead is {options.max_readahead}; from 0 to 1 GiB")
    if not PAGE <= options.max_request <= MOST_PAGES * PAGE:
        raise ValueError(f"max_request is {options.max_request}; from {PAGE} to {MOST_PAGES * PAGE}")
    for time in (options.name_timeout, options.attribute_timeout, options.missing_timeout):
        if not 0 <= time <= 1e9:
            raise ValueError(f"a timeout of {time} seconds")
    return options._replace(max_request=options.max_request & -PAGE)
