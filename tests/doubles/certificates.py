"""A certificate authority of the tests' own, and certificates good and bad; made by openssl when they are needed."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_RSA_KEY = ("-newkey", "rsa:2048", "-nodes")
LOOPBACK = "DNS:localhost,IP:127.0.0.1"


@dataclass(frozen=True)
class Certificate:
    """PEM files."""

    path: Path
    key: Path


def self_signed(folder: Path, name: str, *, names: str = LOOPBACK, rsa: bool = False) -> Certificate:
    """A server's certificate that nobody but itself vouches for."""
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    _openssl(
        "req", "-x509", *(_RSA_KEY if rsa else _KEY), "-keyout", made.key, "-out", made.path, "-days", 30,
        "-subj", f"/CN={name}", "-addext", f"subjectAltName={names}",
    )  # fmt: skip
    return made


class Authority:
    """A CA with its own certificate at `path`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._own = self_signed(folder, name)
        self.path = self._own.path

    def issue(self, name: str, *, names: str = LOOPBACK, days: int = 30) -> Certificate:
        """A certificate for servers and clients; with `days` -1 it has expired."""
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n")
        _openssl("req", *_KEY, "-keyout", made.key, "-out", request, "-subj", f"/CN={name}")
        _openssl(
            "x509", "-req", "-in", request, "-CA", self._own.path, "-CAkey", self._own.key, "-CAcreateserial",
            "-days", days, "-extfile", extensions, "-out", made.path,
        )  # fmt: skip
        return made


def _openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
