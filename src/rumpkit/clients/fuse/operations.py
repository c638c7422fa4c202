"""What FUSE requests do: from a request's bytes to calls on vnodes, and back to the bytes of its reply.

Above `wire` and `nodes`, below `server`, which calls one method a request, on the schedule.  A method returns the reply's payload or
raises OSError.  `OPERATIONS` in `table.py` says which one it is.

There are no open files in here: OPEN, OPENDIR and CREATE are answered with ENOSYS once, after which Linux opens files itself
(no-open), makes them by MKNOD, and names none but nodes.  A node holds its vnode, so a file that is open without a name lives.
"""

from contextlib import suppress
from struct import Struct
from typing import Final, final

from ...kern.abi.errno import EINVAL, ENAMETOOLONG, ENODATA, ENOENT, ENOSYS, ENOTSUP, ENOTTY, ENXIO, ERANGE, error
from ...kern.abi.fcntl import (
    NAME_MAX,
    PATH_MAX,
    RENAME_EXCHANGE,
    S_IFDIR,
    S_IFMT,
    S_IFREG,
    SEEK_DATA,
    SEEK_HOLE,
    UTIME_NOW,
    UTIME_OMIT,
)
from ...kern.abi.ioctl import FS_IOC_GETFLAGS, FS_IOC_SETFLAGS
from ...vfs.acl import ACCESS, DEFAULT
from ...vfs.nodecalls import SUPERUSER, NodeCalls
from ...vfs.vfs import Vfs, encode
from ...vfs.vnode import FIRST_COOKIE, Entry, Mount, Vnode, let_go
from . import wire
from .nodes import Node, NodeTable
from .options import FuseOptions

SECOND: Final = 1_000_000_000
MOUNT_SHIFT: Final = 48
"""Inode numbers of mounts within the mount have the inner mount's number above this bit, so that no two files look the same."""
COPY_STEP: Final = 1 << 20
COPY_LIMIT: Final = 1 << 22
"""Bytes that one COPY_FILE_RANGE copies at most: it is all one entry into the kernel."""
READDIR_BYTES: Final = 40
"""What an entry takes in a listing, about: how many to ask the file system for."""

_ENTRY_HEAD: Final = wire.ENTRY_HEAD
_ATTRIBUTE: Final = wire.ATTRIBUTE
_DIRENT: Final = wire.DIRENT
_U32: Final = 0xFFFFFFFF


@final
class Request:
    """One request: its header, and the buffer that it lies in."""

    def __init__(self, size: int) -> None:
        self.buffer: bytearray = bytearray(size)
        self.length: int = 0
        """Bytes in the buffer, header included."""
        self.operation: int = 0
        self.unique: int = 0
        self.node: int = 0
        self.uid: int = 0
        self.gid: int = 0

    def parse(self, length: int) -> None:
        """Take the header apart.  Raises EINVAL where it is cut off."""
        if length < wire.IN_SIZE:
            raise error(EINVAL)
        self.length = length
        header = wire.IN_HEADER.unpack_from(self.buffer, 0)
        self.operation = header[1]
        self.unique = header[2]
        self.node = header[3]
        self.uid = header[4]
        self.gid = header[5]

    def copy(self) -> "Request":
        """The same in a buffer of its own, for whoever answers later."""
        other = Request(0)
        other.buffer = self.buffer[: self.length]
        other.parse(self.length)
        return other

    def fields(self, structure: Struct) -> tuple[int, ...]:
        """What a structure says right behind the header.  Raises EINVAL where the request ends before."""
        if wire.IN_SIZE + structure.size > self.length:
            raise error(EINVAL)
        return structure.unpack_from(self.buffer, wire.IN_SIZE)

    def name(self, skip: int = 0) -> bytes:
        """The text that starts `skip` bytes behind the header and ends with a NUL."""
        start = wire.IN_SIZE + skip
        end = self.buffer.find(b"\0", start, self.length)
        if end < 0:
            raise error(EINVAL)
        return bytes(self.buffer[start:end])

    def names(self, skip: int = 0) -> tuple[bytes, bytes]:
        """Two texts, one behind the other."""
        first = self.name(skip)
        return first, self.name(skip + len(first) + 1)


