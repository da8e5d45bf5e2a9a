"""Makes random OCI images from a seed, without any network.

Each image has its own random generator. So images can be made one at a time and in any order, and a larger population
contains the images of a smaller one.
"""

from __future__ import annotations

import hashlib
import json
import random
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from .image_words import ADJECTIVES, NOUNS

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
DEFAULT_PLATFORM = "linux/amd64"
CHUNK = 256 * 1024
STORED_FROM = 1024 * 1024
"""Files of at least this many bytes are stored, not deflated: that is faster, and random bytes do not shrink."""

MAX_GROUPS = 9999
MAX_IMAGES = len(ADJECTIVES) * len(NOUNS)
MAX_LAYER_SIZE = 8 * 1024**3 - 1
"""The largest size, in bytes, that fits into the size field of a tar header."""

Json = dict[str, object]


@dataclass(frozen=True)
class Population:
    """Describes the images to make: `images` per group, each with `tags` tags. Each tag is a different image.

    `layer_size` is the size of the random file in a layer, in bytes. Its blob is larger by at most 2 KB plus 5 bytes
    for each 32 KiB. The first `shared_layers` (a fraction, 0 to 1) of an image's layers are the same in all images.
    With `platforms`, an image is an index with a manifest for each; without, it is a single manifest.
    Raises `ValueError` if a value is out of range.
    """

    groups: int = 10
    images: int = 50
    layers: int = 5
    layer_size: int = 2048
    seed: int = 1
    tags: int = 1
    shared_layers: float = 0.0
    platforms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check("groups", self.groups, 1, MAX_GROUPS)
        _check("images", self.images, 1, MAX_IMAGES)
        _check("layers", self.layers, 1, 127)
        _check("layer_size", self.layer_size, 1, MAX_LAYER_SIZE)
        _check("tags", self.tags, 1, 10_000)
        _check("shared_layers", self.shared_layers, 0, 1)
        for platform in self.platforms:
            if not 2 <= len([part for part in platform.split("/") if part]) == platform.count("/") + 1 <= 3:
                raise ValueError(f"platform {platform!r} is not OS/ARCH or OS/ARCH/VARIANT")

    @property
    def shared(self) -> int:
        """The number of layers of an image that are the same in all images."""
        return round(self.layers * self.shared_layers)


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, not between {low} and {high}")


def image_names(population: Population) -> list[str]:
    """Returns `repository:tag` of every image, group by group: `brave-otter-0001:v3.7`."""
    return [name for group in range(1, population.groups + 1) for name in _group_names(population, group)]


def _group_names(population: Population, group: int) -> Iterator[str]:
    for repository in _repositories(population, group):
        rng = _generator(population, repository)
        tags: dict[str, None] = {}
        while len(tags) < population.tags:
            tags[f"v{rng.randrange(100)}.{rng.randrange(1000)}"] = None
        for tag in tags:
            yield f"{repository}:{tag}"


def _repositories(population: Population, group: int) -> list[str]:
    """Returns distinct names. A larger number of images begins with the same names, as they are drawn one by one."""
    rng = _generator(population, f"group {group}")
    names: dict[str, None] = {}
    while len(names) < population.images:
        names[f"{rng.choice(ADJECTIVES)}-{rng.choice(NOUNS)}-{group:04d}"] = None
    return list(names)


def _generator(population: Population, purpose: str) -> random.Random:
    """Returns a random generator seeded by text. It is the same in every process and version of Python."""
    return random.Random(f"{population.seed}/{purpose}")  # noqa: S311 - reproducible, not secret


@dataclass
class Layer:
    """A tar.gz layer with one file of random bytes. Its digests and `blob_size` are set when `chunks` has ended."""

    seed: str
    size: int
    shared: bool
    digest: str = field(default="", init=False)
    diff_id: str = field(default="", init=False)
    blob_size: int = field(default=0, init=False)

    def chunks(self) -> Iterator[bytes]:
        """Yields the blob in pieces of a few hundred KiB, the same each time."""
        packer = zlib.compressobj(0 if self.size >= STORED_FROM else 1, zlib.DEFLATED, 31)
        blob, content, length = hashlib.sha256(), hashlib.sha256(), 0
        for piece in self._tar():
            content.update(piece)
            packed = packer.compress(piece)
            if packed:
                blob.update(packed)
                length += len(packed)
                yield packed
        rest = packer.flush()
        blob.update(rest)
        self.digest, self.diff_id = f"sha256:{blob.hexdigest()}", f"sha256:{content.hexdigest()}"
        self.blob_size = length + len(rest)
        yield rest

    def _tar(self) -> Iterator[bytes]:
        rng = random.Random(self.seed)  # noqa: S311 - reproducible, not secret
        header = tarfile.TarInfo(f"data/{rng.choice(NOUNS)}-{rng.getrandbits(32):08x}.bin")
        header.size = self.size
        yield header.tobuf(tarfile.USTAR_FORMAT)
        for start in range(0, self.size, CHUNK):
            yield rng.randbytes(min(CHUNK, self.size - start))
        yield bytes(-self.size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


def layers_of(population: Population, name: str, platform: str) -> list[Layer]:
    """Returns the layers of an image, the shared ones first, like base layers."""
    seeds = [
        f"{population.seed}/shared/{number}"
        if number < population.shared
        else f"{population.seed}/{name}/{platform}/{number}"
        for number in range(population.layers)
    ]
    return [
        Layer(seed, population.layer_size, number < population.shared) for number, seed in enumerate(seeds)
    ]


def platform_json(platform: str) -> Json:
    """Returns a platform such as `linux/arm/v7` as OCI's platform object."""
    return dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))


def config_json(name: str, platform: str, layers: list[Layer]) -> bytes:
    """Returns the image configuration. It contains the image's name, so that no two images are the same."""
    return _json(
        platform_json(platform)
        | {
            "created": "2020-01-01T00:00:00Z",
            "config": {"Labels": {"org.opencontainers.image.ref.name": name}},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [{"created_by": "ocidriver populate"} for _ in layers],
        }
    )


def manifest_json(config: bytes, layers: list[Layer]) -> bytes:
    """Returns the manifest of one platform."""
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(CONFIG_TYPE, config),
            "layers": [
                {"mediaType": LAYER_TYPE, "digest": layer.digest, "size": layer.blob_size} for layer in layers
            ],
        }
    )


def index_json(manifests: dict[str, bytes]) -> bytes:
    """Returns the index of the manifests, which are given by platform."""
    entries = [
        descriptor(MANIFEST_TYPE, body) | {"platform": platform_json(platform)}
        for platform, body in manifests.items()
    ]
    return _json({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries})


def descriptor(media_type: str, body: bytes) -> Json:
    """Returns the OCI descriptor of `body`."""
    return {"mediaType": media_type, "digest": digest_of(body), "size": len(body)}


def digest_of(body: bytes) -> str:
    """Returns the digest of `body`: `sha256:` and 64 hexadecimal digits."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _json(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
