"""The real ctr with a containerd of the tests' own, against the misbehaving registry."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from lib.clients.classify import classify
from lib.clients.ctr import Ctr
from lib.images import Image
from lib.lab.servers import crane_registry
from lib.load.pull import ClientPuller, Pulled
from lib.outcomes import OK
from lib.processes.launch import Launcher
from tests.doubles.faulty import FaultyRegistry
from tests.doubles.good_image import IMAGE
from tests.record_ctr import LOGIN, UPSTREAM, CtrLab, ctr_executable, fault, launch, pull
from tests.support.containerd import NOTHING, Daemon, containerd
from tests.support.images import push
from tests.support.ports import refused_port

LIMIT_SECONDS = 8.0
CASES = {
    "manifest-404-json": "not-found",
    "manifest-401-json": "unauthorized",
    "manifest-403": "forbidden",
    "manifest-429-json-after": "rate-limited",
    "manifest-408": "server-error",
    "manifest-503-json": "server-error",
    "manifest-500-hostile": "server-error",
    "manifest-405": "unsupported",
    "manifest-schemaone": "unsupported",
    "blob-502-html": "server-error",
    "blob-500-hostilejson": "server-error",
    "blob-404-hostilejson": "not-found",
    "token-503-hostile": "server-error",
    "manifest-reset": "reset",
    "blob-truncated": "reset",
    "config-truncated": "reset",
    "blob-corrupted": "bad-digest",
    "config-empty": "bad-digest",
    "manifest-noplatform": "no-platform",
    "manifest-html": "bad-content",
    "manifest-garbage": "bad-content",
    "manifest-redirect": "bad-content",
    "blob-nolocation": "bad-content",
    "blob-ftplocation": "bad-content",
    "manifest-badheader": "bad-content",
    "manifest-notgzip": "bad-content",
    "manifest-400": "bad-reference",
    "blob-400": "other",
    "manifest-silent": "timeout",
    "blob-drip": "timeout",
    "tls": "tls",
    "tls-name": "tls",
    "refused": "refused",
    "dns": "dns",
    "no-socket": "client",
}
RECOVERIES = {"manifest-429-x2": 2, "config-429-after-x1": 1, "manifest-408-x5": 5}
# What ctr asks for again one after the other, so that the registry has seen each request that ctr has written down.
COUNTED = ("manifest-429-json-after", "manifest-408", "config-truncated", *RECOVERIES)

Outcome = tuple[int, bool, str]


@pytest.fixture(scope="module")
def daemon(ctr: str) -> Iterator[Daemon]:
    del ctr
    with containerd() as running:
        yield running


@pytest.fixture(scope="module")
def lab(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> CtrLab:
    executable = ctr_executable()
    assert executable is not None
    return CtrLab(executable, tmp_path_factory.mktemp("ctr"), daemon.socket)


@pytest.fixture(scope="module")
def registry() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as running:
        yield running


@pytest.fixture(scope="module")
def outcomes(
    lab: CtrLab, registry: FaultyRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Outcome]]:
    """What the launch of each case ends with; all are launched together."""
    home = str(tmp_path_factory.mktemp("home"))
    with refused_port() as refused, ThreadPoolExecutor(8) as pool:
        own = {
            "refused": lambda: pull(lab, "refused", f"http://{refused}", "good/app:v1"),
            "dns": lambda: pull(lab, "dns", "http://no-such-host.invalid:5000", "x:y"),
            "good": lambda: pull(lab, "good", f"http://{registry.address}", "good/app:v1"),
        }

        def outcome(case: str) -> Outcome:
            if case == "no-socket":
                ready = own["good"]()
                at = ready.argv.index("--address") + 1
                ready.argv[at] = "/absent/c.sock"
            else:
                ready = own[case]() if case in own else fault(lab, registry, case)
            return launch(ready, home, LIMIT_SECONDS)

        running: dict[str, Future[Outcome]] = {
            case: pool.submit(outcome, case) for case in ("good", *CASES, *RECOVERIES)
        }
        yield lambda case: running[case].result(100)


@pytest.mark.parametrize("case", CASES)
def test_a_failure_of_ctr_has_its_class(outcomes: Callable[[str], Outcome], case: str) -> None:
    returncode, timed_out, stderr = outcomes(case)
    assert returncode != 0 or not Ctr.succeeded(stderr)
    failure = classify(Ctr, returncode or 1, stderr, timed_out=timed_out)
    assert failure.error_class == CASES[case], stderr
    assert timed_out == (failure.error_class == "timeout")


@pytest.mark.parametrize("case", RECOVERIES)
def test_ctr_recovers_by_itself_and_the_log_shows_how_often_it_tried(
    outcomes: Callable[[str], Outcome], case: str
) -> None:
    returncode, _, stderr = outcomes(case)
    assert returncode == 0, stderr
    assert Ctr.succeeded(stderr)
    assert Ctr.retries(stderr, succeeded=True) == RECOVERIES[case]


@pytest.mark.parametrize("case", COUNTED)
def test_the_retries_are_those_that_the_server_has_seen(
    outcomes: Callable[[str], Outcome], registry: FaultyRegistry, case: str
) -> None:
    _, _, stderr = outcomes(case)
    asked = [count for (_, path), count in registry.requests.items() if path.startswith(f"/v2/{case}/")]
    again = sum(count - 1 for count in asked)
    assert again > 0
    assert Ctr.retries(stderr, succeeded=case in RECOVERIES) == again


def test_the_double_serves_ctr_a_good_image(
    outcomes: Callable[[str], Outcome], registry: FaultyRegistry
) -> None:
    """Else every failure above might be the double's own."""
    returncode, _, stderr = outcomes("good")
    assert (returncode, "ctr: " in stderr) == (0, False)
    asked = {path.rpartition("/")[2] for (_, path) in registry.requests if path.startswith("/v2/good/")}
    assert {"v1", *IMAGE.blobs} <= asked


