"""Whether the sizes of the selected images are read, and from where: their upstream, never the server under test."""

from __future__ import annotations

from functools import cache

from ..choices import ALWAYS, AUTO
from ..clients.client import Abilities
from ..clients.platforms import parsed
from ..counted import counted
from ..http.address import surely_same, url_of
from ..http.connections import Connections
from ..http.logins import HUB_NAMES
from ..options.settings import Settings
from ..servers.image_sizes import Chooses, SizeReader
from ..sizes import Sizes
from .image_list import HUB
from .selection import Selection


def read_sizes(
    settings: Settings, able: Abilities, selection: Selection, connections: Connections
) -> Sizes | None:
    """Returns the sizes of the selected images; None if they are not to be read. It never fails.

    `able` is what the client can do: it decides which manifest of an index counts.
    """
    if not _wants_sizes(settings):
        return None
    if _is_one_server(settings):
        connections.log("the sizes of images are not read, because the upstream is the server under test")
        return None
    images = selection.images
    upstream = cache(lambda name: connections.registry(url_of(name) if name else _upstream_url(settings)))
    reader = SizeReader(
        lambda image: upstream(image.upstream),
        Chooses(picks=able.picks, platform=parsed(settings.platform)),
        connections.log,
    )
    connections.log(f"reading the sizes of {counted(len(images), 'image')} from their upstream")
    sizes = connections.network.run_until_stop(reader.read(images))
    return Sizes(sizes, shares_layers=able.shares_layers)


def _wants_sizes(settings: Settings) -> bool:
    """Returns whether the sizes of images are to be read.

    The user has to say so for a list, and if the upstream is the server under test by intention.
    """
    if settings.sizes == AUTO:
        return settings.image_list is None and not settings.layout.is_upstream
    return settings.sizes == ALWAYS


def _is_one_server(settings: Settings) -> bool:
    """Returns whether asking the upstream would warm the server under test."""
    # below a path, one server may have the upstream and its cache apart
    apart = settings.layout.is_upstream or settings.registry.path
    return not apart and surely_same(settings.pullthrough, settings.registry)


def _upstream_url(settings: Settings) -> str:
    """Returns where the manifests of the run's upstream are: those of Docker Hub are not at its usual names."""
    return url_of(HUB) if settings.registry.name.lower() in HUB_NAMES else settings.registry.url
