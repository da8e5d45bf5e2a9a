"""One HTTP exchange: sends a request; returns the answer, bounded in size, or an error that says what to do."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.request import getproxies, proxy_bypass

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from ..clean import clean
from ..outcomes import ErrorClass

MIB: Final = 1 << 20
CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 30.0
TOTAL_SECONDS: Final = 120.0
_CONNECTIONS: Final = 100
_LINE_BYTES: Final = 16384
_CHUNK_BYTES: Final = 65536
_FOR_TLS_PORT: Final = (b"HTTP request to an HTTPS server", b"HTTP request was sent to HTTPS port")
_NOT_TLS: Final = (
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "UNKNOWN_PROTOCOL",
    "HTTP_REQUEST",
    "PACKET_LENGTH",
)
# What to do about a certificate that is not accepted, by OpenSSL's error number (X509_V_ERR_…).
_NOT_TRUSTED: Final = "name its CA (the certificate itself, if self-signed) with --ca-file FILE"
_OTHER_NAME: Final = "call the server by a name that the certificate is for"
_NOT_VALID_NOW: Final = "renew it, and check this machine's clock"
_REMEDIES: Final = {
    **dict.fromkeys((2, 18, 19, 20, 21), _NOT_TRUSTED),
    **dict.fromkeys((62, 63, 64), _OTHER_NAME),
    **dict.fromkeys((9, 10), _NOT_VALID_NOW),
}
# A server's TLS alerts about the client certificate. With TLS 1.3 they arrive in place of the first answer.
_OF_CLIENT_CERTIFICATE: Final = re.compile(
    r"ALERT_(?:BAD_CERTIFICATE|CERTIFICATE_\w+|UNKNOWN_CA|UNSUPPORTED_CERTIFICATE)"
)


class RegistryError(Exception):
    """A registry cannot be used. The message is one line that names the registry and says what to do.

    `status` is the HTTP status if there was an answer. If there was none, `error_class` says why. `body` is what a
    token service answered.
    """

    def __init__(
        self,
        message: str,
        status: int | None = None,
        error_class: ErrorClass | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error_class = error_class
        self.body = body


class TransientError(Exception):
    """A request failed, and a retry may succeed. `final` is the result if no retry does.

    `after` is the wait in seconds that the server asks for. `unreachable`: there was no connection.
    """

    def __init__(
        self, final: Answer | RegistryError, after: float | None = None, unreachable: bool = False
    ) -> None:
        super().__init__()
        self.final = final
        self.after = after
        self.unreachable = unreachable


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer. `url` is its address, after redirects; `body` is decompressed."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes
    url: str

    def json(self) -> object:
        """Returns the body parsed as JSON. Raises RegistryError if it is not JSON, or nested too deeply to parse."""
        try:
            value: object = json.loads(self.body)
        except (ValueError, RecursionError):
            raise RegistryError(
                f"{printable(URL(self.url))} is not JSON: is this an OCI registry? Check its URL", self.status
            ) from None
        return value


def open_session(tls: ssl.SSLContext | bool = True) -> aiohttp.ClientSession:
    """Opens a session for `Registry`. Call this within a running loop, and close the session yourself.

    `tls` is the context to use, or False to accept any certificate. The session keeps no cookies. aiohttp must not read
    the environment (`trust_env` stays off): it would read .netrc at every request and send its logins along redirects.
    Proxies come from `proxy_for`.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=tls),
        timeout=aiohttp.ClientTimeout(
            total=TOTAL_SECONDS, connect=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS
        ),
        headers={"User-Agent": "ocidriver", "Accept-Encoding": "gzip"},
        cookie_jar=aiohttp.DummyCookieJar(),
        max_line_size=_LINE_BYTES,
        max_field_size=_LINE_BYTES,
    )


def proxy_for(url: URL) -> str | None:
    """Returns the environment's proxy for this URL; None for loopback, as in the clients (Go's net/http)."""
    host = url.host or ""
    if host == "localhost" or host == "::1" or host.startswith("127."):
        return None
    proxy = getproxies().get(url.scheme)
    return None if proxy is None or proxy_bypass(f"{host}:{url.port}") else proxy


def host_of(url: URL) -> str:
    """Returns `host:port` for a message, with the port even if it is the default one."""
    host = f"[{url.host}]" if ":" in (url.host or "") else url.host
    return f"{host}:{url.port}"


def printable(url: URL) -> str:
    """Returns a URL for a message: without user, query and fragment, which may hold secrets."""
    return clean(str(url.with_user(None).with_query(None).with_fragment(None)), 200)


async def exchange(
    session: aiohttp.ClientSession,
    method: str,
    url: URL,
    *,
    headers: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    max_bytes: int = 16 * MIB,
) -> Answer:
    """Sends one request and returns the answer; does not follow redirects.

    Raises TransientError if a retry may succeed, else RegistryError. `max_bytes` limits the decompressed body.
    """
    try:
        async with session.request(
            method, url, headers=headers, data=form, allow_redirects=False, proxy=proxy_for(url)
        ) as response:
            body = await _bounded(response, max_bytes)
            answer = Answer(response.status, response.headers, body, str(url))
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as error:
        raise _fault(error, url) from error
    if answer.status == 400 and url.scheme == "http" and any(text in body for text in _FOR_TLS_PORT):
        raise _fatal(f"{host_of(url)} speaks TLS: write https://{host_of(url)}", ErrorClass.TLS)
    return answer


