"""Real docker-registries behind TLS and logins, and the ways in which a user may keep those logins."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lib.lab.servers import Server, docker_registry
from tests.doubles.certificates import Certificate


@dataclass(frozen=True)
class User:
    """`hashed` is the password as a line of a password file, by bcrypt."""

    name: str
    password: str
    hashed: str

    @property
    def basic(self) -> str:
        return base64.b64encode(f"{self.name}:{self.password}".encode()).decode()

    @property
    def htpasswd(self) -> str:
        return f"{self.name}:{self.hashed}\n"


PULLER = User("puller", "Kz7-open-sesame-Q4", "$2b$04$abcdefghijklmnopqrstuuJoju1RYguZG3Zj/z8IALuxJvPfpbwNS")
LISTER = User(
    "lister", "Wx3-list-me-softly-P8", "$2b$04$abcdefghijklmnopqrstuuJ4MPePAmPD0B.GDlZbD0i8ak9LupKd6"
)
TESTER = User("tester", "secret", "$2b$04$KRLjbU6nuSwBNmlNRggTc.qNFBscYBtEmrUHMSkaOZ52hFs7Kg2XO")
REFRESH_TOKEN = "rt-Mn5-for-ever-T2"
"""Stands for the puller's login."""


@contextmanager
def secured_registry(
    certificate: Certificate,
    *,
    user: User | None = None,
    storage: Path | None = None,
    clients_of: Path | None = None,
    port: int = 0,
    **settings: object,
) -> Iterator[Server]:
    """A docker-registry that speaks TLS; `clients_of` is the CA of the client certificates that it asks for.

    `storage` is the data of another registry. The server's URL is that of its TLS port.
    """
    tls = {"certificate": str(certificate.path), "key": str(certificate.key)}
    http = {"addr": f"127.0.0.1:{port}", "secret": "lab", "tls": {**tls, **_client_cas(clients_of)}}
    if storage is not None:
        settings["storage"] = {"filesystem": {"rootdirectory": str(storage)}, "delete": {"enabled": True}}
    with docker_registry(htpasswd=user.htpasswd if user else None, more={"http": http, **settings}) as server:
        port = int(server.address.partition(":")[2])
        yield replace(server, url=f"https://localhost:{port}")


def _client_cas(path: Path | None) -> dict[str, list[str]]:
    return {"clientcas": [str(path)]} if path else {}


def entries(users: Mapping[str, User]) -> dict[str, dict[str, str]]:
    """`auths` of a config file, by `host:port`."""
    return {host: {"auth": user.basic} for host, user in users.items()}


def kept_in_docker(folder: Path, users: Mapping[str, User]) -> dict[str, str]:
    return {"DOCKER_CONFIG": _config(folder / "docker" / "config.json", {"auths": entries(users)})}


def kept_in_a_file(folder: Path, users: Mapping[str, User]) -> dict[str, str]:
    _config(folder / "auth.json", {"auths": entries(users)})
    return {"REGISTRY_AUTH_FILE": str(folder / "auth.json"), "DOCKER_CONFIG": str(folder / "none")}


def kept_in_the_runtime_folder(folder: Path, users: Mapping[str, User]) -> dict[str, str]:
    """As podman does."""
    _config(folder / "run" / "containers" / "auth.json", {"auths": entries(users)})
    return {"XDG_RUNTIME_DIR": str(folder / "run"), "DOCKER_CONFIG": str(folder / "none")}


def kept_by_helpers(folder: Path, users: Mapping[str, User]) -> dict[str, str]:
    """One for each host."""
    config = {"credHelpers": dict.fromkeys(users, "test")}
    return {
        "DOCKER_CONFIG": _config(folder / "docker" / "config.json", config),
        **_helper(folder, "test", users),
    }


def kept_in_a_store(folder: Path, users: Mapping[str, User]) -> dict[str, str]:
    """One for all hosts."""
    config = {"credsStore": "test", "auths": {host: {} for host in users}}
    return {
        "DOCKER_CONFIG": _config(folder / "docker" / "config.json", config),
        **_helper(folder, "test", users),
    }


KEPT = {
    "docker": kept_in_docker,
    "file": kept_in_a_file,
    "runtime": kept_in_the_runtime_folder,
    "helpers": kept_by_helpers,
    "store": kept_in_a_store,
}


def _config(path: Path, config: object) -> str:
    """Its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config))
    return str(path.parent)


def _helper(folder: Path, name: str, users: Mapping[str, User]) -> dict[str, str]:
    """A credential helper on PATH that knows these users."""
    answers = "".join(
        f"{host}) printf '%s' '{json.dumps({'Username': user.name, 'Secret': user.password})}' ;;\n"
        for host, user in users.items()
    )
    unknown = "*) echo credentials not found in native keychain; exit 1 ;;\n"
    path = folder / "bin" / f"docker-credential-{name}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\nread -r host\ncase $host in\n{answers}{unknown}esac\n")
    path.chmod(0o755)
    return {"PATH": f"{path.parent}:{os.environ['PATH']}"}
