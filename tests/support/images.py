"""Images made of given contents, and pushed to a registry."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from lib.lab.images import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE, digest_of
from lib.lab.populate import ACCEPTED_TYPES
from tests.support.asking import Answer, ask

ACCEPT = {"Accept": f"{ACCEPTED_TYPES}, */*"}


@dataclass(frozen=True)
class Pushed:
    """An image in a registry. `blobs` are the digests of its layers and, last, of its config."""

    repository: str
    tag: str
    digest: str
    blobs: tuple[str, ...]


def tarball(content: bytes, name: str = "file") -> bytes:
    """A tar archive with one file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def image_config(layers: Sequence[bytes]) -> bytes:
    """The config of an image with these layers, which are tar archives."""
    rootfs = {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}
    return json.dumps(config).encode()


def image_manifest(config: bytes, blobs: Sequence[bytes], media_type: str = MANIFEST_TYPE) -> bytes:
    """The manifest over a config and layers as they are sent."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": describe(config, CONFIG_TYPE),
        "layers": [describe(blob, LAYER_TYPE) for blob in blobs],
    }
    return json.dumps(manifest).encode()


def describe(data: bytes, media_type: str) -> dict[str, object]:
    """How a manifest refers to the data. The order matters: recorded failures hold digests of such manifests."""
    return {"mediaType": media_type, "size": len(data), "digest": digest_of(data)}


def push(address: str, repository: str, tag: str, *contents: bytes) -> Pushed:
    """Pushes an image with a layer of one file for each content. The contents alone make its digest."""
    layers = [tarball(content) for content in contents]
    config, blobs = image_config(layers), [gzip.compress(layer, mtime=0) for layer in layers]
    manifest = image_manifest(config, blobs)
    digests = tuple(put_blob(address, repository, blob) for blob in (*blobs, config))
    put_manifest(address, repository, tag, manifest)
    return Pushed(repository, tag, digest_of(manifest), digests)


def tag_again(address: str, image: Pushed, tag: str) -> None:
    """The same manifest under another tag."""
    found = get_manifest(address, image.repository, image.tag)
    put_manifest(address, image.repository, tag, found.body, found.headers["content-type"])


def get_manifest(address: str, repository: str, reference: str) -> Answer:
    answer = ask(address, "GET", f"/v2/{repository}/manifests/{reference}", headers=ACCEPT)
    assert answer.status == 200, answer
    return answer


def put_blob(address: str, repository: str, content: bytes) -> str:
    """Its digest. The upload is in one piece (distribution spec, POST then PUT)."""
    digest = digest_of(content)
    begun = ask(address, "POST", f"/v2/{repository}/blobs/uploads/", b"")
    assert begun.status == 202, begun
    _, _, path, query, _ = urlsplit(begun.headers["location"])
    target = f"{path}?{query}&digest={digest}" if query else f"{path}?digest={digest}"
    done = ask(address, "PUT", target, content, {"Content-Type": "application/octet-stream"})
    assert done.status == 201, done
    return digest


def put_manifest(
    address: str, repository: str, reference: str, manifest: bytes, media_type: str = MANIFEST_TYPE
) -> None:
    path = f"/v2/{repository}/manifests/{reference}"
    answer = ask(address, "PUT", path, manifest, {"Content-Type": media_type})
    assert answer.status == 201, answer
