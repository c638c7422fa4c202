"""`rump fs info`: what an image holds."""

import argparse
import os
from typing import TYPE_CHECKING, Any

from ...compose.image.contents import contents
from ..table import show, show_json
from .common import Complaints, Session, add_json, add_paths, human, parse_image

if TYPE_CHECKING:
    from ...compose.image.contents import Contents, Volume

DESCRIPTION = "Show what images hold: partitions, file systems, their sizes, labels, features and states."
EPILOG = """\
examples:
  rump fs info disk.img
  rump fs info --json disk.img | jq -r '.[0].volumes[].filesystem.type'

Exits with 1 where an image could not be read.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_paths(parser, "images", "IMAGE", "+", "images")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show."""
    complaints = Complaints()
    rows: list[dict[str, Any]] = []
    with Session() as session:
        for text in arguments.images:
            with complaints.caught(text):
                image = session.image(parse_image(text).image)
                rows.append(_record(text, image.storage.backend.size, contents(session, image)))
    if arguments.json:
        show_json(rows)
    else:
        for row in rows:
            _show(row)
    return complaints.code()


def _record(name: str, size: int, found: "Contents") -> dict[str, Any]:
    from ...dev.partition_table import type_name

    row: dict[str, Any] = {"image": name, "size": size, "table": None, "volumes": []}
    if found.table is not None:
        row["table"] = {
            "type": found.table.kind,
            "id": found.table.identifier,
            "sector": found.table.sector_size,
            "notes": list(found.table.notes),
        }
    for volume in found.volumes:
        one: dict[str, Any] = {"filesystem": _file_system(volume)}
        partition = volume.partition
        if partition is not None:
            one["partition"] = {
                "number": partition.number,
                "start": partition.start,
                "size": partition.size,
                "type": partition.type,
                "type_name": type_name(partition.type),
                "name": partition.name,
                "uuid": partition.uuid,
                "bootable": partition.bootable,
            }
        if volume.problem:
            one["problem"] = volume.problem
        row["volumes"].append(one)
    return row


def _file_system(volume: "Volume") -> dict[str, Any] | None:
    found = volume.found
    if found is None:
        return None
    return {
        "type": found.kind,
        "label": found.label,
        "uuid": found.uuid,
        "size": found.size,
        "block_size": found.block_size,
        "used": found.used if found.used >= 0 else None,
        "features": list(found.features),
        "state": found.state,
    }


def _show(row: dict[str, Any]) -> None:
    table = row["table"]
    kind = f"{table['type']} partition table {table['id']}" if table else "no partition table"
    print(f"{os.fsdecode(row['image'])}: {human(row['size'])}, {kind}")
    for note in table["notes"] if table else ():
        print(f"  note: {note}")
    cells, features = [], []
    for volume in row["volumes"]:
        part = volume.get("partition")
        found = volume["filesystem"]
        name = f"@{part['number']}" if part else "-"
        cells.append(
            (
                name,
                human(part["start"]) if part else "0",
                human(part["size"] if part else row["size"]),
                (part["type_name"] if part else "-") + ("*" if part and part["bootable"] else ""),
                (part["name"] if part else "") or "-",
                found["type"] if found else "?",
                (found["label"] if found else "") or "-",
                (found["uuid"] if found else "") or "-",
                human(found["used"]) if found and found["used"] is not None else "-",
                (found["state"] if found else volume.get("problem", "")) or "-",
            )
        )
        if found and found["features"]:
            features.append(f"{name}: {', '.join(found['features'])}")
    show(
        "",
        ("part", "start", "size", "partition type", "name", "type", "label", "UUID", "used", "state"),
        cells,
        right=(1, 2, 8),
    )
    for line in features:
        print(f"features of {line}" if line[0] == "@" else f"features{line[1:]}")