@pytest.mark.parametrize(
    ("case", "word"), [("blob-404-bigjson", "not-found"), ("blob-503-bigjson", "server-error")]
)
def test_a_server_cannot_drown_ctr_s_own_words(
    case: str, word: str, lab: CtrLab, registry: FaultyRegistry, tmp_path: Path
) -> None:
    """With more text than the driver keeps, full of the words of other failures."""
    returncode, _, stderr = launch(fault(lab, registry, case), str(tmp_path), 60)
    if word == "server-error":
        assert len(stderr) > 50_000
    assert classify(Ctr, returncode, stderr).error_class == word


class Worker:
    """One worker of the driver's with ctr, and the namespaces that it has used."""

    def __init__(self, client: Ctr, folder: Path, timeout: float) -> None:
        self.client = client
        self._launcher = Launcher({**os.environ, **client.environment})
        self._puller = ClientPuller(client, self._launcher, lambda image: f"{UPSTREAM}/{image.name}", timeout)
        self._folder = folder / "worker-0"
        self._folder.mkdir(exist_ok=True)

    def pull(self, name: str) -> Pulled:
        repository, _, tag = name.partition(":")
        (pulled,) = self._puller.pull([Image(repository, tag)], self._folder, lambda: False)
        return pulled

    def close(self) -> None:
        self._launcher.close()
        self.client.close()


@pytest.fixture
def worker(lab: CtrLab, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    made = []

    def make(url: str, timeout: float = 60, **others: object) -> Worker:
        made.append(Worker(lab.client(url, **others), tmp_path, timeout))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def alone(ctr: str, lab: CtrLab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Daemon]:
    """A containerd that nobody else uses, for the lab's clients of this test."""
    del ctr
    executable = ctr_executable()
    assert executable is not None
    with containerd() as running:
        monkeypatch.setattr(lab, "_namespaces", CtrLab(executable, tmp_path, running.socket)._namespaces)
        yield running


# What a pull ends with: its class, or none if it succeeds.
AFTERWARDS: Mapping[str, str | None] = {
    "good": None,
    "manifest-404": "not-found",
    "manifest-noplatform": "no-platform",
    "blob-404": "not-found",
    "blob-truncated": "reset",
    "blob-corrupted": "bad-digest",
    "manifest-resetget": "reset",
}


def test_nothing_stays_in_containerd_however_a_pull_ends(
    alone: Daemon, registry: FaultyRegistry, worker: Callable[..., Worker]
) -> None:
    """Each image is pulled twice: what is left of the first pull would be missing in the second."""
    pulling = worker(f"http://{registry.address}")
    for case, error_class in AFTERWARDS.items():
        for _ in range(2):
            pulled = pulling.pull(f"{case}/left:v1")
            assert (pulled.failure and pulled.failure.error_class) == error_class
            held = alone.holds()
            assert (held["blobs"], held["ingests"]) == ([], []), case
    asked = {
        path: count for (_, path), count in registry.requests.items() if path.startswith("/v2/good/left/")
    }
    assert set(asked.values()) == {2}
    assert len(alone.namespaces()) == 1
    pulling.client.close()
    assert alone.holds() == NOTHING


def test_after_a_pull_that_was_killed_a_worker_goes_on_in_a_new_namespace(
    alone: Daemon, registry: FaultyRegistry, worker: Callable[..., Worker]
) -> None:
    hasty = worker(f"http://{registry.address}", timeout=1.5)
    for case in ("blob-stalled", "manifest-silent", "manifest-silentget"):
        pulled = hasty.pull(f"{case}/killed:v1")
        assert pulled.failure is not None
        assert pulled.failure.error_class == "timeout"
        assert alone.holds() == NOTHING
    worker_again = worker(f"http://{registry.address}")
    assert worker_again.pull("good/killed:v1").outcome == OK
    (namespace,) = alone.namespaces()
    assert namespace.endswith("-worker-0-3")


def test_the_cpu_seconds_of_a_pull_hold_those_of_its_clean_up(
    alone: Daemon, registry: FaultyRegistry, worker: Callable[..., Worker]
) -> None:
    pulled = worker(f"http://{registry.address}").pull("good/cpu:v1")
    assert pulled.cpu_seconds > 0
    assert alone.holds()["blobs"] == []


def test_an_image_of_many_layers(
    crane: str, lab: CtrLab, worker: Callable[..., Worker], tmp_path: Path
) -> None:
    """ctr writes more about it than the launcher keeps."""
    del crane
    with crane_registry() as server:
        pushed = push(server.address, "many/layers", "v1", *(f"layer {k}".encode() for k in range(100)))
        ready = pull(lab, "many", server.url, "many/layers:v1")
        returncode, _, stderr = launch(ready, str(tmp_path), 60)
        pulled = worker(server.url).pull("many/layers:v1")
    assert returncode == 0
    assert len(stderr) > 80_000
    assert len(pushed.blobs) == 101
    assert (pulled.outcome, pulled.retries) == (OK, 0)


def test_a_password_is_typed_and_nowhere_else(lab: CtrLab, registry: FaultyRegistry, daemon: Daemon) -> None:
    ready = fault(lab, registry, "manifest-401", login=LOGIN)
    assert ready.answer == b"secret"
    assert "--user=tester" in ready.argv
    assert not any("secret" in word for word in (*ready.argv, *ready.environment.values()))
    hosts = Path(ready.argv[ready.argv.index("--hosts-dir") + 1])
    assert "secret" not in (hosts / "_default" / "hosts.toml").read_text()
    assert daemon.process.poll() is None
