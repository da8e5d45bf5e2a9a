"""A token service as registries with `auth: token` want it (distribution, token authentication), over TLS on loopback.

It knows users by password (GET, Basic) and one by a refresh token (POST, OAuth2), and grants what is asked for. Tokens
are JWTs, signed by openssl with the key that the registry trusts; `issued` keeps them all.
"""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.doubles.certificates import Certificate
from tests.doubles.tls_server import QuietHandler, tls_server

SERVICE = "registry.test"
ISSUER = "token-service.test"
SECONDS = 60


class TokenService:
    """`realm` is its URL; `requests` are method and scopes of each request that it granted."""

    def __init__(self, signing: Certificate, basics: Collection[str], refresh_token: str) -> None:
        self.realm = ""
        self.issued: list[str] = []
        self.requests: list[tuple[str, tuple[str, ...]]] = []
        self._signing = signing
        self._authorizations = {f"Basic {basic}" for basic in basics}
        self._refresh_token = refresh_token

    def settings(self) -> dict[str, object]:
        """The registry's `auth` section."""
        trusted = {"issuer": ISSUER, "rootcertbundle": str(self._signing.path)}
        return {"token": {"realm": self.realm, "service": SERVICE, **trusted}}

    def grant(self, method: str, authorization: str, fields: dict[str, list[str]]) -> str | None:
        """A new token, or None for who is not known."""
        by_password = method == "GET" and authorization in self._authorizations
        by_token = method == "POST" and fields.get("refresh_token") == [self._refresh_token]
        if not by_password and not by_token:
            return None
        scopes = tuple(scope for text in fields.get("scope", []) for scope in text.split())
        token = self._token(scopes)
        self.requests.append((method, scopes))
        self.issued.append(token)
        return token

    def _token(self, scopes: tuple[str, ...]) -> str:
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [_der(self._signing.path)]}
        claims = {
            "iss": ISSUER, "sub": "tester", "aud": SERVICE, "jti": str(uuid.uuid4()),
            "nbf": now - 10, "iat": now, "exp": now + SECONDS, "access": [_access(scope) for scope in scopes],
        }  # fmt: skip
        signed = f"{_text(json.dumps(header).encode())}.{_text(json.dumps(claims).encode())}"
        command = ["openssl", "dgst", "-sha256", "-sign", str(self._signing.key)]
        signature = subprocess.run(command, input=signed.encode(), capture_output=True, check=True).stdout
        return f"{signed}.{_text(signature)}"


def _access(scope: str) -> dict[str, object]:
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    return {"type": kind, "name": name, "actions": actions.split(",")}


def _der(path: Path) -> str:
    """A certificate (PEM) as `x5c` has it."""
    return base64.b64encode(ssl.PEM_cert_to_DER_cert(path.read_text())).decode()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def token_service(
    server: Certificate, signing: Certificate, *, basics: Collection[str], refresh_token: str
) -> Iterator[TokenService]:
    """`basics` are base64 of `name:password`."""
    service = TokenService(signing, basics, refresh_token)

    class Handler(QuietHandler):
        def answer(self) -> None:
            text = self._body().decode() if self.command == "POST" else urlsplit(self.path).query
            token = service.grant(self.command, self.headers.get("Authorization", ""), parse_qs(text))
            body = {"details": "who?"} if token is None else {"token": token, "access_token": token}
            self.send(401 if token is None else 200, json.dumps({**body, "expires_in": SECONDS}).encode())

        def _body(self) -> bytes:
            """skopeo sends it in chunks."""
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", "0")))
            body = b""
            while length := int(self.rfile.readline(), 16):
                body += self.rfile.read(length)
                self.rfile.readline()
            return body

    with tls_server(server, Handler) as address:
        service.realm = f"https://{address}/token"
        yield service
