"""Servers with ways of their own: a cold zot, a mirror that wants `?ns=` as Spegel does, an upstream below a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.lab.servers import Server
from tests.doubles.pull_through import pull_through
from tests.support.doctor import doctor, messages
from tests.support.driving import drive
from tests.support.upstream import Upstream
from tests.test_pull_through import CLIENTS


def options(address: str, upstream: Upstream, client: str, layout: str) -> list[str]:
    return [
        f"--pullthrough-url={address}", f"--registry-url={upstream.url}", f"--layout={layout}",
        f"--client={client}", "--patterns=-0001",
    ]  # fmt: skip


@pytest.mark.parametrize("client", CLIENTS)
def test_a_cold_zot_is_pruned_and_so_is_a_warm_one(
    client: str, request: pytest.FixtureRequest, upstream: Upstream, tmp_path: Path
) -> None:
    path = request.getfixturevalue(client)
    with pull_through(upstream.address) as zot:
        for _ in ("cold", "warm"):
            status, checks, _ = doctor(*options(zot.address, upstream, path, "zot"), "--prune")
            assert (status, messages(checks)["prune"].endswith("is gone")) == (0, True), checks
        zot.held.clear()
        ended = drive(
            tmp_path, *options(zot.address, upstream, path, "zot"), "--prune", "--prune-first", "--passes=2"
        )
    assert (ended.status, ended.stderr) == (0, "")
    ended.check_accounts()
    assert (ended.summary["pulled"], ended.summary["failed"], ended.summary["prune_failed"]) == (8, 0, 0)
    assert ended.summary["pruned"] >= 8
    assert not any(zot.held.values())


def test_a_mirror_that_wants_ns(ctr: str, upstream: Upstream, tmp_path: Path) -> None:
    with pull_through(upstream.address, ns=upstream.address) as mirror:
        status, checks, _ = doctor(*options(mirror.address, upstream, ctr, "ociregistry"))
        assert status == 0, checks
        ended = drive(tmp_path, *options(mirror.address, upstream, ctr, "ociregistry"), "--passes=1")
    assert (ended.status, ended.stderr) == (0, "")
    assert (ended.summary["pulled"], ended.summary["failed"]) == (4, 0)
    agents = {agent.partition("/")[0] for agent, _, path in mirror.asked if "ns=" in path}
    assert agents == {"ocidriver", "containerd"}


@pytest.mark.parametrize("client", CLIENTS)
def test_an_upstream_below_a_path_is_listed(
    client: str, request: pytest.FixtureRequest, upstream: Upstream, proxy: Server, tmp_path: Path
) -> None:
    """Only the driver asks it there. Patterns are searched in the URL as written, so they see the path."""
    path = request.getfixturevalue(client)
    with pull_through(upstream.address, root="/artifactory/api/docker/key") as below:
        given = [
            f"--pullthrough-url={proxy.address}", f"--registry-url=http://{below.address}/artifactory/api/docker/key/",
            "--layout=distribution", f"--client={path}", "--patterns=/docker/key/.*-0001",
        ]  # fmt: skip
        status, checks, _ = doctor(*given)
        assert status == 0, checks
        ended = drive(tmp_path, *given, "--passes=1")
        assert {agent for agent, _, _ in below.asked} == {"ocidriver"}
    assert (ended.status, ended.stderr) == (0, "")
    assert (ended.summary["listed"], ended.summary["pulled"], ended.summary["failed"]) == (12, 4, 0)
    settings = ended.summary["settings"]
    assert settings["registry_url"] == f"http://{below.address}/artifactory/api/docker/key"
    assert settings["upstream_name"] == below.address


def test_clients_cannot_pull_from_below_a_path(upstream: Upstream, crane: str, tmp_path: Path) -> None:
    given = [f"--registry-url={upstream.url}/below/path", f"--client={crane}", "--workers=1", "--passes=1"]
    refused = drive(tmp_path, *given, "--pullthrough-url=127.0.0.1:1", "--layout=direct")
    assert (refused.status, refused.stderr.count("\n")) == (2, 1)
    assert (
        "--layout direct: clients cannot pull from a registry below the path 'below/path'" in refused.stderr
    )