@final
class Operations:
    """The operations of one mount."""

    def __init__(self, vfs: Vfs, root: Vnode, options: FuseOptions) -> None:
        """`root` is a directory (or a file) that the caller holds."""
        self.vfs: Vfs = vfs
        self.calls: NodeCalls = NodeCalls(vfs)
        self.nodes: NodeTable = NodeTable(root, options.max_nodes, vfs.events)
        self._root: Vnode = root
        self._outer: Mount = root.mount
        self._owner: bool = options.owner is not None
        self._uid: int = options.owner.uid if options.owner is not None else 0
        self._gid: int = options.owner.gid if options.owner is not None else 0
        name, attribute, missing = [
            divmod(round(timeout * SECOND), SECOND)
            for timeout in (options.name_timeout, options.attribute_timeout, options.missing_timeout)
        ]
        self._entry_times: bytes = wire.ENTRY_TIMES.pack(name[0], attribute[0], name[1], attribute[1])
        """How long a name and its attributes hold,"""
        self._folded_times: bytes = wire.ENTRY_TIMES.pack(0, attribute[0], 0, attribute[1])
        """where a name has many spellings,"""
        self._attribute_times: bytes = wire.ATTRIBUTE_TIMES.pack(*attribute, 0)
        """and attributes alone."""
        self._missing: bytes = wire.ENTRY.pack(0, 0, missing[0], 0, missing[1], *[0] * 17) if any(missing) else b""

    # What replies are made of --------------------------------------------------------------------------

    def entry(self, node: Node) -> bytes:
        """A node and its attributes (struct fuse_entry_out)."""
        vnode = node.vnode
        # Where one name has many spellings, Linux would not know that one that it has seen goes, or comes, with another.
        times = self._folded_times if vnode.mount.folds_case else self._entry_times
        return _ENTRY_HEAD.pack(node.number, vnode.generation) + times + self._attribute(vnode)

    def attributes(self, vnode: Vnode) -> bytes:
        """Attributes alone (struct fuse_attr_out)."""
        return self._attribute_times + self._attribute(vnode)

    def _attribute(self, v: Vnode) -> bytes:
        """struct fuse_attr."""
        asec, ans = divmod(v.atime, SECOND)
        msec, mns = divmod(v.mtime, SECOND)
        csec, cns = divmod(v.ctime, SECOND)
        mount = v.mount
        number = v.number if mount is self._outer else v.number ^ mount.number << MOUNT_SHIFT
        uid, gid = (self._uid, self._gid) if self._owner else (v.uid, v.gid)
        return _ATTRIBUTE.pack(
            number,
            v.size,
            v.blocks(),
            asec,
            msec,
            csec,
            ans,
            mns,
            cns,
            v.mode,
            v.links,
            uid,
            gid,
            v.device & _U32,
            mount.block_size,
            0,
        )

    def _vnode(self, request: Request) -> Vnode:
        return self.nodes.get(request.node).vnode

    # Names ---------------------------------------------------------------------------------------------

    def lookup(self, request: Request) -> bytes:
        """LOOKUP."""
        name = request.name()
        directory = self._vnode(request)
        found = self.calls.lookup(directory, name, SUPERUSER)
        if found is None:
            if self._missing and not directory.mount.folds_case:
                return self._missing
            raise error(ENOENT)
        return self.entry(self.nodes.enter(found, request.node, name))

    def mknod(self, request: Request) -> bytes:
        """MKNOD: a file of any kind but directories and links; by no-open and no-create, all of them."""
        mode, device, mask, _ = request.fields(wire.MKNOD_IN)
        if mode & S_IFMT == S_IFDIR:
            raise error(EINVAL)
        return self._create(request, request.name(wire.MKNOD_IN.size), mode, mask, device)

    def mkdir(self, request: Request) -> bytes:
        """MKDIR."""
        mode, mask = request.fields(wire.MKDIR_IN)
        return self._create(request, request.name(wire.MKDIR_IN.size), S_IFDIR | mode & 0o7777, mask, 0)

    def _create(self, request: Request, name: bytes, mode: int, mask: int, device: int) -> bytes:
        uid, gid = (0, 0) if self._owner else (request.uid, request.gid)
        made = self.calls.create(self._vnode(request), name, mode, mask & 0o777, uid, gid, device, SUPERUSER)
        return self.entry(self.nodes.enter(made, request.node, name))

    def tmpfile(self, request: Request) -> bytes:
        """TMPFILE: a regular file without a name, which it may be given by LINK.  Linux opens it as it does others, but says so."""
        _, mode, mask, _ = request.fields(wire.CREATE_IN)
        uid, gid = (0, 0) if self._owner else (request.uid, request.gid)
        made = self.calls.nameless(self._vnode(request), S_IFREG | mode & 0o7777, mask & 0o777, uid, gid, SUPERUSER)
        try:
            return self.entry(self.nodes.enter(made, 0, b"")) + wire.OPEN_OUT.pack(0, wire.KEEP_CACHE, 0)
        finally:
            let_go(made)

    def symlink(self, request: Request) -> bytes:
        """SYMLINK."""
        name, target = request.names()
        if len(target) >= PATH_MAX:
            raise error(ENAMETOOLONG)
        uid, gid = (0, 0) if self._owner else (request.uid, request.gid)
        made = self.calls.symlink(self._vnode(request), name, target, uid, gid, SUPERUSER)
        return self.entry(self.nodes.enter(made, request.node, name))

    def link(self, request: Request) -> bytes:
        """LINK."""
        (number,) = request.fields(wire.LINK_IN)
        name = request.name(8)
        vnode = self.nodes.get(number).vnode
        self.calls.link(vnode, self._vnode(request), name, SUPERUSER)
        return self.entry(self.nodes.enter(vnode, request.node, name))

    def unlink(self, request: Request) -> bytes:
        """UNLINK."""
        self.calls.remove(self._vnode(request), request.name(), False, SUPERUSER)
        return b""

    def rmdir(self, request: Request) -> bytes:
        """RMDIR."""
        self.calls.remove(self._vnode(request), request.name(), True, SUPERUSER)
        return b""

    def rename(self, request: Request) -> bytes:
        """RENAME."""
        (number,) = request.fields(wire.RENAME_IN)
        return self._rename(request, number, wire.RENAME_IN.size, 0)

    def rename2(self, request: Request) -> bytes:
        """RENAME2."""
        number, flags, _ = request.fields(wire.RENAME2_IN)
        return self._rename(request, number, wire.RENAME2_IN.size, flags)

    def _rename(self, request: Request, number: int, skip: int, flags: int) -> bytes:
        name, new_name = request.names(skip)
        source, target = self._vnode(request), self.nodes.get(number).vnode
        self.calls.rename(source, name, target, new_name, flags, SUPERUSER)
        old, new = (request.node, name), (number, new_name)
        with suppress(OSError):  # it is done, and a name that isn't known is one that isn't forgotten in time
            self.nodes.moved(self.calls.lookup(target, new_name, SUPERUSER), old, new)
            if flags & RENAME_EXCHANGE:
                self.nodes.moved(self.calls.lookup(source, name, SUPERUSER), new, old)
        return b""

    def readlink(self, request: Request) -> bytes:
        """READLINK."""
        return self.calls.readlink(self._vnode(request))

    # Attributes ----------------------------------------------------------------------------------------

    def getattr(self, request: Request) -> bytes:
        """GETATTR."""
        vnode = self._vnode(request)
        self.calls.refresh(vnode)
        return self.attributes(vnode)

    def setattr(self, request: Request) -> bytes:
        """SETATTR: any of length, mode, owner, times."""
        fields = request.fields(wire.SETATTR_IN)
        valid = fields[0]
        vnode = self._vnode(request)
        calls = self.calls
        if valid & wire.FATTR_SIZE:
            calls.truncate(vnode, fields[3], not valid & wire.FATTR_KILL_SUIDGID)
        if valid & (wire.FATTR_UID | wire.FATTR_GID) and not self._owner:
            uid = fields[13] if valid & wire.FATTR_UID else -1
            calls.set_owner(vnode, uid, fields[14] if valid & wire.FATTR_GID else -1, SUPERUSER)
        if valid & wire.FATTR_MODE:
            calls.set_mode(vnode, fields[11], SUPERUSER)
        if valid & (wire.FATTR_ATIME | wire.FATTR_MTIME):
            atime = mtime = UTIME_OMIT
            if valid & wire.FATTR_ATIME:
                atime = UTIME_NOW if valid & wire.FATTR_ATIME_NOW else fields[5] * SECOND + fields[8]
            if valid & wire.FATTR_MTIME:
                mtime = UTIME_NOW if valid & wire.FATTR_MTIME_NOW else fields[6] * SECOND + fields[9]
            calls.set_times(vnode, atime, mtime, SUPERUSER)
        return self.attributes(vnode)

    def access(self, request: Request) -> bytes:
        """ACCESS, which Linux asks only where it doesn't check permissions itself: who is in may do everything."""
        wanted, _ = request.fields(wire.ACCESS_IN)
        self.calls.access(self._vnode(request), SUPERUSER, wanted)
        return b""

    def statfs(self, request: Request) -> bytes:
        """STATFS."""
        found = self._vnode(request).mount.statvfs()
        return wire.STATFS_OUT.pack(
            found.f_blocks,
            found.f_bfree,
            found.f_bavail,
            found.f_files,
            found.f_ffree,
            found.f_bsize,
            found.f_namemax or NAME_MAX,
            found.f_frsize,
            0,
        )

    # Extended attributes -------------------------------------------------------------------------------

    def getxattr(self, request: Request) -> bytes:
        """GETXATTR.  A file system without attributes has no access control lists, which Linux asks for of itself: ENODATA."""
        size, _ = request.fields(wire.XATTR_IN)
        name = request.name(wire.XATTR_IN.size)
        try:
            return _sized(self.calls.getxattr(self._vnode(request), name, SUPERUSER), size)
        except OSError as problem:
            if problem.errno == ENOTSUP and name in (ACCESS, DEFAULT):
                raise error(ENODATA) from None
            raise

    def listxattr(self, request: Request) -> bytes:
        """LISTXATTR.  Linux itself leaves out what the caller may not see."""
        size, _ = request.fields(wire.XATTR_IN)
        names = self.calls.listxattr(self._vnode(request), SUPERUSER)
        return _sized(b"".join([encode(name) + b"\0" for name in names]), size)

    def setxattr(self, request: Request) -> bytes:
        """SETXATTR."""
        size, flags = request.fields(wire.XATTR_IN)
        name = request.name(wire.XATTR_IN.size)
        start = wire.IN_SIZE + wire.XATTR_IN.size + len(name) + 1
        if start + size > request.length:
            raise error(EINVAL)
        value = bytes(request.buffer[start : start + size])
        self.calls.setxattr(self._vnode(request), name, value, flags, SUPERUSER)
        return b""

    def removexattr(self, request: Request) -> bytes:
        """REMOVEXATTR."""
        self.calls.removexattr(self._vnode(request), request.name(), SUPERUSER)
        return b""

    def ioctl(self, request: Request) -> bytes:
        """IOCTL: FS_IOC_GETFLAGS and FS_IOC_SETFLAGS, for lsattr and chattr, whose caller Linux has checked."""
        _, _, command, _, _, _ = request.fields(wire.IOCTL_IN)
        vnode = self._vnode(request)
        if command & 0xFFFF == FS_IOC_GETFLAGS & 0xFFFF:
            return wire.IOCTL_OUT.pack(0, 0, 0, 0) + vnode.flags.to_bytes(4, "little")
        if command & 0xFFFF != FS_IOC_SETFLAGS & 0xFFFF:
            raise error(ENOTTY)
        start = wire.IN_SIZE + wire.IOCTL_IN.size
        if start + 4 > request.length:
            raise error(EINVAL)
        self.calls.set_flags(vnode, int.from_bytes(request.buffer[start : start + 4], "little"))
        return wire.IOCTL_OUT.pack(0, 0, 0, 0)

    # Data ----------------------------------------------------------------------------------------------

    def read(self, request: Request) -> bytes:
        """READ."""
        fields = request.fields(wire.READ_IN)
        return self.calls.read(self._vnode(request), fields[1], fields[2])

    def write(self, request: Request) -> bytes:
        """WRITE."""
        fields = request.fields(wire.READ_IN)
        start = wire.IN_SIZE + wire.READ_SIZE
        size = fields[2]
        if start + size > request.length:
            raise error(EINVAL)
        data = bytes(memoryview(request.buffer)[start : start + size])
        done = self.calls.write(self._vnode(request), fields[1], data, not fields[3] & wire.WRITE_KILL_SUIDGID)
        return wire.WRITE_OUT.pack(done, 0)

    def lseek(self, request: Request) -> bytes:
        """LSEEK to data or to a hole; everything else Linux does itself."""
        _, offset, whence, _ = request.fields(wire.LSEEK_IN)
        if whence not in (SEEK_DATA, SEEK_HOLE):
            raise error(EINVAL)
        found = self.calls.next_data(self._vnode(request), offset, whence == SEEK_HOLE)
        if found < 0:
            raise error(ENXIO)
        return wire.LSEEK_OUT.pack(found)

    def fallocate(self, request: Request) -> bytes:
        """FALLOCATE."""
        _, offset, length, mode, _ = request.fields(wire.FALLOCATE_IN)
        self.calls.fallocate(self._vnode(request), mode, offset, length)
        return b""

    def copy(self, request: Request) -> bytes:
        """COPY_FILE_RANGE: a part of it, which is what the caller is told."""
        _, offset, number, _, to, length, flags = request.fields(wire.COPY_IN)
        source = self._vnode(request)
        target = self.nodes.get(number).vnode
        if flags or source.kind != S_IFREG or target.kind != S_IFREG:
            raise error(EINVAL)
        done = 0
        limit = min(length, COPY_LIMIT)
        while done < limit:
            data = self.calls.read(source, offset + done, min(COPY_STEP, limit - done))
            if not data:
                break
            written = self.calls.write(target, to + done, data, False)
            done += written
            if written < len(data):
                break
        return wire.WRITE_OUT.pack(done, 0)

    def fsync(self, request: Request) -> bytes:
        """FSYNC and FSYNCDIR."""
        fields = request.fields(wire.FSYNC_IN)
        self.calls.sync(self._vnode(request), fields[1] & wire.FSYNC_DATA_ONLY != 0)
        return b""

    def syncfs(self, request: Request) -> bytes:
        """SYNCFS."""
        self.vfs.sync()
        return b""

    # Directories ---------------------------------------------------------------------------------------

    def readdir(self, request: Request) -> bytes:
        """READDIR."""
        fields = request.fields(wire.READ_IN)
        directory = self._vnode(request)
        room = fields[2]
        parts: list[bytes] = []
        for entry in self._entries(directory, fields[1], room // READDIR_BYTES):
            record = self._record(directory, entry)
            room -= len(record)
            if room < 0:
                break
            parts.append(record)
        return b"".join(parts)

    def readdirplus(self, request: Request) -> bytes:
        """READDIRPLUS: each entry with its node and attributes, which counts as a lookup."""
        fields = request.fields(wire.READ_IN)
        directory = self._vnode(request)
        room = fields[2]
        parts: list[bytes] = []
        for entry in self._entries(directory, fields[1], room // (READDIR_BYTES + wire.ENTRY_SIZE) + 1):
            record = self._record(directory, entry)
            room -= len(record) + wire.ENTRY_SIZE
            if room < 0:
                break
            parts.append(self._plus(request.node, directory, entry))
            parts.append(record)
        return b"".join(parts)

    def _plus(self, number: int, directory: Vnode, entry: Entry) -> bytes:
        """The entry with its node; without one (Linux looks it up when it is needed) for those of "." and ".." and where the
        lookup fails."""
        if entry.cookie > FIRST_COOKIE:
            try:
                found = self.calls.lookup(directory, entry.name, SUPERUSER)
                if found is not None:
                    return self.entry(self.nodes.enter(found, number, entry.name))
            except OSError:
                pass
        return bytes(wire.ENTRY_SIZE)

    def _entries(self, directory: Vnode, cookie: int, count: int) -> list[Entry]:
        found: list[Entry] = []
        if directory.kind != S_IFDIR:
            raise error(EINVAL)
        if cookie == 0:
            found.append(Entry(b".", directory.number, S_IFDIR, 1))
        if cookie <= 1:
            above = directory if directory is self._root else directory.parent()
            found.append(Entry(b"..", above.number, S_IFDIR, FIRST_COOKIE))
            cookie = FIRST_COOKIE
        found += self.calls.readdir(directory, cookie, max(count, 1))
        return found

    def _record(self, directory: Vnode, entry: Entry) -> bytes:
        """An entry (struct fuse_dirent)."""
        name = entry.name
        number = entry.number
        if directory.mount is not self._outer:
            number ^= directory.mount.number << MOUNT_SHIFT
        return _DIRENT.pack(number, entry.cookie, len(name), entry.kind >> 12) + name + bytes(-len(name) & 7)

    # Answered so that Linux doesn't ask again ----------------------------------------------------------

    def nothing(self, request: Request) -> bytes:
        """FLUSH, RELEASE and their like: there is nothing to do."""
        return b""

    def unknown(self, request: Request) -> bytes:
        """What this server leaves to Linux.  Raises ENOSYS."""
        raise error(ENOSYS)


def _sized(value: bytes, size: int) -> bytes:
    """How an extended attribute is told: its size where `size` is 0.  Raises ERANGE where there is less room."""
    if size == 0:
        return wire.XATTR_OUT.pack(len(value), 0)
    if len(value) > size:
        raise error(ERANGE)
    return value
