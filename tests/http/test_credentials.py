from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Thread

import pytest
from yarl import URL

from lib.http import credential_helper, credentials
from lib.http.credentials import Credentials, CredentialsError, Login, Logins
from tests.support.waiting import SECONDS

SECRET = "s3cret-pw"


def encoded(pair: str) -> str:
    return base64.b64encode(pair.encode()).decode()


def configured(folder: Path, config: object, **env: str) -> Credentials:
    (folder / "config.json").write_text(json.dumps(config))
    return Credentials.from_environment({"DOCKER_CONFIG": str(folder), "PATH": "/usr/bin:/bin", **env})


def helper(folder: Path, name: str, script: str) -> dict[str, str]:
    """A credential helper of this name in `folder`, and the environment that finds it."""
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


@pytest.mark.parametrize(
    ("entry", "login"),
    [
        ({"auth": encoded(f"bob:{SECRET}")}, Login("bob", SECRET)),
        ({"auth": encoded("bob:a:b:c")}, Login("bob", "a:b:c")),
        ({"auth": encoded(f"bob:{SECRET}\0\0")}, Login("bob", SECRET)),
        ({"username": "bob", "password": SECRET}, Login("bob", SECRET)),
        ({"identitytoken": "idt"}, Login(identity_token="idt")),
        ({"auth": encoded("bob:x"), "identitytoken": "idt"}, Login("bob", "x", "idt")),
        ({"auth": f"{encoded('bob:x')[:4]}\r\n{encoded('bob:x')[4:]}\n"}, Login("bob", "x")),
        ({"Auth": encoded("bob:x"), "IdentityToken": "idt"}, Login("bob", "x", "idt")),
        ({"auth": encoded("bob:x"), "username": "eve", "password": "y"}, Login("bob", "x")),
        ({"auth": encoded("bob:\0x\0")}, Login("bob", "x")),
        ({"auth": base64.b64encode(b"bob:\xfc").decode()}, Login("bob", "\udcfc")),
        ({"registrytoken": "rt"}, Login(registry_token="rt")),
        ({}, None),
        ({"auth": ""}, None),
    ],
)
def test_entries(tmp_path: Path, entry: object, login: Login | None) -> None:
    found = configured(tmp_path, {"auths": {"reg:5000": entry}})
    assert found.lookup("reg:5000") == login


@pytest.mark.parametrize(
    ("key", "host", "matches"),
    [
        ("reg.example", "reg.example", True),
        ("reg.example:5000", "reg.example:5000", True),
        ("https://reg.example", "reg.example", True),
        ("http://reg.example:5000/v2/", "reg.example:5000", True),
        ("https://reg.example/v1/", "reg.example", True),
        ("reg.example/v2/", "reg.example", True),
        ("REG.example", "reg.EXAMPLE", True),
        ("https://index.docker.io/v1/", "docker.io", True),
        ("https://index.docker.io/v1/", "registry-1.docker.io", True),
        ("docker.io", "index.docker.io", True),
        ("reg.example", "reg.example:5000", False),
        ("reg.example:5000", "reg.example", False),
        ("reg.example", "evil-reg.example", False),
        ("reg.example", "reg.example.evil", False),
    ],
)
def test_hosts(tmp_path: Path, key: str, host: str, matches: bool) -> None:
    assert bool(configured(tmp_path, {"auths": {key: {"auth": encoded("a:b")}}}).lookup(host)) is matches


def test_the_exact_key_wins(tmp_path: Path) -> None:
    auths = {"https://reg/v1/": {"auth": encoded("old:x")}, "reg": {"auth": encoded("new:x")}}
    assert configured(tmp_path, {"auths": auths}).lookup("reg") == Login("new", "x")


