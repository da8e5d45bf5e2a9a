"""How Ociregistry understands a name, and what it serves under it."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from tests.support.asking import get
from tests.support.ociregistry import ZEROS, Ociregistry
from tests.support.running import run


def test_four_ways_to_name_the_upstream(server: Ociregistry) -> None:
    repository = server.name("named")
    server.push(repository, "v1", b"named")
    wanted = server.original(repository, "v1")
    path = f"{repository}/manifests/v1"
    ways = [
        server.ask("GET", f"/v2/{path}", {"X-Registry": server.upstream}),
        server.ask("GET", f"/v2/{path}?ns={server.upstream}"),
        server.ask("GET", f"/v2/{server.upstream}/{path}"),
        server.ask("GET", f"/v2/{path}?ns=elsewhere.example", {"X-Registry": server.upstream}),
    ]
    for answer in ways:
        assert (answer.status, answer.body) == (200, wanted.body)
        assert answer.headers["content-type"] == wanted.headers["content-type"]
        assert answer.headers["docker-content-digest"] == wanted.headers["docker-content-digest"]
        assert answer.headers["docker-distribution-api-version"] == "registry/2.0"
        assert answer.headers["content-length"] == str(len(wanted.body))
    assert server.listed(f"{repository}:") == [f"{server.upstream}/{repository}:v1"]


def test_a_name_that_means_no_upstream_or_two_is_400(server: Ociregistry) -> None:
    refused = [
        server.ask("GET", "/v2/one/two/manifests/v1"),
        server.ask("GET", f"/v2/{server.upstream}/manifests/v1"),
        server.ask("GET", f"/v2/localhost:5000/{server.prefix}/manifests/v1"),
        server.ask("GET", "/v2/one/manifests/v1", {"X-Registry": ""}),
        server.pull("GET", f"/v2/{server.upstream}/one/manifests/v1"),
        server.ask("GET", f"/v2/{server.upstream}/one/manifests/v1?ns={server.upstream}"),
    ]
    assert [(answer.status, answer.body) for answer in refused] == [(400, b"{}\n")] * len(refused)
    twice = server.ask("GET", "/v2/one/manifests/v1?ns=a.b&ns=a.b")
    assert twice.status == 400
    assert b"multiple values for single value parameter 'ns'" in twice.body


def test_four_segments_at_most_the_upstream_included(server: Ociregistry) -> None:
    repository = server.name("three/four/five").removeprefix("t")
    four = "/".join(repository.split("/")[:4])
    server.push(four, "v1", b"deep")
    assert server.pull("GET", f"/v2/{four}/manifests/v1").status == 200
    assert server.ask("GET", f"/v2/{server.upstream}/{four}/manifests/v1").status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_the_upstream_does_not_have_is_a_bare_500(server: Ociregistry, method: str) -> None:
    repository = server.name("holes")
    server.push(repository, "v1", b"holes")
    for name, reference in (
        (repository, "none"),
        (server.name("nowhere"), "v1"),
        (repository, ZEROS),
        (repository, "sha256:short"),
        (f"{server.prefix}/with.dot", "v1"),
    ):
        answer = server.pull(method, f"/v2/{name}/manifests/{reference}")
        assert (answer.status, answer.body) == (500, b""), name
    for ns in ("", "nodot", "unknown.example"):
        answer = server.ask(method, f"/v2/{repository}/manifests/v1?ns={ns}")
        assert (answer.status, answer.body) == (500, b""), ns


def test_the_reference_is_lower_cased(server: Ociregistry) -> None:
    repository = server.name("cases")
    server.push(repository, "v1", b"lower")
    server.push(repository, "V2", b"upper")
    assert server.get(repository, "V1").status == 200
    assert server.get(repository, "V2").status == 500
    assert server.listed(f"{repository}:") == [f"{server.upstream}/{repository}:v1"]


def test_a_head_fetches_the_whole_image(server: Ociregistry) -> None:
    repository = server.name("head")
    blobs = server.push(repository, "v1", b"head one", b"head two")
    assert {server.blob(digest).status for digest in blobs} == {404}
    answer = server.pull("HEAD", f"/v2/{repository}/manifests/v1")
    wanted = server.original(repository, "v1")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(len(wanted.body))
    assert answer.headers["docker-content-digest"] == wanted.headers["docker-content-digest"]
    assert {server.blob(digest).status for digest in blobs} == {200}


def test_blobs(server: Ociregistry) -> None:
    repository = server.name("content")
    layer, config = server.push(repository, "v1", b"content")
    assert server.get(repository, "v1").status == 200
    wanted = get(server.upstream, f"/v2/{repository}/blobs/{layer}")
    for path in (
        f"/v2/{repository}/blobs/{layer}",
        f"/v2/elsewhere/blobs/{layer}",
        f"/v2/a/b/c/d/blobs/{layer}",
    ):
        answer = server.ask("GET", path)
        assert (answer.status, answer.body) == (200, wanted)
        assert answer.headers["content-type"] == "binary/octet-stream"
        assert answer.headers["content-length"] == str(len(wanted))
    assert server.blob(config).status == 200
    ranged = server.ask("GET", f"/v2/{repository}/blobs/{layer}", {"Range": "bytes=2-5"})
    assert (ranged.status, ranged.body) == (200, wanted)
    head = server.pull("HEAD", f"/v2/{repository}/blobs/{layer}")
    assert (head.status, head.body) == (405, b"")
    for absent in (ZEROS, "nothing"):
        answer = server.pull("GET", f"/v2/{repository}/blobs/{absent}")
        assert (answer.status, answer.body) == (404, b'""\n')


def test_crane_pulls_with_the_header_and_cannot_delete(
    server: Ociregistry, crane: str, tmp_path: Path
) -> None:
    repository = server.name("crane")
    server.push(repository, "v1", b"one", b"two", b"three")
    config = tmp_path / "config"
    config.mkdir()
    (config / "config.json").write_text(json.dumps({"HttpHeaders": {"X-Registry": server.upstream}}))
    image = f"{server.address}/{repository}:v1"
    pulled = run(
        crane, "pull", image, str(tmp_path / "image.tar"), environment={"DOCKER_CONFIG": str(config)}
    )
    assert (pulled.returncode, pulled.stderr) == (0, "")
    assert tarfile.is_tarfile(tmp_path / "image.tar")
    deleted = run(crane, "delete", image, environment={"DOCKER_CONFIG": str(config)})
    assert deleted.returncode == 1
    assert "405 Method Not Allowed" in deleted.stderr
