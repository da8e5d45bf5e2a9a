"""The class of a failed pull is that of the HTTP status, whatever the body, the place and the client.

One run of the driver for each client meets all rows, each an image of the misbehaving registry. Where the client does
not show the status, the driver asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from tests.doubles.faulty import FaultyRegistry
from tests.support.driving import Ended, drive
from tests.support.programs import find
from tests.support.waiting import SECONDS

CLIENTS = ("crane", "skopeo", "ctr")
# Statuses without a class of their own; a code or a client may make 400 a `bad-reference`.
OTHER = ("other",)
CLASSES: Mapping[int, Sequence[str]] = {
    400: ("other", "bad-reference"),
    401: ("unauthorized",),
    403: ("forbidden",),
    404: ("not-found",),
    405: ("unsupported",),
    406: ("unsupported",),
    408: ("server-error",),
    410: ("not-found",),
    412: ("forbidden",),
    413: OTHER,
    415: ("unsupported",),
    416: OTHER,
    418: OTHER,
    422: OTHER,
    429: ("rate-limited",),
    451: ("forbidden",),
    500: ("server-error",),
    502: ("server-error",),
    503: ("server-error",),
    504: ("server-error",),
}
# An error with a code of the specification or another one, and without a code, meets every status. The other forms
# meet one status of each kind: without a remedy, refused, absent, limited, and a fault of the server.
EVERYWHERE = ("default", "foreign", "nocode")
ELSEWHERE = ("json", "detailed", "bare", "nothing", "details", "otherjson", "text", "html", "two", "")
SOME = (401, 403, 404, 412, 429, 503)
# A code of the specification may come with a status that it does not belong to.
CODED = ("unauthorized", "denied", "manifestunknown", "nameunknown", "toomanyrequests")
REFINING = ("unsupported", "manifestinvalid", "nameinvalid")
BODIES_OF_BLOBS = ("foreign", "nocode", "text")


def _name(place: str, status: int, body: str) -> str:
    """skopeo waits for half a minute after a 429 without Retry-After."""
    return "-".join(part for part in (place, str(status), body, "after" if status == 429 else "") if part)


ROWS = {
    **{_name("manifest", status, body): status for body in EVERYWHERE for status in CLASSES},
    **{_name("manifest", status, body): status for body in ELSEWHERE for status in SOME},
    **{_name("manifest", status, body): status for body in (*CODED, *REFINING) for status in SOME},
    **{
        _name(place, status, body): status
        for place in ("blob", "config")
        for body in BODIES_OF_BLOBS
        for status in SOME
    },
}
# Each is a server of its own, and takes a run. ctr does not ask for the base of the API.
SERVERS = {
    "token-401-foreign": 401,
    "token-403-nocode": 403,
    "token-429-foreign-after": 429,
    "ping-404-nocode": 404,
    "ping-412-foreign": 412,
}
WORKERS = 32


def test_the_table_is_large_enough() -> None:
    assert len(ROWS) >= 60


def run_over(folder: Path, client: str, address: str, images: Sequence[str], *options: str) -> Ended:
    """One pass over these images of a server, each pulled once."""
    folder.mkdir()
    (folder / "images").write_text("".join(f"{image}\n" for image in images))
    return drive(
        folder,
        *(f"--pullthrough-url=http://{address}", f"--registry-url=http://{address}", "--layout=distribution"),
        *(f"--client={find(client)}", f"--image-list={folder}/images", "--keep-going", "--passes=1"),
        *(options or (f"--workers={min(WORKERS, len(images))}",)),
    )


def classes(ended: Ended) -> dict[str, str]:
    """The class of each failed pull by its repository, "ok" for the others."""
    return {event["image"].partition(":")[0]: event["class"] or event["outcome"] for event in ended.events}


@pytest.fixture(scope="module")
def registry() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as running:
        yield running


@pytest.fixture(scope="module")
def run_of(registry: FaultyRegistry, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ended]:
    """The run of each client over all rows; it begins when it is asked for first."""
    folder = tmp_path_factory.mktemp("table")

    @cache
    def run(client: str) -> Ended:
        images = [f"{row}/{client}:v1" for row in ROWS]
        return run_over(folder / client, client, registry.address, images)

    return run


@pytest.mark.parametrize("client", CLIENTS)
def test_the_class_is_that_of_the_status(client: str, run_of: Callable[[str], Ended]) -> None:
    ended = run_of(client)
    found = classes(ended)
    wrong = {
        row: found.get(f"{row}/{client}")
        for row, status in ROWS.items()
        if found.get(f"{row}/{client}") not in CLASSES[status]
    }
    assert wrong == {}, ended.log
    ended.check_accounts()
    assert ended.summary["failed"] == len(ROWS)


@pytest.fixture(scope="module")
def run_at(
    registry: FaultyRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str, str], Ended]]:
    """The run of a client over one image of a server that has the fault; all begin together."""
    folder = tmp_path_factory.mktemp("servers")

    def run(client: str, row: str) -> Ended:
        address, _, image = registry.reference(row).partition("/")
        return run_over(folder / f"{client}-{row}", client, address, [image])

    with ThreadPoolExecutor(8) as pool:
        running: dict[tuple[str, str], Future[Ended]] = {}

        def result(client: str, row: str) -> Ended:
            find(client)
            for each in SERVERS if (client, row) not in running else ():
                running[client, each] = pool.submit(run, client, each)
            return running[client, row].result(2 * SECONDS)

        yield result


@pytest.mark.parametrize("row", SERVERS)
@pytest.mark.parametrize("client", CLIENTS)
def test_the_class_is_that_of_a_whole_server_s_status(
    client: str, row: str, run_at: Callable[[str, str], Ended]
) -> None:
    if client == "ctr" and row.startswith("ping"):
        pytest.skip("ctr does not ask for it")
    ended = run_at(client, row)
    (word,) = classes(ended).values()
    assert word in CLASSES[SERVERS[row]], ended.log


# Whether the driver asks: where the client shows no status.
ASKED = {
    "manifest-404-foreign": ("crane", "skopeo"),
    "manifest-404-nocode": ("crane", "skopeo"),
    "manifest-503-foreign": ("crane",),
    "manifest-503-nocode": ("crane",),
    "manifest-429-foreign-after": ("crane", "skopeo"),
    "manifest-404-default": ("crane", "skopeo"),
    "manifest-401-default": ("crane", "skopeo"),
    "manifest-403-default": ("crane", "skopeo"),
    "manifest-429-default-after": ("crane", "skopeo"),
    "manifest-404-bare": ("crane", "skopeo"),
    "manifest-404-detailed": ("crane", "skopeo"),
    "manifest-404-text": (),
    "manifest-404-html": (),
    "manifest-404-nothing": (),
    "manifest-404-otherjson": (),
    "manifest-404": (),
    "manifest-503-text": (),
    "manifest-429-text-after": (),
}


@pytest.mark.parametrize("row", ASKED)
@pytest.mark.parametrize("client", CLIENTS)
def test_the_driver_asks_only_where_the_client_shows_no_status(
    client: str, row: str, run_of: Callable[[str], Ended], registry: FaultyRegistry
) -> None:
    ended = run_of(client)
    asked = len(re.findall(f"asked the server about {row}/{client}:v1 ", ended.log))
    assert asked == (client in ASKED[row])
    if client == "crane":  # whose own requests are known: three where it tries again
        own = 3 if re.search("-(429|503)-", row) else 1
        assert registry.requests["GET", f"/v2/{row}/{client}/manifests/v1"] == own + asked


@pytest.mark.parametrize("client", ["crane", "skopeo"])
def test_the_driver_s_requests_stand_in_no_count(
    client: str, registry: FaultyRegistry, tmp_path: Path
) -> None:
    row = f"manifest-412-foreign/{client}-counted"
    ended = run_over(
        tmp_path / "run", client, registry.address, [f"{row}:v1"], "--patterns=counted,412,v1", "--passes=4"
    )
    ended.check_accounts()
    assert ended.summary["errors"] == {"forbidden": ended.summary["failed"]}
    asked = ended.log.count("asked the server about ")
    assert asked >= 1
    assert registry.requests["GET", f"/v2/{row}/manifests/v1"] == ended.summary["failed"] + asked


@pytest.mark.parametrize("client", ["crane", "skopeo"])
def test_what_does_not_occur_again_is_other(client: str, registry: FaultyRegistry, tmp_path: Path) -> None:
    row = "manifest-404-foreign-x1"
    ended = run_over(tmp_path / "run", client, registry.address, [f"{row}/{client}:v1"])
    assert classes(ended) == {f"{row}/{client}": "other"}
    assert "the failure did not occur again" in ended.log


@pytest.mark.parametrize("client", ["crane", "skopeo"])
def test_with_ociregistry_a_404_brings_no_advice_about_the_registry_s_name(
    client: str, registry: FaultyRegistry, tmp_path: Path
) -> None:
    ended = run_over(
        *(tmp_path / "run", client, registry.address, ["manifest-404-foreign/hint:v1"]),
        *("--workers=1", "--layout=ociregistry"),
    )
    assert ended.summary["errors"] == {"not-found": 1}
    assert "exactly the name" not in ended.stderr
    assert "Is --layout ociregistry right for this server?" in ended.stderr


def test_a_dry_run_asks_nothing(registry: FaultyRegistry, tmp_path: Path) -> None:
    row = "manifest-404-foreign/dry"
    ended = run_over(
        *(tmp_path / "run", "crane", registry.address, [f"{row}:v1"]), *("--workers=1", "--dry-run")
    )
    assert ended.status == 0
    assert registry.requests["GET", f"/v2/{row}/manifests/v1"] == 0


@pytest.mark.parametrize("client", ["crane", "skopeo"])
def test_an_image_of_a_batch_has_the_class_of_its_own_status(
    client: str, registry: FaultyRegistry, tmp_path: Path
) -> None:
    wanted = {
        "good/batch": "ok",
        "manifest-404-foreign/batch": "not-found",
        "manifest-412-nocode/batch": "forbidden",
        "good-too/batch": "ok",
    }
    images = [f"{name}-{client}:v1" for name in wanted]
    ended = run_over(tmp_path / "run", client, registry.address, images, "--workers=1", "--batch=4")
    assert classes(ended) == {f"{name}-{client}": word for name, word in wanted.items()}
    ended.check_accounts()
