"""Every form in which users keep logins, with the real clients: both halves of the tool have the same login.

Either listing and pulls work, or the run ends with one line. What the client can do by hand, the run can do.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from lib.lab.servers import Server, docker_registry
from tests.doubles.secured import TESTER
from tests.support.driving import drive
from tests.support.programs import or_skip
from tests.support.secured_runs import CLIENTS, World, apart, one_line

# The driver itself gives ctr its login, so one form of each kind is enough.
OF_CTR = ("auth", "line breaks, as in MIME", "name and password", "a helper", "$DOCKER_AUTH_CONFIG")
GOOD = f"{TESTER.name}:{TESTER.password}".encode()
BAD = b"tester:not-the-password"


def encoded(pair: bytes = GOOD) -> str:
    return base64.b64encode(pair).decode()


@dataclass(frozen=True)
class Place:
    """Where a form is to be kept: `write` puts a file below the folder, for the server at `address`."""

    folder: Path
    address: str

    def write(self, path: str, content: object) -> str:
        """Its folder."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(target.parent)

    def auths(self, auth: object = None, **fields: object) -> dict[str, object]:
        entry = {**fields, "auth": auth} if auth is not None else fields or {"auth": encoded()}
        return {"auths": {self.address: entry}}

    def docker(self, config: object) -> dict[str, str]:
        return {"DOCKER_CONFIG": self.write("docker/config.json", config)}

    def helper(self, script: str) -> dict[str, str]:
        folder = self.write("bin/docker-credential-test", f"#!/bin/sh\n{script}\n")
        (self.folder / "bin/docker-credential-test").chmod(0o755)
        return {"PATH": f"{folder}:{os.environ['PATH']}"}


