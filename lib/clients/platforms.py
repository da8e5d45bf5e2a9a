"""Which manifests of an index a client pulls for a platform. Each client has its own rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple


class Platform(NamedTuple):
    """A platform, as `--platform` and the entries of an index name it. `variant` may be empty."""

    system: str
    machine: str
    variant: str = ""


# The platforms of an index's entries (None for an entry without one) and the wanted platform → the places of the
# entries that are pulled; none if the client finds no image for the platform.
Picks = Callable[[Sequence["Platform | None"], Platform], list[int]]

_UNNAMED: Final = Platform("linux", "amd64")
# From the variant that needs the newest processor to the one that runs on all.
_VARIANTS: Final = {"arm": ("v8", "v7", "v6", "v5"), "arm64": ("v8",)}
_MACHINES: Final = {"i386": "386", "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}


def parsed(text: str) -> Platform:
    """Returns the platform that a checked text such as `linux/arm/v7` names."""
    return Platform(*text.split("/"))


def picks_first(entries: Sequence[Platform | None], wanted: Platform) -> list[int]:
    """Picks the first entry of the platform. The variant counts only if one is wanted. This is crane's rule."""
    for place, entry in enumerate(entries):
        given = entry or _UNNAMED
        if given[:2] == wanted[:2] and wanted.variant in ("", given.variant):
            return [place]
    return []


def picks_best(entries: Sequence[Platform | None], wanted: Platform) -> list[int]:
    """Picks the entry of the wanted variant, or else the best one below it. This is skopeo's rule."""
    known = _VARIANTS.get(wanted.machine, ())
    if not wanted.variant:
        variants = ["", *known]
    elif wanted.variant in known:
        variants = [*known[known.index(wanted.variant) :], ""]
    else:
        variants = [wanted.variant, ""]
    for variant in variants:
        for place, entry in enumerate(entries):
            if entry == wanted._replace(variant=variant):
                return [place]
    return next(([place] for place, entry in enumerate(entries) if entry is None), [])


def picks_all(entries: Sequence[Platform | None], wanted: Platform) -> list[int]:
    """Picks each entry of the platform, and each without one. This is containerd's rule for a fetch."""
    target = _normal(wanted)
    return [place for place, entry in enumerate(entries) if entry is None or _normal(entry) == target]


def _normal(platform: Platform) -> Platform:
    """Returns the platform as containerd compares it: a usual variant is left out, or named."""
    system, machine, variant = (part.lower() for part in platform)
    if machine == "armhf":
        machine, variant = "arm", "v7"
    elif machine == "armel":
        machine, variant = "arm", "v6"
    machine = _MACHINES.get(machine, machine)
    if machine == "arm":
        variant = f"v{(variant or '7').removeprefix('v')}"
    elif (machine, variant) in {("arm64", "8"), ("arm64", "v8"), ("amd64", "v1")}:
        variant = ""
    return Platform(system, machine, variant)
