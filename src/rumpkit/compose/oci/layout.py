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
SYSTEM: Final = "linux"
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


class Platform(NamedTuple):
    """What an image is for: "linux/amd64", "linux/arm/v7"."""

    os: str
    architecture: str
    variant: str = ""
    """"": any."""

    def __str__(self) -> str:
        return "/".join(part for part in self if part)

    def takes(self, given: object) -> bool:
        """Whether what an index says of an image is this; what it doesn't say may be."""
        return not isinstance(given, dict) or all(
            not wanted or given.get(key) in (None, "", wanted) for key, wanted in self._asdict().items()
        )


class Image(NamedTuple):
    """One image of a store."""

    layers: list[Layer]
    """The lowest first."""
    defaults: Defaults


def machine() -> str:
    """This machine's processor, as images name it."""
    name = platform.machine()
    return MACHINES.get(name, name)


def platform_of(text: str) -> Platform:
    """A platform as a config has it, "linux/arm64"; "": this machine's.  Raises EINVAL."""
    words = text.split("/") if text else [SYSTEM, machine()]
    if not 2 <= len(words) <= 3 or not all(words):
        raise OSError(EINVAL, f"{text!r} is no platform; it is written as linux/arm64 or linux/arm/v7")
    return Platform(*words)


def find_image(store: Store, reference: str = "", platform: str = "") -> Image:
    """The image that a name or a digest means, for this machine unless `platform` ("linux/arm64") says otherwise; without a name the only
    one, or "latest".  Raises OSError: ENOENT with what there is, EUCLEAN where bytes are not those of their digest, EINVAL."""
    wanted = platform_of(platform)
    if store.has(INDEX):
        return _from_index(store, reference, wanted)
    return _from_docker(store, reference, wanted)


def _from_index(store: Store, reference: str, wanted: Platform) -> Image:
    found = _chosen(store, _json(store, INDEX), reference, wanted)
    manifest = _blob(store, found)
    config = _blob(store, _object(manifest, "config"))
    layers = []
    for each in _list(manifest, "layers", MOST_LAYERS):
        digest = _digest(each)
        layers.append(Layer(_blob_name(digest), digest, ""))
    return _image(store, layers, config, wanted)


def _chosen(store: Store, index: dict[str, Any], reference: str, wanted: Platform) -> dict[str, Any]:
    """The descriptor of the manifest that is wanted."""
    entries = _list(index, "manifests", MOST_MANIFESTS)
    names = [name for each in entries for name in _names(each)]
    if reference:
        named = [each for each in entries if reference in _names(each) or each.get("digest") == reference]
        if not named:
            have = f"it has {lines(iter(names))}" if names else "its images have no names"
            raise OSError(ENOENT, f"no image is called {reference!r}; {have}", store.path)
        entries = named
    others: set[str] = set()
    fitting = _manifests(store, entries, wanted, others)
    several = {_digest(each) for each in fitting}
    if len(several) > 1:
        fitting = _manifests(store, [each for each in entries if "latest" in _names(each)], wanted, others)
        if len({_digest(each) for each in fitting}) != 1:
            raise OSError(
                EINVAL, f"it has several images; say which one, as {store.path}:NAME ({lines(iter(names))})", store.path
            )
    if not fitting:
        have = f"; it has {lines(iter(others))}" if others else ""
        raise OSError(ENOENT, f"it has no image for {wanted}{have}", store.path)
    return fitting[0]


def _manifests(store: Store, entries: list[dict[str, Any]], wanted: Platform, others: set[str]) -> list[dict[str, Any]]:
    """The manifests that descriptors of an index come to, of those for a platform; `others` gets those there are for what else.  Each index
    in it is read once, or a few small ones that name each other often would take forever."""
    found: list[dict[str, Any]] = []
    read: set[str] = set()
    pending = [(each, 0) for each in reversed(entries)]
    while pending:
        descriptor, depth = pending.pop()
        where = descriptor.get("platform")
        if not wanted.takes(where):
            assert isinstance(where, dict)
            said = [str(where.get(key) or "") for key in Platform._fields]
            if "unknown" not in said:  # what docker says of its notes on an image
                others.add(str(Platform(*said)))
        elif descriptor.get("mediaType") not in INDEXES:
            found.append(descriptor)
        elif depth >= DEEPEST:
            raise OSError(EINVAL, f"more than {DEEPEST} indexes in each other", store.path)
        elif (digest := _digest(descriptor)) not in read:
            read.add(digest)
            inner = _list(_blob(store, descriptor), "manifests", MOST_MANIFESTS)
            pending += [(each, depth + 1) for each in reversed(inner)]
    return found


def _names(descriptor: dict[str, Any]) -> list[str]:
    given = descriptor.get("annotations")
    if not isinstance(given, dict):
        return []
    names = [str(given[key]) for key in (REFERENCE, OTHER_REFERENCE) if given.get(key)]
    return names + [name.rpartition(":")[2] for name in names if ":" in name]


def _from_docker(store: Store, reference: str, wanted: Platform) -> Image:
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
    return _image(store, [Layer(str(name), "", "") for name in given], config, wanted)


def _image(store: Store, layers: list[Layer], config: dict[str, Any], wanted: Platform) -> Image:
    if not wanted._replace(variant="").takes(config):
        theirs = Platform(*[str(config.get(key) or "") for key in ("os", "architecture")])
        raise OSError(ENOENT, f"the image is for {theirs}, and what is wanted is one for {wanted}", store.path)
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
