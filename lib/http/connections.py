"""What the stages before the load share: the network thread, credentials, TLS, registries, the log and warnings."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from contextlib import ExitStack

import aiohttp
from yarl import URL

from ..errors import RunError
from .credentials import Credentials, CredentialsError, Logins
from .network import Network
from .registry import RETRY_SECONDS, Registry, open_session
from .tls import INSECURE, Tls


class Connections:
    """Access to registries, with one HTTP session per TLS setting. `resources` closes the sessions.

    `podman_first`: logins are looked up in podman's order, and not in Docker's.
    """

    def __init__(
        self,
        network: Network,
        resources: ExitStack,
        log: Callable[[str], None],
        warn: Callable[[str], None],
        tls: Tls,
        podman_first: bool = False,
    ) -> None:
        self.network = network
        self.resources = resources
        self.log = log
        self._warn = warn
        self.tls = tls
        self._sessions: dict[Tls, aiohttp.ClientSession] = {}
        self.credentials = Credentials.from_environment(os.environ, podman_first=podman_first)
        self.credentials.log = log
        resources.callback(self.credentials.abandon)
        for warning in self.credentials.warnings:
            self.caution(warning)
        if tls.insecure:
            self.caution(INSECURE)

    def registry(
        self,
        url: str,
        retry_seconds: float = RETRY_SECONDS,
        tls: Tls | None = None,
        *,
        strict: bool = False,
    ) -> Registry:
        """Returns the registry at this address. Requests with transient failures are retried for `retry_seconds`.

        `strict`: a refusal of its token service is an error.
        """
        return Registry(
            url,
            self._session(tls or self.tls),
            self.credentials,
            retry_seconds=retry_seconds,
            log=self.log,
            strict=strict,
        )

    def logins(self, url: str) -> Logins:
        """Returns the user's logins for the registry at this address. Raises RunError if they cannot be read."""
        try:
            return self.network.run_until_stop(self.credentials.logins_for(URL(url)))
        except CredentialsError as error:
            raise RunError(str(error)) from None

    def _session(self, tls: Tls) -> aiohttp.ClientSession:
        session = self._sessions.get(tls)
        if session is None:
            session = self._sessions[tls] = self.network.run(_open(tls.context()))
            self.resources.callback(lambda: self.network.run(session.close()))
        return session

    def caution(self, message: str) -> None:
        """Writes a warning to the log and to stderr."""
        self.log(f"warning: {message}")
        self._warn(message)


async def _open(context: ssl.SSLContext) -> aiohttp.ClientSession:
    """Opens a session inside the loop that will use it, as aiohttp requires."""
    return open_session(context)
