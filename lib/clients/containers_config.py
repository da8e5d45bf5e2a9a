"""The configuration that skopeo reads, as podman and CRI-O do: private files in place of the user's and the system's.

Source: containers-registries.conf(5), containers-registries.d(5), containers-certs.d(5), containers-policy.json(5). One
of these files can send a pull to a mirror, refuse it, or add requests for signatures. So skopeo gets a home of its own,
in which `registries.conf` is empty. Up to skopeo 1.22 that file hides all others; in later versions, the variable
CONTAINERS_REGISTRIES_CONF does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .client import Orders
from .files import certificate_folder, write_private
from .surroundings import helpers_as_before, without

# The variables of the user that skopeo is not given.
NOT_PASSED_ON: Final = ("CONTAINERS_*", "REGISTRIES_CONFIG_PATH", "REGISTRY_AUTH_FILE")
# Those of them that name a `registries.conf`.
_NAME_A_FILE: Final = (
    "CONTAINERS_REGISTRIES_CONF",
    "CONTAINERS_REGISTRIES_CONF_OVERRIDE",
    "REGISTRIES_CONFIG_PATH",
)
# The folders of the system that skopeo looks into.
_SYSTEM: Final = ("/etc/containers", "/usr/share/containers")
_CERTIFICATES: Final = ("/etc/containers/certs.d", "/etc/docker/certs.d")
# Not a folder, so nothing can be made in it: what skopeo knows about layers stays in its memory, and is not written to
# a database that all of its processes lock, and flush to the disk several times for each layer.
_NO_FOLDER: Final = os.devnull
# A number of a user other than root, for whom skopeo takes the place of that database from $XDG_DATA_HOME.
_NOT_ROOT: Final = "65534"
# Lines that change where a pull goes, or what it requests. Comments, aliases and search lists do not.
_REDIRECTS: Final = re.compile(
    r"^\s*(?:\[+\s*registr(?:y\b|ies\.(?:insecure|block)\b)|registry\s*=|credential-helpers\s*=)",
    re.MULTILINE,
)
_ASKS_SIGNATURES: Final = re.compile(
    r"^[^#\n]*?(?<![\w-])(?:lookaside|sigstore|use-sigstore-attachments)[\"']?\s*:", re.MULTILINE
)
_REFUSES: Final = re.compile(r'"(?:reject|signedBy|sigstoreSigned)"')
_LONGEST_FILE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class PrivateConfig:
    """What skopeo reads instead: variables, an empty `registries.d`, the folder with the client certificate if any."""

    environment: Mapping[str, str]
    registries_d: Path
    certificates: Path


def write_config(orders: Orders) -> PrivateConfig:
    """Writes the private files. Credential helpers still get the user's own variables."""
    home = orders.folder("home")
    containers = home / ".config" / "containers"
    registries_d = containers / "registries.d"
    for folder in (containers.parent, containers, registries_d):
        folder.mkdir(mode=0o700, exist_ok=True)
    registries_conf = write_private(containers / "registries.conf", b"")
    changed = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": _NO_FOLDER,
        "CONTAINERS_REGISTRIES_CONF": str(registries_conf),
        **({"_CONTAINERS_ROOTLESS_UID": _NOT_ROOT} if os.geteuid() == 0 else {}),
    }
    helpers = dict((orders.docker_config or {}).get("credHelpers", {})).values()
    passed_on = without(orders.environment, NOT_PASSED_ON)
    wrapped = helpers_as_before(orders.folder("helpers"), helpers, orders.environment, changed)
    certificates = certificate_folder(orders.tls, orders.folder) or orders.folder("no-certificates")
    return PrivateConfig({**passed_on, **changed, **wrapped}, registries_d, certificates)


def not_read(environment: Mapping[str, str], host: str) -> Iterator[str]:
    """The files and variables of the user and of the system that would have changed pulls from this host."""
    users = _users(environment)
    folders = [Path(each) for each in (*_SYSTEM, *users)]
    named = [Path(environment[name]) for name in _NAME_A_FILE if environment.get(name)]
    registries = [
        path
        for folder in folders
        for path in (folder / "registries.conf", *_in(folder / "registries.conf.d"))
    ]
    yield from _matching((*registries, *named), _REDIRECTS)
    yield from _matching(
        (path for folder in folders for path in _in(folder / "registries.d")), _ASKS_SIGNATURES
    )
    yield from _matching((folder / "policy.json" for folder in folders), _REFUSES)
    certificates = (*_CERTIFICATES, *(f"{user}/certs.d" for user in users))
    yield from (each for each in (f"{folder}/{host}" for folder in certificates) if _in(Path(each)))


def _users(environment: Mapping[str, str]) -> list[str]:
    """Where skopeo finds the user's configuration: up to 1.22 in the home, after it in $XDG_CONFIG_HOME."""
    home, settings = environment.get("HOME"), environment.get("XDG_CONFIG_HOME")
    places = (home and f"{home}/.config", settings)
    return list(dict.fromkeys(f"{place}/containers" for place in places if place))


def _in(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _matching(paths: Iterable[Path], pattern: re.Pattern[str]) -> Iterator[str]:
    """Those whose text has a match. What cannot be read, skopeo could not read either."""
    for path in paths:
        with suppress(OSError):
            if path.is_file():
                with path.open(errors="replace") as file:
                    if pattern.search(file.read(_LONGEST_FILE)):
                        yield str(path)
