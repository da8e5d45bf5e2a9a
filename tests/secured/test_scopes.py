"""Logins for a part of a server (podman's auth.json): each repository gets its own, from clients and driver."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.doubles.guarded import Guarded, Passwords, basic, guarded_registry
from tests.support.doctor import doctor
from tests.support.driving import drive, finish, read, start
from tests.support.secured_runs import apart, one_line, told
from tests.support.waiting import wait_until

A, B, C = ("a", "pw-of-a"), ("b", "pw-of-b"), ("c", "pw-of-c")
REPOSITORIES = ("team-a/app", "team-b/app", "team-b/sub/app")
WHO = {"team-a/app": "a:pw-of-a", "team-b/app": "b:pw-of-b", "team-b/sub/app": "c:pw-of-c"}


@pytest.fixture
def server() -> Iterator[Guarded]:
    allowed = {"team-a": {basic(*A)}, "team-b": {basic(*B)}, "team-b/sub": {basic(*C)}}
    with guarded_registry(Passwords(allowed), REPOSITORIES) as found:
        yield found


def auths(server: Guarded, **users: tuple[str, str]) -> dict[str, dict[str, str]]:
    return {
        f"{server.address}/{path}": {"auth": basic(*user).partition(" ")[2]} for path, user in users.items()
    }


def kept(server: Guarded, folder: Path) -> dict[str, str]:
    scopes = {"team-a": A, "team-b": B, "team-b/sub": C}
    (folder / "auth.json").write_text(json.dumps({"auths": auths(server, **scopes)}))
    return {**apart(folder), "REGISTRY_AUTH_FILE": str(folder / "auth.json")}


def options(server: Guarded, client: str, *more: str) -> list[str]:
    return [
        f"--pullthrough-url={server.address}", f"--registry-url={server.address}", "--layout=distribution",
        "--workers=1", "--passes=1", f"--client={client}", *more,
    ]  # fmt: skip


def who(server: Guarded, kind: str) -> dict[str, str]:
    """Who asked for this kind of thing in each repository; one login each."""
    found: dict[str, str] = {}
    for repository in REPOSITORIES:
        (user,) = server.users(f"/v2/{repository}/{kind}/")
        found[repository] = user
    return found


@pytest.mark.parametrize(("client", "more"), [("skopeo", ()), ("skopeo", ("--batch=3",)), ("ctr", ())])
def test_each_repository_gets_its_own_login(
    client: str, more: tuple[str, ...], server: Guarded, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    ended = drive(
        tmp_path, *options(server, request.getfixturevalue(client), *more), environment=kept(server, tmp_path)
    )
    assert (ended.status, told(ended)) == (0, "")
    assert (ended.summary["pulled"], ended.summary["failed"]) == (3, 0)
    assert who(server, "tags") == who(server, "manifests") == who(server, "blobs") == WHO


@pytest.mark.parametrize("client", ["skopeo", "ctr"])
def test_prunes_use_it_too(
    client: str, server: Guarded, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with guarded_registry(Passwords({"": {""}}), REPOSITORIES) as upstream:
        ended = drive(
            tmp_path, *options(server, request.getfixturevalue(client)), "--prune", f"--registry-url={upstream.url}",
            environment=kept(server, tmp_path),
        )  # fmt: skip
    assert (ended.status, ended.summary["pruned"], ended.summary["prune_failed"]) == (0, 3, 0)
    for repository, user in WHO.items():
        assert server.users(f"/v2/{repository}/manifests/", "DELETE") == {user}


def test_crane_has_one_login_per_server_and_the_run_says_so(
    server: Guarded, crane: str, tmp_path: Path
) -> None:
    ended = drive(tmp_path, *options(server, crane, "--keep-going"), environment=kept(server, tmp_path))
    warning = (
        "ocidriver: warning: crane has one login per server, so it pulls 2 of 3 images without the login that is meant "
        f"for them, such as {server.address}/team-b; use --client skopeo or --client ctr"
    )
    assert one_line(ended) == warning
    assert (ended.summary["pulled"], ended.summary["errors"]) == (1, {"unauthorized": 2})
    assert who(server, "tags") == WHO


def test_crane_needs_no_warning_where_all_images_have_the_same_login(
    server: Guarded, crane: str, tmp_path: Path
) -> None:
    """The one that fits, wherever it is in the file."""
    ended = drive(
        tmp_path, *options(server, crane, "--filter=team-b/app"), environment=kept(server, tmp_path)
    )
    assert (ended.status, told(ended), ended.summary["pulled"]) == (0, "", 1)


def test_crane_takes_a_login_for_just_this_repository(server: Guarded, crane: str, tmp_path: Path) -> None:
    """As go-containerregistry does, beside one for the server."""
    exact = dict(zip(REPOSITORIES, (A, B, C), strict=True))
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths(server, **exact)}))
    ended = drive(
        tmp_path, *options(server, crane), environment={**apart(tmp_path), "DOCKER_CONFIG": str(tmp_path)}
    )
    assert (ended.status, told(ended), ended.summary["pulled"]) == (0, "", 3)


@pytest.mark.parametrize("client", ["crane", "skopeo", "ctr"])
def test_doctor_tries_one_image_per_scope(
    client: str, server: Guarded, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    words = options(server, request.getfixturevalue(client))
    status, checks, _ = doctor(*words, environment=kept(server, tmp_path))
    pulls = [each for each in checks if each["name"] == "pull"]
    well = [status == 0, *(each["status"] == "ok" for each in pulls)]
    assert well == ([False, True, False, False] if client == "crane" else [True] * 4), checks
    assert [each["message"].partition(" ")[0].rstrip(":") for each in pulls] == [
        f"{name}:v1" for name in REPOSITORIES
    ]
    if client == "crane":
        assert any("crane has one login per server" in each["message"] for each in checks)
    else:
        assert " with the login for team-b/sub in " in pulls[2]["message"]
    (told,) = (each["message"] for each in checks if each["name"] == "credentials")
    assert told.endswith(", ".join(f"{server.address}/{path}" for path in ("team-a", "team-b", "team-b/sub")))


@pytest.mark.parametrize("client", ["skopeo", "ctr"])
def test_a_scope_is_renewed(
    client: str, server: Guarded, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    environment = kept(server, tmp_path)
    words = options(server, request.getfixturevalue(client), "--filter=team-b/")
    running = start(
        tmp_path,
        *[word for word in words if word != "--passes=1"],
        "--iteration-seconds=1000",
        environment=environment,
    )
    wait_until(lambda: server.users("/v2/team-b/sub/app/blobs/"))
    new = ("c", "renewed")
    assert isinstance(server.guard, Passwords)
    server.guard.allowed["team-b/sub"].add(basic(*new))
    scopes = {"team-a": A, "team-b": B, "team-b/sub": new}
    (tmp_path / "new").write_text(json.dumps({"auths": auths(server, **scopes)}))
    (tmp_path / "new").replace(tmp_path / "auth.json")
    wait_until(lambda: "c:renewed" in server.users("/v2/team-b/sub/app/blobs/"))
    running.terminate()
    ended = finish(running, tmp_path)
    assert ended.summary["failed"] == 0
    assert server.users("/v2/team-b/app/") == {"b:pw-of-b"}


def test_the_name_is_that_on_the_server_under_test(skopeo: str, tmp_path: Path) -> None:
    """A layout with a prefix: the scope is a path of the cache, not of the upstream."""
    inside = Passwords({"proxy/team-a": {basic(*A)}, "proxy/team-b": {basic(*B)}})
    with (
        guarded_registry(inside, [f"proxy/{name}" for name in REPOSITORIES]) as cache,
        guarded_registry(Passwords({"": {""}}), REPOSITORIES) as upstream,
    ):
        scopes: Mapping[str, tuple[str, str]] = {
            "proxy/team-a": A,
            "proxy/team-b": B,
            "team-a": C,
            "team-b": C,
        }
        (tmp_path / "auth.json").write_text(json.dumps({"auths": auths(cache, **scopes)}))
        ended = drive(
            tmp_path, f"--pullthrough-url={cache.address}", f"--registry-url={upstream.address}", "--workers=1",
            "--passes=1", "--layout=harbor:proxy", f"--client={skopeo}",
            environment={**apart(tmp_path), "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")},
        )  # fmt: skip
    assert (ended.status, ended.summary["pulled"]) == (0, 3)
    assert read(tmp_path, 0).outcomes() == ["ok"] * 3
