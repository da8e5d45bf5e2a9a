"""The main job with the real clients: through a docker-registry proxy, and through (a double of) Ociregistry.

With OCIREGISTRY_URL and OCIREGISTRY_UPSTREAM set the Ociregistry cases run against that server instead; the upstream
(host:port) is the plain-http registry that it pulls from by that name, and images are pushed there.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lib.lab.populate import Population, populate
from lib.lab.servers import Server, crane_registry, docker_registry_proxy, lab_cache
from tests.support.asking import ask, get
from tests.support.driving import drive, finish, start, wait_for_outcomes
from tests.support.upstream import Upstream
from tests.support.waiting import wait_until

CLIENTS = ["crane", "skopeo", "ctr"]
MANIFEST_SERVED = re.compile(r'"GET /v2/(\S+)/manifests/(\S+) HTTP/1\.1" 200 .*"(crane|skopeo|containerd)')
WORK = ("--passes=3", "--tally-seconds=0.2")


def served(log: Path, start: int = 0) -> Counter[str]:
    """How often the access log says that each image's manifest was served to a client."""
    text = log.read_bytes()[start:].decode(errors="replace")
    return Counter(f"{repository}:{tag}" for repository, tag, _ in MANIFEST_SERVED.findall(text))


@pytest.mark.parametrize("client", CLIENTS)
def test_what_the_driver_counts_is_what_the_servers_log_says(
    client: str, request: pytest.FixtureRequest, upstream: Upstream, tmp_path: Path
) -> None:
    path = request.getfixturevalue(client)
    with ExitStack() as stack:
        proxy = stack.enter_context(docker_registry_proxy(upstream.url))
        ended = drive(
            tmp_path,
            f"--pullthrough-url={proxy.address}",
            f"--registry-url={upstream.url}",
            "--patterns=-0001,-0002,-0003",
            "--layout=distribution",
            f"--client={path}",
            *WORK,
        )
        # a client may end before the server has written down what it sent
        wait_until(lambda: served(proxy.log_path).total() >= ended.summary["pulled"])
        logged = served(proxy.log_path)
    assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")
    ended.check_accounts()
    summary = ended.summary
    assert summary["client"]["name"] == client
    assert (summary["failed"], summary["listed"], summary["images"]) == (0, 12, 12)
    assert [each["images"] for each in summary["workers"]] == [4, 4, 4]
    pulled = Counter(event["image"] for event in ended.events)
    assert set(pulled) == set(upstream.images)
    assert pulled == Counter(3 * upstream.images)
    if client == "ctr":  # it asks for the digest that a HEAD of the tag gave
        repositories = {image.partition(":")[0]: image for image in upstream.images}
        assert all(":sha256:" in name for name in logged)
        logged = Counter({repositories[name.partition(":")[0]]: count for name, count in logged.items()})
    assert logged == pulled
    assert sum(logged.values()) == summary["pulled"]
    firsts = Counter(event["image"] for event in ended.events if event["first"])
    assert firsts == Counter(upstream.images)


def test_a_proxy_cannot_be_pruned_and_is_told_so_before_any_load(
    proxy: Server, upstream: Upstream, crane: str, tmp_path: Path
) -> None:
    before = proxy.log_path.stat().st_size
    ended = drive(
        tmp_path,
        f"--pullthrough-url={proxy.address}",
        f"--registry-url={upstream.url}",
        "--patterns=-0001",
        "--layout=distribution",
        "--prune",
        f"--client={crane}",
    )
    assert ended.status == 1
    assert ended.stderr.count("\n") == 1
    assert "cannot be pruned" in ended.stderr
    assert "docker-registry proxy" in ended.stderr
    assert served(proxy.log_path, before) == Counter()


def test_the_baseline_goes_to_the_upstream_itself(upstream: Upstream, crane: str, tmp_path: Path) -> None:
    ended = drive(
        tmp_path, "--pullthrough-url=127.0.0.1:1", f"--registry-url={upstream.url}", "--patterns=-0001",
        "--layout=direct", f"--client={crane}", "--passes=1",
    )  # fmt: skip
    assert ended.status == 0
    ended.check_accounts()


