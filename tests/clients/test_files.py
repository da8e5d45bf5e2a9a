"""The clients' private files: that crane gets a config file just where there is something to say or to hide."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lib.clients.files import write_client_files
from lib.http.address import parse_endpoint
from lib.http.credentials import Credentials, Login
from lib.http.tls import Tls
from lib.processes.scratch import Scratch
from lib.servers.route import Route

SERVER = parse_endpoint("--pullthrough-url", "cache:8080")
BY_PATH = Route("path", "", SERVER, "", "")
BY_HEADER = Route("header", "", SERVER, "", "", ("X-Registry", "up.local:5000"))
LOGIN = Login("bob", "secret")
NOTHING: Mapping[Path, Mapping[str, object]] = {}
PODMAN = {Path("/home/bob/.config/containers/auth.json"): {"auths": {"elsewhere": {"auth": "Ym9iOng="}}}}


@pytest.fixture
def scratch() -> Iterator[Scratch]:
    with Scratch() as found:
        yield found


@pytest.mark.parametrize(
    ("client", "route", "login", "users", "written"),
    [
        ("crane", BY_PATH, None, NOTHING, None),
        ("crane", BY_PATH, None, PODMAN, {}),
        ("crane", BY_HEADER, None, NOTHING, {"HttpHeaders": {"X-Registry": "up.local:5000"}}),
        ("crane", BY_PATH, LOGIN, NOTHING, {"auths": {"cache:8080": {"auth": "Ym9iOnNlY3JldA=="}}}),
        ("skopeo", BY_PATH, None, NOTHING, {}),
    ],
    ids=["nothing", "a user's file to hide", "a header", "a login", "skopeo"],
)
def test_a_config_file_is_there_where_it_is_needed(
    client: str,
    route: Route,
    login: Login | None,
    users: Mapping[Path, Mapping[str, object]],
    written: object,
    scratch: Scratch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DOCKER_AUTH_CONFIG", raising=False)
    files = write_client_files(client, route, Credentials(users, {}), login, Tls(), scratch)
    assert files.environment["DOCKER_CONFIG"] == str(files.config.parent)
    assert files.config.parent.is_dir()
    assert (json.loads(files.config.read_text()) if files.config.exists() else None) == written


def test_a_login_that_a_pipeline_has_put_into_the_environment_is_found(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """crane looks for it where it has a config file."""
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", '{"auths": {}}')
    files = write_client_files("crane", BY_PATH, Credentials(NOTHING, {}), None, Tls(), scratch)
    assert json.loads(files.config.read_text()) == {}


def test_what_a_way_before_needed_is_not_left(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_AUTH_CONFIG", raising=False)
    credentials = Credentials(NOTHING, {})
    write_client_files("crane", BY_HEADER, credentials, None, Tls(), scratch)
    files = write_client_files("crane", BY_PATH, credentials, None, Tls(), scratch)
    assert not files.config.exists()
