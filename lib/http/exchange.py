"""One HTTP exchange: sends a request; returns the answer, bounded in size, or an error that says what to do."""

from __future__ import annotations

import asyncio
import errno
import json
import re
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from ..clean import clean
from ..durations import spoken
from ..outcomes import ErrorClass
from ..processes.limits import PORTS, question
from .proxies import Proxy, ProxyError, usable_proxy_for

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
# asyncio can speak TLS inside TLS since Python 3.11.
_TLS_IN_TLS: Final = sys.version_info >= (3, 11)
# Statuses of a proxy that may pass.
_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
# What only a proxy sends with an answer of its own: RFC 9110 (section 11.7.1) and Squid. RFC 9209 adds Proxy-Status.
_OF_PROXIES: Final = ("Proxy-Authenticate", "X-Squid-Error")
# Proxies that name themselves as the server of their own answers.
_PROXY_PRODUCTS: Final = re.compile(
    r"squid|tinyproxy|privoxy|mitmproxy|zscaler|bluecoat|ccproxy", re.IGNORECASE
)
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
    """A complete HTTP answer. `url` is its address, after redirects; `body` is decompressed.

    `proxy` is the proxy that it came through. A proxy for http may have made the answer itself.
    """

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes
    url: str
    proxy: Proxy | None = None

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
    Proxies come from `proxies`.
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


def way_to(url: URL) -> Proxy | None:
    """Returns the proxy for this URL; None to ask its server directly. Raises RegistryError if it cannot be used."""
    try:
        proxy = usable_proxy_for(url.scheme, url.raw_host or "", url.port or 0)
    except ProxyError as error:
        raise RegistryError(str(error)) from None
    if proxy is not None and proxy.scheme == url.scheme == "https" and not _TLS_IN_TLS:
        raise RegistryError(
            f"{proxy.variable} names a proxy with https, which needs Python 3.11: "
            f"name one with http, or add {url.host} to NO_PROXY"
        )
    return proxy


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

    Raises TransientError if a retry may succeed, else RegistryError. `max_bytes` limits the decompressed body. A
    proxy's own answer is an error, not an answer.
    """
    proxy = way_to(url)
    try:
        async with session.request(
            method, url, headers=headers, data=form, allow_redirects=False, proxy=by_proxy(proxy)
        ) as response:
            body = await _bounded(response, max_bytes)
            answer = Answer(
                status=response.status, headers=response.headers, body=body, url=str(url), proxy=proxy
            )
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as error:
        raise _fault(error, url, proxy) from error
    if proxy is not None and _is_of_proxy(answer):
        raise _proxy_fault(answer.status, url, proxy)
    if answer.status == 400 and url.scheme == "http" and any(text in body for text in _FOR_TLS_PORT):
        raise _fatal(f"{host_of(url)} speaks TLS: write https://{host_of(url)}", ErrorClass.TLS)
    return answer


def by_proxy(proxy: Proxy | None) -> URL | None:
    """Returns aiohttp's argument `proxy`, with the login for it. aiohttp sends the login to the proxy alone.

    Go writes the login in UTF-8, aiohttp in Latin-1. So each byte becomes a character.
    """
    if proxy is None or proxy.username is None:
        return None if proxy is None else URL(proxy.url)
    username, password = (text.encode().decode("latin-1") for text in (proxy.username, proxy.password))
    return URL(proxy.url).with_user(username).with_password(password)


def _is_of_proxy(answer: Answer) -> bool:
    """Returns whether the proxy made this answer itself. A server's own answer through https never gets here."""
    if answer.status < 400 or URL(answer.url).scheme != "http":
        return False
    return (
        answer.status == 407
        or any(name in answer.headers for name in _OF_PROXIES)
        or "error=" in answer.headers.get("Proxy-Status", "")
        or _PROXY_PRODUCTS.match(answer.headers.get("Server", "")) is not None
    )


