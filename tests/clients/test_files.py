"""The clients' private files: that crane gets a config file just where there is something to say or to hide."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lib.clients.client import Executable, Orders
from lib.clients.files import client_environment, write_private
from lib.clients.table import client_kind
from lib.http.credentials import Credentials, Login, Logins
from lib.http.tls import Tls
from lib.processes.scratch import Scratch

HEADER = ("X-Registry", "up.local:5000")
LOGIN = Login("bob", "secret")
NOTHING: Mapping[Path, Mapping[str, object]] = {}
PODMAN = {Path("/home/bob/.config/containers/auth.json"): {"auths": {"elsewhere": {"auth": "Ym9iOng="}}}}


def set_up(
    client: str,
    scratch: Scratch,
    header: tuple[str, str] | None = None,
    credentials: Credentials | None = None,
    login: Login | None = None,
) -> Path:
    """Where the client is told to look for its configuration."""
    known, logins = credentials or Credentials(NOTHING, {}), Logins(login)
    orders = Orders(
        platform="linux/amd64",
        host="cache:8080",
        server_url="http://cache:8080",
        verify=True,
        folder=scratch.folder,
        tls=Tls(),
        header=header,
        docker_config=known.client_config("cache:8080", logins),
        logins=logins,
        user_configured=bool(known.files),
        elsewhere=scratch.elsewhere,
        environment={},
        caution=pytest.fail,
    )
    made = client_kind(client).set_up(Executable("/bin/client", "1"), orders)
    return Path(made.environment["DOCKER_CONFIG"]) / "config.json"


@pytest.fixture
def scratch() -> Iterator[Scratch]:
    with Scratch() as found:
        yield found


@pytest.mark.parametrize(
    ("client", "header", "login", "users", "written"),
    [
        ("crane", None, None, NOTHING, None),
        ("crane", None, None, PODMAN, {}),
        ("crane", HEADER, None, NOTHING, {"HttpHeaders": {"X-Registry": "up.local:5000"}}),
        ("crane", None, LOGIN, NOTHING, {"auths": {"cache:8080": {"auth": "Ym9iOnNlY3JldA=="}}}),
        ("skopeo", None, None, NOTHING, {}),
    ],
    ids=["nothing", "a user's file to hide", "a header", "a login", "skopeo"],
)
def test_a_config_file_is_there_where_it_is_needed(
    client: str,
    header: tuple[str, str] | None,
    login: Login | None,
    users: Mapping[Path, Mapping[str, object]],
    written: object,
    scratch: Scratch,
) -> None:
    config = set_up(client, scratch, header, Credentials(users, {}), login)
    assert config.parent.is_dir()
    assert (json.loads(config.read_text()) if config.exists() else None) == written


def test_clients_do_not_see_the_variables_that_name_logins(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """crane would prefer these to the private file, and then both halves of the tool could differ."""
    for name in ("DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE"):
        monkeypatch.setenv(name, "something")
        assert name not in client_environment(scratch)


def test_what_a_way_before_needed_is_not_left(scratch: Scratch) -> None:
    assert set_up("crane", scratch, HEADER).exists()
    assert not set_up("crane", scratch).exists()


def test_a_private_file_is_replaced_in_one_go(tmp_path: Path) -> None:
    """A client that has it open goes on with the old content; nobody else can read it, whatever the umask."""
    before = os.umask(0)
    try:
        path = write_private(tmp_path / "config.json", b"old")
        with path.open("rb") as reading:
            write_private(path, b"new")
            assert (reading.read(), path.read_bytes()) == (b"old", b"new")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert [each.name for each in tmp_path.iterdir()] == ["config.json"]
