"""What clients read beside their command line: nothing of it changes where a pull goes, or what it requests."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from lib.clients.containers_config import NOT_PASSED_ON as SKOPEO_NOT_PASSED_ON
from lib.clients.containers_config import not_read
from lib.clients.crane import NOT_PASSED_ON as CRANE_NOT_PASSED_ON
from lib.clients.ctr import NOT_PASSED_ON as CTR_NOT_PASSED_ON
from lib.clients.surroundings import helpers_as_before, variables_in, without
from tests.doubles.noting import NotingRegistry, noting_registry
from tests.support.driving import Ended, command, drive, files, read
from tests.support.kinds import kinds
from tests.support.mounts import run_with_mounts
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "reference" / "what-clients-read.md"
IMAGE = "oci-gzip"
SAID = " is kept from these, which would change where it pulls or what it requests: "
HERE, ELSEWHERE = "@HERE@", "@ELSEWHERE@"
"""In a case, host:port of the server under test, and of another one that is never to be asked."""
HOME = "@HOME@"
MIRROR = (
    f'[[registry]]\nlocation = "{HERE}"\n[[registry.mirror]]\nlocation = "{ELSEWHERE}"\ninsecure = true\n'
)
LOOKASIDE = f"default-docker:\n  lookaside: http://{ELSEWHERE}/signatures\n"
ATTACHMENTS = "default-docker:\n  use-sigstore-attachments: true\n"
REJECT = '{"default": [{"type": "reject"}]}'
LOGIN_ELSEWHERE = json.dumps({"auths": {ELSEWHERE: {"auth": "Ym9iOnB3"}}})


@dataclass(frozen=True)
class Case:
    """Files by their path in the user's home, or on the machine if absolute. `said` is what the log names, if any."""

    name: str
    files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    said: str | None = None


def _user_file(path: str, text: str) -> Case:
    return Case(path, {path: text}, said=f"{HOME}/{path}")


def _conf(name: str, text: str) -> Case:
    path = ".config/containers/registries.conf"
    return Case(name, {path: text}, said=f"{HOME}/{path}")


def _variable(name: str, value: str, *, text: str = "", said: bool = True) -> Case:
    """A variable that names this value, or a file with this text."""
    path = "named"
    given = f"{HOME}/{path}" if text else value
    shown = (f"{HOME}/{path}" if text else f"${name}") if said else None
    return Case(name, {path: text} if text else {}, {name: given}, shown)


