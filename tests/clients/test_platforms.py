"""Which manifests of an index each client picks."""

from __future__ import annotations

import pytest

from lib.clients.platforms import Platform, parsed, picks_all, picks_best, picks_first

ATTESTATION = "unknown/unknown"


def entries(*texts: str | None) -> list[Platform | None]:
    return [None if text is None else parsed(text) for text in texts]


@pytest.mark.parametrize(
    ("listed", "wanted", "first", "best", "every"),
    [
        (["linux/arm64", "linux/amd64", ATTESTATION], "linux/amd64", [1], [1], [1]),
        (["linux/amd64/v3", "linux/amd64"], "linux/amd64", [0], [1], [1]),
        (["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"], "linux/arm/v7", [2], [2], [2]),
        (["linux/arm/v5", "linux/arm/v6"], "linux/arm/v7", [], [1], []),
        (["linux/arm/v5", "linux/arm/v7"], "linux/arm", [0], [1], [1]),
        (["linux/arm/v7", "linux/arm"], "linux/arm", [0], [1], [0, 1]),
        (["linux/arm64/v8"], "linux/arm64", [0], [0], [0]),
        (["linux/arm64"], "linux/arm64/v8", [], [0], [0]),
        (["linux/arm64/v9"], "linux/arm64/v9", [0], [0], [0]),
        ([None, "linux/amd64"], "linux/amd64", [0], [1], [0, 1]),
        ([None], "linux/arm64", [], [0], [0]),
        (["windows/amd64", "windows/amd64"], "windows/amd64", [0], [0], [0, 1]),
        (["linux/s390x", ATTESTATION], "linux/amd64", [], [], []),
        ([], "linux/amd64", [], [], []),
    ],
)
def test_picks(
    listed: list[str | None], wanted: str, first: list[int], best: list[int], every: list[int]
) -> None:
    given, target = entries(*listed), parsed(wanted)
    assert (picks_first(given, target), picks_best(given, target), picks_all(given, target)) == (
        first,
        best,
        every,
    )
