"""The one small image that the faulty registry has, whatever name it is asked for by."""

from __future__ import annotations

import gzip
import random
from dataclasses import dataclass
from typing import Final

from lib.lab.images import digest_of
from tests.support.images import image_config, image_manifest, tarball


@dataclass(frozen=True)
class Image:
    """A manifest, and its blobs by digest: the config, then the layers."""

    manifest: bytes
    blobs: dict[str, bytes]


def _image() -> Image:
    """Its layers do not compress, so that they can break in the middle."""
    layers = [tarball(random.Random(seed).randbytes(30_000), f"layer-{seed}") for seed in (1, 2)]
    config, packed = image_config(layers), [gzip.compress(layer, mtime=0) for layer in layers]
    return Image(image_manifest(config, packed), {digest_of(blob): blob for blob in (config, *packed)})


IMAGE: Final = _image()
CONFIG_DIGEST: Final = next(iter(IMAGE.blobs))
