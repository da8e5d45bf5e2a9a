"""The right to pull, of which `GET /v2/` says nothing: a public project of Harbor refuses that, and lets pull."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.doubles.guarded import Guard, Passwords, PublicProject, basic, guarded_registry
from tests.support.doctor import doctor, messages
from tests.support.driving import drive
from tests.support.secured_runs import apart

CLIENTS = ["crane", "skopeo", "ctr"]
REPOSITORIES = ("public/app", "private/app")
EVERYBODY = Passwords({"": {""}})


def options(cache: str, upstream: str, client: str, *more: str) -> list[str]:
    return [
        f"--pullthrough-url={cache}", f"--registry-url={upstream}", "--layout=distribution", "--workers=1",
        f"--client={client}", *more,
    ]  # fmt: skip


@pytest.mark.parametrize("client", CLIENTS)
def test_a_public_project_is_pulled_from_without_a_login(
    client: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    guard = PublicProject(frozenset({"public/app"}))
    with (
        guarded_registry(guard, REPOSITORIES) as harbor,
        guarded_registry(EVERYBODY, REPOSITORIES) as upstream,
    ):
        words = options(harbor.address, upstream.address, request.getfixturevalue(client), "--filter=public/")
        status, checks, _ = doctor(*words, environment=apart(tmp_path))
        assert status == 0, checks
        told = messages(checks)
        assert told["server under test"] == (
            f"{harbor.address} answers (plain http), and refuses GET /v2/ (HTTP 401); pulls may still work"
        )
        assert told["pull"].startswith(f"public/app:v1 by {client}")
        ended = drive(tmp_path, *words, "--passes=1", environment=apart(tmp_path))
        assert (ended.status, ended.summary["pulled"], ended.summary["failed"]) == (0, 1, 0)


@pytest.mark.parametrize(
    "guard",
    [
        PublicProject(frozenset({"public/app"})),
        PublicProject(frozenset({"public/app"}), refuses=True),
        Passwords({"": {basic("some", "body")}}),
    ],
    ids=["a token without access", "no token", "a password"],
)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_right_that_is_missing_is_found(
    client: str, guard: Guard, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with (
        guarded_registry(guard, REPOSITORIES) as harbor,
        guarded_registry(EVERYBODY, REPOSITORIES) as upstream,
    ):
        words = options(
            harbor.address, upstream.address, request.getfixturevalue(client), "--filter=private/"
        )
        status, checks, _ = doctor(*words, environment=apart(tmp_path))
        (failure,) = (each for each in checks if each["status"] == "failure")
        assert (status, failure["name"]) == (1, "server under test")
        assert failure["message"] == (
            f"{harbor.address} answers HTTP 401 to the manifest of private/app:v1: "
            "credentials are missing or not accepted"
        )
        assert failure["advice"].startswith(f"log in: docker login {harbor.address}")
        ended = drive(tmp_path, *words, "--passes=1", environment=apart(tmp_path))
        assert (ended.status, ended.summary["errors"]) == (1, {"unauthorized": 1})


class Tokenless(PublicProject):
    """Its token service answers 200, without a token."""

    def token(self, authorization: str, scopes: Sequence[str]) -> str | None:
        return ""


@pytest.mark.parametrize("client", CLIENTS)
def test_a_token_service_without_a_token(client: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with (
        guarded_registry(Tokenless(frozenset({"public/app"})), REPOSITORIES) as harbor,
        guarded_registry(EVERYBODY, REPOSITORIES) as upstream,
    ):
        words = options(
            harbor.address, upstream.address, request.getfixturevalue(client), "--filter=private/"
        )
        ended = drive(tmp_path, *words, "--passes=1", environment=apart(tmp_path))
        assert (ended.status, ended.summary["errors"]) == (1, {"unauthorized": 1})


def test_an_upstream_that_refuses_its_base_may_give_its_list(crane: str, tmp_path: Path) -> None:
    """With an image list a run asks the upstream nothing, so doctor has nothing against it."""
    guard = PublicProject(frozenset({"public/app"}))
    images = tmp_path / "images"
    images.write_text("public/app:v1\n")
    with guarded_registry(guard, REPOSITORIES) as harbor:
        words = options(harbor.address, harbor.address, crane)
        status, checks, command = doctor(*words, f"--image-list={images}", environment=apart(tmp_path))
        assert status == 0, checks
        status, checks, command = doctor(*words, environment=apart(tmp_path))
    (failure,) = (each for each in checks if each["status"] == "failure")
    assert status == 1
    assert f"{harbor.address} needs a login (401): run docker login {harbor.address}" in failure["message"]
    assert command[1:] == words
