"""The Authorization header for one registry: Basic (RFC 7617), or a token (distribution, "Token Authentication")."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, Generic, TypeVar
from weakref import WeakValueDictionary

from yarl import URL

from .credentials import Credentials, CredentialsError, Login, Logins
from .exchange import Answer, RegistryError, TransientError
from .headers import Challenge, challenges, retry_after

# The lifetime in seconds of a token that names none (distribution, "Token Authentication Specification").
TOKEN_SECONDS: Final = 60.0
# A token is renewed this many seconds before its end, so that it does not expire in transit.
_MARGIN_SECONDS: Final = 5.0
_LONGEST_SECONDS: Final = 86400.0
# The most tokens kept: tokens can be several KB long, and a registry may need one for each repository.
_KEPT: Final = 256
_TOKEN_BYTES: Final = 1 << 20
_TOKEN_LENGTH: Final = 65536

Fetch = Callable[[str, URL, Mapping[str, str], Mapping[str, str] | None, int], Coroutine[Any, Any, Answer]]
V = TypeVar("V")


class Recent(OrderedDict[str, V], Generic[V]):
    """The values put in last, by key; at most `_KEPT` of them."""

    def put(self, key: str, value: V) -> None:
        self[key] = value
        self.move_to_end(key)
        if len(self) > _KEPT:
            self.popitem(last=False)


@dataclass(frozen=True, slots=True)
class _Token:
    header: str
    ends: float


class Authorizer:
    """Answers a registry's challenges with the user's login, or anonymously. For use in one event loop.

    `fetch(method, url, headers, form, max_bytes)` sends one HTTP request to the token service.
    `strict`: a token service that refuses is an error. Otherwise the registry's own answer, a 401, is the result.
    """

    def __init__(self, url: URL, credentials: Credentials, fetch: Fetch, *, strict: bool = False) -> None:
        self._url = url
        self._credentials = credentials
        self._fetch = fetch
        self._strict = strict
        self._wants_basic = False
        self._logins = Logins()
        self._version = credentials.version
        self._tokens: Recent[_Token] = Recent()
        self._needed: Recent[str] = Recent()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.login: Login | None = None
        # whether the token service has accepted the login, after the last refusal of the registry
        self.accepted = False

    def known(self, path: str) -> str | None:
        """Returns the header for a request for this path, from earlier challenges; None if there were none."""
        self._forget_if_renewed()
        key = self._needed.get(_space(path))
        token = self._tokens.get(key) if key else None
        if token is not None and token.ends > monotonic():
            return token.header
        return _basic(self._of(path)) if self._wants_basic else None

    async def answer(self, refusal: Answer, path: str, refused: str | None) -> str | None:
        """Returns the header that a 401 asks for; None if there is none but `refused`, which got this 401."""
        offered = _by_strength(challenges(refusal.headers.getall("WWW-Authenticate", [])))
        self.accepted = False
        if offered:
            self.login = await self._login(path, refused=refused is not None)
        for challenge in offered:
            header = await (
                self._token(challenge, path, refused)
                if challenge.scheme == "bearer"
                else self._basic_header(path)
            )
            if header is not None and header != refused:
                return header
        return None

    async def newest(self, path: str) -> str | None:
        """Looks up the login again, after a refusal without a challenge; returns the header as `known` does."""
        await self._login(path, refused=True)
        return self.known(path)

    def _forget_if_renewed(self) -> None:
        """Forgets what came of logins that have changed since."""
        self._credentials.follow()
        if self._version != self._credentials.version:
            self._version = self._credentials.version
            self._wants_basic = False
            self._tokens.clear()

    def _of(self, path: str) -> Login | None:
        """Returns the login for this path, of those found last."""
        repository = _space(path).partition("/v2/")[2] if _space(path) != path else ""
        return self._logins.of(repository) if repository else self._logins.first

    async def _basic_header(self, path: str) -> str | None:
        self._wants_basic = True
        return _basic(self._of(path))

    async def _token(self, challenge: Challenge, path: str, refused: str | None) -> str | None:
        """Returns a kept token's header, unless it was refused; else asks the token service.

        Sends one request at a time per scope.
        """
        key = "\n".join((challenge.realm, challenge.service, challenge.scope))
        self._needed.put(_space(path), key)
        lock = self._locks.get(key) or asyncio.Lock()
        self._locks[key] = lock
        async with lock:
            token = self._tokens.get(key)
            if token is None or token.ends <= monotonic() or token.header == refused:
                token = await self._new_token(challenge, self._of(path))
                self.accepted = token is not None
            if token is None:
                self._tokens.pop(key, None)
                return None
            self._tokens.put(key, token)
            return token.header

    async def _new_token(self, challenge: Challenge, login: Login | None) -> _Token | None:
        if login is not None and login.registry_token:
            return _Token(f"Bearer {login.registry_token}", monotonic() + _LONGEST_SECONDS)
        answer = await self._ask(self._realm(challenge, login), challenge, login)
        if answer.status in (400, 401, 403, 404) and not self._strict:
            return None
        if answer.status != 200:
            raise _service_fault(answer)
        return _token_of(answer)

    def _realm(self, challenge: Challenge, login: Login | None) -> URL:
        """Returns the URL of the token service. Raises RegistryError if it is not valid, or would leak the login.

        The login for a registry with TLS is never sent without TLS.
        """
        try:
            realm = self._url.join(URL(challenge.realm)).with_user(None).with_fragment(None)
        except ValueError:
            realm = URL()
        host = f"{self._url.host}:{self._url.port}"
        if realm.scheme not in ("http", "https") or not realm.host or not challenge.realm:
            raise RegistryError(
                f"{host} names no valid token service (realm): check the registry's auth settings", 401
            )
        if login is not None and self._url.scheme == "https" and realm.scheme == "http":
            raise RegistryError(
                f"{host} asks to send the login to {realm.host} without TLS, which is refused: correct its realm",
                401,
            )
        return realm

    async def _ask(self, realm: URL, challenge: Challenge, login: Login | None) -> Answer:
        """Asks for a token: GET with the login, or for an identity token OAuth2's refresh with POST (distribution)."""
        scopes = challenge.scope.split()
        if login is not None and login.identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": challenge.service,
                "client_id": "ocidriver",
                "scope": challenge.scope,
                "refresh_token": login.identity_token,
            }
            return await self._fetch("POST", realm, {}, form, _TOKEN_BYTES)
        query = [*realm.query.items(), *[("scope", scope) for scope in scopes]]
        if challenge.service:
            query.append(("service", challenge.service))
        basic = _basic(login)
        headers = {"Authorization": basic} if basic is not None else {}
        return await self._fetch("GET", realm.with_query(query), headers, None, _TOKEN_BYTES)

    async def _login(self, path: str, *, refused: bool) -> Login | None:
        """Looks up the user's login for this path. Raises RegistryError if it cannot be read."""
        try:
            found = await self._credentials.logins_for(self._url, refused=refused)
        except CredentialsError as error:
            raise RegistryError(str(error), 401) from error
        self._version = self._credentials.version
        if found != self._logins:
            self._logins = found
            self._tokens.clear()
        return self._of(path)


