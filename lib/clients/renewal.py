"""Gives each launch the client with the user's newest logins. Short-lived logins are renewed while a run goes on."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, Thread
from time import monotonic

from yarl import URL

from ..errors import RunError
from ..http.credentials import HELPER_PAUSE, Credentials, CredentialsError, names_of
from ..http.logins import Logins
from .client import Client, Orders


class Renewal:
    """Follows the logins for one server. Threads may share it. `orders` makes the orders with other logins."""

    def __init__(
        self,
        client: Client,
        url: str,
        credentials: Credentials,
        orders: Callable[[Logins], Orders],
        log: Callable[[str], None],
    ) -> None:
        self._client = client
        self._names = names_of(URL(url))
        self._credentials = credentials
        self._orders = orders
        self._log = log
        self._version = credentials.version
        self._lock = Lock()
        self._problem = ""
        self._refused_until = 0.0

    def newest(self) -> Client:
        """Returns the client for the next launch. Costs a few microseconds if no login has changed."""
        self._credentials.follow()
        if self._version != self._credentials.version:
            with self._lock:
                self._renew()
        return self._client

    def refused(self) -> None:
        """Asks a helper again, in the background, since the server has refused its last answer."""
        now = monotonic()
        if now < self._refused_until:
            return
        self._refused_until = now + HELPER_PAUSE
        Thread(target=self._ask_again, name="credential helper", daemon=True).start()

    def _renew(self) -> None:
        version = self._credentials.version
        if self._version == version:
            return  # another thread has done it
        try:
            logins = self._credentials.logins(*self._names)
            version = self._credentials.version
            self._client = self._client.renewed(self._orders(logins))
            self._problem = ""
        except (CredentialsError, RunError, OSError) as error:
            self._say(f"{error}; the last login stays in use")
        self._version = version

    def _ask_again(self) -> None:
        try:
            self._credentials.renew(*self._names)
        except CredentialsError as error:
            self._say(f"{error}; the last login stays in use")

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._log(problem)
