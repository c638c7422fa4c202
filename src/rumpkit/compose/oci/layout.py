"""Which layers an image has, and what it says of its program: index, manifest and config (OCI image-spec 1.1; `docker save`)."""

import json
import platform
from typing import Any, Final, NamedTuple

from ...kern.abi.errno import EINVAL, ENOENT, EUCLEAN
from .cache import hasher
from .store import DOCKER, INDEX, Store, lines

REFERENCE: Final = "org.opencontainers.image.ref.name"
OTHER_REFERENCE: Final = "io.containerd.image.name"
INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MACHINES: Final = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i686": "386",
    "i386": "386",
    "loongarch64": "loong64",
}
"""Go's names of processors, where they are not uname's."""
DEEPEST: Final = 4
"""Indexes of indexes."""
MOST_MANIFESTS: Final = 4096
MOST_LAYERS: Final = 512


class Layer(NamedTuple):
    """One layer."""

    name: str
    """Of its blob in the store."""
    digest: str
    """Of the blob; "" where nobody says."""
    contents: str
    """Of what it unpacks to."""


class Defaults(NamedTuple):
    """What an image says of its program, for a [[run]] that says nothing of it."""

    command: list[str]
    """Entrypoint and Cmd."""
    entrypoint: list[str]
    env: dict[str, str]
    cwd: str
    user: str
    stop_signal: str


class Image(NamedTuple):
    """One image of a store."""

    layers: list[Layer]
    """The lowest first."""
    defaults: Defaults


def machine() -> str:
    """This machine's processor, as images name it."""
    name = platform.machine()
    return MACHINES.get(name, name)


def find_image(store: Store, reference: str = "", architecture: str = "") -> Image:
    """The image that a name or a digest means, for this machine unless `architecture` says otherwise; without a name the only one, or
    "latest".  Raises OSError: ENOENT with what there is, EUCLEAN where bytes are not those of their digest, EINVAL."""
    architecture = architecture or machine()
    if store.has(INDEX):
        return _from_index(store, reference, architecture)
    return _from_docker(store, reference, architecture)


def _from_index(store: Store, reference: str, architecture: str) -> Image:
    found = _chosen(store, _json(store, INDEX), reference, architecture)
    manifest = _blob(store, found)
    config = _blob(store, _object(manifest, "config"))
    layers = []
    for each in _list(manifest, "layers", MOST_LAYERS):
        digest = _digest(each)
        layers.append(Layer(_blob_name(digest), digest, ""))
    return _image(store, layers, config, architecture)


def _chosen(store: Store, index: dict[str, Any], reference: str, architecture: str) -> dict[str, Any]:
    """The descriptor of the manifest that is wanted."""
    entries = _list(index, "manifests", MOST_MANIFESTS)
    names = [name for each in entries for name in _names(each)]
    if reference:
        named = [each for each in entries if reference in _names(each) or each.get("digest") == reference]
        if not named:
            have = f"it has {lines(iter(names))}" if names else "its images have no names"
            raise OSError(ENOENT, f"no image is called {reference!r}; {have}", store.path)
        entries = named
    fitting = [one for each in entries for one in _manifests(store, each, architecture, 0)]
    several = {_digest(each) for each in fitting}
    if len(several) > 1:
        fitting = [
            one for each in entries if "latest" in _names(each) for one in _manifests(store, each, architecture, 0)
        ]
        if len({_digest(each) for each in fitting}) != 1:
            raise OSError(
                EINVAL, f"it has several images; say which one, as {store.path}:NAME ({lines(iter(names))})", store.path
            )
    if not fitting:
        raise OSError(ENOENT, f"it has no image for {architecture}", store.path)
    return fitting[0]


def _manifests(store: Store, descriptor: dict[str, Any], architecture: str, depth: int) -> list[dict[str, Any]]:
    """The manifests that a descriptor of an index comes to, of those for a processor."""
    where = descriptor.get("platform")
    if isinstance(where, dict) and where.get("architecture") not in (None, "", architecture):
        return []
    if descriptor.get("mediaType") not in INDEXES:
        return [descriptor]
    if depth >= DEEPEST:
        raise OSError(EINVAL, f"more than {DEEPEST} indexes in each other", store.path)
    inner = _list(_blob(store, descriptor), "manifests", MOST_MANIFESTS)
    return [one for each in inner for one in _manifests(store, each, architecture, depth + 1)]


def _names(descriptor: dict[str, Any]) -> list[str]:
    given = descriptor.get("annotations")
    if not isinstance(given, dict):
        return []
    names = [str(given[key]) for key in (REFERENCE, OTHER_REFERENCE) if given.get(key)]
    return names + [name.rpartition(":")[2] for name in names if ":" in name]


