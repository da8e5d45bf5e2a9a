"""What the driver needs from a client: its abilities, and the protocol that the file of each client implements.

The driver asks for abilities and never compares names. A new client is one file in this folder and one line in `table`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from typing import Any, ClassVar, Protocol

from ..errors import UsageError
from ..http.logins import Logins
from ..http.tls import Tls
from ..outcomes import ErrorClass
from ..processes.launch import Outcome
from .platforms import Picks, picks_first

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm/v7", "armv6l": "arm/v6"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a kind of client can do. The defaults describe a client that can do little.

    `sends_header`: it can send a header of the driver's choice with each request.
    `asks_mirror`: it can ask one server for the images of another, as a node does, and names that other in `?ns=`.
    `reports_retries`: its stderr shows how often it repeated a request by itself.
    `takes_several`: it can pull several images in one launch.
    `leaves_files_from`: a successful launch may leave files in its scratch folder from this number of images on; None:
    never.
    `deletes`: it has a command that deletes an image on a server.
    `resolves_digest`: that command deletes the digest of the tag that it is given.
    `shows_certificate`: it can show a client certificate (mutual TLS).
    `takes_registry_token`: it can log in with a bearer token that is sent as it is.
    `picks_scope`: it logs in to each repository with the login for it, not with one login for the whole server.
    `podman_logins_first`: by itself it prefers podman's files of logins to Docker's.
    `takes_ipv6`: a reference may begin with an IPv6 address.
    `tries_tls_first`: it tries https before http if the server may be asked in plain http.
    `needs_service`: it works only beside a running service, so `--client auto` does not choose it.
    `hides_artifacts`: it pulls what is not an image, such as a Helm chart, and does not show that.
    `shares_layers`: in one launch, it fetches a layer that several images share only once.
    `picks`: which manifests of an index it pulls for a platform.
    """

    sends_header: bool = False
    asks_mirror: bool = False
    reports_retries: bool = False
    takes_several: bool = False
    leaves_files_from: int | None = None
    deletes: bool = False
    resolves_digest: bool = False
    shows_certificate: bool = False
    takes_registry_token: bool = False
    picks_scope: bool = False
    podman_logins_first: bool = False
    takes_ipv6: bool = False
    tries_tls_first: bool = False
    needs_service: bool = False
    hides_artifacts: bool = False
    shares_layers: bool = False
    picks: Picks = picks_first


# What a client asks a registry for: its base (/v2/), a manifest, a blob, or a token of the service that it names.
BASE, MANIFEST, BLOB, TOKEN = "base", "manifest", "blob", "token"


@dataclass(frozen=True, slots=True)
class Unshown:
    """A server's answer whose HTTP status the client does not show.

    `place` says what the client asked for. `reference` is the tag or digest of that manifest or blob; empty if the
    client does not show it. `text` is what the client shows of the answer. The status is one of `statuses`.
    """

    place: str
    reference: str
    text: str
    statuses: Container[int]


@dataclass(frozen=True, slots=True)
class Executable:
    """An absolute path, and the version that the program there reports."""

    path: str
    version: str