def test_where_the_file_is(tmp_path: Path) -> None:
    docker, home, run = tmp_path / "docker", tmp_path / "home", tmp_path / "run"
    files = {
        docker / "config.json": "docker",
        home / ".docker" / "config.json": "home",
        tmp_path / "auth.json": "podman",
        run / "containers" / "auth.json": "runtime",
        home / ".config" / "containers" / "auth.json": "settings",
    }
    env = {
        "DOCKER_CONFIG": str(docker),
        "HOME": str(home),
        "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json"),
        "XDG_RUNTIME_DIR": str(run),
    }
    for path, user in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"auths": {"reg": {"auth": encoded(f"{user}:x")}}}))

    def user_of(env: Mapping[str, str]) -> str:
        login = Credentials.from_environment(env).lookup("reg")
        return login.username if login else ""

    assert user_of(env) == "docker"
    (docker / "config.json").unlink()
    assert user_of(env) == "podman"
    del env["DOCKER_CONFIG"]
    assert user_of(env) == "home"
    (home / ".docker" / "config.json").unlink()
    assert user_of(env) == "podman"
    del env["REGISTRY_AUTH_FILE"]
    assert user_of(env) == "runtime"
    del env["XDG_RUNTIME_DIR"]
    assert user_of(env) == "settings"
    assert user_of({**env, "XDG_CONFIG_HOME": str(tmp_path / "run")}) == "runtime"


def test_each_host_is_looked_for_in_every_file(tmp_path: Path) -> None:
    docker = tmp_path / "config.json"
    podman = tmp_path / "auth.json"
    docker.write_text(json.dumps({"auths": {"one": {"auth": encoded("docker:x")}}}))
    podman.write_text(json.dumps({"auths": {host: {"auth": encoded("podman:x")} for host in ("one", "two")}}))
    found = Credentials.from_environment({"DOCKER_CONFIG": str(tmp_path), "REGISTRY_AUTH_FILE": str(podman)})
    one, two = found.lookup("one"), found.lookup("two")
    assert one == Login("docker", "x")
    assert two == Login("podman", "x")
    assert (one.path, two.path) == (docker, podman)


def test_a_host_may_have_its_default_port(tmp_path: Path) -> None:
    entries = {"bare": {"auth": encoded("a:x")}, "ported:443": {"auth": encoded("b:x")}}
    found = configured(tmp_path, {"auths": {**entries, "[::1]:5000": {"auth": encoded("c:x")}}})

    def login(url: str) -> Login | None:
        return asyncio.run(found.logins_for(URL(url))).first

    assert login("https://bare") == login("https://bare:443") == Login("a", "x")
    assert login("https://ported") == login("https://ported:443") == Login("b", "x")
    assert login("http://[::1]:5000") == Login("c", "x")
    assert login("http://ported") is login("https://bare:5000") is None


