"""What file systems share that can only be read: every change fails, and none is ever due.  Between vfs and squashfs and tar."""

from mypy_extensions import mypyc_attr

from ..kern.abi.errno import EROFS, error
from ..vfs.stat import StatVfs
from ..vfs.vnode import Mount, Vnode


@mypyc_attr(allow_interpreted_subclasses=True)
class ReadOnlyNode(Vnode):
    """A file that nobody changes.  vfs refuses most changes before they come here; who calls vnodes himself gets EROFS, too."""

    recent: bool = True
    """Asked for since the mount last looked for vnodes to drop."""

    def set_mode(self, mode: int, now: int) -> None:
        """EROFS."""
        raise error(EROFS)

    def set_owner(self, uid: int, gid: int, mode: int, now: int) -> None:
        """EROFS."""
        raise error(EROFS)

    def set_times(self, atime: int, mtime: int, now: int) -> None:
        """EROFS."""
        raise error(EROFS)

    def set_flags(self, flags: int, now: int) -> None:
        """EROFS."""
        raise error(EROFS)

    def accessed(self, now: int) -> None:
        """Times stay."""
        return None

    def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        """EROFS."""
        raise error(EROFS)

    def removexattr(self, name: bytes) -> None:
        """EROFS."""
        raise error(EROFS)

    def write(self, offset: int, data: bytes) -> int:
        """EROFS."""
        raise error(EROFS)

    def truncate(self, size: int) -> None:
        """EROFS."""
        raise error(EROFS)

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """EROFS."""
        raise error(EROFS)

    def create(self, name: bytes, mode: int, uid: int, gid: int, device: int) -> Vnode:
        """EROFS."""
        raise error(EROFS)

    def nameless(self, mode: int, uid: int, gid: int) -> Vnode:
        """EROFS."""
        raise error(EROFS)

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Vnode:
        """EROFS."""
        raise error(EROFS)

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> Vnode:
        """EROFS."""
        raise error(EROFS)

    def link(self, name: bytes, vnode: Vnode) -> None:
        """EROFS."""
        raise error(EROFS)

    def unlink(self, name: bytes, vnode: Vnode) -> None:
        """EROFS."""
        raise error(EROFS)

    def rmdir(self, name: bytes, vnode: Vnode) -> None:
        """EROFS."""
        raise error(EROFS)

    def rename(self, name: bytes, vnode: Vnode, directory: Vnode, new_name: bytes, replaced: Vnode | None) -> None:
        """EROFS."""
        raise error(EROFS)

    def exchange(self, name: bytes, vnode: Vnode, directory: Vnode, other_name: bytes, other: Vnode) -> None:
        """EROFS."""
        raise error(EROFS)


@mypyc_attr(allow_interpreted_subclasses=True)
class ReadOnlyMount(Mount):
    """A mount of such files."""

    def remount(self, read_only: bool) -> None:
        """It stays read-only.  Raises EROFS."""
        if not read_only:
            raise OSError(EROFS, f"{self.kind} can only be read")

    def full(self, size: int, files: int, name_max: int) -> StatVfs:
        """A file system of `size` bytes and so many files, with room for no more."""
        unit = self.block_size
        return StatVfs(unit, unit, (size + unit - 1) // unit, 0, 0, files, 0, 0, self.number, 1, name_max)
