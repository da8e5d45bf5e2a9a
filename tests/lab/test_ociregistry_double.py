"""What Ociregistry answers, asked of the lab's cache, its double, and of a real one.

The double always runs. A real server runs too where OCIREGISTRY_URL is set (http://host:port) and OCIREGISTRY_UPSTREAM
names (host:port) the plain-http registry that it pulls from; the cases push there. It has to run without a default
namespace and at its default log level. The cases prune only what they pushed.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from lib.lab.servers import crane_registry, lab_cache

CRANE = shutil.which("crane", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
ZEROS = "sha256:" + "0" * 64
NO_ROUTE = b'{"message":"no matching operation was found"}\n'
WRONG_METHOD = b'{"message":"Method Not Allowed"}\n'

pytestmark = pytest.mark.skipif(CRANE is None, reason="needs crane")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """The server under test and the upstream it pulls from, both host:port."""

    address: str
    upstream: str
    prefix: str = field(default_factory=lambda: "t" + uuid.uuid4().hex[:10])

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None) -> Answer:
        return ask(self.address, method, path, headers)

    def pull(self, method: str, path: str) -> Answer:
        return self.ask(method, path, {"X-Registry": self.upstream})

    def get(self, repository: str, reference: str) -> Answer:
        return self.pull("GET", f"/v2/{repository}/manifests/{reference}")

    def blob(self, digest: str) -> Answer:
        return self.ask("GET", f"/v2/any/blobs/{digest}")

    def prune(self, query: str) -> Answer:
        return self.ask("DELETE", f"/cmd/prune?{query}")

    def prune_now(self, expression: str) -> Answer:
        return self.prune(f"type=pattern&dryRun=false&count=-1&expr={quote(expression)}")

    def listed(self, pattern: str) -> list[str]:
        """The names that /cmd/image/list gives."""
        answer = self.ask("GET", f"/cmd/image/list?count=-1&pattern={quote(pattern)}")
        assert answer.status == 200
        lines = answer.body.decode().splitlines()
        return [line.split()[0] for line in lines if line.startswith(self.upstream)]

    def name(self, text: str) -> str:
        """A repository that no other run uses."""
        return f"{self.prefix}/{text}"


def ask(address: str, method: str, path: str, headers: dict[str, str] | None = None) -> Answer:
    host, _, port = address.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=100)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


def crane(*arguments: str, config: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, DOCKER_CONFIG=str(config)) if config else None
    return subprocess.run(
        [str(CRANE), *arguments], capture_output=True, text=True, timeout=100, env=environment, check=False
    )


def push(server: Server, folder: Path, repository: str, tag: str, *layers: bytes) -> list[str]:
    """Pushes an image to the upstream; gives the digests of its layers and config."""
    options = []
    for number, content in enumerate(layers):
        path = folder / f"{uuid.uuid4().hex}.tar"
        with tarfile.open(path, "w") as archive:
            info = tarfile.TarInfo(f"file-{number}")
            content += server.prefix.encode()  # no other run's blobs
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        options += ["-f", str(path)]
    image = f"{server.upstream}/{repository}:{tag}"
    done = crane("append", "--insecure", *options, "-t", image)
    assert done.returncode == 0, done.stderr
    manifest = json.loads(upstream_manifest(server, repository, tag).body)
    return [part["digest"] for part in (*manifest["layers"], manifest["config"])]


def upstream_manifest(server: Server, repository: str, reference: str) -> Answer:
    answer = ask(server.upstream, "GET", f"/v2/{repository}/manifests/{reference}", {"Accept": "*/*"})
    assert answer.status == 200
    return answer


def put_manifest(server: Server, repository: str, tag: str, manifest: bytes, media_type: str) -> None:
    host, _, port = server.upstream.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=100)
    connection.request("PUT", f"/v2/{repository}/manifests/{tag}", manifest, {"Content-Type": media_type})
    assert connection.getresponse().status == 201
    connection.close()


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with crane_registry() as server:
        yield server.address


@pytest.fixture(scope="module")
def double(upstream: str) -> Iterator[Server]:
    with lab_cache(upstream, "--no-plain") as cache:
        yield Server(cache.address, upstream)


@pytest.fixture(
    scope="module", params=["double", *(["ociregistry"] if "OCIREGISTRY_URL" in os.environ else [])]
)
def server(request: pytest.FixtureRequest) -> Server:
    if request.param == "double":
        found = request.getfixturevalue("double")
        assert isinstance(found, Server)
        return found
    return Server(urlsplit(os.environ["OCIREGISTRY_URL"]).netloc, os.environ["OCIREGISTRY_UPSTREAM"])


def test_ping(server: Server) -> None:
    answer = server.ask("GET", "/v2/")
    assert (answer.status, answer.body) == (200, b'"true"\n')
    assert answer.headers["content-type"] == "application/json"
    assert server.ask("HEAD", "/v2/").status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/", 200, b"null\n"),
        ("HEAD", "/", 405, b""),
        ("GET", "/v2", 404, NO_ROUTE),
        ("POST", "/v2/", 405, WRONG_METHOD),
        ("DELETE", "/v2/", 405, WRONG_METHOD),
        ("GET", "/nothing", 404, NO_ROUTE),
        ("DELETE", "/nothing", 404, NO_ROUTE),
        ("GET", "/v2/_catalog", 404, NO_ROUTE),
        ("GET", "/v2/one/tags/list", 405, b""),
        ("GET", "/v2/one/two/tags/list", 404, NO_ROUTE),
        ("GET", f"/v2/one/referrers/{ZEROS}", 405, b""),
        ("POST", "/v2/one/blobs/uploads", 405, b""),
        ("POST", "/v2/one/blobs/uploads/", 404, NO_ROUTE),
        ("PUT", "/v2/one/two/manifests/v1", 405, b""),
        ("PATCH", "/v2/one/two/manifests/v1", 405, WRONG_METHOD),
        ("GET", "/v2/one/two/manifests/v1/", 404, NO_ROUTE),
        ("GET", "/v2/a/b/c/d/e/manifests/v1", 404, NO_ROUTE),
        ("GET", f"/v2/a/b/c/d/e/blobs/{ZEROS}", 404, NO_ROUTE),
        ("GET", "/cmd/prune", 405, WRONG_METHOD),
        ("HEAD", "/cmd/image/list", 405, b""),
    ],
)
def test_routes(server: Server, method: str, path: str, status: int, body: bytes) -> None:
    answer = server.pull(method, path)
    assert (answer.status, answer.body) == (status, body)


@pytest.mark.parametrize("reference", ["v1", ZEROS])
@pytest.mark.parametrize("name", ["one", "one/two", "one/two/three", "one/two/three/four"])
@pytest.mark.parametrize("kind", ["manifests", "blobs"])
def test_every_oci_delete_is_refused_without_a_body(
    server: Server, name: str, kind: str, reference: str
) -> None:
    answer = server.pull("DELETE", f"/v2/{name}/{kind}/{reference}")
    assert (answer.status, answer.body) == (405, b"")


def test_the_delete_of_a_cached_image_is_refused_too(server: Server, tmp_path: Path) -> None:
    repository = server.name("kept")
    push(server, tmp_path, repository, "v1", b"kept")
    digest = server.get(repository, "v1").headers["docker-content-digest"]
    for reference in ("v1", digest):
        assert server.pull("DELETE", f"/v2/{repository}/manifests/{reference}").status == 405
    assert server.pull("DELETE", "/v2/a/b/c/d/e/manifests/v1").status == 404
    assert server.listed(f"{repository}:") == [f"{server.upstream}/{repository}:v1"]


def test_four_ways_to_name_the_upstream(server: Server, tmp_path: Path) -> None:
    repository = server.name("named")
    push(server, tmp_path, repository, "v1", b"named")
    wanted = upstream_manifest(server, repository, "v1")
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


def test_a_name_that_means_no_upstream_or_two_is_400(server: Server) -> None:
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


def test_four_segments_at_most_the_upstream_included(server: Server, tmp_path: Path) -> None:
    repository = server.name("three/four/five").removeprefix("t")
    four = "/".join(repository.split("/")[:4])
    push(server, tmp_path, four, "v1", b"deep")
    assert server.pull("GET", f"/v2/{four}/manifests/v1").status == 200
    assert server.ask("GET", f"/v2/{server.upstream}/{four}/manifests/v1").status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_the_upstream_does_not_have_is_a_bare_500(server: Server, tmp_path: Path, method: str) -> None:
    repository = server.name("holes")
    push(server, tmp_path, repository, "v1", b"holes")
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


def test_the_reference_is_lower_cased(server: Server, tmp_path: Path) -> None:
    repository = server.name("cases")
    push(server, tmp_path, repository, "v1", b"lower")
    push(server, tmp_path, repository, "V2", b"upper")
    assert server.get(repository, "V1").status == 200
    assert server.get(repository, "V2").status == 500
    assert server.listed(f"{repository}:") == [f"{server.upstream}/{repository}:v1"]


def test_a_head_fetches_the_whole_image(server: Server, tmp_path: Path) -> None:
    repository = server.name("head")
    blobs = push(server, tmp_path, repository, "v1", b"head one", b"head two")
    assert {server.blob(digest).status for digest in blobs} == {404}
    answer = server.pull("HEAD", f"/v2/{repository}/manifests/v1")
    wanted = upstream_manifest(server, repository, "v1")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(len(wanted.body))
    assert answer.headers["docker-content-digest"] == wanted.headers["docker-content-digest"]
    assert {server.blob(digest).status for digest in blobs} == {200}


def test_blobs(server: Server, tmp_path: Path) -> None:
    repository = server.name("content")
    layer, config = push(server, tmp_path, repository, "v1", b"content")
    assert server.get(repository, "v1").status == 200
    wanted = ask(server.upstream, "GET", f"/v2/{repository}/blobs/{layer}").body
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
def test_prune_parameters(server: Server, query: str, status: int, body: bytes) -> None:
    answer = server.prune(query)
    assert (answer.status, answer.body) == (status, body)


def test_a_parameter_given_twice_is_refused(server: Server) -> None:
    answer = server.prune("type=pattern&type=pattern&expr=x")
    assert answer.status == 400
    assert b"multiple values for single value parameter 'type'" in answer.body


def test_a_prune_is_dry_unless_told_otherwise(server: Server, tmp_path: Path) -> None:
    repository = server.name("dry")
    push(server, tmp_path, repository, "v1", b"dry")
    server.get(repository, "v1")
    for query in ("", "&dryRun=true", "&dryRun=T", "&dryRun=false&count=0", "&dryRun=false&count=-5"):
        assert server.prune(f"type=pattern&expr={quote(repository)}{query}").status == 200
        assert server.listed(f"{repository}:") == [f"{server.upstream}/{repository}:v1"]
    assert server.prune(f"type=pattern&expr={quote(repository)}&dryRun=0").status == 200
    assert server.listed(f"{repository}:") == []


def test_a_prune_takes_manifest_and_blobs_but_none_that_is_shared(server: Server, tmp_path: Path) -> None:
    one, two = server.name("one"), server.name("two")
    first = push(server, tmp_path, one, "v1", b"shared", b"of one")
    second = push(server, tmp_path, two, "v1", b"shared", b"of two")
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


def test_commas_separate_expressions_and_an_empty_one_matches_all(server: Server, tmp_path: Path) -> None:
    names = [server.name(text) for text in ("comma-a", "comma-b", "comma-c")]
    for name in names:
        push(server, tmp_path, name, "v1", name.encode())
        server.get(name, "v1")
    full = [f"{server.upstream}/{name}:v1" for name in names]
    assert server.listed(f"{names[0]}:,{names[1]}:") == full[:2]
    assert server.listed(f"{server.prefix}/comma-[a-c]{{1,1}}") == []
    assert set(full) <= set(server.listed(f"{names[0]},"))
    assert set(full) <= set(server.listed(""))
    assert server.prune_now(f"{names[0]}:,{names[2]}:").status == 200
    assert server.listed(f"{server.prefix}/comma-") == [full[1]]


def test_a_parameter_with_a_semicolon_is_dropped_without_a_word(server: Server, tmp_path: Path) -> None:
    repository = server.name("semicolon")
    push(server, tmp_path, repository, "v1", b"semicolon")
    server.get(repository, "v1")
    answer = server.ask("GET", "/cmd/image/list?count=-1&pattern=nothing;has-this-name")
    assert f"/{repository}:v1 " in answer.body.decode()


def test_tags_of_one_manifest_are_pruned_apart(server: Server, tmp_path: Path) -> None:
    repository = server.name("tags")
    blobs = push(server, tmp_path, repository, "a", b"same")
    manifest = upstream_manifest(server, repository, "a")
    put_manifest(server, repository, "b", manifest.body, manifest.headers["content-type"])
    for tag in ("a", "b"):
        assert server.get(repository, tag).status == 200
    server.prune_now(f"/{repository}:a$")
    assert server.listed(repository) == [f"{server.upstream}/{repository}:b"]
    assert {server.blob(digest).status for digest in blobs} == {200}
    server.prune_now(f"/{repository}:b$")
    assert {server.blob(digest).status for digest in blobs} == {404}


def test_an_index_and_its_children_are_pruned_apart(server: Server, tmp_path: Path) -> None:
    repository, single = server.name("multi"), server.name("single")
    push(server, tmp_path, single, "v1", b"child")
    child = upstream_manifest(server, single, "v1")
    push(server, tmp_path, repository, "child", b"child")
    digest = child.headers["docker-content-digest"]
    entry = {
        "mediaType": child.headers["content-type"],
        "digest": digest,
        "size": len(child.body),
        "platform": {"os": "linux", "architecture": "amd64"},
    }
    media_type = "application/vnd.oci.image.index.v1+json"
    index = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": [entry]}).encode()
    put_manifest(server, repository, "v1", index, media_type)
    answer = server.get(repository, "v1")
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, index, media_type)
    assert server.get(repository, digest).status == 200
    shortened = f"{server.upstream}/{repository}@{digest[: len('sha256:') + 10]}"
    assert server.listed(repository) == [f"{server.upstream}/{repository}:v1", shortened]
    server.prune_now(f"^{re.escape(server.upstream)}/{repository}:v1$")
    assert server.listed(repository) == [shortened]
    server.prune_now(f"^{re.escape(server.upstream)}/{repository}(:v1|@.*)$")
    assert server.listed(repository) == []


def test_fifty_is_the_default_count(server: Server, tmp_path: Path) -> None:
    repository = server.name("fifty")
    push(server, tmp_path, repository, "v0", b"fifty")
    manifest = upstream_manifest(server, repository, "v0")
    for number in range(52):
        put_manifest(server, repository, f"v{number}", manifest.body, manifest.headers["content-type"])
        server.get(repository, f"v{number}")
    assert len(server.listed(f"{repository}:")) == 52
    answer = server.ask("GET", f"/cmd/image/list?pattern={quote(repository)}:")
    assert answer.body.count(b"/fifty:v") == 50
    server.prune(f"type=pattern&dryRun=false&expr={quote(repository)}:")
    assert len(server.listed(f"{repository}:")) == 2
    server.prune(f"type=pattern&dryRun=false&count=1&expr={quote(repository)}:")
    assert len(server.listed(f"{repository}:")) == 1


def test_concurrent_prunes(server: Server, tmp_path: Path) -> None:
    repository = server.name("crowd")
    push(server, tmp_path, repository, "v0", b"crowd")
    manifest = upstream_manifest(server, repository, "v0")
    for number in range(20):
        put_manifest(server, repository, f"v{number}", manifest.body, manifest.headers["content-type"])
        server.get(repository, f"v{number}")
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda number: server.prune_now(f"/{repository}:v{number}$"), range(20)))
    assert {answer.status for answer in answers} == {200}
    assert server.listed(f"{repository}:") == []


def test_image_list(server: Server, tmp_path: Path) -> None:
    names = [server.name("list-b"), server.name("list-a")]
    blobs = {name: push(server, tmp_path, name, "v1", name.encode()) for name in names}
    for name in names:
        server.get(name, "v1")
    answer = server.ask("GET", f"/cmd/image/list?count=-1&pattern={server.prefix}/list-")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain")
    lines = answer.body.decode().splitlines()
    assert lines[0] == "URL DIGEST CREATED PULLED"
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
    position = 1
    for name in sorted(names):
        digest = (
            upstream_manifest(server, name, "v1").headers["docker-content-digest"].removeprefix("sha256:")
        )
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
def test_image_list_parameters(server: Server, query: str, status: int, body: bytes) -> None:
    answer = server.ask("GET", f"/cmd/image/list{query}")
    assert (answer.status, answer.body) == (status, body)


def test_a_url_of_a_million_bytes_is_taken_a_longer_one_refused(server: Server) -> None:
    taken = server.prune("type=pattern&dryRun=true&expr=" + "a" * 1_000_000)
    assert (taken.status, taken.body) == (200, b"")
    refused = server.prune("type=pattern&dryRun=true&expr=" + "a" * 1_100_000)
    assert (refused.status, refused.body) == (431, b"431 Request Header Fields Too Large")


def tls_hello() -> bytes:
    context, outgoing = ssl.create_default_context(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


def seconds_to_refuse_tls(server: Server) -> float:
    host, _, port = server.address.partition(":")
    started = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=100) as connection:
        connection.sendall(tls_hello())
        answer = b"".join(iter(lambda: connection.recv(1000), b""))
    assert re.match(rb"HTTP/1\.[01] 400 Bad Request\r\n", answer)
    return time.monotonic() - started


def test_a_tls_hello_is_answered_with_400_at_once(server: Server) -> None:
    assert min(seconds_to_refuse_tls(server) for _ in range(10)) < 5


def test_crane_pulls_with_the_header_and_cannot_delete(server: Server, tmp_path: Path) -> None:
    repository = server.name("crane")
    push(server, tmp_path, repository, "v1", b"one", b"two", b"three")
    config = tmp_path / "config"
    config.mkdir()
    (config / "config.json").write_text(json.dumps({"HttpHeaders": {"X-Registry": server.upstream}}))
    image = f"{server.address}/{repository}:v1"
    pulled = crane("pull", image, str(tmp_path / "image.tar"), config=config)
    assert (pulled.returncode, pulled.stderr) == (0, "")
    assert tarfile.is_tarfile(tmp_path / "image.tar")
    deleted = crane("delete", image, config=config)
    assert deleted.returncode == 1
    assert "405 Method Not Allowed" in deleted.stderr
