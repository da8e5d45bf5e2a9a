"""An image list whose lines name several upstreams, with the real clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.lab.servers import lab_cache
from tests.support.driving import Ended, drive
from tests.support.ociregistry import Ociregistry
from tests.support.upstream import Upstream

ONE, OTHER, WITH_PORT = "one.invalid", "other.invalid", "127.0.0.9:1"


@pytest.fixture
def cache(upstream: Upstream) -> Iterator[Ociregistry]:
    """A cache that pulls from one registry under several names."""
    names = [word for name in (ONE, OTHER, WITH_PORT) for word in ("--name", name)]
    with lab_cache(upstream.address, *names) as server:
        yield Ociregistry(server.address, upstream.address)


def pulled(cache: Ociregistry, upstream: Upstream, folder: Path, lines: list[str], *options: str) -> Ended:
    """A run over these lines, whose upstream is `ONE` unless the options name another one."""
    return drive(
        folder, f"--pullthrough-url={cache.address}", f"--registry-url={upstream.url}", f"--upstream-name={ONE}",
        "--image-list=-", "--workers=1", "--passes=2", *options, stdin="\n".join(lines),
    )  # fmt: skip


def listed(cache: Ociregistry) -> set[str]:
    """The names of tags in the cache."""
    answer = cache.ask("GET", "/cmd/image/list?count=-1&pattern=.")
    names = {line.split()[0] for line in answer.text.splitlines()[1:] if line.strip()}
    return {name for name in names if "/" in name and "@" not in name}


@pytest.mark.parametrize("client", ["crane", "skopeo", "ctr"])
@pytest.mark.parametrize("batch", [1, 2])
def test_each_line_is_pulled_from_its_own_upstream(
    client: str,
    batch: int,
    cache: Ociregistry,
    upstream: Upstream,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    if (client, batch) == ("ctr", 2):
        pytest.skip("ctr pulls one image per launch")
    path = request.getfixturevalue(client)
    first, second = upstream.images[:2]
    lines = [first, f"{OTHER}/{first}", f"{ONE}/{second}", f"docker://{OTHER}/{second}"]
    ended = pulled(
        cache, upstream, tmp_path, lines, f"--client={path}", f"--batch={batch}", "--prune-first", "--prune"
        if client == "ctr" else "--prune=false",
    )  # fmt: skip
    assert ended.status == 0, ended.stderr
    ended.check_accounts()
    images = [first, f"{OTHER}/{first}", second, f"{OTHER}/{second}"]
    assert sorted(event["image"] for event in ended.events if event["op"] == "pull") == sorted(2 * images)
    if client == "ctr":
        assert listed(cache) == set()
    else:
        named = {f"{ONE}/{first}", f"{OTHER}/{first}", f"{ONE}/{second}", f"{OTHER}/{second}"}
        assert listed(cache) == named


def test_an_upstream_with_a_port_is_named_per_line_by_ctr(
    cache: Ociregistry, upstream: Upstream, ctr: str, tmp_path: Path
) -> None:
    first, second = upstream.images[:2]
    ended = pulled(
        cache, upstream, tmp_path, [first, f"{WITH_PORT}/{second}"], f"--client={ctr}", "--prune", "--prune-first"
    )  # fmt: skip
    assert ended.status == 0, ended.stderr
    assert ended.summary["pulled"] == 4
    assert (ended.summary["pruned"], ended.summary["prune_failed"]) == (6, 0)
    assert listed(cache) == set()


@pytest.mark.parametrize("client", ["crane", "skopeo"])
def test_an_upstream_with_a_port_among_others_is_refused_for_clients_that_cannot_name_it(
    client: str, cache: Ociregistry, upstream: Upstream, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path = request.getfixturevalue(client)
    first, second = upstream.images[:2]
    ended = pulled(cache, upstream, tmp_path, [first, f"{WITH_PORT}/{second}"], f"--client={path}")
    assert ended.status == 1
    (line,) = ended.stderr.splitlines()
    assert "the images have 2 upstreams" in line
    assert f"'{WITH_PORT}' is not valid in a path" in line
    assert "use --client ctr" in line


@pytest.mark.parametrize("client", ["crane", "skopeo", "ctr"])
def test_a_list_of_one_other_upstream_with_a_port_needs_no_other_client(
    client: str, cache: Ociregistry, upstream: Upstream, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path = request.getfixturevalue(client)
    lines = [f"{WITH_PORT}/{image}" for image in upstream.images[:2]]
    ended = pulled(cache, upstream, tmp_path, lines, f"--client={path}")
    assert ended.status == 0, ended.stderr
    assert ended.summary["pulled"] == 4
    assert listed(cache) == set(lines)


def test_an_upstream_without_a_dot_is_named_by_ctr_and_not_pruned(
    upstream: Upstream, ctr: str, tmp_path: Path
) -> None:
    image = upstream.images[0]
    with lab_cache(upstream.address, "--name", "localhost:1", "--name", ONE) as server:
        cache = Ociregistry(server.address, upstream.address)
        lines = [image, f"localhost:1/{image}"]
        ended = pulled(cache, upstream, tmp_path, lines, f"--client={ctr}")
        refused = pulled(cache, upstream, tmp_path, lines, f"--client={ctr}", "--prune")
    assert (ended.status, ended.summary["pulled"]) == (0, 4), ended.stderr
    assert refused.status == 1
    assert "the upstream's name has no dot ('localhost:1')" in refused.stderr


def test_a_digest_behind_a_tag_is_pulled_by_digest(
    cache: Ociregistry, upstream: Upstream, crane: str, tmp_path: Path
) -> None:
    repository, _, tag = upstream.images[0].partition(":")
    digest = cache.pull("HEAD", f"/v2/{repository}/manifests/{tag}").headers["docker-content-digest"]
    ended = pulled(
        cache, upstream, tmp_path, [f"{OTHER}/{repository}:no-such-tag@{digest}"], f"--client={crane}"
    )
    assert (ended.status, ended.summary["pulled"]) == (0, 2), ended.stderr
    assert {event["image"] for event in ended.events} == {f"{OTHER}/{repository}@{digest}"}


def test_a_template_with_the_upstream_names_it_per_line(
    cache: Ociregistry, upstream: Upstream, crane: str, tmp_path: Path
) -> None:
    first, second = upstream.images[:2]
    template = "--layout={pullthrough}/{upstream}/{repository}"
    ended = pulled(cache, upstream, tmp_path, [first, f"{OTHER}/{second}"], f"--client={crane}", template)
    assert (ended.status, ended.summary["pulled"]) == (0, 4), ended.stderr
    assert {f"{ONE}/{first}", f"{OTHER}/{second}"} <= listed(cache)