def _by_strength(offered: list[Challenge]) -> list[Challenge]:
    """Returns the challenges with a supported scheme, bearer before basic."""
    return [each for scheme in ("bearer", "basic") for each in offered if each.scheme == scheme]


def _space(path: str) -> str:
    """Returns the part of a path for which one token is valid: the repository, else the path itself."""
    for end in ("/tags/", "/manifests/", "/blobs/"):
        before, found, _ = path.rpartition(end)
        if found:
            return before
    return path


def _basic(login: Login | None) -> str | None:
    """Returns the header of the Basic scheme; None for a login without a name and a password."""
    return f"Basic {login.basic}" if login is not None and (login.username or login.password) else None


def _service_fault(answer: Answer) -> Exception:
    url = URL(answer.url)
    error = RegistryError(
        f"the token service {url.host}:{url.port} answers {answer.status}: try later",
        answer.status,
        body=answer.body,
    )
    if answer.status == 429 or answer.status >= 500:
        return TransientError(
            error, retry_after(answer.headers.get("Retry-After"), answer.headers.get("Date"))
        )
    return error


def _token_of(answer: Answer) -> _Token:
    """Parses the answer of a token service: `token`, else `access_token`, valid for `expires_in` seconds."""
    value = answer.json()
    fields = value if isinstance(value, dict) else {}
    token = fields.get("token") or fields.get("access_token")
    if (
        not isinstance(token, str)
        or not token.isascii()
        or not token.isprintable()
        or len(token) > _TOKEN_LENGTH
    ):
        host = URL(answer.url).host
        raise RegistryError(
            f"the token service {host} gives no valid token: check the registry's auth settings", 401
        )
    lasts = fields.get("expires_in")
    seconds = (
        float(lasts) if isinstance(lasts, (int, float)) and 0 < lasts < _LONGEST_SECONDS else TOKEN_SECONDS
    )
    return _Token(f"Bearer {token}", monotonic() + max(1.0, seconds - _MARGIN_SECONDS))
