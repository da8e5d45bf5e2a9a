"""What the stages before the load share: the network, the user's credentials, registries to ask, where to tell."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack

import aiohttp

from ..errors import RunError
from .credentials import Credentials, CredentialsError
from .network import Network
from .registry import Registry, open_session


class Connections:
    """Registries over one session, which `resources` closes. RunError for a Docker configuration that is broken."""

    def __init__(
        self,
        network: Network,
        resources: ExitStack,
        log: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self.network = network
        self.resources = resources
        self.log = log
        self._warn = warn
        self._session: aiohttp.ClientSession | None = None
        try:
            self.credentials = Credentials.from_environment(os.environ)
        except CredentialsError as error:
            raise RunError(str(error)) from None

    def registry(self, url: str, retry_seconds: float = 60.0) -> Registry:
        """The registry at this address; what fails for a moment is tried again for so many seconds."""
        if self._session is None:
            session = self._session = self.network.run(_session())
            self.resources.callback(lambda: self.network.run(session.close()))
        return Registry(url, self._session, self.credentials, retry_seconds=retry_seconds, log=self.log)

    def caution(self, message: str) -> None:
        """A warning, for the log and for stderr."""
        self.log(f"warning: {message}")
        self._warn(message)


async def _session() -> aiohttp.ClientSession:
    """Sessions belong to the loop that they are made in."""
    return open_session()
