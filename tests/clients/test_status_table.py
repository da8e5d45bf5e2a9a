"""The class of a failed pull is that of the HTTP status, whatever the body: status × code × form × place × client.

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
# skopeo waits for half a minute after a 429 without Retry-After.
BODIES_OF_BLOBS = ("foreign", "nocode", "text")
# Faults of a whole server, which take a run each. ctr does not ask for the base.
SERVERS = ("token-403-foreign", "token-404-nocode", "token-401-foreign", "token-429-foreign-after", "base")


def _name(place: str, status: int, body: str) -> str:
    return "-".join(part for part in (place, str(status), body, "after" if status == 429 else "") if part)


ROWS = {
    **{_name("manifest", status, body): status for body in EVERYWHERE for status in CLASSES},
    **{_name("manifest", status, body): status for body in ELSEWHERE for status in SOME},
    **{_name(place, status, body): status for place in ("blob", "config") for body in BODIES_OF_BLOBS for status in SOME},
}
OWN_SERVER = {
    "token-401-foreign": 401,
    "token-403-nocode": 403,
    "token-404-foreign": 404,
    "token-412-nocode": 412,
    "token-429-foreign-after": 429,
    "ping-403-foreign": 403,
    "ping-404-nocode": 404,
    "ping-412-foreign": 412,
    "ping-429-nocode-after": 429,
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
def run_of(
    registry: FaultyRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Ended]]:
    """The run of each client over all rows; it begins when it is asked for first."""
    folder = tmp_path_factory.mktemp("table")

    @cache
    def run(client: str) -> Ended:
        images = [f"{row}/{client}:v1" for row in ROWS]
        return run_over(folder / client, client, registry.address, images)

    yield run


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
