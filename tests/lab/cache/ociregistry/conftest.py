"""The servers that have to answer as Ociregistry does: the lab's cache, its double, and a real one.

The double always runs. A real server runs too where OCIREGISTRY_URL is set (http://host:port) and OCIREGISTRY_UPSTREAM
names (host:port) the plain-http registry that it pulls from; the cases push there. It has to run without a default
namespace and at its default log level. The cases prune only what they pushed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from lib.lab.servers import lab_cache
from tests.support.ociregistry import Ociregistry


@pytest.fixture(scope="session")
def double(upstream: str) -> Iterator[Ociregistry]:
    with lab_cache(upstream, "--no-plain") as cache:
        yield Ociregistry(cache.address, upstream)


@pytest.fixture(
    scope="session", params=["double", *(["ociregistry"] if "OCIREGISTRY_URL" in os.environ else [])]
)
def server(request: pytest.FixtureRequest) -> Ociregistry:
    if request.param == "double":
        found = request.getfixturevalue("double")
        assert isinstance(found, Ociregistry)
        return found
    return Ociregistry(urlsplit(os.environ["OCIREGISTRY_URL"]).netloc, os.environ["OCIREGISTRY_UPSTREAM"])
