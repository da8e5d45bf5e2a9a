"""The user's TLS settings: extra certificate authorities, whether to check certificates, and the client certificate."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ..errors import UsageError
from ..user_files import MIB, read_whole, reason

# Where Go's crypto/x509, and so every client, looks for the system's authorities; the first file that exists counts.
_SYSTEM_FILES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
# The warning about --insecure.
INSECURE: Final = (
    "--insecure: no server's certificate is checked; any server that answers receives the logins"
)
_LONGEST_FILE: Final = 16 * MIB


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS settings. `authorities` are the certificates (PEM) in `ca_file`.

    If `client_key` is None, `client_cert` holds both the certificate and its key.
    """

    ca_file: Path | None = None
    insecure: bool = False
    client_cert: Path | None = None
    client_key: Path | None = None
    authorities: bytes = field(default=b"", repr=False)

    @property
    def key(self) -> Path | None:
        """The file with the client certificate's key."""
        return self.client_key or self.client_cert

    def without_certificate(self) -> Tls:
        """Returns these settings without a client certificate."""
        return replace(self, client_cert=None, client_key=None)

    def as_json(self) -> dict[str, Any]:
        """Returns the settings under the options' names, as the summary shows them."""
        files = {"ca_file": self.ca_file, "client_cert": self.client_cert, "client_key": self.client_key}
        shown = {name: None if path is None else str(path) for name, path in files.items()}
        return {"insecure": self.insecure, **shown}

    def context(self) -> ssl.SSLContext:
        """Returns the context for the driver's own requests. It accepts what the clients accept, with any Python.

        Raises ssl.SSLError if the client certificate and its key do not fit.
        """
        context = ssl.create_default_context()
        # as in Go: every certificate in the pool is a trust anchor, key identifiers are optional, common names ignored
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.hostname_checks_common_name = False
        if self.authorities:
            context.load_verify_locations(cadata=self.authorities.decode("ascii"))
        if self.client_cert is not None:
            # without a password, OpenSSL would ask for one at the terminal
            context.load_cert_chain(self.client_cert, self.key, password="")
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def bundle(self, environment: Mapping[str, str]) -> bytes:
        """Returns the system's and the user's authorities (PEM), for the file that $SSL_CERT_FILE names.

        Clients read that file in place of the system's.
        """
        for path in authorities_files(environment):
            with suppress(OSError):
                return read_whole(path, _LONGEST_FILE, regular=True) + b"\n" + self.authorities
        return self.authorities


def authorities_files(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Returns where every client looks for the system's authorities: the first of these files that exists counts."""
    given = environment.get("SSL_CERT_FILE")
    return (given,) if given else _SYSTEM_FILES


def files_in_folders(environment: Mapping[str, str]) -> Iterator[str]:
    """Yields the files in the folders that $SSL_CERT_DIR names: a client takes each of them for authorities."""
    for folder in filter(None, environment.get("SSL_CERT_DIR", "").split(":")):
        with suppress(OSError), os.scandir(folder) as found:
            yield from (each.path for each in found)


def parse_tls(options: Mapping[str, Any]) -> Tls:
    """Returns the TLS settings of a command's options, and reads the files. Raises UsageError if one is not usable."""
    ca_file, client_cert, client_key = (options[name] for name in ("ca_file", "client_cert", "client_key"))
    _check_environment(os.environ)
    if client_key is not None and client_cert is None:
        raise UsageError("--client-key needs a certificate; give it with --client-cert")
    for option, path in (("--client-cert", client_cert), ("--client-key", client_key)):
        if path is not None:
            _check_file(option, path)
    authorities = _authorities(ca_file) if ca_file is not None else b""
    tls = Tls(
        ca_file=ca_file,
        insecure=options["insecure"],
        client_cert=client_cert,
        client_key=client_key,
        authorities=authorities,
    )
    if client_cert is not None:
        _check_pair(tls)
    return tls


def _authorities(path: Path) -> bytes:
    found = _CERTIFICATE.findall(_read("--ca-file", path))
    if not found:
        raise UsageError(
            f"--ca-file: {path} holds no certificate in PEM; give a file with -----BEGIN CERTIFICATE----- lines"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for number, certificate in enumerate(found, 1):
        try:
            context.load_verify_locations(cadata=certificate.decode("ascii"))
        except (ssl.SSLError, ValueError):
            raise UsageError(
                f"--ca-file: certificate {number} in {path} is damaged; replace or remove it"
            ) from None
    return b"\n".join(found) + b"\n"


def _read(option: str, path: Path) -> bytes:
    try:
        return read_whole(path, _LONGEST_FILE)
    except OSError as error:
        raise UsageError(f"{option}: cannot read {path}: {reason(error)}; give a PEM file") from None


def _check_file(option: str, path: str | Path) -> None:
    """Raises UsageError unless `path` is a readable regular file. Every client reads it, so it must not be a pipe."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise UsageError(f"{option}: {path} is not a regular file; give a file that can be read repeatedly")
    _read(option, Path(path))


def _check_environment(environment: Mapping[str, str]) -> None:
    """Raises UsageError if $SSL_CERT_FILE exists and OpenSSL could not read it to its end. /dev/null means no file."""
    path = environment.get("SSL_CERT_FILE")
    if path and os.path.realpath(path) != os.devnull and os.path.exists(path):
        _check_file("SSL_CERT_FILE", path)


def _check_pair(tls: Tls) -> None:
    try:
        tls.context()
    except ssl.SSLError as error:
        raise UsageError(
            f"--client-cert: the key in {tls.key} does not belong to the certificate; give the key with --client-key"
            if error.reason == "KEY_VALUES_MISMATCH"
            else f"--client-cert: {tls.client_cert} and {tls.key} must hold a certificate and its key in PEM, "
            "the key without a passphrase"
        ) from None
