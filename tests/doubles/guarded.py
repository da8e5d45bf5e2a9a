"""A small registry on loopback that lets in whom a guard lets in: by passwords per path, or by tokens as Harbor does.

Every repository holds one image with the tag v1. Deletes of it succeed and change nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

from lib.lab.images import digest_of
from tests.doubles.good_image import IMAGE
from tests.doubles.serving import serving
from tests.doubles.tls_server import QuietHandler

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_ROUTE = re.compile(r"/v2/(?P<repository>.+)/(?P<kind>tags|manifests|blobs)/(?P<reference>[^/]+)")


class Guard(Protocol):
    """Who may do what. `repository` is empty for the base and the catalog."""

    def lets_in(self, authorization: str, repository: str) -> bool: ...

    def challenge(self, address: str, repository: str) -> str:
        """The value of WWW-Authenticate."""
        ...

    def token(self, authorization: str, scopes: Sequence[str]) -> str | None:
        """A new token; None if the token service refuses."""
        ...


def basic(name: str, password: str) -> str:
    """The header."""
    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


@dataclass
class Passwords:
    """For each path of repositories, the headers that are let in. The path "" is for all that is in no other."""

    allowed: dict[str, set[str]]

    def lets_in(self, authorization: str, repository: str) -> bool:
        if not repository:
            return authorization in set().union(*self.allowed.values())
        while repository and repository not in self.allowed:
            repository = repository.rpartition("/")[0]
        return authorization in self.allowed.get(repository, set())

    def challenge(self, address: str, repository: str) -> str:
        return 'Basic realm="guarded"'

    def token(self, authorization: str, scopes: Sequence[str]) -> str | None:
        return None


@dataclass
class PublicProject:
    """Everybody may pull from the public repositories, with a token. The base is for those with a login alone.

    `refuses`: the token service gives no token for other repositories; else it gives one that is good for nothing.
    """

    public: frozenset[str]
    refuses: bool = False

    def lets_in(self, authorization: str, repository: str) -> bool:
        return bool(repository) and authorization == f"Bearer pull-{repository.replace('/', '.')}"

    def challenge(self, address: str, repository: str) -> str:
        scope = f',scope="repository:{repository}:pull"' if repository else ""
        return f'Bearer realm="http://{address}/service/token",service="harbor-registry"{scope}'

    def token(self, authorization: str, scopes: Sequence[str]) -> str | None:
        asked = {scope.split(":")[1] for scope in scopes if scope.startswith("repository:")}
        if asked & self.public:
            return f"pull-{min(asked & self.public).replace('/', '.')}"
        return None if asked and self.refuses else "nothing"


@dataclass
class Guarded:
    """`seen` are (user, method, path) of the requests that were let in."""

    address: str
    guard: Guard
    repositories: tuple[str, ...]
    seen: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def users(self, path: str = "", method: str = "GET") -> set[str]:
        """Who sent requests with this text in their path."""
        return {user for user, verb, where in list(self.seen) if verb == method and path in where}


@contextmanager
def guarded_registry(guard: Guard, repositories: Sequence[str]) -> Iterator[Guarded]:
    """Serves in threads."""
    server = Guarded("", guard, tuple(repositories))

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/service/token":
                self._token(parse_qs(parts.query))
                return
            found = _ROUTE.fullmatch(parts.path)
            repository = found["repository"] if found else ""
            authorization = self.headers.get("Authorization", "")
            if not server.guard.lets_in(authorization, repository):
                body = json.dumps({"errors": [{"code": "UNAUTHORIZED", "message": "who?"}]}).encode()
                self.send(401, body, WWW_Authenticate=server.guard.challenge(server.address, repository))
                return
            server.seen.append((_user(authorization), self.command, parts.path))
            if found is None:
                self._outside(parts.path)
            elif repository not in server.repositories:
                self._absent()
            else:
                self._inside(found["kind"], found["reference"], repository)

        def _token(self, query: Mapping[str, Sequence[str]]) -> None:
            token = server.guard.token(self.headers.get("Authorization", ""), query.get("scope", ()))
            body: object = {"errors": [{"code": "UNAUTHORIZED", "message": "who?"}]}
            self.send(401 if token is None else 200, json.dumps({"token": token} if token else body).encode())

        def _outside(self, path: str) -> None:
            if path == "/v2/":
                self.send(200, b"{}")
            elif path == "/v2/_catalog":
                self.send(200, json.dumps({"repositories": server.repositories}).encode())
            else:
                self._absent()

        def _inside(self, kind: str, reference: str, repository: str) -> None:
            digest = digest_of(IMAGE.manifest)
            if kind == "tags":
                self.send(200, json.dumps({"name": repository, "tags": ["v1"]}).encode())
            elif kind == "blobs" and reference in IMAGE.blobs:
                self.send(200, IMAGE.blobs[reference], Content_Type="application/octet-stream")
            elif kind == "manifests" and reference in ("v1", digest):
                if self.command == "DELETE":
                    self.send(202, b"")
                    return
                self.send(200, IMAGE.manifest, Content_Type=MANIFEST_TYPE, Docker_Content_Digest=digest)
            else:
                self._absent()

        def _absent(self) -> None:
            self.send(404, json.dumps({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "no"}]}).encode())

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        server.address = f"127.0.0.1:{port}"
        yield server


def _user(authorization: str) -> str:
    """The name and the password, or the token."""
    scheme, _, value = authorization.partition(" ")
    if scheme != "Basic":
        return value
    try:
        return base64.b64decode(value).decode()
    except (binascii.Error, ValueError):
        return value