def never_stopped(seconds: float) -> bool:
    """Waits for this long. No stop is asked for."""
    sleep(seconds)
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What the run asks of a client, and what the client may use for it.

    `host` is what references begin with. `server_url` is the server that the requests go to; it has a scheme.
    `verify`: certificates are checked. `header` is to be sent with each request.
    `docker_config` is a Docker configuration with the logins for this server alone. `logins` are the same logins.
    `user_configured`: the user has a configuration of their own, which has to be kept from the client.
    `folder` makes a private folder in the scratch folder of the run. `lean`: the client may take just one processor.
    `elsewhere` makes one in another place, which goes with it. `environment` holds the variables of the run, the user's
    among them. `containerd_socket` is the address of the user's containerd; without one the client starts its own.
    `caution` warns the user. `log` writes a line into the log. `stopped(seconds)` waits for at most this long and
    returns whether the run was asked to stop.
    """

    platform: str
    host: str
    server_url: str
    verify: bool
    folder: Callable[[str], Path]
    tls: Tls
    header: tuple[str, str] | None = None
    docker_config: Mapping[str, Any] | None = None
    logins: Logins = field(default_factory=Logins)
    user_configured: bool = False
    lean: bool = False
    elsewhere: Callable[[Path], Path]
    environment: Mapping[str, str]
    caution: Callable[[str], None]
    log: Callable[[str], None] = lambda _: None
    containerd_socket: str = ""
    stopped: Callable[[float], bool] = never_stopped

    @property
    def insecure(self) -> bool:
        """Plain http, or a certificate that nobody checks."""
        return not self.verify or self.server_url.startswith("http://")


class Client(Protocol):
    """A client that is set up for one server. The class attributes describe its kind.

    `name` is the word for `--client`. `install` says how to get it. `version_option` makes it print its version.
    `environment` holds all variables that it is started with: those of the run, but for what it is kept from, and its
    own.
    """

    name: ClassVar[str]
    abilities: ClassVar[Abilities]
    install: ClassVar[str]
    version_option: ClassVar[str]

    @property
    def executable(self) -> Executable: ...

    @property
    def environment(self) -> Mapping[str, str]: ...

    @staticmethod
    def version_in(output: str) -> str | None:
        """The version in the answer to `version_option`; None if it is not this client that answers."""
        ...

    @classmethod
    def set_up(cls, executable: Executable, orders: Orders) -> Client:
        """The client, with its private files written. Raises RunError if it cannot do what the orders ask."""
        ...

    def pull(self, references: Sequence[str], scratch: Path) -> list[str]:
        """The argv of one launch. `scratch` is the worker's folder, which is emptied after a failure.

        Raises OSError if a file that the launch needs cannot be written.
        """
        ...

    def answer(self, references: Sequence[str]) -> bytes:
        """The password that the client asks for at its terminal when it pulls these; empty if it does not ask."""
        ...

    def renewed(self, orders: Orders) -> Client:
        """The client with other logins; nothing else in the orders has changed. Launches that run go on undisturbed.

        Raises OSError if a private file cannot be written, RunError if the client cannot use such a login.
        """
        ...

    def clean_up(self, references: Sequence[str], scratch: Path, outcome: Outcome) -> list[str] | None:
        """The argv that removes what the launch left outside of `scratch`; None if there is nothing to remove.

        `scratch` still holds what the launch has written.
        """
        ...

    def service_cpu_seconds(self) -> float:
        """CPU seconds that the client's service has used since the last call; 0 if it has none of its own."""
        ...

    def delete(self, reference: str, scratch: Path) -> list[str]:
        """The argv that deletes an image on the server. Only for a client that `deletes`."""
        ...

    def needs(self) -> Sequence[str]:
        """What somebody needs who repeats the command of the log by hand, each as a phrase."""
        ...

    def close(self) -> None:
        """Removes what is left of the run outside of its scratch folder."""
        ...

    @staticmethod
    def read(stderr: str) -> tuple[str, ErrorClass]:
        """The last words of a failed launch, not yet cleaned, and their class; OTHER if they show none."""
        ...

    @staticmethod
    def unshown(stderr: str) -> Unshown | None:
        """The answer that made the launch fail, if the client does not show its status and shows no sure class."""
        ...

    @staticmethod
    def succeeded(stderr: str) -> bool:
        """Whether a launch with exit status 0 did pull its images."""
        ...

    @staticmethod
    def retries(stderr: str, *, succeeded: bool) -> int | None:
        """How often the client repeated a request by itself; None if it does not report that."""
        ...


def this_platform() -> str:
    """OS/ARCH of this machine in Go's words. Containers are Linux's even where the driver does not run on Linux."""
    machine = platform.machine()
    return f"linux/{_MACHINES.get(machine, machine)}"


def parse_platform(text: str) -> str:
    """Checks `OS/ARCH` or `OS/ARCH/VARIANT`; raises UsageError for anything else."""
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(
        part.isascii() and part.replace("_", "").isalnum() for part in parts
    ):
        raise UsageError(f"--platform: '{text}' is not OS/ARCH, such as linux/amd64")
    return text
