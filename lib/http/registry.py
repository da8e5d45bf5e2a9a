"""The HTTP API of one registry, with the user's login, redirects and bounded retries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from time import monotonic
from typing import Final

import aiohttp
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_random_exponential
from yarl import URL

from ..clean import clean
from ..durations import spoken
from ..outcomes import ErrorClass
from .authorization import Authorizer
from .credentials import Credentials, names_of
from .exchange import MIB, Answer, RegistryError, TransientError, exchange, host_of, open_session, printable
from .headers import retry_after

__all__ = ["MIB", "Answer", "Registry", "RegistryError", "open_session"]

# Seconds of retries for a server that has never answered: it is more likely missing than starting.
UNREACHABLE_SECONDS: Final = 2.0
# Seconds of retries for a request that failed for a transient reason, by default.
RETRY_SECONDS: Final = 60.0
_REDIRECTS: Final = 10
_SHORTEST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 5.0
_LOG_SECONDS: Final = 5.0
# A server that answers so may answer well a little later.
TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})
_REDIRECT_ANY: Final = frozenset({307, 308})
_REDIRECT_GET: Final = frozenset({301, 302, 303})


class Registry:
    """One registry's HTTP API, with the user's credentials and bounded retries. For use in one event loop.

    Credentials are sent to the registry's own scheme, host and port, and to the token service that it names. They are
    never sent along a redirect or a link to another server. `strict`: see `Authorizer`.
    """

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        credentials: Credentials,
        *,
        retry_seconds: float = RETRY_SECONDS,
        log: Callable[[str], None],
        strict: bool = False,
    ) -> None:
        self.url = url
        self.host = host_of(URL(url))
        self._base = URL(url)
        self._session = session
        self.retry_seconds = retry_seconds
        self._log = log
        self._logged = -_LOG_SECONDS
        self._answered: set[URL] = set()  # the servers that have answered, by origin
        self._authorizer = Authorizer(self._base, credentials, self._exchange, strict=strict)
        self._backoff = wait_random_exponential(
            multiplier=_SHORTEST_WAIT, max=_LONGEST_WAIT, min=_SHORTEST_WAIT
        )

    async def request(
        self,
        method: str,
        path_or_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        max_bytes: int = 16 * MIB,
        retry: bool = True,
        retry_seconds: float | None = None,
    ) -> Answer:
        """Returns the answer, whatever its status, after redirects and a login.

        Unless `retry` is False, retries 408, 429, 5xx, and lost or refused connections for `retry_seconds` (None: the
        registry's default). Raises RegistryError if there is no answer at the end.
        """
        limit = (self.retry_seconds if retry_seconds is None else retry_seconds) if retry else 0.0
        url = self._resolved(path_or_url)
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(TransientError),
            wait=self._wait,
            stop=lambda state: (
                (state.seconds_since_start or 0.0) + state.upcoming_sleep > self._budget(state, limit)
            ),
            before_sleep=self._log_retry,
            reraise=True,
        )
        try:
            return await attempts(self._attempt, method, url, dict(headers or {}), max_bytes)
        except TransientError as last:
            if isinstance(last.final, Answer):
                return last.final
            raise last.final from last.__cause__

    async def ping(self, timeout: float = 5.0) -> int:
        """Returns the status of GET /v2/, whatever it is. Raises RegistryError if no answer comes in `timeout` s."""
        try:
            call = self._exchange("GET", self._base.joinpath("v2", ""), {}, None, MIB)
            return (await asyncio.wait_for(call, timeout)).status
        except asyncio.TimeoutError:
            raise RegistryError(
                f"{self.host} does not answer within {spoken(timeout)}: check the address and the server",
                error_class=ErrorClass.TIMEOUT,
            ) from None
        except TransientError as fault:
            raise fault.final if isinstance(fault.final, RegistryError) else RuntimeError from fault.__cause__

    def complaint(self, answer: Answer) -> RegistryError:
        """Returns the error for an answer with an unexpected status: one line with the status and what to do."""
        status, where = answer.status, printable(URL(answer.url))
        by = f" (asked by the {answer.proxy})" if answer.proxy is not None else ""
        if URL(answer.url).origin() != self._base.origin():
            return RegistryError(
                f"{self.host} redirects to {where}, which answers {_named(status)}: give that server's URL instead{by}",
                status,
            )
        return RegistryError(f"{self.host} {self._reason(status, where)}{by}", status)

    def _reason(self, status: int, where: str) -> str:
        login = self._authorizer.login
        if status == 401 and login is not None and self._authorizer.accepted and not login.registry_token:
            return (
                f"accepts the login in {login.path}, but it may not read {where} (401): log in as a user who may read "
                f"it (docker login {self._login_name})"
            )
        if status == 401 and login is not None:
            return f"refuses the login in {login.path} (401): run docker login {self._login_name} again"
        if status == 401:
            return f"needs a login (401): run docker login {self._login_name}"
        if status == 403:
            return (
                f"forbids {where} (403): log in as a user who may read it (docker login {self._login_name})"
            )
        if status == 429:
            return "limits the rate of requests (429): wait, or log in as a user with a higher limit"
        if status >= 500:
            return f"answers {_named(status)} to {where}: check the server's log"
        return f"answers {_named(status)} to {where}: is this the URL of an OCI registry?"

    @property
    def _login_name(self) -> str:
        return names_of(self._base)[0]

    def _resolved(self, path_or_url: str) -> URL:
        """Resolves a URL or a path on the registry. Text of URL characters only is sent as it is, without re-encoding.

        Raises RegistryError if the result is not a valid http or https URL.
        """
        if "://" not in path_or_url.partition("?")[0]:
            path_or_url = self.url.rstrip("/") + "/" + path_or_url.lstrip("/")
        written = path_or_url.isascii() and path_or_url.isprintable() and " " not in path_or_url
        try:
            url = URL(path_or_url, encoded=written).with_fragment(None)
            usable = url.scheme in ("http", "https") and bool(url.host) and url.port is not None
        except ValueError:
            usable = False
        if not usable:
            raise RegistryError(
                f"{self.host} names an address that is not valid: {clean(path_or_url[:1000], 100)}"
            )
        return url.with_user(None)

    async def _attempt(self, method: str, url: URL, headers: Mapping[str, str], max_bytes: int) -> Answer:
        answer = await self._followed(method, url, headers, max_bytes)
        if answer.status in TRANSIENT:
            after = retry_after(answer.headers.get("Retry-After"), answer.headers.get("Date"))
            raise TransientError(answer, after)
        return answer

    async def _followed(self, method: str, url: URL, headers: Mapping[str, str], max_bytes: int) -> Answer:
        """Sends the request and follows redirects. For each hop, `_hop` decides whether to send the login."""
        for _ in range(_REDIRECTS + 1):
            answer = await self._hop(method, url, headers, max_bytes)
            location = answer.headers.get("Location")
            follow = _REDIRECT_ANY | (_REDIRECT_GET if method in ("GET", "HEAD") else frozenset())
            if location is None or answer.status not in follow:
                return answer
            url = self._target(url, location)
        raise RegistryError(
            f"{self.host} redirects in a loop: check its URL", error_class=ErrorClass.BAD_CONTENT
        )

    def _target(self, url: URL, location: str) -> URL:
        try:
            return self._resolved(str(url.join(URL(location))))
        except ValueError:
            raise RegistryError(
                f"{self.host} redirects to an address that is not valid: check its settings"
            ) from None

    async def _hop(self, method: str, url: URL, headers: Mapping[str, str], max_bytes: int) -> Answer:
        """Sends one request. The registry itself gets the login, and at most two more tries after a challenge.

        A server may also answer 403 to a login that has expired. If the user has a newer one by now, it is tried.
        """
        if url.origin() != self._base.origin():
            public = {name: value for name, value in headers.items() if name.lower() != "authorization"}
            return await self._exchange(method, url, public, None, max_bytes)
        authorization = self._authorizer.known(url.raw_path)
        answer = await self._authorized(method, url, headers, authorization, max_bytes)
        for _ in range(2):
            if answer.status == 403 and authorization is not None:
                newest = await self._authorizer.newest(url.raw_path)
                if newest == authorization:
                    break
                authorization = newest
                answer = await self._authorized(method, url, headers, authorization, max_bytes)
            if answer.status != 401:
                break
            better = await self._authorizer.answer(answer, url.raw_path, authorization)
            if better is None:
                break
            authorization = better
            answer = await self._authorized(method, url, headers, authorization, max_bytes)
        return answer

    async def _authorized(
        self, method: str, url: URL, headers: Mapping[str, str], authorization: str | None, max_bytes: int
    ) -> Answer:
        own = {**headers, "Authorization": authorization} if authorization else headers
        return await self._exchange(method, url, own, None, max_bytes)

    async def _exchange(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None,
        max_bytes: int,
    ) -> Answer:
        try:
            answer = await exchange(
                self._session, method, url, headers=headers, form=form, max_bytes=max_bytes
            )
        except TransientError as fault:
            fault.unreachable &= url.origin() not in self._answered
            raise
        self._answered.add(url.origin())
        return answer

    def _wait(self, state: RetryCallState) -> float:
        """Returns the seconds until the next try: what the server asks for, plus a random part to spread callers."""
        return max(_transient(state).after or 0.0, 0.0) + self._backoff(state)

    def _budget(self, state: RetryCallState, limit: float) -> float:
        """Returns the seconds that all tries together may take: few for a server that has never answered.

        The registry itself may be starting. It may also have named another server by a wrong address.
        """
        return min(UNREACHABLE_SECONDS, limit) if _transient(state).unreachable else limit

    def _log_retry(self, state: RetryCallState) -> None:
        """Logs a retry, at most once in five seconds, since many requests fail together."""
        if monotonic() - self._logged < _LOG_SECONDS:
            return
        self._logged = monotonic()
        final = _transient(state).final
        reason = f"{self.host} answers {_named(final.status)}" if isinstance(final, Answer) else str(final)
        self._log(f"{reason} (trying again in {spoken(round(state.upcoming_sleep, 1))})")


def _transient(state: RetryCallState) -> TransientError:
    error = state.outcome.exception() if state.outcome is not None else None
    if not isinstance(error, TransientError):
        raise TypeError("retries are for TransientError alone")
    return error


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
