"""Listing an upstream that is very large, and one that is slow."""

from __future__ import annotations

import asyncio
import json

from multidict import CIMultiDict, CIMultiDictProxy

from lib.http.credentials import Credentials
from lib.http.registry import Answer, Registry, open_session
from lib.listing.upstream import list_repositories
from tests.doubles.catalog import Catalog, serving

NO_HEADERS: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())


class Instant:
    """A registry of a hundred thousand repositories that answers without a network."""

    url, host, retry_seconds = "http://x", "x", 1.0
    names = tuple(f"team/app-{number:06}" for number in range(100_000))

    async def request(self, _method: str, url: str, **_: object) -> Answer:
        body = json.dumps({"repositories": self.names} if "_catalog" in url else {"tags": ["v1"]})
        return Answer(200, NO_HEADERS, body.encode(), url)


def test_a_catalog_of_a_hundred_thousand() -> None:
    repositories = asyncio.run(list_repositories(Instant(), log=print))  # type: ignore[arg-type]
    assert [each.name for each in repositories] == list(Instant.names)


def test_a_slow_upstream_is_listed_all_the_same() -> None:
    content = {f"team/app-{number}": ["v1"] for number in range(10, 30)}

    async def run() -> list[str]:
        async with serving(Catalog(content, greatest=5, delay=0.2)) as server, open_session() as session:
            registry = Registry(
                server.url, session, Credentials({}, {}), retry_seconds=0.0, log=lambda _: None
            )
            return [each.name for each in await list_repositories(registry, log=print)]

    assert asyncio.run(run()) == list(content)