def test_no_file_is_no_login(tmp_path: Path) -> None:
    none = Credentials.from_environment({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert (dict(none.files), none.lookup("reg")) == ({}, None)


@pytest.mark.parametrize(
    ("login", "entry"),
    [
        (Login("bob", SECRET), {"auth": encoded(f"bob:{SECRET}")}),
        (Login(identity_token="idt"), {"auth": encoded("<token>:"), "identitytoken": "idt"}),
        (Login("bob", "", "idt"), {"auth": encoded("bob:"), "identitytoken": "idt"}),
        (Login(registry_token="rt"), {"registrytoken": "rt"}),
    ],
)
def test_what_the_clients_are_given(tmp_path: Path, login: Login, entry: object) -> None:
    """This login alone, in the form that both take; what else the user has configured stays."""
    auths = {"reg": {"auth": encoded("x:y")}, "other": {"auth": encoded("x:y")}}
    user = configured(
        tmp_path, {"auths": auths, "credsStore": "s", "credHelpers": {"o": "h"}, "HttpHeaders": {"A": "1"}}
    )
    assert user.client_config("reg:443", Logins(login)) == {
        "HttpHeaders": {"A": "1"},
        "auths": {"reg:443": entry},
    }
    assert user.client_config("reg:443", Logins()) == {"HttpHeaders": {"A": "1"}}


def test_the_clients_ask_the_helper_themselves(tmp_path: Path) -> None:
    """skopeo knows no credsStore, so the helper is named for the host; its secret goes into no file."""
    env = helper(tmp_path, "all", 'echo "{\\"Username\\":\\"bob\\",\\"Secret\\":\\"s3cret-pw\\"}"')
    found = configured(tmp_path, {"credsStore": "all"}, **env)
    login = found.lookup("reg")
    assert login == Login("bob", SECRET)
    assert found.client_config("reg", Logins(login)) == {"credHelpers": {"reg": "all"}}
    hub = {"docker.io": "all", "https://index.docker.io/v1/": "all"}
    assert found.client_config("docker.io", Logins(login)) == {"credHelpers": hub}


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"auths": ' + "[" * 100_000, "\x80\xff"])
def test_a_broken_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CredentialsError, match=r"config\.json is not") as caught:
        Credentials.from_environment({"DOCKER_CONFIG": str(tmp_path)}).lookup("reg")
    assert "\n" not in str(caught.value)


def test_an_empty_file_is_no_login(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("")
    assert Credentials.from_environment({"DOCKER_CONFIG": str(tmp_path)}).lookup("reg") is None


@pytest.mark.parametrize(
    "entry",
    [
        {"auth": "%%%"},
        {"auth": encoded("nocolon")},
        {"auth": encoded(":noname")},
        {"auth": encoded("bob:x").rstrip("=")},
        {"auth": f" {encoded('bob:x')}"},
        {"auth": 3},
        {"auth": encoded("bob:a\r\nX-Evil: 1")},
        {"username": f"{SECRET}\r\n"},
        {"identitytoken": 3},
        {"username": "\ud800", "password": SECRET},
        "text",
    ],
)
def test_a_broken_entry_names_the_file_and_the_way_out(tmp_path: Path, entry: object) -> None:
    broken = configured(tmp_path, {"auths": {"reg:1": entry}})
    with pytest.raises(CredentialsError, match="docker login reg:1") as caught:
        broken.lookup("reg:1")
    assert str(tmp_path) in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_helper_is_asked_once_with_the_host_on_stdin(tmp_path: Path) -> None:
    script = (
        f'read host; echo "$1 $host" >>{tmp_path}/asked; echo \'{{"Username":"bob","Secret":"{SECRET}"}}\''
    )
    env = helper(tmp_path, "mine", script)
    found = configured(tmp_path, {"credHelpers": {"reg:1": "mine"}}, **env)
    assert found.lookup("reg:1") == found.lookup("reg:1") == Login("bob", SECRET)
    assert (tmp_path / "asked").read_text() == "get reg:1\n"
    assert found.lookup("other") is None


def test_the_store_serves_all_hosts_and_the_hub_by_its_key(tmp_path: Path) -> None:
    env = helper(tmp_path, "all", 'read host; echo "{\\"Username\\":\\"$host\\",\\"Secret\\":\\"x\\"}"')
    found = configured(tmp_path, {"credsStore": "all", "auths": {"docker.io": {}}}, **env)
    assert found.lookup("docker.io") == Login("https://index.docker.io/v1/", "x")
    assert found.lookup("reg:1") == Login("reg:1", "x")


def test_a_helper_gives_an_identity_token(tmp_path: Path) -> None:
    env = helper(tmp_path, "t", """echo '{"Username":"<token>","Secret":"idt"}'""")
    assert configured(tmp_path, {"credsStore": "t"}, **env).lookup("reg") == Login(identity_token="idt")


def test_a_helper_without_the_host_leaves_it_to_the_file(tmp_path: Path) -> None:
    env = helper(tmp_path, "empty", "echo credentials not found in native keychain; exit 1")
    auths = {"reg": {"auth": encoded("bob:x")}}
    found = configured(tmp_path, {"credsStore": "empty", "auths": auths}, **env)
    assert (found.lookup("reg"), found.lookup("other")) == (Login("bob", "x"), None)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo boom; exit 1", "failed for reg"),
        ("echo no json", "no valid answer"),
        ("echo '[]'", "no valid answer"),
        ("echo '{\"Username\": 3}'", "no valid answer"),
    ],
)
def test_a_bad_helper(tmp_path: Path, script: str, reason: str) -> None:
    env = helper(tmp_path, "bad", script)
    with pytest.raises(CredentialsError, match=reason):
        configured(tmp_path, {"credsStore": "bad"}, **env).lookup("reg")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("gone", "not on PATH"), ("../../bin/sh", "not valid"), ("a b;c", "not valid"), (7, "not valid")],
)
def test_a_helper_that_cannot_be(tmp_path: Path, name: object, reason: str) -> None:
    with pytest.raises(CredentialsError, match=reason):
        configured(tmp_path, {"credsStore": name}).lookup("reg")


