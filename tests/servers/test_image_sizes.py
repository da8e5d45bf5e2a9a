"""Sizes from the upstream's manifests: what counts, what is unknown, and the bounds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from aiohttp import web

from lib.clients.platforms import Picks, Platform, picks_all, picks_first
from lib.http.network import Network
from lib.images import Image
from lib.lab.images import digest_of
from lib.processes.signals import Stop
from lib.servers import image_sizes
from lib.servers.image_sizes import LARGEST_BLOB, MOST_REFUSED, Chooses, SizeReader
from lib.sizes import ImageSize, Sizes
from tests.doubles.catalog import Handler
from tests.doubles.noting import Content
from tests.support.kinds import kinds
from tests.support.registry import registry_on, serving_on

AMD64 = Platform("linux", "amd64")
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def blob(number: int, size: object, **more: object) -> dict[str, object]:
    return {"digest": digest(number), "size": size, **more}


def manifest(config: object, *layers: object, **more: object) -> dict[str, object]:
    return {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": list(layers), **more}


def index(*entries: tuple[int, Mapping[str, object] | None]) -> dict[str, object]:
    listed = [
        {"digest": digest(k), **({"platform": given} if given is not None else {})} for k, given in entries
    ]
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}


def serve(documents: Mapping[str, Any]) -> Handler:
    """A registry whose repositories have these manifests, by tag or digest: documents, texts or statuses."""

    async def handle(request: web.Request) -> web.StreamResponse:
        found = documents.get(request.path.rpartition("/")[2], 404)
        if isinstance(found, int):
            return web.Response(status=found)
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        return web.Response(body=body, content_type=MANIFEST)

    return handle


def read(
    handler: Handler, *references: str, picks: Picks = picks_first, platform: Platform = AMD64
) -> tuple[dict[str, ImageSize], list[str], list[str]]:
    """The sizes by reference, the log, and what was asked for."""
    log: list[str] = []
    with (
        Network(Stop()) as network,
        serving_on(network, handler) as server,
        registry_on(network, server.url) as registry,
    ):
        reader = SizeReader(lambda _: registry, Chooses(picks=picks, platform=platform), log.append)
        found = network.run(reader.read([Image("app", each) for each in references]))
    return {image.reference: size for image, size in found.items()}, log, server.targets()


def totals(found: Mapping[str, ImageSize]) -> dict[str, int]:
    return {reference: size.total for reference, size in found.items()}


GOOD = manifest(blob(1, 10), blob(2, 200), blob(3, 3000))


def test_config_and_layers_and_a_layer_that_is_there_twice_once() -> None:
    found, log, _ = read(
        serve({"v1": GOOD, "v2": manifest(blob(1, 10), blob(2, 200), blob(2, 200))}), "v1", "v2"
    )
    assert totals(found) == {"v1": 3210, "v2": 210}
    assert log == ["the sizes of 2 images are known: 3.42 kB in all"]


FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


def test_a_foreign_layer_is_not_at_the_server() -> None:
    elsewhere = blob(2, 200, mediaType=FOREIGN, urls=["http://elsewhere/x"])
    here = blob(3, 3000, mediaType=FOREIGN)
    plain = blob(4, 40_000, mediaType="application/vnd.oci.image.layer.v1.tar", urls=["http://elsewhere/x"])
    assert totals(read(serve({"v1": manifest(blob(1, 10), elsewhere, here, plain)}), "v1")[0]) == {
        "v1": 43_010
    }


ARM = {"os": "linux", "architecture": "arm64"}
X86 = {"os": "linux", "architecture": "amd64"}


def test_an_index_leads_to_the_manifest_of_the_platform() -> None:
    documents = {
        "v1": index((11, ARM), (12, X86)),
        "nested": index((13, X86)),
        digest(11): manifest(blob(1, 1)),
        digest(12): GOOD,
        digest(13): index((12, X86)),
        "other": index((11, ARM)),
    }
    found, log, asked = read(serve(documents), "v1", "nested", "other")
    assert totals(found) == {"v1": 3210, "nested": 3210}
    assert "for example app:other: its index has no image for linux/amd64" in log[-1]
    assert f"/v2/app/manifests/{digest(11)}" not in asked


def test_a_client_that_picks_several_manifests_gets_the_blobs_of_all() -> None:
    documents = {
        "v1": index((11, X86), (12, None)),
        digest(11): manifest(blob(1, 1), blob(2, 200)),
        digest(12): GOOD,
    }
    assert totals(read(serve(documents), "v1", picks=picks_all)[0]) == {"v1": 3210}
    assert totals(read(serve(documents), "v1")[0]) == {"v1": 201}


NO_SIZES: Sequence[object] = (-1, None, "3", 1.5, True, LARGEST_BLOB + 1, [], 10**30)


@pytest.mark.parametrize(
    "odd",
    [
        404, 401, 403, 410, 418,
        b"", b"<html>", b"[" * 100_000, b"{}", b"[]", b"3", b" " * (5 << 20),
        kinds("http://x")["docker-schema-1"].manifest,
        manifest(None, blob(1, 1)), manifest("x"), manifest({}), {**manifest(blob(1, 1)), "layers": None},
        manifest(blob(1, 1), None), manifest(blob(1, 1), {"size": 3}), manifest(blob(1, 1), {"digest": "x", "size": 3}),
        *(manifest(blob(1, 1), blob(2, size)) for size in NO_SIZES),
        manifest(blob(1, -5), blob(2, 200)),
        manifest(blob(1, 1), *(blob(k, 1) for k in range(2, 1100))),
        index(), index(*((k, X86) for k in range(1100))), index((404, X86)), index((99, X86)),
        index((99, {"os": ["linux"], "architecture": {}})),
        {"mediaType": ["x"], "manifests": [{}]},
    ],
    ids=str,
)  # fmt: skip
def test_an_odd_manifest_has_no_size_and_harms_no_other(odd: object) -> None:
    """The document 99 is an index that lists itself."""
    documents = {"odd": odd, "v1": GOOD, digest(99): index((99, X86))}
    found, log, _ = read(serve(documents), "odd", "v1")
    assert totals(found) == {"v1": 3210}
    assert len([line for line in log if "unknown" in line]) == 1
    assert log[-1].startswith("warning: the sizes of 1 of 2 images are unknown (for example app:odd: ")
    assert log[-1].endswith("; bytes are null if one of them is pulled")


def test_zero_is_a_size() -> None:
    assert totals(read(serve({"v1": manifest(blob(1, 0), blob(2, 0))}), "v1")[0]) == {"v1": 0}


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_an_upstream_that_refuses_is_asked_no_more(status: int) -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Retry-After": "600"})

    many = 20 * MOST_REFUSED
    found, log, asked = read(handle, *(f"v{k}" for k in range(many)))
    assert found == {}
    assert len(asked) < 4 * MOST_REFUSED
    assert f"the sizes of {many:,} of {many:,} images are unknown" in log[-1]
    assert (
        f"gave up, as the upstream refused or did not answer for {MOST_REFUSED} images; for example app:v0: "
        in log[-1]
    )


def test_tags_that_are_gone_do_not_end_the_reading() -> None:
    gone = [f"gone{k}" for k in range(3 * MOST_REFUSED)]
    found, log, asked = read(serve({"v1": GOOD}), *gone, "v1")
    assert totals(found) == {"v1": 3210}
    assert len(asked) == len(gone) + 1
    assert f"the sizes of {len(gone)} of {len(gone) + 1} images are unknown" in log[-1]


def test_a_hanging_upstream_delays_the_start_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound of each image, then that of all: the test ends only if both hold."""
    monkeypatch.setattr(image_sizes, "IMAGE_SECONDS", 3.0)
    some = serve({"v1": GOOD})

    async def handle(request: web.Request) -> web.StreamResponse:
        if not request.path.endswith("/v1"):
            await asyncio.Event().wait()
        return await some(request)

    found, log, _ = read(handle, "hangs", "v1")
    assert totals(found) == {"v1": 3210}
    assert "for example app:hangs: no answer within 3s" in log[-1]
    monkeypatch.setattr(image_sizes, "IMAGE_SECONDS", 600.0)
    monkeypatch.setattr(image_sizes, "WHOLE_SECONDS", 3.0)
    found, log, _ = read(handle, "hangs", "v1")
    assert totals(found) == {"v1": 3210}
    assert "gave up, as reading them took more than 3s" in log[-1]


