"""Chooses the route: how a client asks the server under test for an upstream image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from ..clients.client import Client
from ..clients.table import names_of
from ..errors import RunError
from ..http.address import Endpoint
from ..images import Heed, Image, heeding, no_heed
from ..names import REPOSITORY_LENGTH, valid_repository
from .layout import Layout
from .under_test import ServerUnderTest

# The most path segments that Ociregistry routes; the upstream's name counts if it is in the path.
OCIREGISTRY_SEGMENTS = 4
# How the server learns the upstream's name: from the path, from a header, from the client's `?ns=` (the server is its
# mirror), or from the gateway's `?ns=`.
PATH, HEADER, MIRROR, GATEWAY = "path", "header", "mirror", "gateway"
# The header from which Ociregistry takes the upstream's name.
UPSTREAM_HEADER = "X-Registry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How to ask the server for an image. `way` is path, header, mirror or gateway; `why` is the reason, for the log.

    `endpoint` is the server that receives the requests. References begin with `host`: that server, or the upstream if
    the client uses the server as a mirror. `upstream` is the upstream of images that have none of their own, and
    `upstreams` are those of all images. `path` is a repository's name on the server, with {upstream} and {repository}.
    `header` names the upstream in the driver's own requests, even if the client uses the gateway.
    """

    way: str
    why: str
    endpoint: Endpoint
    host: str
    upstream: str
    upstreams: tuple[str, ...]
    path: str = "{repository}"
    header: tuple[str, str] | None = None

    def headers(self, image: Image) -> dict[str, str]:
        """The headers of the driver's own requests for this image."""
        return {self.header[0]: self._upstream_of(image)} if self.header else {}

    def query(self, image: Image) -> str:
        """The query with which the client's requests for this image arrive at the server."""
        named = self.header is not None and self.way in (MIRROR, GATEWAY)
        return f"?ns={quote(self._upstream_of(image), safe='')}" if named else ""

    def headers_beside_query(self, image: Image) -> dict[str, str]:
        """The headers of the driver's own requests that have the `query`."""
        return {} if self.query(image) else self.headers(image)

    @property
    def client_header(self) -> tuple[str, str] | None:
        """The header that the client has to send with each request."""
        return self.header if self.way == HEADER else None

    def repository(self, image: Image) -> str:
        """Returns the image's repository name on this server, without the host."""
        path = self.path
        if "{upstream}" in path:
            path = path.replace("{upstream}", self._upstream_of(image))
        return path.replace("{repository}", image.repository)

    def manifest(self, image: Image, reference: str = "") -> str:
        """Returns path and query of the image's manifest, or of another one in its repository, for the driver itself.

        As a client does, it names the upstream in `ns` to a mirror.
        """
        query = self.query(image) if self.way == MIRROR else ""
        return f"/v2/{self.repository(image)}/manifests/{reference or image.reference}{query}"

    def reference(self, host: str, image: Image) -> str:
        """Returns the reference for the client's command line. `host` is this route's host, or the gateway's."""
        if self.way == MIRROR:
            host = self._upstream_of(image)
        return f"{host}/{self.repository(image)}{'@' if image.is_digest else ':'}{image.reference}"

    def _upstream_of(self, image: Image) -> str:
        return image.upstream or self.upstream


def plan_route(
    server: ServerUnderTest, client: type[Client], images: Sequence[Image], heed: Heed = no_heed
) -> Route:
    """Returns the route for this client.

    Raises RunError if an image's name is not valid on the route, or if the client does not accept the server's address.
    """
    upstreams = tuple(
        dict.fromkeys(image.upstream or server.upstream_name for image in heeding(images, heed))
    )
    if server.layout.is_ociregistry:
        depth = max((image.repository.count("/") + 1 for image in heeding(images, heed)), default=1)
        route = _ociregistry_route(server, client, upstreams or (server.upstream_name,), depth)
    else:
        route = _template_route(server, upstreams)
    _check_names(route, heeding(images, heed))
    if route.way != GATEWAY and route.host.startswith("[") and not client.abilities.takes_ipv6:
        others = names_of(lambda able: able.takes_ipv6)
        raise RunError(
            f"{client.name} does not accept an IPv6 address such as {route.host}; use a host name, or {others}"
        )
    return route


def _template_route(server: ServerUnderTest, upstreams: tuple[str, ...]) -> Route:
    foreign = [name for name in upstreams if name != server.upstream_name]
    if foreign and not server.layout.names_upstream:
        raise RunError(
            f"--layout {server.layout.name} cannot name the upstream {foreign[0]}, which the image list names; use "
            "--layout ociregistry, or leave such images out with --foreign skip"
        )
    return Route(
        way=PATH,
        why="this layout names images by path",
        endpoint=server.endpoint,
        host=server.endpoint.host,
        upstream=server.upstream_name,
        upstreams=upstreams,
        path=server.layout.template.partition("/")[2],
    )


