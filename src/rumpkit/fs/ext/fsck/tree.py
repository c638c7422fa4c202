"""The fourth and fifth pass: every directory leads to the root, and every file has as many names as it says."""

from ..features import DIR_NLINK
from ..inode import ROOT
from .context import DIRECTORY, MOST_COUNTED, Check
from .inodes import ATTRIBUTE_KIND, RESERVED_KIND


def check_tree(check: Check) -> list[int]:
    """Whether all directories can be reached.  Returns the files and directories that have no name."""
    lost = []
    reached = {ROOT}
    for number in check.parents:
        trail = []
        at = number
        while at not in reached:
            trail.append(at)
            reached.add(at)
            at = check.parents.get(at, 0)
            if not at:
                lost.append(trail[-1])
                check.find("it is in no directory", f"directory {trail[-1]}", True)
                break
            if at in trail:
                check.find("it is in a directory that is in itself", f"directory {number}")
                break
    for number, parent in check.parents.items():
        found = check.dotdots.get(number, 0)
        if parent and found and found != parent:
            check.find(f"its .. is directory {found} and not {parent}", f"directory {number}", True)
            check.bad_dotdots.append((number, parent))
    return lost


def check_links(check: Check) -> list[int]:
    """Compare numbers of links with what was counted.  Returns files without a name."""
    lost = []
    kinds = check.kinds
    many = check.fields.feature_ro_compat & DIR_NLINK != 0
    for number in range(check.geometry.first_inode, len(kinds)):
        kind = kinds[number]
        if not kind or kind == RESERVED_KIND:
            continue
        said = check.links.get(number, 1)
        found = check.entries(number)
        if kind == ATTRIBUTE_KIND:
            said = check.values[number]
            if said != found and said >= 0 and found < MOST_COUNTED:
                check.find(f"{found} extended attributes have it as their value, and it says {said}", f"inode {number}")
            continue
        if not found and kind != DIRECTORY:
            if number not in check.orphans:
                check.find("it has no name", f"inode {number}", True)
                lost.append(number)
            continue
        if (
            said != found
            and not (kind == DIRECTORY and many and said == 1 and found > 64999)
            and number not in check.orphans
        ):
            if kind != DIRECTORY or check.parents[number]:
                check.find(f"it has {found} names and says {said}", f"inode {number}", True)
                check.bad_links.append((number, found))
    if not check.lost_and_found:
        check.find("there is no directory lost+found in the root")
    found = check.entries(ROOT)
    if kinds[ROOT] and check.links.get(ROOT, 1) not in (found, 1 if many else found):
        check.find(f"it has {found} names and says {check.links.get(ROOT, 1)}", f"inode {ROOT}", True)
        check.bad_links.append((ROOT, found))
    return lost
