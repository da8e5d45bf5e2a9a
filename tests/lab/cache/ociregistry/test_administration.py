"""How Ociregistry prunes and lists."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from tests.support.images import put_manifest
from tests.support.ociregistry import Ociregistry

TYPE_MISSING = b'{"message":"parameter \\"type\\" in query has an error: value is required but missing"}\n'
COUNT_EMPTY = b'{"message":"parameter \\"count\\" in query has an error: empty value is not allowed"}\n'
COUNT_BAD = b'{"message":"parameter \\"count\\" in query has an error: value x: an invalid integer: invalid syntax"}\n'
UNPARSED = b"unable to parse prune params"


@pytest.mark.parametrize(
    ("query", "status", "body"),
    [
        ("", 400, TYPE_MISSING),
        ("expr=x", 400, TYPE_MISSING),
        ("type=pattern&expr=nothing-has-this-name", 200, b""),
        ("type=PATTERN&expr=nothing-has-this-name&dryRun=false", 200, b""),
        ("type=pattern&expr=nothing-has-this-name&dryRun=true", 200, b""),
        ("type=pattern&expr=nothing-has-this-name&dryRun=1&count=-1", 200, b""),
        ("type=pattern&expr=nothing-has-this-name&dryRun=FaLse", 400, b"invalid dry run param: FaLse"),
        ("type=pattern&expr=nothing-has-this-name&dryRun=", 400, b"invalid dry run param: "),
        ("type=pattern&expr=nothing-has-this-name&count=x", 400, COUNT_BAD),
        ("type=pattern&expr=nothing-has-this-name&count=", 400, COUNT_EMPTY),
        ("type=pattern&expr=%28", 400, UNPARSED),
        ("type=pattern&expr=a%2C%28", 400, UNPARSED),
        ("type=pattern&expr=%28%3F%3Da%29", 400, UNPARSED),
        ("type=other&expr=x", 400, UNPARSED),
        ("type=created", 400, UNPARSED),
        ("type=created&dur=1x", 400, UNPARSED),
        ("type=accessed&dur=x", 400, UNPARSED),
        ("type=created&dur=1d", 200, b""),
        ("type=accessed&dur=1h30m&dryRun=true", 200, b""),
    ],
)
def test_prune_parameters(server: Ociregistry, query: str, status: int, body: bytes) -> None:
    answer = server.prune(query)
    assert (answer.status, answer.body) == (status, body)


def test_a_parameter_given_twice_is_refused(server: Ociregistry) -> None:
    answer = server.prune("type=pattern&type=pattern&expr=x")
    assert answer.status == 400
    assert b"multiple values for single value parameter 'type'" in answer.body


def test_a_prune_is_dry_unless_told_otherwise(server: Ociregistry) -> None:
    repository = server.name("dry")
    server.push(repository, "v1", b"dry")
    server.get(repository, "v1")
    for query in ("", "&dryRun=true", "&dryRun=T", "&dryRun=false&count=0", "&dryRun=false&count=-5"):
        assert server.prune(f"type=pattern&expr={quote(repository)}{query}").status == 200
        assert server.listed(f"{repository}:") == [f"{server.upstream}/{repository}:v1"]
    assert server.prune(f"type=pattern&expr={quote(repository)}&dryRun=0").status == 200
    assert server.listed(f"{repository}:") == []


def test_a_prune_takes_manifest_and_blobs_but_none_that_is_shared(server: Ociregistry) -> None:
    one, two = server.name("one"), server.name("two")
    first = server.push(one, "v1", b"shared", b"of one")
    second = server.push(two, "v1", b"shared", b"of two")
    shared = set(first) & set(second)
    assert len(shared) == 1
    server.get(one, "v1")
    server.get(two, "v1")
    answer = server.prune_now(f"^{re.escape(server.upstream)}/{one}:v1$")
    assert (answer.status, answer.body) == (200, b"")
    assert server.listed(one) == []
    assert server.listed(two) == [f"{server.upstream}/{two}:v1"]
    assert {digest for digest in first if server.blob(digest).status == 200} == shared
    assert {server.blob(digest).status for digest in second} == {200}
    assert server.get(one, "v1").status == 200
    assert {server.blob(digest).status for digest in first} == {200}


def test_commas_separate_expressions_and_an_empty_one_matches_all(server: Ociregistry) -> None:
    names = [server.name(text) for text in ("comma-a", "comma-b", "comma-c")]
    for name in names:
        server.push(name, "v1", name.encode())
        server.get(name, "v1")
    full = [f"{server.upstream}/{name}:v1" for name in names]
    assert server.listed(f"{names[0]}:,{names[1]}:") == full[:2]
    assert server.listed(f"{server.prefix}/comma-[a-c]{{1,1}}") == []
    assert set(full) <= set(server.listed(f"{names[0]},"))
    assert set(full) <= set(server.listed(""))
    assert server.prune_now(f"{names[0]}:,{names[2]}:").status == 200
    assert server.listed(f"{server.prefix}/comma-") == [full[1]]


def test_a_parameter_with_a_semicolon_is_dropped_without_a_word(server: Ociregistry) -> None:
    repository = server.name("semicolon")
    server.push(repository, "v1", b"semicolon")
    server.get(repository, "v1")
    answer = server.ask("GET", "/cmd/image/list?count=-1&pattern=nothing;has-this-name")
    assert f"/{repository}:v1 " in answer.body.decode()


def test_tags_of_one_manifest_are_pruned_apart(server: Ociregistry) -> None:
    repository = server.name("tags")
    blobs = server.push(repository, "a", b"same")
    manifest = server.original(repository, "a")
    put_manifest(server.upstream, repository, "b", manifest.body, manifest.headers["content-type"])
    for tag in ("a", "b"):
        assert server.get(repository, tag).status == 200
    server.prune_now(f"/{repository}:a$")
    assert server.listed(repository) == [f"{server.upstream}/{repository}:b"]
    assert {server.blob(digest).status for digest in blobs} == {200}
    server.prune_now(f"/{repository}:b$")
    assert {server.blob(digest).status for digest in blobs} == {404}


def test_an_index_and_its_children_are_pruned_apart(server: Ociregistry) -> None:
    repository, single = server.name("multi"), server.name("single")
    server.push(single, "v1", b"child")
    child = server.original(single, "v1")
    server.push(repository, "child", b"child")
    digest = child.headers["docker-content-digest"]
    entry = {
        "mediaType": child.headers["content-type"],
        "digest": digest,
        "size": len(child.body),
        "platform": {"os": "linux", "architecture": "amd64"},
    }
    media_type = "application/vnd.oci.image.index.v1+json"
    index = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": [entry]}).encode()
    put_manifest(server.upstream, repository, "v1", index, media_type)
    answer = server.get(repository, "v1")
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, index, media_type)
    assert server.get(repository, digest).status == 200
    shortened = f"{server.upstream}/{repository}@{digest[: len('sha256:') + 10]}"
    assert server.listed(repository) == [f"{server.upstream}/{repository}:v1", shortened]
    server.prune_now(f"^{re.escape(server.upstream)}/{repository}:v1$")
    assert server.listed(repository) == [shortened]
    server.prune_now(f"^{re.escape(server.upstream)}/{repository}(:v1|@.*)$")
    assert server.listed(repository) == []


def test_fifty_is_the_default_count(server: Ociregistry) -> None:
    repository = server.name("fifty")
    server.push(repository, "v0", b"fifty")
    manifest = server.original(repository, "v0")
    for number in range(52):
        put_manifest(
            server.upstream, repository, f"v{number}", manifest.body, manifest.headers["content-type"]
        )
        server.get(repository, f"v{number}")
    assert len(server.listed(f"{repository}:")) == 52
    answer = server.ask("GET", f"/cmd/image/list?pattern={quote(repository)}:")
    assert answer.body.count(b"/fifty:v") == 50
    server.prune(f"type=pattern&dryRun=false&expr={quote(repository)}:")
    assert len(server.listed(f"{repository}:")) == 2
    server.prune(f"type=pattern&dryRun=false&count=1&expr={quote(repository)}:")
    assert len(server.listed(f"{repository}:")) == 1


def test_concurrent_prunes(server: Ociregistry) -> None:
    repository = server.name("crowd")
    server.push(repository, "v0", b"crowd")
    manifest = server.original(repository, "v0")
    for number in range(20):
        put_manifest(
            server.upstream, repository, f"v{number}", manifest.body, manifest.headers["content-type"]
        )
        server.get(repository, f"v{number}")
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda number: server.prune_now(f"/{repository}:v{number}$"), range(20)))
    assert {answer.status for answer in answers} == {200}
    assert server.listed(f"{repository}:") == []


def test_image_list(server: Ociregistry) -> None:
    names = [server.name("list-b"), server.name("list-a")]
    blobs = {name: server.push(name, "v1", name.encode()) for name in names}
    for name in names:
        server.get(name, "v1")
    answer = server.ask("GET", f"/cmd/image/list?count=-1&pattern={server.prefix}/list-")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain")
    lines = answer.body.decode().splitlines()
    assert lines[0] == "URL DIGEST CREATED PULLED"
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
    position = 1
    for name in sorted(names):
        digest = server.original(name, "v1").headers["docker-content-digest"].removeprefix("sha256:")
        expected = f"{re.escape(f'{server.upstream}/{name}:v1 {digest}  ')}{moment} {moment}"
        assert re.fullmatch(expected, lines[position])
        assert lines[position + 1 : position + 3] == [f"- {blob}" for blob in blobs[name]]
        position += 3
    assert len(lines) == position
    by_blob = server.ask("GET", f"/cmd/image/list?count=-1&digest={blobs[names[0]][0][7:30]}").body.decode()
    assert [line.split()[0] for line in by_blob.splitlines()[1:2]] == [f"{server.upstream}/{names[0]}:v1"]


@pytest.mark.parametrize(
    ("query", "status", "body"),
    [
        ("?pattern=nothing-has-this-name", 200, b"no manifests found\n"),
        ("?digest=nothing", 200, b"no manifests found\n"),
        ("?count=0", 200, b"no manifests found\n"),
        ("?pattern=%28", 400, b"invalid parameters\n"),
        ("?count=x", 400, COUNT_BAD),
    ],
)
def test_image_list_parameters(server: Ociregistry, query: str, status: int, body: bytes) -> None:
    answer = server.ask("GET", f"/cmd/image/list{query}")
    assert (answer.status, answer.body) == (status, body)