async def _bounded(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Reads the body. aiohttp decompresses in bounded chunks, so the limit holds for a gzip bomb too."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > max_bytes:
            raise _fatal(
                f"{printable(response.url)} is longer than {max_bytes / MIB:g} MiB: is this an OCI registry?",
                ErrorClass.BAD_CONTENT,
            )
    return bytes(body)


def explain(error: Exception, url: URL) -> str:
    """Returns the message for an error that aiohttp raised in a request to this address."""
    fault = _fault(error, url)
    return str(fault.final if isinstance(fault, TransientError) else fault)


def _fault(error: Exception, url: URL) -> RegistryError | TransientError:
    """Returns the error to raise, with its message for the user, for an error that aiohttp raised."""
    host = host_of(url)
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError)) or (
        isinstance(error, aiohttp.ClientOSError) and _OF_CLIENT_CERTIFICATE.search(str(error))
    ):
        return _tls_fault(error, url)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return _fatal(f"the proxy for {host} answers {error.status}: check {url.scheme}_proxy and no_proxy")
    if isinstance(error, aiohttp.ClientConnectorError):
        return _unreachable(error, url)
    if isinstance(error, asyncio.TimeoutError):
        return _timeout(error, url)
    if isinstance(error, (aiohttp.ClientPayloadError, aiohttp.ClientResponseError)) and (
        "content-encoding" in str(error)
    ):
        return _fatal(
            f"{host} sends a body that cannot be decompressed: check the server", ErrorClass.BAD_CONTENT
        )
    if isinstance(error, aiohttp.ClientResponseError):
        return _fatal(
            f"{host} does not answer in HTTP: check the port, or write https:// if it speaks TLS",
            ErrorClass.BAD_CONTENT,
        )
    if isinstance(error, (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, ValueError)):
        return _fatal(f"{host} cannot be asked for {printable(url)}: the address is not valid")
    return _transient(
        f"{host} closed the connection before its answer was complete: check its log", ErrorClass.RESET
    )


def _tls_fault(error: Exception, url: URL) -> RegistryError:
    host, words = host_of(url), str(error)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        fault = error.certificate_error
        reason = clean(getattr(fault, "verify_message", "") or "not valid", 200).rstrip(".")
        remedy = _REMEDIES.get(getattr(fault, "verify_code", 0), "look at it with openssl s_client")
        return _fatal(
            f"the certificate of {host} is not accepted ({reason}): {remedy}, or check none with --insecure",
            ErrorClass.TLS,
        )
    if _OF_CLIENT_CERTIFICATE.search(words):
        return _fatal(
            f"{host} asks for a client certificate that it accepts: give --client-cert and --client-key",
            ErrorClass.TLS,
        )
    if any(sign in words.upper().replace(" ", "_") for sign in _NOT_TLS):
        return _fatal(f"{host} does not speak TLS: write http://{host}", ErrorClass.TLS)
    reason = clean(getattr(error, "reason", None) or getattr(error, "strerror", None) or words, 120)
    return _fatal(
        f"no TLS connection to {host} ({reason}): check its certificate and TLS versions", ErrorClass.TLS
    )


def _unreachable(error: aiohttp.ClientConnectorError, url: URL) -> TransientError:
    host = host_of(url)
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        message = f"the proxy for {host} cannot be reached: check {url.scheme}_proxy and no_proxy"
        return _transient(message, ErrorClass.REFUSED, unreachable=True)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        message = f"the name {clean(url.host or '', 200)} cannot be resolved: check the spelling and the DNS"
        return _transient(message, ErrorClass.DNS, unreachable=True)
    if isinstance(error.os_error, ConnectionRefusedError):
        message = f"{host} refuses connections: is the server running, and is this its port?"
        return _transient(message, ErrorClass.REFUSED, unreachable=True)
    reason = clean(error.os_error.strerror or "no connection", 120)
    return _transient(
        f"{host} cannot be reached ({reason}): check the address", ErrorClass.REFUSED, unreachable=True
    )


def _timeout(error: Exception, url: URL) -> TransientError:
    host = host_of(url)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        message = f"{host} does not answer within {CONNECT_SECONDS:g} s: check the address and firewalls"
        return _transient(message, ErrorClass.TIMEOUT, unreachable=True)
    return _transient(
        f"{host} takes connections but is too slow to answer: check the server", ErrorClass.TIMEOUT
    )


def _fatal(message: str, error_class: ErrorClass | None = None) -> RegistryError:
    return RegistryError(message, error_class=error_class)


def _transient(message: str, error_class: ErrorClass, *, unreachable: bool = False) -> TransientError:
    return TransientError(RegistryError(message, error_class=error_class), unreachable=unreachable)