def _proxy_fault(status: int, url: URL, proxy: Proxy) -> RegistryError | TransientError:
    """Returns the error for a proxy that answers for a server. `status` is the proxy's, so the error has none."""
    if status == 407:
        remedy = f"give {proxy.variable} its user name and password (http://USER:PASSWORD@HOST:PORT)"
    else:
        remedy = f"check {proxy.variable}, and what the proxy allows"
    name = clean(url.host or "", 200)
    message = f"the {proxy} answers {status} for {host_of(url)}: {remedy}, or add {name} to NO_PROXY"
    if status in _PASSING:
        return _transient(message, ErrorClass.REFUSED)
    return _fatal(message, ErrorClass.REFUSED)


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
    fault = _fault(error, url, way_to(url))
    return str(fault.final if isinstance(fault, TransientError) else fault)


def _fault(error: Exception, url: URL, proxy: Proxy | None) -> RegistryError | TransientError:
    """Returns the error to raise, with its message for the user, for an error that aiohttp raised."""
    if proxy is None:
        return _fault_at(error, url)
    host, name = host_of(url), clean(url.host or "", 200)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return _proxy_fault(error.status, url, proxy)
    own = (getattr(error, "host", None), getattr(error, "port", None)) == (proxy.host, URL(proxy.url).port)
    at = _fault_at(error, URL(proxy.url) if own else url)
    fault = at if isinstance(at, RegistryError) else at.final
    if own:
        reason = str(fault).partition(": ")[0]
        message = (
            f"no way to {host} by the {proxy}: {reason}; check {proxy.variable}, or add {name} to NO_PROXY"
        )
    else:
        message = f"by the {proxy}, {fault}"
    told = RegistryError(message, error_class=fault.error_class if isinstance(fault, RegistryError) else None)
    return told if isinstance(at, RegistryError) else TransientError(told, unreachable=at.unreachable)


def _fault_at(error: Exception, url: URL) -> RegistryError | TransientError:
    """Returns the error for one that aiohttp raised in its exchange with this server or proxy."""
    host = host_of(url)
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError)) or (
        isinstance(error, aiohttp.ClientOSError) and _OF_CLIENT_CERTIFICATE.search(str(error))
    ):
        return _tls_fault(error, url)
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
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        message = (
            f"the name '{clean(url.host or '', 200)}' cannot be resolved: check the spelling and the DNS"
        )
        return _transient(message, ErrorClass.DNS, unreachable=True)
    if isinstance(error.os_error, ConnectionRefusedError):
        message = f"{host} refuses connections: is the server running, and is this its port?"
        return _transient(message, ErrorClass.REFUSED, unreachable=True)
    if error.os_error.errno == errno.EADDRNOTAVAIL and ":" not in (url.host or ""):
        # an address that is not valid here has another error, but for one of IPv6
        message = f"there is no free local port for a connection to {host}{question(PORTS)}"
        return _transient(message, ErrorClass.REFUSED, unreachable=True)
    return _transient(
        f"{host} cannot be reached ({_reason_of(error)}): check the address",
        ErrorClass.REFUSED,
        unreachable=True,
    )


def _reason_of(error: aiohttp.ClientConnectorError) -> str:
    return clean(error.os_error.strerror or "no connection", 120)


def _timeout(error: Exception, url: URL) -> TransientError:
    host = host_of(url)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        message = f"{host} does not answer within {spoken(CONNECT_SECONDS)}: check the address and firewalls"
        return _transient(message, ErrorClass.TIMEOUT, unreachable=True)
    return _transient(
        f"{host} takes connections but is too slow to answer: check the server", ErrorClass.TIMEOUT
    )


def _fatal(message: str, error_class: ErrorClass | None = None) -> RegistryError:
    return RegistryError(message, error_class=error_class)


def _transient(message: str, error_class: ErrorClass, *, unreachable: bool = False) -> TransientError:
    return TransientError(RegistryError(message, error_class=error_class), unreachable=unreachable)