Form = Callable[[Place], dict[str, str]]
ANSWER = f"echo '{json.dumps({'Username': TESTER.name, 'Secret': TESTER.password})}'"
GOOD_FORMS: dict[str, Form] = {
    "auth": lambda p: p.docker(p.auths()),
    "line breaks, as in MIME": lambda p: p.docker(p.auths(base64.encodebytes(GOOD).decode())),
    "a line break in the middle": lambda p: p.docker(p.auths(f"{encoded()[:8]}\r\n{encoded()[8:]}")),
    "NULs behind the password": lambda p: p.docker(p.auths(encoded(GOOD + b"\0\0"))),
    "name and password": lambda p: p.docker(p.auths(username=TESTER.name, password=TESTER.password)),
    "other fields beside auth": lambda p: p.docker(p.auths(auth=encoded(), username="other", password="x", email="e")),
    "fields in another case": lambda p: p.docker({"Auths": {p.address: {"Auth": encoded()}}}),
    "a URL": lambda p: p.docker({"auths": {f"https://{p.address}": {"auth": encoded()}}}),
    "a URL of version 1": lambda p: p.docker({"auths": {f"https://{p.address}/v1/": {"auth": encoded()}}}),
    "an http URL": lambda p: p.docker({"auths": {f"http://{p.address}/v2/": {"auth": encoded()}}}),
    "no URL, and a slash": lambda p: p.docker({"auths": {f"{p.address}/": {"auth": encoded()}}}),
    "an entry that is empty, and a URL": lambda p: p.docker(
        {"auths": {p.address: {}, f"https://{p.address}/v1/": {"auth": encoded()}}}
    ),
    "auth is null": lambda p: p.docker({"auths": {p.address: {"auth": None, "username": TESTER.name,
                                                             "password": TESTER.password}}}),
    "text behind the JSON's end": lambda p: p.docker(f"{json.dumps(p.auths())}\n\n"),
    "another host that is broken": lambda p: p.docker(
        {"auths": {"other.example": {"auth": "%"}, p.address: {"auth": encoded()}}}
    ),
    "a helper": lambda p: {**p.docker({"credHelpers": {p.address: "test"}}), **p.helper(ANSWER)},
    "a store": lambda p: {**p.docker({"credsStore": "test", "auths": {p.address: {}}}), **p.helper(ANSWER)},
    "a store that knows nothing": lambda p: {
        **p.docker({"credsStore": "test", **p.auths()}),
        **p.helper("echo credentials not found in native keychain; exit 1"),
    },
    "a helper that is empty": lambda p: {
        **p.docker({"credsStore": "none", "credHelpers": {p.address: ""}, **p.auths()})
    },
    "$HOME/.docker": lambda p: {"HOME": str(Path(p.write("home/.docker/config.json", p.auths())).parent)},
    "$HOME/.dockercfg": lambda p: {"HOME": p.write("home/.dockercfg", p.auths()["auths"])},
    "$REGISTRY_AUTH_FILE": lambda p: {"REGISTRY_AUTH_FILE": f"{p.write('auth.json', p.auths())}/auth.json"},
    "$XDG_RUNTIME_DIR": lambda p: {"XDG_RUNTIME_DIR": str(Path(p.write("run/containers/auth.json", p.auths())).parent)},
    "$XDG_CONFIG_HOME": lambda p: {"XDG_CONFIG_HOME": str(Path(p.write("set/containers/auth.json", p.auths())).parent)},
    "$HOME/.config": lambda p: {"HOME": str(Path(p.write("home/.config/containers/auth.json", p.auths())).parents[1])},
    "$DOCKER_AUTH_CONFIG": lambda p: {"DOCKER_AUTH_CONFIG": json.dumps(p.auths())},
    "$DOCKER_AUTH_CONFIG and an empty file": lambda p: {
        **p.docker({}), "DOCKER_AUTH_CONFIG": json.dumps(p.auths())
    },
}  # fmt: skip
# What the run says, in one line, with every client.
BAD_FORMS: dict[str, tuple[Form, str]] = {
    "no padding": (lambda p: p.docker(p.auths(encoded(GOOD + b"!").rstrip("="))), "'auth' is not base64"),
    "blanks": (lambda p: p.docker(p.auths(f"{encoded()[:8]} {encoded()[8:]}")), "'auth' is not base64"),
    "no colon": (lambda p: p.docker(p.auths(encoded(b"tester"))), "'auth' is not a user name and a password"),
    "no name": (lambda p: p.docker(p.auths(encoded(b":secret"))), "'auth' is not a user name and a password"),
    "a line break in the password": (
        lambda p: p.docker(p.auths(encoded(GOOD + b"\n"))), "'auth' has a line break or a NUL"
    ),
    "half a file": (lambda p: p.docker('{"auths": '), "is not valid JSON"),
    "a wrong password": (lambda p: p.docker(p.auths(encoded(BAD))), "refuses the login in"),
    "no login": (lambda p: p.docker({}), "needs a login (401): run docker login"),
    "a helper that fails": (
        lambda p: {**p.docker({"credHelpers": {p.address: "test"}}), **p.helper("exit 1")},
        "docker-credential-test failed for",
    ),
    "a helper that is missing": (
        lambda p: p.docker({"credHelpers": {p.address: "absent"}}), "docker-credential-absent, which"
    ),
}  # fmt: skip
# Which of two logins counts: the client's own first place, as the client by hand would take it.
PRECEDENCE: dict[str, tuple[str, Form]] = {
    "docker's file first": (
        "crane",
        lambda p: {
            **p.docker(p.auths()),
            "REGISTRY_AUTH_FILE": f"{p.write('auth.json', p.auths(encoded(BAD)))}/auth.json",
        },
    ),
    "the variable before docker's file": (
        "crane", lambda p: {**p.docker(p.auths(encoded(BAD))), "DOCKER_AUTH_CONFIG": json.dumps(p.auths())}
    ),
    "the variable is not plain": (
        "crane",
        lambda p: {
            **p.docker(p.auths()),
            "DOCKER_AUTH_CONFIG": json.dumps({**p.auths(encoded(BAD)), "credsStore": "x"}),
        },
    ),
    "a broken file behind docker's": (
        "crane",
        lambda p: {
            **p.docker(p.auths()),
            "XDG_CONFIG_HOME": str(Path(p.write("set/containers/auth.json", "{")).parent),
        },
    ),
    "podman's file first": (
        "skopeo",
        lambda p: {
            **p.docker(p.auths(encoded(BAD))),
            "REGISTRY_AUTH_FILE": f"{p.write('auth.json', p.auths())}/auth.json",
        },
    ),
    "the session's file before ~/.docker": (
        "skopeo",
        lambda p: {
            "HOME": str(Path(p.write("home/.docker/config.json", p.auths(encoded(BAD)))).parent),
            "XDG_RUNTIME_DIR": str(Path(p.write("run/containers/auth.json", p.auths())).parent),
        },
    ),
    "the session's file before $DOCKER_CONFIG": (
        "skopeo",
        lambda p: {
            **p.docker(p.auths(encoded(BAD))),
            "XDG_RUNTIME_DIR": str(Path(p.write("run/containers/auth.json", p.auths())).parent),
        },
    ),
    "no variable of docker's": (
        "skopeo", lambda p: {**p.docker(p.auths()), "DOCKER_AUTH_CONFIG": json.dumps(p.auths(encoded(BAD)))}
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def server(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real registry with a password."""
    storage = tmp_path_factory.mktemp("forms") / "storage"
    shutil.copytree(world.storage, storage)
    more = {"storage": {"filesystem": {"rootdirectory": str(storage)}}}
    with or_skip(docker_registry(htpasswd=TESTER.htpasswd, more=more)) as found:
        yield found


def options(server: Server, client: str) -> list[str]:
    return [
        f"--pullthrough-url={server.address}", f"--registry-url={server.address}", "--layout=direct",
        "--filter=-0001", "--workers=1", "--passes=1", f"--client={client}",
    ]  # fmt: skip


def by_hand(client: str, path: str, image: str, environment: dict[str, str]) -> bool:
    """Whether the client itself can pull in this environment."""
    commands = {
        "crane": [path, "manifest", image],
        "skopeo": [path, "inspect", "--raw", "--tls-verify=false", f"docker://{image}"],
    }
    done = subprocess.run(
        commands[client], env={**os.environ, **environment}, capture_output=True, timeout=100, check=False
    )
    return done.returncode == 0


@pytest.mark.parametrize(("client", "form"), [*product(CLIENTS, GOOD_FORMS), *product(["ctr"], OF_CTR)])
def test_a_form_that_works(
    client: str, form: str, server: Server, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    environment = {**apart(tmp_path), **GOOD_FORMS[form](Place(tmp_path, server.address))}
    ended = drive(tmp_path, *options(server, request.getfixturevalue(client)), environment=environment)
    assert (ended.status, ended.stderr, ended.summary["failed"]) == (0, "", 0)
    assert ended.summary["pulled"] == ended.summary["images"] > 0


@pytest.mark.parametrize(
    ("client", "form"), [*product(CLIENTS, BAD_FORMS), *product(["ctr"], ["a wrong password"])]
)
def test_a_form_that_does_not(
    client: str, form: str, server: Server, world: World, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    made, words = BAD_FORMS[form]
    environment = {**apart(tmp_path), **made(Place(tmp_path, server.address))}
    path = request.getfixturevalue(client)
    ended = drive(tmp_path, *options(server, path), environment=environment)
    assert (ended.status, ended.events) == (1, ())
    assert words in one_line(ended)
    assert TESTER.password not in ended.stderr
    if client == "crane":  # skopeo by hand takes what is broken for no login
        assert not by_hand(client, path, f"{server.address}/{world.images[0]}", environment)


@pytest.mark.parametrize("case", PRECEDENCE)
def test_the_login_is_that_which_the_client_takes_by_hand(
    case: str, server: Server, world: World, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    client, form = PRECEDENCE[case]
    environment = {**apart(tmp_path), **form(Place(tmp_path, server.address))}
    path = request.getfixturevalue(client)
    assert by_hand(client, path, f"{server.address}/{world.images[0]}", environment)
    ended = drive(tmp_path, *options(server, path), environment=environment)
    assert (ended.status, ended.summary["failed"]) == (0, 0)
    assert ("DOCKER_AUTH_CONFIG is not used" in ended.stderr) is (case == "the variable is not plain")
