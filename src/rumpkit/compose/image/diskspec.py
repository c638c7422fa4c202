"""The TOML of `rump fs mkdisk` as data.  The attributes of these classes are its keys."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError, suggest
from ..load import decode, read_text
from ..locate import line_of
from .filling import size_of

AUTO = "auto"
REST = "rest"
TABLES = ("gpt", "dos")


@dataclass(slots=True)
class DiskPartition:
    """[[partition]]: one partition and what is in it."""

    name: str = ""
    """Its label in a GPT."""
    type: str = "linux"
    """linux, efi, data, swap, bios, home, root-x86-64, ...; a GUID (GPT) or two hex digits (dos)."""
    size: str = AUTO
    """"512M", "2G"; "auto": what its content needs; "rest": what is left, for the last one."""
    uuid: str = ""
    """GPT: the partition's GUID; default: random."""
    bootable: bool = False
    filesystem: str = ""
    """ext2, ext3, ext4, vfat, ...; default: none is made."""
    label: str = ""
    """The file system's label."""
    filesystem_uuid: str = ""
    """The file system's UUID; default: random."""
    content: str = ""
    """What the file system is filled with: a directory, "IMAGE:/DIR", or a tar archive.  Relative to the TOML file."""
    raw: str = ""
    """Instead of a file system: a file whose bytes become the partition's."""
    options: dict[str, str | int | bool] = field(default_factory=dict)
    """Options of the file system type (`rump fs mkfs -o help`)."""


@dataclass(slots=True)
class DiskSpec:
    """The whole disk."""

    table: str = "gpt"
    """gpt or dos."""
    size: str = AUTO
    """The image's size; "auto": what the partitions take."""
    id: str = ""
    """GPT: the disk's GUID; dos: its signature, 0x and eight hex digits.  Default: random."""
    partition: list[DiskPartition] = field(default_factory=list)


def load_disk(path: str | Path) -> DiskSpec:
    """Read and check a disk's TOML.  Raises ConfigError naming file, line, key and remedy."""
    text = read_text(path)
    spec = decode(text, DiskSpec, str(path))
    try:
        _check(spec)
    except ConfigError as problem:
        raise problem.at(str(path), line_of(text, _key_path(problem.key))) from None
    folder = os.path.dirname(path)
    for one in spec.partition:
        one.content = one.content and os.path.join(folder, one.content)
        one.raw = one.raw and os.path.join(folder, one.raw)
    return spec


def _key_path(key: str) -> tuple[str | int, ...]:
    if not key.startswith("partition["):
        return (key,)
    number, _, rest = key.removeprefix("partition[").partition("]")
    return ("partition", int(number), *([rest.removeprefix(".")] if rest else []))


def _check(spec: DiskSpec) -> None:
    if spec.table not in TABLES:
        raise ConfigError(f"there is no partition table {spec.table!r}", key="table", hint=suggest(spec.table, TABLES))
    _check_size(spec.size, "size", (AUTO,))
    if not spec.partition:
        raise ConfigError("a disk has at least one partition", key="partition", hint="write [[partition]]")
    for index, one in enumerate(spec.partition):
        key = f"partition[{index}]"
        _check_size(one.size, f"{key}.size", (AUTO, REST))
        if one.size == REST and (spec.size == AUTO or index != len(spec.partition) - 1):
            text = "only the last partition of a disk whose size is given takes the rest"
            raise ConfigError(text, key=f"{key}.size", hint='write "512M" or "auto"')
        if one.size == AUTO and not (one.content or one.raw):
            raise ConfigError("needs a size", key=f"{key}.size", hint='without content there is no "auto"')
        if one.raw and (one.filesystem or one.content):
            raise ConfigError("raw bytes take the place of a file system", key=f"{key}.raw")
        for name in ("content", "label", "filesystem_uuid", "options"):
            if getattr(one, name) and not one.filesystem:
                raise ConfigError("is for a file system", key=f"{key}.{name}", hint='write filesystem = "ext4"')


def _check_size(text: str, key: str, words: tuple[str, ...]) -> None:
    if text in words:
        return
    try:
        size_of(text)
    except ValueError as problem:
        hint = " or ".join(f'"{word}"' for word in words)
        raise ConfigError(str(problem), key=key, hint=f"or {hint}") from None