SKOPEO = (
    _conf("a mirror", MIRROR),
    _conf("a mirror for digests", MIRROR.replace("[[registry.m", "mirror-by-digest-only = false\n[[registry.m")),
    _conf("another location", f'[[registry]]\nprefix = "{HERE}"\nlocation = "{ELSEWHERE}"\ninsecure = true\n'),
    _conf(
        "another location of one image",
        f'[[registry]]\nprefix = "{HERE}/{IMAGE}"\nlocation = "{ELSEWHERE}/{IMAGE}"\n',
    ),
    _conf("a blocked registry", f'[[registry]]\nlocation = "{HERE}"\nblocked = true\n'),
    _conf("a blocked registry in the old form", f'[registries.block]\nregistries = ["{HERE}"]\n'),
    _conf("a secure registry", f'[[registry]]\nlocation = "{HERE}"\ninsecure = false\n'),
    _conf("an array", f'registry = [{{location = "{HERE}", blocked = true}}]\n'),
    _conf("a credential helper", 'credential-helpers = ["no-such-helper"]\n'),
    Case("no valid file", {".config/containers/registries.conf": "[["}),
    Case("a search list", {".config/containers/registries.conf": f'unqualified-search-registries = ["{ELSEWHERE}"]\n'}),
    _user_file(".config/containers/registries.conf.d/50-mirror.conf", MIRROR),
    _user_file(".config/containers/registries.d/default.yaml", LOOKASIDE),
    _user_file(".config/containers/registries.d/attachments.yaml", ATTACHMENTS),
    _user_file(".config/containers/policy.json", REJECT),
    Case(
        "a certificate without its key",
        {f".config/containers/certs.d/{HERE}/client.cert": "no certificate"},
        said=f"{HOME}/.config/containers/certs.d/{HERE}",
    ),
    Case(".cache/containers/short-name-aliases.conf", {".cache/containers/short-name-aliases.conf": "[["}),
    Case("$XDG_CACHE_HOME", {"cache/containers/short-name-aliases.conf": "[["}, {"XDG_CACHE_HOME": f"{HOME}/cache"}),
    Case("a place for what is known of layers", {}, {"XDG_DATA_HOME": f"{HOME}/data"}),
    Case(
        "$XDG_CONFIG_HOME",
        {"settings/containers/registries.conf": MIRROR},
        {"XDG_CONFIG_HOME": f"{HOME}/settings"},
        f"{HOME}/settings/containers/registries.conf",
    ),
    *(
        _variable(name, "", text=MIRROR)
        for name in ("CONTAINERS_REGISTRIES_CONF", "CONTAINERS_REGISTRIES_CONF_OVERRIDE", "REGISTRIES_CONFIG_PATH")
    ),
    _variable("REGISTRY_AUTH_FILE", "", text=LOGIN_ELSEWHERE, said=False),
    Case(
        "variables of other commands",
        environment={
            "GNUPGHOME": f"{HOME}/gnupg",
            "KUBECONFIG": f"{HOME}/kube",
            "DOCKER_HOST": f"tcp://{ELSEWHERE}",
            "DOCKER_CERT_PATH": f"{HOME}/certificates",
            "CONTAINERS_CONF": f"{HOME}/containers.conf",
            "STORAGE_DRIVER": "none",
        },
    ),
)  # fmt: skip
CRANE = (
    Case(
        "headers",
        {".docker/config.json": json.dumps({"HttpHeaders": {"x-registry": ELSEWHERE}})},
        said="x-registry in HttpHeaders of the Docker configuration",
    ),
    Case("proxies", {".docker/config.json": json.dumps({"proxies": {"default": {"httpProxy": f"http://{ELSEWHERE}"}}})}),
    Case("$DOCKER_CONFIG", {"docker/config.json": LOGIN_ELSEWHERE}, {"DOCKER_CONFIG": f"{HOME}/docker"}),
    Case("$XDG_RUNTIME_DIR", {"run/containers/auth.json": LOGIN_ELSEWHERE}, {"XDG_RUNTIME_DIR": f"{HOME}/run"}),
    Case("auth.json", {".config/containers/auth.json": LOGIN_ELSEWHERE}),
    _variable("REGISTRY_AUTH_FILE", "", text=LOGIN_ELSEWHERE, said=False),
    _variable("GGCR_EXPERIMENT_ESTARGZ", "1", said=False),
    _variable("GITHUB_TOKEN", "secret", said=False),
    _variable("DOCKER_HOST", f"tcp://{ELSEWHERE}", said=False),
)  # fmt: skip
CTR = (
    _variable("CONTAINERD_ADDRESS", f"{HOME}/absent.sock"),
    _variable("CONTAINERD_NAMESPACE", "no / name"),
    _variable("CONTAINERD_SNAPSHOTTER", "none"),
    _variable("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{ELSEWHERE}"),
    _variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"http://{ELSEWHERE}"),
    _variable("OTEL_TRACES_EXPORTER", "none"),
    _variable("NOTIFY_SOCKET", f"{HOME}/notify", said=False),
)
OF_THE_RUNTIME = Case(
    "variables of the runtime",
    environment={"GODEBUG": "netdns=go", "GOMAXPROCS": "2", "GOGC": "200", "GOTRACEBACK": "all"},
)
CASES = {
    "skopeo": (*SKOPEO, OF_THE_RUNTIME),
    "crane": (*CRANE, OF_THE_RUNTIME),
    "ctr": (*CTR, OF_THE_RUNTIME),
}
SYSTEM = {
    "skopeo": {
        "/etc/containers/registries.conf": MIRROR,
        "/etc/containers/registries.conf.d/50-mirror.conf": MIRROR,
        "/etc/containers/registries.d/default.yaml": LOOKASIDE + "  use-sigstore-attachments: true\n",
        "/etc/containers/policy.json": REJECT,
        f"/etc/containers/certs.d/{HERE}/client.cert": "no certificate",
        f"/etc/docker/certs.d/{HERE}/client.cert": "no certificate",
        "/usr/share/containers/registries.conf": MIRROR,
    },
    "crane": {f"/etc/docker/certs.d/{HERE}/client.cert": "no certificate"},
    "ctr": {
        "/etc/containerd/config.toml": "no configuration",
        f"/etc/containerd/certs.d/{HERE}/hosts.toml": f'server = "http://{ELSEWHERE}"\n',
        f"/etc/docker/certs.d/{HERE}/client.cert": "no certificate",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Servers:
    """The server under test, and another one."""

    here: NotingRegistry
    elsewhere: NotingRegistry

    def filled_in(self, text: str, home: Path) -> str:
        places = {HERE: self.here.address, ELSEWHERE: self.elsewhere.address, HOME: str(home)}
        for word, place in places.items():
            text = text.replace(word, place)
        return text

    def clear(self) -> None:
        self.here.clear()
        self.elsewhere.clear()


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    images = {IMAGE: kinds("")[IMAGE]}
    with noting_registry(images) as here, noting_registry(images) as elsewhere:
        yield Servers(here, elsewhere)


def options(servers: Servers, client: str, folder: Path, *more: object) -> list[object]:
    listed = folder / "images"
    listed.write_text(f"{IMAGE}:v1\n")
    return [
        f"--pullthrough-url={servers.here.url}", f"--registry-url={servers.here.url}", f"--image-list={listed}",
        "--layout=direct", "--platform=linux/amd64", "--patterns=:v", "--passes=1", f"--client={client}", *more,
    ]  # fmt: skip


def around(home: Path, folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Variables with this home, and without any other place of the user's."""
    (folder / "tmp").mkdir(exist_ok=True)
    given = {"HOME": str(home), "XDG_RUNTIME_DIR": str(folder / "none"), "TMPDIR": str(folder / "tmp")}
    return {**given, **environment}


@dataclass(frozen=True)
class Usual:
    """A run with nothing around it: what the server is asked for, and what the log names."""

    requests: list[str]
    said: list[str]


Usually = Callable[[str], Usual]


@pytest.fixture(scope="module")
def usual(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Usually:
    """Of each client, once."""

    @cache
    def run(client: str) -> Usual:
        folder = tmp_path_factory.mktemp("usual")
        servers.clear()
        ended = drive(
            folder, *options(servers, client, folder), environment=around(folder / "home", folder, {})
        )
        assert (ended.status, ended.summary["pulled"]) == (0, 1), ended.log
        return Usual(sorted(servers.here.requests), named(ended))

    return run


def named(ended: Ended) -> list[str]:
    """What the log says that the client is kept from."""
    lines = [line.partition(SAID)[2] for line in ended.log.splitlines() if SAID in line]
    assert len(lines) < 2
    return lines[0].split(", ") if lines else []


def lay(servers: Servers, found: Mapping[str, str], home: Path) -> None:
    """Writes these files."""
    home.mkdir(exist_ok=True)
    for path, text in found.items():
        file = home / servers.filled_in(path, home).lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(servers.filled_in(text, home))


@pytest.mark.parametrize(
    ("client", "case"),
    [
        pytest.param(client, case, id=f"{client}-{case.name}")
        for client, cases in CASES.items()
        for case in cases
    ],
)
def test_nothing_of_the_users_changes_a_pull(
    client: str,
    case: Case,
    servers: Servers,
    usual: Usually,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    program, home = request.getfixturevalue(client), tmp_path / "home"
    expected = usual(program)
    lay(servers, case.files, home)
    before = sorted(home.rglob("*"))
    environment = {name: servers.filled_in(value, home) for name, value in case.environment.items()}
    servers.clear()
    ended = drive(
        tmp_path, *options(servers, program, tmp_path), environment=around(home, tmp_path, environment)
    )
    assert (ended.status, ended.summary["pulled"]) == (0, 1), ended.log
    assert servers.elsewhere.requests == []
    assert sorted(servers.here.requests) == expected.requests
    assert not any("X-Registry" in headers for headers in servers.here.headers)
    assert sorted(home.rglob("*")) == before
    said = [servers.filled_in(case.said, home)] if case.said else []
    assert sorted(named(ended)) == sorted(expected.said + said)


def test_other_headers_of_the_users_are_sent_and_named(servers: Servers, crane: str, tmp_path: Path) -> None:
    """A server may need one. Its value may be a secret."""
    config = {"HttpHeaders": {"X-Mine": "my-value", "X-Registry": ELSEWHERE}}
    lay(servers, {".docker/config.json": json.dumps(config)}, tmp_path / "home")
    servers.clear()
    ended = drive(
        tmp_path, *options(servers, crane, tmp_path), environment=around(tmp_path / "home", tmp_path, {})
    )
    of_crane = [each for each in servers.here.headers if each.get("User-Agent", "").startswith("crane/")]
    assert of_crane
    assert all(each.get("X-Mine") == "my-value" and "X-Registry" not in each for each in of_crane)
    assert "crane sends HttpHeaders of the Docker configuration with each request: X-Mine" in ended.log
    assert "my-value" not in ended.log


def test_a_batch_is_kept_from_them_too(servers: Servers, skopeo: str, tmp_path: Path) -> None:
    """`skopeo sync` reads certificates as its list says."""
    home = tmp_path / "home"
    for case in SKOPEO:
        lay(servers, case.files, home)
    lay(servers, {".config/containers/registries.conf": MIRROR}, home)
    given = options(servers, skopeo, tmp_path, "--batch=2")
    (tmp_path / "images").write_text(f"{IMAGE}:v1\n{IMAGE}:v2\n")
    servers.clear()
    ended = drive(tmp_path, *given, environment=around(home, tmp_path, {}))
    assert (ended.status, ended.summary["pulled"], servers.elsewhere.requests) == (0, 2, [])
    assert [line for line in servers.here.requests if ".sig" in line] == []


@pytest.mark.parametrize("client", SYSTEM)
def test_nothing_of_the_systems_changes_a_pull(
    client: str, servers: Servers, usual: Usually, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Folders of the test are mounted over those of the system, for the driver and its clients alone."""
    program = request.getfixturevalue(client)
    expected = usual(program)
    home, root = tmp_path / "home", tmp_path / "root"
    lay(servers, SYSTEM[client], root)
    # the upper folders of an overlay hide what the system has there
    mounts = [
        f"mount -t overlay none -o lowerdir={shlex.quote(str(root / place))}:/{place} /{place}"
        for place in ("etc", "usr/share")
        if (root / place).exists()
    ]
    servers.clear()
    done = run_with_mounts(
        mounts,
        command(*files(tmp_path), *options(servers, program, tmp_path)),
        around(home, tmp_path, {}),
    )
    ended: Ended = read(tmp_path, done.returncode, done.stdout, done.stderr)
    assert (ended.status, ended.summary["pulled"]) == (0, 1), (ended.log, done.stderr)
    assert servers.elsewhere.requests == []
    assert sorted(servers.here.requests) == expected.requests
    if client == "skopeo":
        shown = {servers.filled_in(path, home) for path in SYSTEM[client]}
        assert set(named(ended)) == {path.removesuffix("/client.cert") for path in shown}


def test_what_skopeo_knows_of_layers_is_not_written_to_the_system(
    servers: Servers, skopeo: str, tmp_path: Path
) -> None:
    """Root has a database for it, which all processes of skopeo lock and flush."""
    done = run_with_mounts(
        ["mount -t tmpfs none /var/lib"],
        command(*files(tmp_path), *options(servers, skopeo, tmp_path)),
        around(tmp_path / "home", tmp_path, {}),
        after="find /var/lib -mindepth 1",
    )
    ended: Ended = read(tmp_path, done.returncode, done.stdout, done.stderr)
    assert (ended.status, ended.summary["pulled"], ended.stdout) == (0, 1, "")


def test_a_credential_helper_still_gets_the_users_own_variables(
    servers: Servers, skopeo: str, tmp_path: Path
) -> None:
    """Helpers keep their files in the user's home, which is not that of skopeo."""
    home, programs, seen = tmp_path / "home", tmp_path / "programs", tmp_path / "seen"
    (home / ".docker").mkdir(parents=True)
    programs.mkdir()
    (home / ".docker" / "config.json").write_text(
        json.dumps({"credHelpers": {servers.here.address: "of-the-test"}})
    )
    helper = programs / "docker-credential-of-the-test"
    helper.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        f'open({str(seen)!r}, "a").write(json.dumps(dict(os.environ)) + "\\n")\n'
        'print(json.dumps({"ServerURL": "", "Username": "bob", "Secret": "pw"}))\n'
    )
    helper.chmod(0o755)
    environment = around(home, tmp_path, {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"})
    ended = drive(tmp_path, *options(servers, skopeo, tmp_path), environment=environment)
    assert (ended.status, ended.summary["pulled"]) == (0, 1), ended.log
    # the driver asks it first, then skopeo
    of_driver, *of_skopeo = map(json.loads, seen.read_text().splitlines())
    assert of_skopeo
    for each in of_skopeo:
        for name in ("HOME", "PATH", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "_CONTAINERS_ROOTLESS_UID"):
            assert each.get(name) == of_driver.get(name), name


def test_without_a_helper_the_path_is_the_users(tmp_path: Path) -> None:
    user = {"PATH": str(tmp_path), "HOME": "/home/it's mine"}
    assert helpers_as_before(tmp_path, [], user, {"HOME": "/x"}) == {}
    assert helpers_as_before(tmp_path, ["absent"], user, {"HOME": "/x"}) == {}


def test_patterns_of_variables() -> None:
    given = {"OTEL_X": "1", "OTEL_EMPTY": "", "HOME": "/", "AN_OTEL_X": "1"}
    assert without(given, ("OTEL_*",)) == {"HOME": "/", "AN_OTEL_X": "1"}
    assert variables_in(given, ("OTEL_*", "NONE")) == ["$OTEL_X"]


@pytest.mark.parametrize(
    ("name", "text", "matters"),
    [
        ("registries.conf", "", False),
        ("registries.conf", "# [[registry]]\n", False),
        ("registries.conf", 'unqualified-search-registries = ["docker.io"]\nshort-name-mode = "enforcing"\n', False),
        ("registries.conf", '[aliases]\n"registry" = "docker.io/library/registry"\n', False),
        ("registries.conf", "[registries.search]\nregistries = []\n", False),
        ("registries.conf", "  [[registry]]\n", True),
        ("registries.conf", "[[ registry ]]\n", True),
        ("registries.conf", "[registries.insecure]\n", True),
        ("registries.d/a.yaml", "default-docker:\n  lookaside-staging: file:///x\n", False),
        ("registries.d/a.yaml", "# lookaside: x\n", False),
        ("registries.d/a.yaml", "docker: {}\n", False),
        ("registries.d/a.yaml", "docker:\n  x:\n    sigstore: http://x\n", True),
        ("registries.d/a.yaml", 'docker: {"x": {"lookaside": "http://x"}}\n', True),
        ("policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}', False),
        ("policy.json", REJECT, True),
    ],
)  # fmt: skip
def test_files_are_named_only_if_they_would_change_something(
    name: str, text: str, matters: bool, tmp_path: Path
) -> None:
    path = tmp_path / ".config" / "containers" / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    others = set(not_read({"HOME": str(tmp_path / "absent")}, "host:1"))
    assert set(not_read({"HOME": str(tmp_path)}, "host:1")) - others == ({str(path)} if matters else set())


@pytest.mark.parametrize(
    "names", [SKOPEO_NOT_PASSED_ON, CRANE_NOT_PASSED_ON, CTR_NOT_PASSED_ON], ids=["skopeo", "crane", "ctr"]
)
def test_the_page_lists_every_variable_that_is_shut_out(names: tuple[str, ...]) -> None:
    page = PAGE.read_text()
    assert [name for name in names if f"`{name}`" not in page] == []


def test_the_page_lists_every_file_and_variable_of_these_tests() -> None:
    page = PAGE.read_text()
    for cases in CASES.values():
        for case in cases:
            for name in case.environment:
                wild = f"{name.partition('_')[0]}_*"
                assert f"`{name}`" in page or f"`{wild}`" in page, name
    for paths in SYSTEM.values():
        for path in paths:
            parts = path.split("/")
            depth = 4 if parts[1] == "usr" else 3
            assert "/".join(parts[:depth]) in page, path
            assert parts[depth] in page, path