def _ociregistry_route(
    server: ServerUnderTest, client: type[Client], upstreams: tuple[str, ...], depth: int
) -> Route:
    """`depth` is the largest number of segments of a repository."""
    route = Route(
        way=MIRROR,
        why="",
        endpoint=server.endpoint,
        host=server.endpoint.host,
        upstream=server.upstream_name,
        upstreams=upstreams,
        header=(UPSTREAM_HEADER, upstreams[0]),
    )
    named = _named(upstreams)
    if client.abilities.asks_mirror:
        return replace(route, why=f"{client.name} asks it as a mirror of {named}", host=upstreams[0])
    obstacles = [each for each in (_path_obstacle(name, depth) for name in upstreams) if each is not None]
    if not obstacles:
        why = f"the upstream's name {named} fits into the path"
        return replace(route, way=PATH, why=why, path="{upstream}/{repository}", header=None)
    if len(upstreams) > 1:
        raise RunError(
            f"the images have {len(upstreams)} upstreams, and {obstacles[0]}, so {client.name} cannot name the "
            f"upstream of each image; use {names_of(lambda able: able.asks_mirror)}, or leave images out with "
            "--foreign skip or --filter"
        )
    if client.abilities.sends_header:
        return replace(route, way=HEADER, why=f"{obstacles[0]}; {client.name} can send {UPSTREAM_HEADER}")
    return replace(route, way=GATEWAY, why=f"{obstacles[0]}, and {client.name} cannot send a header")


def _named(upstreams: tuple[str, ...]) -> str:
    """The upstreams for a message, at most three by name."""
    shown = ", ".join(f"'{name}'" for name in upstreams[:3])
    return shown if len(upstreams) <= 3 else f"{shown} and {len(upstreams) - 3} more"


def _path_obstacle(upstream_name: str, depth: int) -> str | None:
    """Returns why the upstream's name cannot be in the path; None if it can. `depth` counts a repository's segments."""
    if not valid_repository(upstream_name):
        return f"the upstream's name '{upstream_name}' is not valid in a path"
    if "." not in upstream_name:
        return f"Ociregistry recognizes an upstream in the path only by a dot, and '{upstream_name}' has none"
    if depth + 1 > OCIREGISTRY_SEGMENTS:
        return (
            f"with the upstream's name, a path has {depth + 1} segments; "
            f"Ociregistry accepts at most {OCIREGISTRY_SEGMENTS}"
        )
    return None


def _check_names(route: Route, images: Iterable[Image]) -> None:
    for image in images:
        name = route.repository(image)
        if len(name) > REPOSITORY_LENGTH or not valid_repository(name):
            raise RunError(
                f"'{name}' (for {image.name}) is not a repository name that the clients accept, "
                f"or is longer than {REPOSITORY_LENGTH} characters; "
                "choose another --layout, or leave the image out with --filter"
            )


def unservable(image: Image) -> str | None:
    """Returns why Ociregistry (1.17) cannot serve this image on any route; None if it can."""
    if image.repository.count("/") + 1 > OCIREGISTRY_SEGMENTS:
        return f"its path has more than {OCIREGISTRY_SEGMENTS} segments"
    if "." in image.repository:
        return "it treats a path segment with a dot as an upstream"
    if not image.is_digest and image.reference != image.reference.lower():
        return "it asks the upstream for the tag in lower case"
    return None


def hint(layout: Layout, upstream_name: str, error_class: str) -> str:
    """Returns a hint for a run whose pulls all failed with this error class, to append to its message."""
    if layout.is_ociregistry and error_class == "server-error":
        return (
            f". Does the server's configuration have a registry with exactly the name '{upstream_name}'? "
            "See docs/how-to/prepare-ociregistry.md"
        )
    if error_class in ("not-found", "other", "unsupported"):
        return f". Is --layout {layout.name} right for this server? 'ocidriver doctor' checks it"
    return ""


def warn_of_unservable(images: Iterable[Image], caution: Callable[[str], None]) -> None:
    """Warns about images that Ociregistry cannot serve, one line per reason."""
    reasons: dict[str, list[Image]] = {}
    for image in images:
        reason = unservable(image)
        if reason is not None:
            reasons.setdefault(reason, []).append(image)
    for reason, found in reasons.items():
        caution(
            f"Ociregistry cannot serve {found[0].name}: {reason} (images with this problem: {len(found)})"
        )
