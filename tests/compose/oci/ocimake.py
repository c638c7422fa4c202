"""Container images made for tests: directories in OCI's layout, and archives as `docker save` writes them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from rumpkit.compose.oci.layout import machine

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
PROGRAM = {
    "Entrypoint": ["/bin/server"],
    "Cmd": ["--port", "80"],
    "Env": ["PATH=/usr/bin:/bin", "MODE=a=b"],
    "WorkingDir": "/srv",
    "User": "1000:1000",
    "StopSignal": "SIGINT",
}


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Layout:
    """A directory with images."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "blobs" / "sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        self.manifests: list[dict[str, Any]] = []
        self.write_index()

    def blob(self, data: bytes) -> dict[str, Any]:
        """Store bytes; their descriptor."""
        name = digest(data)
        (self.path / "blobs" / "sha256" / name[7:]).write_bytes(data)
        return {"digest": name, "size": len(data)}

    def image(
        self, *layers: bytes, name: str = "", compress: Any = gzip.compress, architecture: str = "", **config: Any
    ) -> str:
        """Store an image of these archives; the digest of its manifest."""
        where = architecture or machine()
        made = {
            "architecture": where,
            "os": "linux",
            "config": {**PROGRAM, **config},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {**self.blob(json.dumps(made).encode()), "mediaType": CONFIG},
            "layers": [{**self.blob(compress(layer) if compress else layer), "mediaType": LAYER} for layer in layers],
        }
        entry = {**self.blob(json.dumps(manifest).encode()), "mediaType": MANIFEST}
        entry["platform"] = {"architecture": where, "os": "linux"}
        if name:
            entry["annotations"] = {"org.opencontainers.image.ref.name": name}
        self.manifests.append(entry)
        self.write_index()
        return str(entry["digest"])

    def write_index(self) -> None:
        text = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.manifests})
        (self.path / "index.json").write_text(text)

    def packed(self, path: Path) -> Path:
        """The layout as one archive."""
        with tarfile.open(path, "w") as made:
            for one in sorted(self.path.rglob("*")):
                if one.is_file():
                    made.add(one, one.relative_to(self.path).as_posix())
        return path


def docker_save(path: Path, *layers: bytes, tag: str = "web:latest") -> Path:
    """An archive as `docker save` wrote it before it knew layouts."""
    config = {"architecture": machine(), "config": PROGRAM, "rootfs": {"diff_ids": [digest(layer) for layer in layers]}}
    files = {f"{hashlib.sha256(layer).hexdigest()}/layer.tar": layer for layer in layers}
    manifest = [{"Config": "a" * 64 + ".json", "RepoTags": [tag], "Layers": list(files)}]
    files |= {"a" * 64 + ".json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()}
    with tarfile.open(path, "w") as made:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return path
