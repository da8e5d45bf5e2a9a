"""The private files that clients are started with: the login, whom to trust, the client certificate.

They lie in the run's scratch folder, readable by the user alone, and go with it. No secret stands in an argv or in the
environment: there only the names of these files do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..http.credentials import Credentials, Login
from ..http.tls import Tls
from ..options.settings import Settings
from ..processes.guard import MARK
from ..processes.scratch import Scratch
from ..servers.route import Route
from .find import Found


@dataclass(frozen=True, slots=True)
class ClientFiles:
    """`config` is a Docker config file, for skopeo's `--authfile` too; `certificates` a folder for its `--cert-dir`.

    Of crane's an empty one is not there.
    """

    config: Path
    environment: Mapping[str, str]
    certificates: Path | None


def write_client_files(
    client: str, route: Route, credentials: Credentials, login: Login | None, tls: Tls, scratch: Scratch
) -> ClientFiles:
    """Those for this client and server; made anew where they are there already.

    crane gets no config file where it would say nothing and has none of the user's to hide: a file costs it a fiftieth
    of its CPU, read twice a launch. Without one it does not look into DOCKER_AUTH_CONFIG either, where a pipeline may
    have put a login. skopeo wants its `--authfile` to be there.
    """
    config = credentials.client_config(route.endpoint.host, login)
    if route.way == "header" and route.header is not None:
        config = with_header(config, route.header)
    path = scratch.folder("docker") / "config.json"
    if config or credentials.files or "DOCKER_AUTH_CONFIG" in os.environ or client == "skopeo":
        _write(path, json.dumps(config).encode())
    else:
        path.unlink(missing_ok=True)
    environment = {"DOCKER_CONFIG": str(path.parent)}
    if tls.authorities:
        bundle = _write(scratch.folder("tls") / "authorities.pem", tls.bundle(os.environ))
        environment["SSL_CERT_FILE"] = str(bundle)
    return ClientFiles(path, environment, _certificates(tls, scratch))


def _write(path: Path, content: bytes) -> Path:
    path.touch(0o600)
    path.write_bytes(content)
    return path


def _certificates(tls: Tls, scratch: Scratch) -> Path | None:
    """Links, so that there is no second copy of the key."""
    if tls.client_cert is None or tls.key is None:
        return None
    folder = scratch.folder("certificates")
    for name, target in (("client.cert", tls.client_cert), ("client.key", tls.key)):
        with suppress(FileExistsError):
            (folder / name).symlink_to(target.absolute())
    return folder


def with_header(config: Mapping[str, Any], header: tuple[str, str]) -> dict[str, Any]:
    """A Docker config with one more HTTP header, which crane sends with each request."""
    headers = config.get("HttpHeaders")
    merged = dict(headers) if isinstance(headers, Mapping) else {}
    merged[header[0]] = header[1]
    return {**config, "HttpHeaders": merged}


def client_environment(scratch: Scratch) -> dict[str, str]:
    """What every client starts with: the user's environment, the run's mark, a temporary folder of the run's."""
    return {**os.environ, MARK: str(scratch.path), "TMPDIR": str(scratch.folder("clients"))}


def _lean(settings: Settings, found: Found) -> dict[str, str]:
    """crane works alone and wants no more than one processor; skopeo unpacks the layers of an image in parallel."""
    wanted = settings.lean and found.kind == "crane" and "GOMAXPROCS" not in os.environ
    return {"GOMAXPROCS": "1"} if wanted else {}
