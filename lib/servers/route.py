"""One way to ask the server under test for an upstream image: the reference, and what must stand beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import RunError
from ..http.address import Endpoint
from ..http.connections import Connections
from ..images import Image
from ..names import valid_repository
from .layout import Layout

# Ociregistry routes paths of at most so many segments, the upstream's name included when it stands in the path.
OCIREGISTRY_SEGMENTS = 4
# The longest repository name that the clients' grammar takes (distribution/reference, NameTotalLengthMax).
NAME_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Route:
    """One way to ask: `prefix`/repository is the reference; `way` is path, header or gateway; `why` is for the log.

    `endpoint` is the server that is asked; `header` names the upstream to it, in the driver's own requests also where
    the client has to take the gateway instead.
    """

    way: str
    why: str
    endpoint: Endpoint
    before: str
    after: str
    header: tuple[str, str] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """For the driver's own requests."""
        return dict([self.header]) if self.header else {}

    def repository(self, image: Image) -> str:
        """The image's repository name as this server knows it, without the host."""
        return f"{self.before}{image.repository}{self.after}"

    def reference(self, host: str, image: Image) -> str:
        """What the client gets on its command line; `host` is the endpoint's, or the gateway's."""
        separator = "@" if image.is_digest else ":"
        return f"{host}/{self.before}{image.repository}{self.after}{separator}{image.reference}"


def plan_route(
    layout: Layout,
    client: str,
    pullthrough: Endpoint,
    registry: Endpoint,
    upstream_name: str,
    images: Iterable[Image],
) -> Route:
    """Choose the way for this client; RunError when the clients' grammar or the server has no way for an image."""
    images = list(images)
    if layout.is_ociregistry:
        route = _ociregistry_route(client, pullthrough, upstream_name, images)
    else:
        route = _template_route(layout, pullthrough, registry, upstream_name)
    _check_names(route, images)
    if client == "skopeo" and route.way != "gateway" and route.endpoint.host.startswith("["):
        raise RunError(
            f"skopeo takes no IPv6 address such as {route.endpoint.host}; use a name, or --client crane"
        )
    return route


def _template_route(layout: Layout, pullthrough: Endpoint, registry: Endpoint, upstream_name: str) -> Route:
    endpoint = registry if layout.is_upstream else pullthrough
    path = layout.template.partition("/")[2].replace("{upstream}", upstream_name)
    before, _, after = path.partition("{repository}")
    return Route("path", f"layout {layout.name}", endpoint, before, after)


def _ociregistry_route(client: str, pullthrough: Endpoint, upstream_name: str, images: list[Image]) -> Route:
    depth = max((image.repository.count("/") + 1 for image in images), default=1)
    obstacle = _path_obstacle(upstream_name, depth)
    if obstacle is None:
        return Route(
            "path",
            f"the upstream's name '{upstream_name}' fits into the path",
            pullthrough,
            f"{upstream_name}/",
            "",
        )
    header = ("X-Registry", upstream_name)
    if client == "crane":
        return Route("header", f"{obstacle}; crane can send X-Registry", pullthrough, "", "", header)
    return Route("gateway", f"{obstacle}, and {client} cannot send a header", pullthrough, "", "", header)


def _path_obstacle(upstream_name: str, depth: int) -> str | None:
    """Why the upstream cannot stand in the path: the clients' grammar, or Ociregistry's own routing."""
    if not valid_repository(upstream_name):
        return f"the upstream's name '{upstream_name}' cannot stand in a path (the clients' grammar)"
    if "." not in upstream_name:
        return f"Ociregistry takes a first path segment for an upstream only with a dot, '{upstream_name}' has none"
    if depth + 1 > OCIREGISTRY_SEGMENTS:
        return f"with the upstream in the path it has {depth + 1} segments, Ociregistry takes {OCIREGISTRY_SEGMENTS}"
    return None


def _check_names(route: Route, images: list[Image]) -> None:
    for image in images:
        name = route.repository(image)
        if len(name) > NAME_LENGTH or not valid_repository(name):
            raise RunError(
                f"'{name}' (for {image.name}) is no repository name of the clients' grammar, "
                f"or longer than {NAME_LENGTH} characters; choose another --layout or leave the image out with --filter"
            )


def unservable(image: Image) -> str | None:
    """Why Ociregistry (1.17) cannot serve this image by any way; None where it can."""
    if image.repository.count("/") + 1 > OCIREGISTRY_SEGMENTS:
        return f"its path has more than {OCIREGISTRY_SEGMENTS} segments"
    if "." in image.repository:
        return "it takes a path segment with a dot for an upstream"
    if not image.is_digest and image.reference != image.reference.lower():
        return "it asks the upstream for the tag in lower case"
    return None


def hint(layout: Layout, upstream_name: str, error_class: str) -> str:
    """What to look at when every pull failed in this way; to be put behind the message."""
    if layout.is_ociregistry and error_class == "server-error":
        return f". Does the server's configuration have a registry by the very name '{upstream_name}' (see README)?"
    if error_class in ("not-found", "other", "unsupported"):
        return f". Is --layout {layout.name} right for this server? 'ocidriver doctor' tries"
    return ""


def _tell_unservable(images: list[Image], connections: Connections) -> None:
    reasons: dict[str, list[Image]] = {}
    for image in images:
        reason = unservable(image)
        if reason is not None:
            reasons.setdefault(reason, []).append(image)
    for reason, found in reasons.items():
        connections.caution(f"Ociregistry cannot serve {found[0].name}: {reason} ({len(found)} such)")
