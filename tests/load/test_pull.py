"""Batches: every image has its own outcome, whichever of them makes the launch fail. With the real clients."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from lib.clients.client import Client, Executable
from lib.clients.crane import Crane
from lib.clients.skopeo import Skopeo
from lib.images import Image
from lib.load.pull import ClientPuller, Pulled, batches
from lib.outcomes import FAILED, INTERRUPTED, OK
from lib.processes.launch import Launcher, Outcome
from tests.doubles.faulty import FaultyRegistry

DIGESTS = ["sha256:" + letter * 64 for letter in "abc"]


def test_batches_keep_the_order_and_two_digests_of_a_repository_apart() -> None:
    images = [Image(f"app-{k}", "v1") for k in range(5)]
    assert list(batches(images, 2)) == [images[:2], images[2:4], images[4:]]
    assert list(batches([], 2)) == []
    digests = [
        Image("app", DIGESTS[0]),
        Image("app", "v1"),
        Image("app", DIGESTS[1]),
        Image("other", DIGESTS[2]),
    ]
    assert list(batches(digests, 9)) == [digests[:2], digests[2:]]


@pytest.fixture
def registry() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as running:
        yield running


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    made = Launcher(os.environ)
    yield made
    made.close()


@pytest.fixture(params=["crane", "skopeo"])
def client(request: pytest.FixtureRequest) -> Client:
    path: str = request.getfixturevalue(request.param)
    if request.param == "crane":
        return Crane(Executable(path, ""), "linux/amd64", True)
    logins: Path = request.getfixturevalue("tmp_path_factory").mktemp("logins") / "config.json"
    logins.write_text("{}")
    return Skopeo(Executable(path, ""), "linux/amd64", True, logins)


def pull(
    client: Client,
    launcher: Launcher,
    registry: FaultyRegistry,
    scratch: Path,
    *faults: str,
    timeout: float = 30,
) -> dict[str, Pulled]:
    puller = ClientPuller(client, launcher, lambda image: f"{registry.address}/{image.name}", timeout)
    images = [Image(f"{fault}/app-{k}", "v1") for k, fault in enumerate(faults)]
    found = list(puller.pull(images, scratch, lambda: False))
    assert Counter(each.image for each in found) == Counter(images)
    assert list(scratch.iterdir()) == []
    return {each.image.repository.partition("/")[0]: each for each in found}


def test_a_good_batch_is_one_launch(
    client: Client, launcher: Launcher, registry: FaultyRegistry, tmp_path: Path
) -> None:
    found = list(pull(client, launcher, registry, tmp_path, "a", "b", "c", "d").values())
    assert [each.outcome for each in found] == [OK] * 4
    assert {each.launch for each in found} == {1}
    assert len({each.seconds for each in found}) == 1
    assert [each.cpu_seconds > 0 for each in found] == [True, False, False, False]
    assert all(each.whole for each in found)
    manifests = {repository: n for (kind, repository), n in by_kind(registry).items() if kind == "manifests"}
    assert sorted(manifests) == ["a/app-0", "b/app-1", "c/app-2", "d/app-3"]


def by_kind(registry: FaultyRegistry) -> Counter[tuple[str, str]]:
    """GETs of manifests and blobs by repository, as the server counted them."""
    found: Counter[tuple[str, str]] = Counter()
    for (method, path), count in registry.requests.items():
        for kind in ("manifests", "blobs"):
            if method == "GET" and f"/{kind}/" in path:
                found[kind, path.removeprefix("/v2/").partition(f"/{kind}/")[0]] += count
    return found


@pytest.mark.parametrize(
    ("fault", "error_class"),
    [
        ("manifest-404-json", "not-found"),
        ("config-corrupted", "bad-digest"),
        ("manifest-html", "bad-content"),
    ],
)
def test_the_image_that_makes_a_batch_fail_is_found(
    client: Client,
    launcher: Launcher,
    registry: FaultyRegistry,
    tmp_path: Path,
    fault: str,
    error_class: str,
) -> None:
    found = pull(client, launcher, registry, tmp_path, "a", "b", fault, "c")
    assert {name: each.outcome for name, each in found.items()} == {"a": OK, "b": OK, fault: FAILED, "c": OK}
    failure = found[fault].failure
    assert failure is not None
    assert failure.error_class == error_class
    assert [found[name].repulled for name in "abc"] == [True] * 3
    assert not any(each.whole for each in found.values())


def test_two_culprits_have_their_own_failures(
    client: Client, launcher: Launcher, registry: FaultyRegistry, tmp_path: Path
) -> None:
    found = pull(client, launcher, registry, tmp_path, "manifest-403-json", "a", "manifest-404-json")
    failures = {name: each.failure.error_class for name, each in found.items() if each.failure}
    assert failures == {"manifest-403-json": "forbidden", "manifest-404-json": "not-found"}
    assert found["a"].outcome == OK
    assert all(each.repulled for each in found.values())


def test_a_fault_that_is_gone_by_then_counts_once(
    client: Client, launcher: Launcher, registry: FaultyRegistry, tmp_path: Path
) -> None:
    fault = "manifest-404-json-x1"
    found = pull(client, launcher, registry, tmp_path, "a", fault, "b")
    assert {name: each.outcome for name, each in found.items()} == {"a": OK, fault: FAILED, "b": OK}
    assert not found[fault].repulled


def test_a_launch_that_hangs_is_killed_and_its_images_found_out(
    client: Client, launcher: Launcher, registry: FaultyRegistry, tmp_path: Path
) -> None:
    found = pull(client, launcher, registry, tmp_path, "a", "manifest-silent", "b", timeout=1.5)
    failures = {name: each.failure.error_class for name, each in found.items() if each.failure}
    assert failures == {"manifest-silent": "timeout"}


def test_clients_that_are_ended_leave_their_images_interrupted(
    client: Client, launcher: Launcher, registry: FaultyRegistry, tmp_path: Path
) -> None:
    launcher.kill_all()
    found = pull(client, launcher, registry, tmp_path, "a", "b", "c")
    assert [each.outcome for each in found.values()] == [INTERRUPTED] * 3
    assert not any(each.repulled for each in found.values())


CPU = 0.5


class Scripted:
    """A launcher whose launches end as they are told to; None is one that a stop keeps from starting."""

    def __init__(self, *codes: int | None) -> None:
        self.codes = list(codes)
        self.launches: list[Sequence[str]] = []
        self.stderr = "Error: GET http://c:1/v2/b/manifests/v1: MANIFEST_UNKNOWN"

    def run(
        self, argv: list[str], timeout: float, unwanted: Callable[[], bool], answer: bytes = b""
    ) -> Outcome:
        code = self.codes.pop(0)
        if code is None:
            return Outcome(127, "", 0.0, 0.0, dropped=True)
        self.launches.append(argv)
        return Outcome(code, self.stderr, 0.0, 0.1, CPU)


def outcomes_after_a_stop(*codes: int | None, stop_after: int = 9) -> dict[str, str]:
    """Of images a, b, c, d in a batch, when the worker is stopped after so many launches."""
    launcher = Scripted(*codes)
    puller = ClientPuller(
        Crane(Executable("/crane", ""), "linux/amd64", True),
        launcher,  # type: ignore[arg-type]
        lambda image: f"c:1/{image.name}",
        1.0,
    )
    images = [Image(name, "v1") for name in "abcd"]
    found = list(puller.pull(images, Path("/nowhere"), lambda: len(launcher.launches) >= stop_after))
    assert Counter(each.image for each in found) == Counter(images)
    assert launcher.codes == []
    return {each.image.repository: each.outcome for each in found}


def test_a_stop_ends_the_search_after_the_launch_that_it_is_in() -> None:
    assert outcomes_after_a_stop(1, stop_after=1) == {
        "b": FAILED, "a": INTERRUPTED, "c": INTERRUPTED, "d": INTERRUPTED,
    }  # fmt: skip
    assert outcomes_after_a_stop(1, 0, stop_after=2) == {
        "a": OK, "b": FAILED, "c": INTERRUPTED, "d": INTERRUPTED,
    }  # fmt: skip
    assert outcomes_after_a_stop(1, 1, stop_after=2) == {
        "a": FAILED, "b": INTERRUPTED, "c": INTERRUPTED, "d": INTERRUPTED,
    }  # fmt: skip
    assert outcomes_after_a_stop(1, 1, 0, 0, stop_after=4) == {
        "a": FAILED, "b": INTERRUPTED, "c": OK, "d": OK,
    }  # fmt: skip


def test_a_stop_while_a_launch_waits_for_its_turn() -> None:
    assert outcomes_after_a_stop(1, None) == {
        "b": FAILED, "a": INTERRUPTED, "c": INTERRUPTED, "d": INTERRUPTED,
    }  # fmt: skip
    assert outcomes_after_a_stop(1, 1, None) == {
        "a": FAILED, "b": INTERRUPTED, "c": INTERRUPTED, "d": INTERRUPTED,
    }  # fmt: skip
    assert outcomes_after_a_stop(1, 1, 0, 0, None) == {
        "a": FAILED, "b": INTERRUPTED, "c": OK, "d": OK,
    }  # fmt: skip


def test_of_a_launch_that_a_stop_keeps_from_starting_nothing_is_told(
    launcher: Launcher, tmp_path: Path
) -> None:
    puller = ClientPuller(
        Crane(Executable("/does/not/exist", ""), "linux/amd64", True),
        launcher,
        lambda image: f"c:1/{image.name}",
        1.0,
    )
    images = [Image("a", "v1"), Image("b", "v1")]
    assert list(puller.pull(images, tmp_path, lambda: True)) == []
    assert [each.outcome for each in puller.pull(images, tmp_path, lambda: False)] == [FAILED] * 2


def test_a_list_that_cannot_be_written_is_a_full_disk_and_no_fault_of_the_driver(
    launcher: Launcher, skopeo: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    puller = ClientPuller(
        Skopeo(Executable(skopeo, ""), "linux/amd64", True, Path("/unread")),
        launcher,
        lambda image: f"127.0.0.1:1/{image.name}",
        5.0,
    )
    found = list(puller.pull([Image("a", "v1"), Image("b", "v1")], tmp_path, lambda: True))
    assert [each.outcome for each in found] == [FAILED, INTERRUPTED]
    assert found[0].failure is not None
    assert found[0].failure.error_class == "disk"


def suspected(stderr: str, *images: Image) -> str:
    launcher = Scripted(1, *[0] * (len(images) - 1))
    launcher.stderr = stderr
    puller = ClientPuller(
        Crane(Executable("/crane", ""), "linux/amd64", True),
        launcher,  # type: ignore[arg-type]
        lambda image: f"c:1/{image.name}",
        1.0,
    )
    (failed,) = (each for each in puller.pull(images, Path("/nowhere"), lambda: False) if each.failure)
    return failed.image.name


def test_the_image_that_the_client_named_is_the_suspect() -> None:
    app, nested, second = Image("app", "v1"), Image("lib/app", "v1"), Image("app", "v2")
    assert (
        suspected("Error: GET http://c:1/v2/lib/app/manifests/v1: MANIFEST_UNKNOWN", app, nested)
        == "lib/app:v1"
    )
    assert suspected("Error: GET http://c:1/v2/app/manifests/v1: MANIFEST_UNKNOWN", nested, app) == "app:v1"
    assert suspected("Error: GET http://c:1/v2/app/manifests/v2: MANIFEST_UNKNOWN", app, second) == "app:v2"
    assert suspected('level=fatal msg="Error copying ref \\"docker://c:1/app:v2\\""', app, second) == "app:v2"
    assert suspected("Error: GET http://c:1/v2/lib/app/blobs/sha256:a: reset", app, nested) == "lib/app:v1"
    assert suspected("", nested, app) == "lib/app:v1"


def test_what_a_failed_launch_cost_is_not_lost() -> None:
    launcher = Scripted(1, 1, 0, 0, 0)
    puller = ClientPuller(
        Crane(Executable("/crane", ""), "linux/amd64", True),
        launcher,  # type: ignore[arg-type]
        lambda image: f"c:1/{image.name}",
        1.0,
    )
    found = list(puller.pull([Image(name, "v1") for name in "abcd"], Path("/nowhere"), lambda: False))
    assert sum(each.cpu_seconds for each in found) == pytest.approx(5 * CPU)


class LeavesAnImage(Crane):
    """crane, if it had a store from which an image could not be removed."""

    def clean_up(self, references: Sequence[str], scratch: Path, outcome: Outcome) -> list[str] | None:
        return ["/bin/sh", "-c", "echo dial tcp: connect: connection refused >&2; exit 1"]


def test_an_image_that_cannot_be_removed_afterwards_is_a_failure_of_the_client(
    launcher: Launcher, tmp_path: Path
) -> None:
    """The next pull of the image would pull nothing. It is no failure of the server, whatever the client says."""
    client = LeavesAnImage(Executable("/bin/true", ""), "linux/amd64", True)
    puller = ClientPuller(client, launcher, lambda image: f"c:1/{image.name}", 60.0)
    (pulled,) = puller.pull([Image("app", "v1")], tmp_path, lambda: False)
    assert pulled.outcome == FAILED
    assert pulled.failure is not None
    assert pulled.failure.error_class == "client"
    assert pulled.failure.message.startswith(
        "pulled, but the image could not be removed afterwards: dial tcp"
    )