def _from_docker(store: Store, reference: str, architecture: str) -> Image:
    """What `docker save` wrote before it wrote layouts."""
    data = _parse(store.read(DOCKER), DOCKER, store)
    entries = [each for each in data if isinstance(each, dict)] if isinstance(data, list) else []
    names = [str(name) for each in entries for name in each.get("RepoTags") or []]
    if reference:
        entries = [
            each
            for each in entries
            if any(reference in (tag, tag.rpartition(":")[2]) for tag in each.get("RepoTags") or [])
        ]
    if len(entries) != 1:
        which = f"no image is called {reference!r}" if reference and not entries else "say which image is meant"
        raise OSError(ENOENT, f"{which}; it has {lines(iter(names)) or 'none'}", store.path)
    config = _json(store, str(entries[0].get("Config")))
    given = entries[0].get("Layers")
    if not isinstance(given, list) or len(given) > MOST_LAYERS:
        raise OSError(EINVAL, f"{DOCKER} has no list of layers", store.path)
    return _image(store, [Layer(str(name), "", "") for name in given], config, architecture)


def _image(store: Store, layers: list[Layer], config: dict[str, Any], architecture: str) -> Image:
    theirs = config.get("architecture")
    if isinstance(theirs, str) and theirs and theirs != architecture:
        raise OSError(ENOENT, f"the image is for {theirs}, and this machine is {architecture}", store.path)
    root = config.get("rootfs")
    contents = root.get("diff_ids") if isinstance(root, dict) else None
    if not isinstance(contents, list) or len(contents) != len(layers):
        raise OSError(EINVAL, f"the image's config does not go with its {len(layers)} layers", store.path)
    return Image(
        [layer._replace(contents=str(digest)) for layer, digest in zip(layers, contents, strict=True)],
        _defaults(config),
    )


def _defaults(config: dict[str, Any]) -> Defaults:
    given = config.get("config")
    given = given if isinstance(given, dict) else {}
    entrypoint, words = _words(given.get("Entrypoint")), _words(given.get("Cmd"))
    env = dict(each.split("=", 1) for each in _words(given.get("Env")) if "=" in each)
    text = {key: str(given.get(key) or "") for key in ("WorkingDir", "User", "StopSignal")}
    return Defaults(entrypoint + words, entrypoint, env, text["WorkingDir"], text["User"], text["StopSignal"])


def _words(value: object) -> list[str]:
    return [str(word) for word in value] if isinstance(value, list) else []


# JSON ----------------------------------------------------------------------------------------------------


def _blob(store: Store, descriptor: dict[str, Any]) -> dict[str, Any]:
    """The JSON of a blob whose bytes have the digest that they should."""
    digest = _digest(descriptor)
    name = _blob_name(digest)
    data = store.read(name)
    made = hasher(digest)
    assert made is not None
    made.update(data)
    if made.hexdigest() != digest.partition(":")[2]:
        raise OSError(EUCLEAN, f"the bytes of {name} have not the digest {digest}", store.path)
    found = _parse(data, name, store)
    if not isinstance(found, dict):
        raise OSError(EINVAL, f"{name} is no object", store.path)
    return found


def _json(store: Store, name: str) -> dict[str, Any]:
    found = _parse(store.read(name), name, store)
    if not isinstance(found, dict):
        raise OSError(EINVAL, f"{name} is no object", store.path)
    return found


def _parse(data: bytes, name: str, store: Store) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as problem:
        raise OSError(EINVAL, f"{name} is no JSON: {problem}", store.path) from None


def _object(given: dict[str, Any], key: str) -> dict[str, Any]:
    found = given.get(key)
    if not isinstance(found, dict):
        raise OSError(EINVAL, f"the manifest has no {key}")
    return found


def _list(given: dict[str, Any], key: str, most: int) -> list[dict[str, Any]]:
    found = given.get(key)
    if not isinstance(found, list) or len(found) > most:
        raise OSError(EINVAL, f"there is no list of {key}, or it has more than {most}")
    return [each for each in found if isinstance(each, dict)]


def _digest(descriptor: dict[str, Any]) -> str:
    digest = str(descriptor.get("digest", ""))
    if hasher(digest) is None:
        raise OSError(EINVAL, "a descriptor has no digest")
    return digest


def _blob_name(digest: str) -> str:
    algorithm, _, digits = digest.partition(":")
    return f"blobs/{algorithm}/{digits}"