def test_a_slow_upstream_is_given_up_before_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The speed of the first images says that all would take much longer."""
    monkeypatch.setattr(image_sizes, "_JUDGED_AFTER", 0.05)
    monkeypatch.setattr(image_sizes, "WHOLE_SECONDS", 30.0)

    async def handle(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.2)
        return web.json_response(GOOD)

    _, log, asked = read(handle, *(f"v{k}" for k in range(100_000)))
    assert "gave up, as reading all of them would take about" in log[-1]
    assert len(asked) < 10_000


@pytest.mark.parametrize("shares", [True, False])
def test_the_images_of_a_launch(shares: bool) -> None:
    one, two = Image("a", "v1"), Image("b", "v1")
    sizes = Sizes(
        {one: ImageSize(1, {"x": 10, "y": 200}), two: ImageSize(2, {"y": 200, "z": 3000})},
        shares_layers=shares,
    )
    fetched: set[str] = set()
    launch = [sizes.of_next(image, fetched) for image in (one, two, Image("c", "v1"))]
    assert launch == ([211, 3002, None] if shares else [211, 3202, None])
    assert [sizes.of(image) for image in (one, two, Image("c", "v1"))] == [211, 3202, None]
    assert (sizes.known, sizes.total) == (2, 3413)


def contents() -> Sequence[tuple[str, Content]]:
    return list(kinds("http://x").items())


@pytest.mark.parametrize(("kind", "content"), contents(), ids=[kind for kind, _ in contents()])
def test_every_kind_of_image(kind: str, content: Content) -> None:
    """Against the blobs themselves."""
    documents: dict[str, Any] = {"v1": content.manifest}
    documents.update((digest_of(body), body) for body, _ in content.manifests)
    found, _, _ = read(serve(documents), "v1")
    here = sum(map(len, content.blobs.values()))
    if kind == "docker-schema-1":
        assert found == {}
    elif kind == "docker-foreign-elsewhere":
        assert 0 < totals(found)["v1"] < here
    else:
        assert totals(found) == {"v1": here}