def test_a_server_that_goes_away_and_comes_back(upstream: Upstream, crane: str, tmp_path: Path) -> None:
    """Failures are counted by class, pulls go on afterwards, and the run is a good one.

    Between the pulls, the client waits until the server has gone, and until it is back.
    """
    wrapper, gone, back = tmp_path / "crane", tmp_path / "gone", tmp_path / "back"
    wrapper.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = pull ]; then echo >> {tmp_path}/pulls; pulls=$(wc -l < {tmp_path}/pulls); fi\n'
        f'[ "$pulls" = 4 ] && until [ -e {gone} ]; do sleep 0.05; done\n'
        f'[ "$pulls" = 7 ] && until [ -e {back} ]; do sleep 0.05; done\n'
        f'exec {crane} "$@"\n'
    )
    wrapper.chmod(0o755)
    with lab_cache(upstream.address) as cache:
        running = start(
            tmp_path, f"--pullthrough-url={cache.address}", f"--registry-url={upstream.url}", "--patterns=-0001",
            "--layout=distribution", f"--client={wrapper}", "--passes=3",
        )  # fmt: skip
        wait_for_outcomes(tmp_path, "ok", 3)
    gone.touch()
    wait_for_outcomes(tmp_path, "failed", 3)
    with lab_cache(upstream.address, port=int(cache.address.partition(":")[2])):
        back.touch()
        ended = finish(running, tmp_path)
    assert (ended.status, ended.stderr) == (0, "")
    ended.check_accounts()
    assert ended.summary["errors"] == {"refused": 3}
    assert ended.outcomes() == [*["ok"] * 3, *["failed"] * 3, *["ok"] * 6]


@pytest.mark.parametrize("which", ["server under test", "upstream"])
def test_a_server_that_was_never_there(which: str, upstream: Upstream, crane: str, tmp_path: Path) -> None:
    urls = {"server under test": "--pullthrough-url", "upstream": "--registry-url"}
    options = dict.fromkeys(urls.values(), upstream.url) | {urls[which]: "127.0.0.1:1"}
    ended = drive(
        tmp_path,
        *(f"{name}={value}" for name, value in options.items()),
        "--patterns=-0001",
        f"--client={crane}",
    )
    assert ended.status == 1
    assert ended.stderr.count("\n") == 1
    assert "127.0.0.1:1 refuses connections" in ended.stderr
    assert ended.summary["pulled"] == 0
    assert ended.summary["reason"] in ended.stderr


@dataclass(frozen=True)
class Ociregistry:
    """A server under test that answers as Ociregistry does, and the upstream it knows by that name."""

    url: str
    upstream: str
    images: tuple[str, ...]

    def listing(self) -> str:
        """All that is in its cache, as it says."""
        return get(urlsplit(self.url).netloc, "/cmd/image/list?count=-1").decode()

    def cached(self) -> set[str]:
        """The images in its cache, of those that the tests pushed."""
        lines = self.listing().splitlines()
        names = {
            line.split()[0].removeprefix(f"{self.upstream}/")
            for line in lines
            if line.startswith(self.upstream)
        }
        return names & set(self.images)

    def pattern(self, group: str) -> str:
        """Matches the tests' images of that group alone, whatever else the upstream holds."""
        names = [image.partition(":")[0] for image in self.images if f"{group}:" in image]
        return f"/({'|'.join(names)}):"

    def empty(self) -> None:
        path = "/cmd/prune?type=pattern&expr=-000[1-3]:&dryRun=false&count=-1"
        assert ask(urlsplit(self.url).netloc, "DELETE", path).status == 200


POPULATION = Population(groups=3, images=3, layers=2, layer_size=1024, seed=20)


@pytest.fixture(scope="module")
def ociregistry() -> Iterator[Ociregistry]:
    """The double, or the server that OCIREGISTRY_URL names."""
    with ExitStack() as stack:
        url, upstream = os.environ.get("OCIREGISTRY_URL"), os.environ.get("OCIREGISTRY_UPSTREAM")
        if url is None or upstream is None:
            upstream = stack.enter_context(crane_registry()).address
            url = stack.enter_context(lab_cache(upstream)).url
        images = asyncio.run(populate(f"http://{upstream}", POPULATION))
        yield Ociregistry(url, upstream, tuple(images))


