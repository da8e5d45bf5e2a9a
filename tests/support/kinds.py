"""Images of every kind that registries hold, as a registry sends them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from lib.lab.images import CONFIG_TYPE, INDEX_TYPE, LAYER_TYPE, MANIFEST_TYPE
from tests.doubles.noting import Content
from tests.support.images import describe, image_config, tarball

DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_PLATFORM: Final = {"architecture": "amd64", "os": "linux"}


def zstd(data: bytes) -> bytes:
    """A zstd frame that holds the data as it is (RFC 8878): one segment, raw blocks, no checksum."""
    blocks = [data[start : start + 0x1FFFF] for start in range(0, len(data), 0x1FFFF)]
    last = len(blocks) - 1
    packed = b"".join(
        ((len(block) << 3) | (number == last)).to_bytes(3, "little") + block
        for number, block in enumerate(blocks)
    )
    return b"\x28\xb5\x2f\xfd\xa0" + len(data).to_bytes(4, "little") + packed


def kinds(url: str) -> Mapping[str, Content]:
    """By a word for each. `url` is where layers of others are to be had."""
    layers = [tarball(f"{n}".encode() * 900, f"file-{n}") for n in range(3)]
    packed = [gzip.compress(layer, mtime=0) for layer in layers]
    config = image_config(layers)
    elsewhere = {"urls": [f"{url}/elsewhere"]}
    found = {
        "oci-gzip": _image(config, packed, LAYER_TYPE),
        "oci-zstd": _image(config, map(zstd, layers), f"{OCI_LAYER}+zstd"),
        "oci-uncompressed": _image(config, layers, OCI_LAYER),
        "oci-nondistributable": _image(
            config, packed, "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        ),
        "oci-same-layer-twice": _image(image_config([layers[0]] * 2), [packed[0]] * 2, LAYER_TYPE),
        "oci-no-layers": _image(image_config([]), [], LAYER_TYPE),
        "docker-gzip": _image(config, packed, DOCKER_LAYER, docker=True),
        "docker-uncompressed": _image(
            config, layers, "application/vnd.docker.image.rootfs.diff.tar", docker=True
        ),
        "docker-foreign": _image(
            config, packed, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", docker=True
        ),
        "docker-foreign-elsewhere": _image(
            image_config(layers[:1]),
            packed[:1],
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            docker=True,
            more=elsewhere,
        ),
        "docker-schema-1": _schema_1(packed),
    }
    return {
        **found,
        "oci-index": _index(found["oci-gzip"], INDEX_TYPE),
        "oci-index-zstd": _index(found["oci-zstd"], INDEX_TYPE),
        "docker-list": _index(found["docker-gzip"], DOCKER_LIST),
    }


def _image(
    config: bytes,
    blobs: Iterable[bytes],
    layer_type: str,
    *,
    docker: bool = False,
    more: Mapping[str, Any] | None = None,
) -> Content:
    sent = list(blobs)
    media_type = DOCKER_MANIFEST if docker else MANIFEST_TYPE
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": describe(config, DOCKER_CONFIG if docker else CONFIG_TYPE),
        "layers": [{**describe(blob, layer_type), **(more or {})} for blob in sent],
    }
    return Content(json.dumps(manifest).encode(), media_type, _by_digest(config, *sent))


def _index(image: Content, media_type: str) -> Content:
    entry = {**describe(image.manifest, image.media_type), "platform": _PLATFORM}
    index = {"schemaVersion": 2, "mediaType": media_type, "manifests": [entry]}
    return Content(json.dumps(index).encode(), media_type, image.blobs, ((image.manifest, image.media_type),))


def _schema_1(blobs: list[bytes]) -> Content:
    """Docker's first manifest, without a signature: the newest layer comes first."""
    digests = list(_by_digest(*blobs))
    names = [f"{number:064x}" for number in range(len(digests))]
    history = [
        {"v1Compatibility": json.dumps({"id": name, "parent": parent, **_PLATFORM})}
        for name, parent in zip(names, (*names[1:], ""), strict=True)
    ]
    manifest = {
        "schemaVersion": 1,
        "name": "x/y",
        "tag": "v1",
        "architecture": "amd64",
        "fsLayers": [{"blobSum": digest} for digest in digests],
        "history": history,
    }
    media_type = "application/vnd.docker.distribution.manifest.v1+json"
    return Content(json.dumps(manifest).encode(), media_type, _by_digest(*blobs))


def _by_digest(*blobs: bytes) -> dict[str, bytes]:
    return {str(describe(blob, "")["digest"]): blob for blob in blobs}
