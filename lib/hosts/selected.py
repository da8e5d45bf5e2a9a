"""What the workers of one host pull, as text: the controller lists the upstream once, and each host gets its own part.

The text is JSON, compressed with zlib, in base64. Image sets that share their images, as with `--deal all`, name one
list of them.
"""

from __future__ import annotations

import base64
import zlib
from typing import Annotated, Final, NamedTuple

import msgspec

from ..images import Image, ImageSet, distinct
from ..listing.selection import Selection
from ..load.share import Share

# More than a million images with long names have, in bytes.
_LONGEST: Final = 1 << 30
_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Set(NamedTuple):
    """An image set: `images` is the number of its list of images."""

    pattern: str
    images: _Count
    start: _Count


class _Packed(msgspec.Struct, frozen=True, kw_only=True):
    listed: _Count
    foreign: _Count
    lengths: list[_Count]
    total: _Count
    lists: list[list[Image]]
    sets: list[_Set]


_decode: Final = msgspec.json.Decoder(_Packed).decode


class Packer:
    """Packs the shares of one selection, which is that of the whole load."""

    def __init__(self, whole: Selection) -> None:
        self._whole = whole
        self._total = len(distinct(whole.image_sets))

    def pack(self, share: Share) -> str:
        """Returns what the workers of this share pull, as text."""
        whole, lists = self._whole, dict[int, int]()
        images: list[list[Image]] = []
        sets = []
        for each in share.pick(whole.image_sets):
            number = lists.setdefault(id(each.images), len(images))
            if number == len(images):
                images.append(list(each.images))
            sets.append(_Set(each.pattern, number, each.start))
        packed = _Packed(
            listed=whole.listed,
            foreign=whole.foreign,
            lengths=list(whole.lengths),
            total=self._total,
            lists=images,
            sets=sets,
        )
        return base64.b64encode(zlib.compress(msgspec.json.encode(packed))).decode()


def unpack(text: str) -> Selection:
    """Returns what the workers of a share pull. Raises `ValueError` if the text is not valid."""
    try:
        unzip = zlib.decompressobj()
        packed = _decode(unzip.decompress(base64.b64decode(text, validate=True), _LONGEST))
    except zlib.error as error:
        raise ValueError(f"the selection is not valid: {error}") from None
    lists = [tuple(each) for each in packed.lists]
    if any(each.images >= len(lists) or each.start >= len(lists[each.images]) for each in packed.sets):
        raise ValueError("the selection is not valid: it names images that it does not have")
    return Selection(
        listed=packed.listed,
        image_sets=tuple(ImageSet(each.pattern, lists[each.images], each.start) for each in packed.sets),
        foreign=packed.foreign,
        lengths=tuple(packed.lengths),
        total=packed.total,
    )
