"""Registries behind TLS and logins, a spy in the client's place, and what is to be seen of a run with them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lib.lab.populate import Population, populate
from lib.lab.servers import Server, docker_registry
from tests.doubles.certificates import Authority, Certificate, self_signed
from tests.doubles.secured import LISTER, PULLER, REFRESH_TOKEN, secured_registry
from tests.doubles.spy import Spy
from tests.doubles.tokens import token_service
from tests.support.programs import find, or_skip
from tests.support.secured_runs import WithTokens, World

POPULATION = Population(groups=2, images=2, layers=2, layer_size=1024, seed=30)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    find("openssl")
    folder = tmp_path_factory.mktemp("world")
    authority = Authority(folder)
    with or_skip(docker_registry()) as server:
        images = asyncio.run(populate(server.url, POPULATION))
        shutil.copytree(server.data_dir, folder / "storage")
    return World(authority, authority.issue("localhost"), folder / "storage", tuple(images))


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
