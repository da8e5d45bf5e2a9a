"""The private files that clients are started with: the login, the trusted authorities, the client certificate.

They lie in the scratch folder of the run, readable by the user alone, and go with it. No secret stands in an argv or in
the environment: there only the names of these files stand.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ..http.credential_files import VARIABLES
from ..http.tls import Tls
from ..processes.guard import MARK
from ..processes.scratch import Scratch

_LEAN: Final = {"GOMAXPROCS": "1", "GOGC": "400"}
_NO_KEY: Final = "tlsmlkem=0"


def write_private(path: Path, content: bytes) -> Path:
    """Writes a file that only the user can read. A client that reads it meanwhile gets the old content or the new."""
    new = path.with_name(f".{path.name}.new")
    with open(os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
    return new.replace(path)


def docker_config(folder: Path, config: Mapping[str, Any]) -> Path:
    """The configuration as `config.json` in this folder, which `DOCKER_CONFIG` can name."""
    return write_private(folder / "config.json", json.dumps(config).encode())


def authorities_environment(tls: Tls, folder: Callable[[str], Path]) -> dict[str, str]:
    """`SSL_CERT_FILE`, which Go programs read, with the system's authorities and the user's; else nothing."""
    if not tls.authorities:
        return {}
    bundle = write_private(folder("tls") / "authorities.pem", tls.bundle(os.environ))
    return {"SSL_CERT_FILE": str(bundle)}


def lean_environment(*, lean: bool, tries_tls_in_vain: bool = False) -> dict[str, str]:
    """Settings of Go's runtime that save a client CPU. The user's own values count.

    `GOMAXPROCS=1`: a client works alone, and more processors only cost it CPU. `GOGC=400`: it collects garbage less
    often, at up to five megabytes more. `tries_tls_in_vain`: the client offers TLS to a server of plain http; without
    the key for ML-KEM, this offer is cheaper.
    """
    if not lean:
        return {}
    own = os.environ
    found = {name: value for name, value in _LEAN.items() if name not in own}
    if tries_tls_in_vain and _NO_KEY.partition("=")[0] not in own.get("GODEBUG", ""):
        found["GODEBUG"] = ",".join([*filter(None, [own.get("GODEBUG")]), _NO_KEY])
    return found


def certificate_folder(tls: Tls, folder: Callable[[str], Path]) -> Path | None:
    """A folder with `client.cert` and `client.key`: links, so that there is no second copy of the key."""
    if tls.client_cert is None or tls.key is None:
        return None
    made = folder("certificates")
    for name, target in (("client.cert", tls.client_cert), ("client.key", tls.key)):
        with suppress(FileExistsError):
            (made / name).symlink_to(target.absolute())
    return made


def client_environment(scratch: Scratch) -> dict[str, str]:
    """What every client starts with: the user's environment, the mark of the run, a temporary folder of the run.

    Variables with logins are left out: clients get logins by their private files alone.
    """
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return {**kept, MARK: str(scratch.path), "TMPDIR": str(scratch.folder("clients"))}
