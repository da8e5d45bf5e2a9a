"""Layouts and the way a client takes."""

from __future__ import annotations

import pytest

from lib.clients.crane import Crane
from lib.clients.table import client_kind
from lib.errors import RunError, UsageError
from lib.http.address import Endpoint, parse_endpoint
from lib.images import Image
from lib.servers.layout import parse_layout
from lib.servers.route import plan_route, unservable
from lib.servers.under_test import ServerUnderTest

CACHE, UP = Endpoint("http", "cache:8080"), Endpoint("http", "up:5000")
IMAGE = Image("team/app", "v1")
DIGEST = Image("app", "sha256:" + "a" * 64)


def server(layout: str, upstream_name: str) -> ServerUnderTest:
    return ServerUnderTest(CACHE, UP, upstream_name, parse_layout(layout))


def reference(
    layout: str, image: Image = IMAGE, client: str = "crane", upstream_name: str = "up.example"
) -> str:
    route = plan_route(server(layout, upstream_name), client_kind(client), [image])
    return route.reference(route.host, image)


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("distribution", "cache:8080/team/app:v1"),
        ("zot", "cache:8080/team/app:v1"),
        ("direct", "up:5000/team/app:v1"),
        ("harbor:hub", "cache:8080/hub/team/app:v1"),
        ("nexus:docker-proxy", "cache:8080/docker-proxy/team/app:v1"),
        ("artifactory:remote", "cache:8080/remote/team/app:v1"),
        ("quay:org", "cache:8080/org/team/app:v1"),
        ("ecr:prefix", "cache:8080/prefix/team/app:v1"),
        ("acr:target", "cache:8080/target/team/app:v1"),
        ("gar:project/remote", "cache:8080/project/remote/team/app:v1"),
        ("{pullthrough}/my-proxy/{repository}", "cache:8080/my-proxy/team/app:v1"),
        ("{pullthrough}/x/{upstream}/{repository}", "cache:8080/x/up.example/team/app:v1"),
        ("ociregistry", "cache:8080/up.example/team/app:v1"),
    ],
)
def test_references(layout: str, expected: str) -> None:
    assert reference(layout) == expected


def test_digests() -> None:
    assert reference("distribution", DIGEST) == f"cache:8080/app@sha256:{'a' * 64}"


@pytest.mark.parametrize(
    "layout",
    [
        "",
        "harbour",
        "harbor",
        "harbor:",
        "gar:project",
        "harbor:UPPER",
        "x/{repository}",
        "{pullthrough}/x",
        "{nope}/{repository}",
        "{pullthrough}/{repository!r}",
        "{pullthrough}/{repository",
        "{pullthrough}/a b/{repository}",
    ],
)
def test_unknown_layouts_are_wrong_usage(layout: str) -> None:
    with pytest.raises(UsageError, match="--layout"):
        parse_layout(layout)


@pytest.mark.parametrize(
    ("client", "upstream_name", "repository", "way", "asked"),
    [
        ("crane", "up.example", "app", "path", "cache:8080/up.example/app:v1"),
        ("skopeo", "up.example", "app", "path", "cache:8080/up.example/app:v1"),
        ("crane", "up.example:5000", "app", "header", "cache:8080/app:v1"),
        ("skopeo", "up.example:5000", "app", "gateway", "cache:8080/app:v1"),
        ("crane", "up", "app", "header", "cache:8080/app:v1"),
        ("crane", "up.example", "a/b/c/d", "header", "cache:8080/a/b/c/d:v1"),
        ("crane", "up.example", "a/b/c", "path", "cache:8080/up.example/a/b/c:v1"),
        ("skopeo", "127.0.0.1:5000", "a/b", "gateway", "cache:8080/a/b:v1"),
    ],
)
def test_the_way_to_ociregistry(
    client: str, upstream_name: str, repository: str, way: str, asked: str
) -> None:
    image = Image(repository, "v1")
    route = plan_route(server("ociregistry", upstream_name), client_kind(client), [image])
    assert (route.way, route.reference(CACHE.host, image)) == (way, asked)
    assert route.why
    assert route.header == (None if way == "path" else ("X-Registry", upstream_name))


def test_a_template_that_puts_a_port_into_the_path_is_told_before_any_launch() -> None:
    with pytest.raises(RunError, match=r"up:5000/app.*--layout"):
        plan_route(server("{pullthrough}/{upstream}/{repository}", "up:5000"), Crane, [Image("app", "v1")])


def test_names_longer_than_the_clients_allow() -> None:
    with pytest.raises(RunError, match="longer than 255"):
        plan_route(server("harbor:p", "up"), Crane, [Image("a" * 254, "v1")])


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (Image("a/b/c/d", "v1"), None),
        (Image("a/b/c/d/e", "v1"), "more than 4 segments"),
        (Image("a/b.c", "v1"), "with a dot"),
        (Image("a", "V1"), "lower case"),
        (Image("a", "sha256:" + "a" * 64), None),
    ],
)
def test_what_ociregistry_cannot_serve(image: Image, told: str | None) -> None:
    reason = unservable(image)
    assert reason is None if told is None else told in str(reason)


def test_the_upstream_s_path_is_for_the_driver_alone() -> None:
    """A template names the images for the clients, which ask the same server at its root."""
    registry = parse_endpoint("--registry-url", "https://art.example/artifactory/api/docker/key", below=True)
    cache = parse_endpoint("--pullthrough-url", "cache:8080")
    server = ServerUnderTest(cache, registry, registry.server, parse_layout("{upstream}/key/{repository}"))
    route = plan_route(server, Crane, [Image("team/app", "v1")])
    assert route.endpoint.url == "https://art.example"
    assert route.reference(route.host, Image("team/app", "v1")) == "art.example/key/team/app:v1"
