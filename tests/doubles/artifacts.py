"""What a registry may hold that is no usual image: charts, artifacts, an index in an index, encrypted layers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from lib.lab.images import CONFIG_TYPE, INDEX_TYPE, LAYER_TYPE, MANIFEST_TYPE, digest_of
from tests.doubles.good_image import CONFIG_DIGEST, IMAGE
from tests.support.images import describe

CHART_CONFIG: Final = b'{"name":"chart","version":"1.0.0","apiVersion":"v2"}'
EMPTY: Final = b"{}"
BLOBS: Final = {digest_of(blob): blob for blob in (CHART_CONFIG, EMPTY)}
_LAYER: Final = next(blob for digest, blob in IMAGE.blobs.items() if digest != CONFIG_DIGEST)


@dataclass(frozen=True)
class Manifest:
    """A manifest with its media type."""

    body: bytes
    media_type: str


def _manifest(config: dict[str, object], layer_type: str, **more: object) -> Manifest:
    layers = [describe(_LAYER, layer_type)]
    fields = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": layers, **more}
    return Manifest(json.dumps(fields).encode(), MANIFEST_TYPE)


def _index_of(manifest: Manifest) -> Manifest:
    platform = {"os": "linux", "architecture": "amd64"}
    child = {**describe(manifest.body, manifest.media_type), "platform": platform}
    fields = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [child]}
    return Manifest(json.dumps(fields).encode(), INDEX_TYPE)


_INNER: Final = _index_of(Manifest(IMAGE.manifest, MANIFEST_TYPE))
_OLD_TYPE: Final = "application/vnd.oci.artifact.manifest.v1+json"
_OLD: Final = {"mediaType": _OLD_TYPE, "artifactType": "a/b", "blobs": [describe(_LAYER, "text/plain")]}

ARTIFACTS: Final = {
    "chart": _manifest(
        describe(CHART_CONFIG, "application/vnd.cncf.helm.config.v1+json"),
        "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
    ),
    "artifact": _manifest(
        describe(EMPTY, "application/vnd.oci.empty.v1+json"),
        "text/plain",
        artifactType="application/vnd.example",
    ),
    "oldartifact": Manifest(json.dumps(_OLD).encode(), _OLD_TYPE),
    "nested": _index_of(_INNER),
    "encrypted": _manifest(describe(IMAGE.blobs[CONFIG_DIGEST], CONFIG_TYPE), f"{LAYER_TYPE}+encrypted"),
}
"""What the tag of each names."""

CHILDREN: Final = {
    digest_of(_INNER.body): _INNER,
    digest_of(IMAGE.manifest): Manifest(IMAGE.manifest, MANIFEST_TYPE),
}
"""Manifests that only an index names, by digest."""
