"""Chooses the route: how a client asks the server under test for an upstream image."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import quote

from ..clients.client import Client
from ..clients.table import names_of
from ..errors import RunError
from ..http.address import Endpoint
from ..images import Image
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


@dataclass(frozen=True, slots=True)
class Route:
    """How to ask the server for an image. `way` is path, header, mirror or gateway; `why` is the reason, for the log.

    `endpoint` is the server that receives the requests. References begin with `host`: that server, or the upstream if
    the client uses the server as a mirror. `before` and `after` enclose the repository's name. `header` names the
    upstream in the driver's own requests, even if the client uses the gateway.
    """

    way: str
    why: str
    endpoint: Endpoint
    host: str
    before: str = ""
    after: str = ""
    header: tuple[str, str] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the driver's own requests."""
        return dict([self.header]) if self.header else {}

    @property
    def query(self) -> str:
        """The query with which the client's requests arrive at the server."""
        name = self.header[1] if self.header and self.way in (MIRROR, GATEWAY) else None
        return f"?ns={quote(name, safe='')}" if name is not None else ""

    @property
    def headers_beside_query(self) -> dict[str, str]:
        """The headers of the driver's own requests that have the `query`."""
        return {} if self.query else self.headers

    @property
    def client_header(self) -> tuple[str, str] | None:
        """The header that the client has to send."""
        return self.header if self.way == HEADER else None

    def repository(self, image: Image) -> str:
        """Returns the image's repository name on this server, without the host."""
        return f"{self.before}{image.repository}{self.after}"

    def manifest(self, image: Image, reference: str = "") -> str:
        """Returns path and query of the image's manifest, or of another one in its repository, for the driver itself.

        As a client does, it names the upstream in `ns` to a mirror.
        """
        query = f"?ns={quote(self.host, safe='')}" if self.way == MIRROR else ""
        return f"/v2/{self.repository(image)}/manifests/{reference or image.reference}{query}"

    def reference(self, host: str, image: Image) -> str:
        """Returns the reference for the client's command line. `host` is this route's host, or the gateway's."""
        separator = "@" if image.is_digest else ":"
        return f"{host}/{self.before}{image.repository}{self.after}{separator}{image.reference}"


def plan_route(server: ServerUnderTest, client: type[Client], images: Iterable[Image]) -> Route:
    """Returns the route for this client.

    Raises RunError if an image's name is not valid on the route, or if the client does not accept the server's address.
    """
    images = list(images)
    way = _ociregistry_route if server.layout.is_ociregistry else _template_route
    route = way(server, client, images)
    _check_names(route, images)
    if route.way != GATEWAY and route.host.startswith("[") and not client.abilities.takes_ipv6:
        others = names_of(lambda able: able.takes_ipv6)
        raise RunError(
            f"{client.name} does not accept an IPv6 address such as {route.host}; use a host name, or {others}"
        )
    return route


def _template_route(server: ServerUnderTest, client: type[Client], images: list[Image]) -> Route:
    path = server.layout.template.partition("/")[2].replace("{upstream}", server.upstream_name)
    before, _, after = path.partition("{repository}")
    return Route(
        way=PATH,
        why=f"layout {server.layout.name}",
        endpoint=server.endpoint,
        host=server.endpoint.host,
        before=before,
        after=after,
    )


def _ociregistry_route(server: ServerUnderTest, client: type[Client], images: list[Image]) -> Route:
    name, endpoint = server.upstream_name, server.endpoint
    header = (UPSTREAM_HEADER, name)
    if client.abilities.asks_mirror:
        return Route(MIRROR, f"{client.name} asks it as a mirror of '{name}'", endpoint, name, header=header)
    depth = max((image.repository.count("/") + 1 for image in images), default=1)
    obstacle = _path_obstacle(name, depth)
    if obstacle is None:
        why = f"the upstream's name '{name}' fits into the path"
        return Route(way=PATH, why=why, endpoint=endpoint, host=endpoint.host, before=f"{name}/")
    if client.abilities.sends_header:
        why = f"{obstacle}; {client.name} can send {UPSTREAM_HEADER}"
        return Route(HEADER, why, endpoint, endpoint.host, header=header)
    why = f"{obstacle}, and {client.name} cannot send a header"
    return Route(GATEWAY, why, endpoint, endpoint.host, header=header)


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


def _check_names(route: Route, images: list[Image]) -> None:
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
