"""Users and groups of a program that an ordinary user starts: which numbers its user namespace has, and what they are outside.

Used by `spawn`, before the start; `starter` maps what is decided here (user_namespaces(7)).  For root there is no user namespace, and
all of this is Linux's own.

- Who asks for no other user stays who he is: one number, his own.
- Who asks for another one, root among them, gets a whole range where the machine has subordinate numbers for him (subuid(5)) and the
  programs newuidmap and newgidmap: 0 is he himself, 1 and up are the subordinate ones.  setuid(2), chown(2) and the like then work.
- Without, the user asked for is the only one there is, and is he himself outside.  setuid(2), chown(2) and the like are answered with
  success and do nothing, so that daemons that drop privileges start all the same.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ...hyper.named import NamedTuple

if TYPE_CHECKING:
    from ...clients.fuse import Owner

Identity = tuple[int, int, Sequence[int]]
"""A user, a group, and further groups."""
SUBUID: Final = "/etc/subuid"
SUBGID: Final = "/etc/subgid"
_HELPERS: Final = ("newuidmap", "newgidmap")
_PLACES: Final = ("/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin")
_RANGES: Final = 4
"""As many of a user's are used."""


class Mapped(NamedTuple):
    """A run of numbers."""

    inside: int
    outside: int
    size: int


class Ids(NamedTuple):
    """The numbers of one program's namespace."""

    users: list[Mapped]
    groups: list[Mapped]
    helpers: list[str]
    """The programs that map them; none where the namespace may do it itself."""

    @property
    def virtual(self) -> bool:
        """Whether changes of them are answered and not made."""
        return not self.helpers and (self.users[0].inside, self.groups[0].inside) != (os.geteuid(), os.getegid())

    def owner(self) -> "Owner | None":
        """Who is the superuser of a kernel's files there; None for root himself."""
        from ...clients.fuse import Owner

        return None if self.helpers else Owner(self.users[0].inside, self.groups[0].inside)


def plan(user: Identity | None) -> Ids:
    """The numbers for a program that runs as `user`, or as who we are."""
    uid, gid = os.geteuid(), os.getegid()
    if user is None or tuple(user[:2]) == (uid, gid):
        return Ids([Mapped(uid, uid, 1)], [Mapped(gid, gid, 1)], [])
    helpers = [path for name in _HELPERS for path in _found(name)[:1]]
    users, groups = (_whole(own, subordinate(file)) for own, file in ((uid, SUBUID), (gid, SUBGID)))
    if len(helpers) == len(_HELPERS) and _has(users, [user[0]]) and _has(groups, [user[1], *user[2]]):
        return Ids(users, groups, helpers)
    return Ids([Mapped(user[0], uid, 1)], [Mapped(user[1], gid, 1)], [])


def subordinate(file: str) -> list[tuple[int, int]]:
    """What /etc/subuid or /etc/subgid has for us: first numbers and counts.  A file that can't be read has nothing."""
    import pwd

    names = {str(os.geteuid())}
    try:
        names.add(pwd.getpwuid(os.geteuid()).pw_name)
    except KeyError:
        pass
    try:
        with open(file, encoding="utf-8", errors="replace") as opened:
            lines = opened.read().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        words = line.split(":")
        if len(words) == 3 and words[0] in names and words[1].isdecimal() and words[2].isdecimal():
            found.append((int(words[1]), int(words[2])))
    return [one for one in found if one[1] > 0][:_RANGES]


def _whole(own: int, ranges: list[tuple[int, int]]) -> list[Mapped]:
    """We are 0; what is subordinate to us follows."""
    mapped = [Mapped(0, own, 1)]
    for first, count in ranges:
        mapped.append(Mapped(mapped[-1].inside + mapped[-1].size, first, count))
    return mapped


def _has(mapped: list[Mapped], wanted: list[int]) -> bool:
    end = mapped[-1].inside + mapped[-1].size
    return len(mapped) > 1 and all(0 <= one < end for one in wanted)


def _found(name: str) -> list[str]:
    return [path for path in (f"{place}/{name}" for place in _PLACES) if os.access(path, os.X_OK)]
