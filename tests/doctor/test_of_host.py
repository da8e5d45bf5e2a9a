"""The examination of one host, in the process of this host: the real client, and the lab's cache."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lib.hosts.protocol import Examined, Finding, FirstOrder, Lease, Refused, encode
from lib.hosts.selected import Packer
from lib.images import ImageSet
from lib.lab.servers import lab_cache
from lib.listing.selection import Selection
from lib.load.share import WHOLE
from lib.results.summary import ClientInfo
from tests.support.hosting import Controller, first_order, selection_of
from tests.support.processes import descendants, read_file
from tests.support.upstream import Upstream
from tests.support.waiting import wait_until


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with Controller(tmp_path) as controller:
        yield controller


def order(upstream: Upstream, cache: str, *words: object, **given: Any) -> FirstOrder:
    made = first_order(
        upstream.images, f"--pullthrough-url={cache}", f"--registry-url={upstream.url}", *words, **given
    )
    return msgspec.structs.replace(made, examine=True)


def with_selection(order: FirstOrder, selection: Selection) -> FirstOrder:
    return msgspec.structs.replace(order, selection=Packer(selection).pack(WHOLE))


def by_name(examined: Examined) -> dict[str, Finding]:
    """The last check of each name."""
    return {check.name: check for check in examined.checks}


def failed(examined: Examined) -> list[str]:
    return [f"{each.name}: {each.message}" for each in examined.checks if each.status == "failure"]


def test_a_host_that_is_well(upstream: Upstream, crane: str, controller: Controller) -> None:
    """It pulls and prunes the first image of its own share."""
    with lab_cache(upstream.address) as cache:
        controller.send(order(upstream, cache.address, f"--client={crane}", "--prune", share="2/2"))
        examined = controller.hear(Examined)
    assert failed(examined) == []
    checks = by_name(examined)
    assert {"client", "proxy", "server under test", "clock", "credentials", "layout", "pull", "prune"} <= set(
        checks
    )
    assert {"room", "descriptors", "limits", "sizes"} <= set(checks)
    assert not {"start", "files", "metrics", "upstream", "images", "pattern"} & set(checks)
    assert checks["prune"].message.startswith(f"{upstream.images[1]} was pruned")
    assert checks["pull"].message.startswith(upstream.images[1])
    version = (
        subprocess.run([crane, "version"], capture_output=True, text=True, check=True)
        .stdout.strip()
        .lstrip("v")
    )
    assert examined.client == ClientInfo(name="crane", version=version)
    assert (examined.changes, examined.undecided) == ({}, False)
    assert controller.leave() == ""


def test_workers_that_have_the_same_images_try_different_ones(
    upstream: Upstream, crane: str, controller: Controller
) -> None:
    """As with --deal all: each begins with another image."""
    with lab_cache(upstream.address) as cache:
        made = order(upstream, cache.address, f"--client={crane}", "--deal=all")
        images = selection_of(upstream.images, 1).image_sets[0].images
        whole = Selection(
            len(images), (ImageSet("all", images, 5),), lengths=(len(images),), total=len(images)
        )
        controller.send(with_selection(made, whole))
        examined = controller.hear(Examined)
    assert by_name(examined)["pull"].message.startswith(upstream.images[5])
    assert controller.leave() == ""


def test_without_images_it_pulls_nothing(upstream: Upstream, crane: str, controller: Controller) -> None:
    with lab_cache(upstream.address) as cache:
        made = order(upstream, cache.address, f"--client={crane}")
        controller.send(with_selection(made, Selection(0, ())))
        examined = controller.hear(Examined)
    assert failed(examined) == []
    names = set(by_name(examined))
    assert {"client", "server under test", "limits"} <= names
    assert not {"layout", "pull", "prune", "sizes"} & names
    assert controller.leave() == ""


def test_what_is_wrong_comes_with_what_to_do(upstream: Upstream, crane: str, controller: Controller) -> None:
    with lab_cache(upstream.address, "--no-plain") as cache:
        controller.send(order(upstream, cache.address, f"--client={crane}", "--layout=distribution"))
        examined = controller.hear(Examined)
    assert failed(examined) == ["layout: distribution does not fit: HTTP 400"]
    assert examined.changes == {"--layout": "ociregistry"}
    assert by_name(examined)["pull"].status == "ok"
    assert controller.leave() == ""


def test_a_client_that_is_not_there(upstream: Upstream, controller: Controller) -> None:
    with lab_cache(upstream.address) as cache:
        controller.send(order(upstream, cache.address, "--client=/nowhere/crane"))
        examined = controller.hear(Examined)
    (only,) = failed(examined)
    assert only.startswith("client: the client '/nowhere/crane' was not found")
    assert examined.undecided
    assert examined.client is None
    assert controller.leave() == ""


def test_options_that_do_not_fit_this_host(upstream: Upstream, controller: Controller) -> None:
    made = order(upstream, "127.0.0.1:1")
    made.options["client_cert"] = "/nowhere/cert"
    controller.send(made)
    assert "--client-cert" in controller.hear(Refused).reason
    assert controller.leave() == ""


def test_it_sends_no_login(
    upstream: Upstream, crane: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It only says that there is one."""
    word = base64.b64encode(b"tester:s3cret-word").decode()
    (tmp_path / "docker").mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with lab_cache(upstream.address) as cache:
        logins = {"auths": {cache.address: {"auth": word}}}
        (tmp_path / "docker" / "config.json").write_text(json.dumps(logins))
        with Controller(tmp_path) as controller:
            controller.send(order(upstream, cache.address, f"--client={crane}", "--prune"))
            told = by_name(controller.hear(Examined))
            assert f"a login for {cache.address}" in told["credentials"].message
            assert controller.leave() == ""
    sent = b"".join(encode(message) for message in controller.messages.values())
    assert b"s3cret" not in sent
    assert word.encode() not in sent


@pytest.mark.parametrize("way", ["leave", "stop", "close"])
def test_a_stop_ends_a_trial_pull_that_hangs(
    upstream: Upstream, crane: str, controller: Controller, way: str
) -> None:
    """The pull itself would be given up after 300 s."""
    with lab_cache(upstream.address, "--fault=blob-hang") as cache:
        controller.send(order(upstream, cache.address, f"--client={crane}"))
        wait_until(
            lambda: any(b"pull" in read_file(pid, "cmdline") for pid in descendants(controller.process.pid))
        )
        if way == "stop":
            controller.send(Lease(-1, 1))
            assert controller.hear(Refused).reason == "it was stopped"
        assert (controller.close() if way == "close" else controller.leave()) == ""
    assert controller.all(Examined) == []