@pytest.mark.parametrize(
    ("client", "way"),
    [
        ("crane", "header: the upstream's name '{}' is not valid in a path"),
        ("skopeo", "gateway: the upstream's name '{}' is not valid in a path"),
        ("ctr", "mirror: ctr asks it as a mirror of '{}'"),
    ],
)
def test_pulling_through_ociregistry_from_an_upstream_with_a_port(
    client: str, way: str, ociregistry: Ociregistry, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    ociregistry.empty()
    path = request.getfixturevalue(client)
    ended = drive(
        tmp_path,
        f"--pullthrough-url={ociregistry.url}",
        f"--registry-url={ociregistry.upstream}",
        f"--patterns={ociregistry.pattern('-0001')},{ociregistry.pattern('-0002')}",
        f"--client={path}",
        *WORK,
    )
    assert (ended.status, ended.stderr) == (0, "")
    ended.check_accounts()
    assert ended.summary["failed"] == 0
    assert f"layout ociregistry, by {way.format(ociregistry.upstream)}" in ended.log
    wanted = {image for image in ociregistry.images if "-0003" not in image}
    assert {event["image"] for event in ended.events} == wanted
    assert ociregistry.cached() == wanted


@pytest.mark.parametrize("client", CLIENTS)
def test_pruning_empties_just_what_was_pulled(
    client: str, ociregistry: Ociregistry, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Images that the run never pulls stay; those pulled are pruned after each pass and then fetched again."""
    ociregistry.empty()
    path = request.getfixturevalue(client)
    options = [
        f"--pullthrough-url={ociregistry.url}",
        f"--registry-url={ociregistry.upstream}",
        f"--client={path}",
    ]
    (tmp_path / "others").mkdir()
    others = drive(tmp_path / "others", *options, f"--patterns={ociregistry.pattern('-0003')}", "--passes=1")
    assert others.status == 0
    kept = {image for image in ociregistry.images if "-0003" in image}
    assert ociregistry.cached() == kept
    both = f"--patterns={ociregistry.pattern('-0001')},{ociregistry.pattern('-0002')}"
    (tmp_path / "whole").mkdir()
    whole = drive(tmp_path / "whole", *options, both, "--prune", *WORK)
    assert (whole.status, whole.summary["pulled"], whole.summary["pruned"]) == (0, 18, 18)
    assert ociregistry.cached() == kept
    ended = drive(tmp_path, *options, both, "--prune", "--iteration-seconds=0.6")
    assert (ended.status, ended.stderr) == (0, "")
    ended.check_accounts()
    assert "prune by Ociregistry's admin API (/cmd/prune)" in ended.log
    pruned = Counter(event["image"] for event in ended.events if event["op"] == "prune")
    assert (
        ended.summary["pruned"]
        == sum(pruned.values())
        == sum(each["passes"] * each["images"] for each in ended.summary["workers"])
    )
    assert not set(pruned) & kept
    for image in pruned:
        ours = [event for event in ended.events if event["image"] == image]
        for before, event in zip([None, *ours], ours, strict=False):
            if event["op"] == "pull":
                assert event["first"] is (before is None or before["op"] == "prune")
    # what is left is of the passes that a stop cut short
    last = {event["image"]: event["op"] for event in ended.events}
    assert ociregistry.cached() - kept == {image for image, op in last.items() if op == "pull"}


def test_of_a_multi_platform_image_the_platforms_manifest_is_pruned_too(
    ociregistry: Ociregistry, crane: str, tmp_path: Path
) -> None:
    """It is cached under its own digest; left there, a cold pull would fetch nothing but the index."""
    indexes = Population(
        groups=1, images=2, layers=1, layer_size=1024, seed=21, platforms=("linux/amd64", "linux/arm64")
    )
    images = asyncio.run(populate(f"http://{ociregistry.upstream}", indexes))
    names = "|".join(image.partition(":")[0] for image in images)
    options = [
        f"--pullthrough-url={ociregistry.url}", f"--registry-url={ociregistry.upstream}", f"--client={crane}",
        f"--patterns=/({names}):", "--platform=linux/arm64", "--passes=1",
    ]  # fmt: skip
    for prune in ([], ["--prune"]):
        (tmp_path / str(prune)).mkdir()
        ended = drive(tmp_path / str(prune), *options, *prune)
        assert (ended.status, ended.stderr) == (0, "")
        assert ended.summary["pruned"] == (len(images) if prune else 0)
        left = set() if prune else {image.partition(":")[0] for image in images}
        assert set(re.findall(rf"/({names})@sha256:", ociregistry.listing())) == left


@pytest.mark.parametrize("via", ["auto", "ociregistry"])
def test_an_upstream_without_a_dot_is_not_pruned(
    ociregistry: Ociregistry, crane: str, tmp_path: Path, via: str
) -> None:
    """A real one answers such a prune with 200, drops the layers, and keeps the manifest: no pull works afterwards."""
    port = ociregistry.upstream.partition(":")[2]
    ended = drive(
        tmp_path, f"--pullthrough-url={ociregistry.url}", f"--registry-url=localhost:{port}", "--patterns=-0001",
        f"--client={crane}", "--prune", f"--prune-via={via}",
    )  # fmt: skip
    assert ended.status == 1
    assert ended.stderr.count("\n") == 1
    assert f"because the upstream's name has no dot ('localhost:{port}')" in ended.stderr
    assert ended.events == ()


def test_after_a_prune_the_cache_goes_upstream_again(crane: str, tmp_path: Path) -> None:
    """Counted by the lab's cache itself: with --prune each pull is an upstream fetch, without it each image's first."""
    with crane_registry() as upstream, lab_cache(upstream.address) as cache:
        images = asyncio.run(populate(upstream.url, POPULATION))
        for prune, expected in ((True, None), (False, len(images))):
            before = upstream_manifests(cache)
            folder = tmp_path / str(prune)
            folder.mkdir()
            ended = drive(
                folder, f"--pullthrough-url={cache.address}", f"--registry-url={upstream.address}", "--patterns=.",
                f"--client={crane}", "--passes=3", "--prune-first", *(["--prune"] if prune else []),
            )  # fmt: skip
            assert (ended.status, ended.stderr) == (0, "")
            fetched = upstream_manifests(cache) - before
            assert ended.summary["pulled"] == 3 * len(images)
            assert ended.summary["first_pulls"] == "cold"
            pulling = ended.summary["pulling_rate"]
            assert pulling > ended.summary["rate"] if prune else pulling is None
            assert fetched == (3 * len(images) if expected is None else expected)


def upstream_manifests(cache: Server) -> int:
    """`lab_upstream_requests_total` of manifests."""
    text = get(cache.address, "/metrics").decode()
    match = re.search(r'^lab_upstream_requests_total\{kind="manifest"\} (\d+)', text, re.MULTILINE)
    return int(match[1]) if match else 0


def test_the_private_configuration_keeps_the_users_credentials_and_is_gone(
    ociregistry: Ociregistry, crane: str, tmp_path: Path
) -> None:
    """A wrapper around crane keeps what it was given: the header and the server's login, for the user alone to read."""
    config = tmp_path / "docker"
    config.mkdir()
    host = ociregistry.url.partition("://")[2]
    auths = {name: {"auth": "bWU6c2VjcmV0"} for name in (host, "elsewhere.example")}
    (config / "config.json").write_text(json.dumps({"auths": auths, "HttpHeaders": {"X-Mine": "1"}}))
    wrapper = tmp_path / "crane"
    wrapper.write_text(
        f'#!/bin/sh\nif [ "$1" = pull ]; then cp "$DOCKER_CONFIG/config.json" {tmp_path}/seen; '
        f'stat -c %a "$DOCKER_CONFIG" "$DOCKER_CONFIG/config.json" > {tmp_path}/modes; fi\nexec {crane} "$@"\n'
    )
    wrapper.chmod(0o755)
    ended = drive(
        tmp_path, f"--pullthrough-url={ociregistry.url}", f"--registry-url={ociregistry.upstream}", "--patterns=-0001",
        f"--client={wrapper}", "--passes=1",
        environment={"DOCKER_CONFIG": str(config), "TMPDIR": str(tmp_path / "docker")},
    )  # fmt: skip
    assert ended.status == 0
    assert json.loads((tmp_path / "seen").read_text()) == {
        "auths": {host: {"auth": "bWU6c2VjcmV0"}},
        "HttpHeaders": {"X-Mine": "1", "X-Registry": ociregistry.upstream},
    }
    assert (tmp_path / "modes").read_text().split() == ["700", "600"]
    assert os.listdir(config) == ["config.json"]
    for name in ("log", "events", "summary.json", "metrics"):
        text = (tmp_path / name).read_text()
        assert "secret" not in text
        assert "bWU6c2VjcmV0" not in text


def test_credentials_and_a_gateway_do_not_go_together(
    ociregistry: Ociregistry, skopeo: str, tmp_path: Path
) -> None:
    host = ociregistry.url.partition("://")[2]
    (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"auth": "bWU6c2VjcmV0"}}}))
    ended = drive(
        tmp_path, f"--pullthrough-url={ociregistry.url}", f"--registry-url={ociregistry.upstream}", "--patterns=-0001",
        f"--client={skopeo}", environment={"DOCKER_CONFIG": str(tmp_path)},
    )  # fmt: skip
    assert ended.status == 1
    assert "loopback gateway" in ended.stderr
    assert ended.events == ()