def test_a_helper_that_hangs_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credential_helper, "HELPER_SECONDS", 0.3)
    env = helper(tmp_path, "slow", f"(sleep 1; touch {tmp_path}/alive) & sleep 600")
    started = time.monotonic()
    with pytest.raises(CredentialsError, match=r"gave no answer for reg within 0\.3s"):
        configured(tmp_path, {"credsStore": "slow"}, **env).lookup("reg")
    assert time.monotonic() - started < SECONDS  # not the 600 it would take
    time.sleep(1.0)
    assert not (tmp_path / "alive").exists()


def test_abandon_ends_a_running_helper(tmp_path: Path) -> None:
    env = helper(tmp_path, "slow", f"touch {tmp_path}/started; sleep 600")
    found = configured(tmp_path, {"credsStore": "slow"}, **env)
    failures: list[Exception] = []

    def look() -> None:
        try:
            found.lookup("reg")
        except CredentialsError as error:
            failures.append(error)

    thread = Thread(target=look)
    thread.start()
    while not (tmp_path / "started").exists():
        time.sleep(0.01)
    found.abandon()
    thread.join(SECONDS)
    assert not thread.is_alive()
    assert len(failures) == 1


def test_no_secret_in_any_repr(tmp_path: Path) -> None:
    login = Login("bob", SECRET, SECRET, SECRET)
    assert SECRET not in repr(login)
    assert SECRET not in repr(configured(tmp_path, {"auths": {"reg": {"password": SECRET}}}))


def test_a_password_that_is_not_utf8_is_sent_as_it_is(tmp_path: Path) -> None:
    auth = base64.b64encode(b"bob:\xfc").decode()
    login = configured(tmp_path, {"auths": {"reg": {"auth": auth}}}).lookup("reg")
    assert login is not None
    assert (login.basic, login.password_bytes, login.as_entry()) == (auth, b"\xfc", {"auth": auth})


def test_the_variable_of_pipelines(tmp_path: Path) -> None:
    def found(value: object, config: object) -> tuple[Login | None, list[str]]:
        text = value if isinstance(value, str) else json.dumps(value)
        known = configured(tmp_path, config, DOCKER_AUTH_CONFIG=text)
        return known.lookup("reg"), known.warnings

    file, variable = ({"auths": {"reg": {"auth": encoded(f"{name}:x")}}} for name in ("file", "variable"))
    assert found(variable, file) == (Login("variable", "x"), [])
    assert found({"auths": {}}, file) == found("", file) == (Login("file", "x"), [])
    for bad in (
        "{",
        "[]",
        {**variable, "credsStore": "x"},
        {"auths": {"reg": {"username": "a", "password": "b"}}},
    ):
        login, (warning,) = found(bad, file)
        assert login == Login("file", "x")
        assert warning.startswith("DOCKER_AUTH_CONFIG is not used, because Docker takes nothing but ")


def test_a_broken_file_matters_where_it_is_reached(tmp_path: Path) -> None:
    (tmp_path / "auth.json").write_text("{")
    auths = {"one": {"auth": encoded("a:x")}}
    found = configured(tmp_path, {"auths": auths}, REGISTRY_AUTH_FILE=str(tmp_path / "auth.json"))
    assert found.lookup("one") == Login("a", "x")
    with pytest.raises(CredentialsError, match=r"auth\.json is not valid JSON"):
        found.lookup("two")


SCOPED = {
    "reg": "server",
    "reg/team": "team",
    "reg/team/sub": "sub",
    "other/team": "no",
    "https://reg/v1/": "no",
}


