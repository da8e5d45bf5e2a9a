"""Registries behind TLS and logins, a spy in the client's place, and what is to be seen of a run with them."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from lib.lab.populate import Population, populate
from lib.lab.servers import Server, ServerMissing, docker_registry
from tests.doubles.certificates import Authority, Certificate, self_signed
from tests.doubles.secured import LISTER, PULLER, secured_registry
from tests.doubles.spy import Spy
from tests.doubles.tokens import TokenService, token_service
from tests.support.driving import Ended

CLIENTS = ["crane", "skopeo"]
REFRESH_TOKEN = "rt-Mn5-for-ever-T2"
POPULATION = Population(groups=2, images=2, layers=2, layer_size=1024, seed=30)
QUICK = ("--patterns=-0001,-0002", "--layout=distribution", "--iteration-seconds=0.4", "--tally-seconds=0.3")


@dataclass(frozen=True)
class World:
    """A CA, a certificate of its for localhost, and a registry's data with the images in it."""

    authority: Authority
    certificate: Certificate
    storage: Path
    images: tuple[str, ...]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: apt-get install openssl")
    folder = tmp_path_factory.mktemp("world")
    authority = Authority(folder)
    try:
        with docker_registry() as server:
            images = asyncio.run(populate(server.url, POPULATION))
            shutil.copytree(server.data_dir, folder / "storage")
    except ServerMissing as missing:
        pytest.skip(str(missing))
    return World(authority, authority.issue("localhost"), folder / "storage", tuple(images))


@dataclass(frozen=True)
class WithTokens:
    """A registry that takes tokens only, and the service that gives them."""

    server: Server
    service: TokenService


@pytest.fixture(scope="session")
def with_tokens(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WithTokens]:
    signing = self_signed(tmp_path_factory.mktemp("signing"), "signing", rsa=True)
    with (
        token_service(
            world.certificate, signing, basics=(PULLER.basic, LISTER.basic), refresh_token=REFRESH_TOKEN
        ) as service,
        secured_registry(world.certificate, storage=world.storage, auth=service.settings()) as server,
    ):
        yield WithTokens(server, service)


@pytest.fixture(scope="session")
def upstream(world: World) -> Iterator[Server]:
    """Wants a login."""
    with secured_registry(world.certificate, user=LISTER, storage=world.storage) as server:
        yield server


@pytest.fixture(scope="session")
def cache(world: World, with_tokens: WithTokens) -> Iterator[Server]:
    """A docker-registry as a proxy with a login for its upstream, whose CA it trusts; it wants another login itself.

    The upstream is the registry with tokens, as docker-registry 2.8 sends no password elsewhere; images are the same.
    """
    proxy = {"remoteurl": with_tokens.server.url, "username": LISTER.name, "password": LISTER.password}
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(world.authority.path))
            server = stack.enter_context(secured_registry(world.certificate, user=PULLER, proxy=proxy))
        yield server


@pytest.fixture(scope="session")
def for_members(world: World) -> Iterator[Server]:
    """Lets in who shows a certificate of the CA's."""
    with secured_registry(
        world.certificate, storage=world.storage, clients_of=world.authority.path
    ) as server:
        yield server


@pytest.fixture(scope="session")
def member(world: World) -> Certificate:
    return world.authority.issue("member", names="DNS:member")


@pytest.fixture(scope="session")
def bad(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Certificate]:
    return {
        "wrong name": world.authority.issue("elsewhere", names="DNS:elsewhere.example"),
        "expired": world.authority.issue("expired", days=-1),
        "self-signed": self_signed(tmp_path_factory.mktemp("bad"), "self-signed"),
    }


@pytest.fixture
def spy(request: pytest.FixtureRequest, client: str, tmp_path: Path) -> Spy:
    return Spy(tmp_path, request.getfixturevalue(client))


def servers(pullthrough: Server, registry: Server) -> list[str]:
    return [f"--pullthrough-url={pullthrough.url}", f"--registry-url={registry.url}"]


def apart(folder: Path) -> dict[str, str]:
    """An environment in which temporary files lie apart, and no login of who runs the tests is found."""
    (folder / "tmp").mkdir(exist_ok=True)
    home = {"HOME": str(folder / "home"), "XDG_RUNTIME_DIR": str(folder / "none")}
    return {**home, "TMPDIR": str(folder / "tmp")}


def check_nothing_leaked(ended: Ended, spy: Spy, *secrets: str) -> None:
    """In no file that the run wrote, on no stream of its, in no argv and no client's environment."""
    written = b"".join(
        (ended.folder / name).read_bytes()
        for name in ("log", "events", "metrics", "summary.json", "report.html")
    )
    shown = f"{ended.stdout}{ended.stderr}".encode()
    for secret in secrets:
        assert secret
        for place in (written, shown, spy.kept()):
            assert secret.encode() not in place


def check_private(spy: Spy, folder: Path, *names: str) -> None:
    """While clients ran these files were the user's alone; afterwards there are none."""
    private = {path: mode for mode, kind, path in spy.files() if kind != "l"}
    assert private.keys() >= {"", *names}
    assert {mode[1:] for mode in private.values()} <= {"rwx------", "rw-------"}
    assert list((folder / "tmp").iterdir()) == []


def one_line(ended: Ended) -> str:
    """All that stands on stderr."""
    assert ended.stderr.count("\n") == 1
    return ended.stderr.rstrip("\n")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