@pytest.mark.parametrize(
    ("repository", "user"),
    [
        ("team/sub/app", "sub"),
        ("team/sub", "sub"),
        ("team/subway", "team"),
        ("team", "team"),
        ("teammate/app", "server"),
        ("app", "server"),
        ("", "server"),
    ],
)
def test_the_longest_path_counts(tmp_path: Path, repository: str, user: str) -> None:
    auths = {key: {"auth": encoded(f"{name}:x")} for key, name in SCOPED.items()}
    logins = configured(tmp_path, {"auths": auths}).logins("reg")
    assert logins.of(repository) == Login(user, "x")
    assert set(logins.scopes) == {"team", "team/sub"}


def test_for_each_repository_the_first_file_with_a_login_counts(tmp_path: Path) -> None:
    """As in containers/image: also if the later one has a longer path."""

    def entries(**users: str) -> dict[str, object]:
        return {"auths": {key: {"auth": encoded(f"{user}:x")} for key, user in users.items()}}

    second = tmp_path / "auth.json"
    second.write_text(json.dumps(entries(**{"reg/a/b": "late-ab", "reg/c": "late-c", "reg": "late"})))
    logins = configured(tmp_path, entries(**{"reg/a": "early-a"}), REGISTRY_AUTH_FILE=str(second)).logins(
        "reg"
    )
    names = [login.username for login in map(logins.of, ("a/b", "c/x", "d")) if login]
    assert names == ["early-a", "late-c", "late"]
    assert Logins(None, {"a": Login("a", "x")}).of("b") is None


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    lines: list[str] = []
    found = configured(tmp_path, {"auths": {"reg": {"auth": encoded("bob:old")}}})
    found.log = lines.append
    assert found.lookup("reg") == Login("bob", "old")
    version, path = found.version, tmp_path / "config.json"
    for text, password in (
        ("{", "old"),
        ("", "old"),
        (None, "old"),
        ("{}", "old"),
        ("[]", "old"),
        ("new", "new"),
    ):
        good = json.dumps({"auths": {"reg": {"auth": encoded("bob:new")}}})
        path.unlink() if text is None else path.write_text(good if text == "new" else text)
        assert found.lookup("reg") == Login("bob", password)
    assert lines == [
        f"{path} is not valid JSON; its last logins stay in use",
        f"{path} is empty; its last logins stay in use",
        f"{path} is gone; its last logins stay in use",
        "there is no login for reg any more; the last one stays in use",
        f"{path} is not a JSON object; its last logins stay in use",
        f"the login for reg was renewed ({path})",
    ]
    assert found.version > version


def test_two_changes_within_a_tick_of_the_file_systems_clock(tmp_path: Path) -> None:
    """The second one leaves the time stamp and the size as they were."""
    path = tmp_path / "config.json"
    found = configured(tmp_path, {"auths": {"reg": {"auth": encoded("bob:old1")}}})
    assert found.lookup("reg") == Login("bob", "old1")
    stamp = path.stat().st_mtime_ns
    for number in range(2, 9):
        path.write_text(json.dumps({"auths": {"reg": {"auth": encoded(f"bob:old{number}")}}}))
        os.utime(path, ns=(stamp, stamp))
        assert found.lookup("reg") == Login("bob", f"old{number}")


def test_a_helper_is_asked_again_after_a_refusal_but_not_in_quick_succession(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = helper(
        tmp_path, "mine", f'echo x >>{tmp_path}/asked; echo "{{\\"Username\\":\\"a\\",\\"Secret\\":\\"x\\"}}"'
    )
    found = configured(tmp_path, {"credHelpers": {"reg": "mine"}}, **env)
    found.lookup("reg")
    found.renew("reg", "other")
    assert (tmp_path / "asked").read_text() == "x\n"
    monkeypatch.setattr(credentials, "HELPER_PAUSE", 0.0)
    found.renew("reg", "other")
    assert (tmp_path / "asked").read_text() == "x\nx\n"
