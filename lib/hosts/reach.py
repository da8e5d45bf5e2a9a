"""Says in words why no Dask scheduler can be reached at an address: by a connection of its own, without Dask.

Dask itself tries until its timeout ends, and its error then says little.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from typing import Final

from ..durations import spoken

# A scheduler speaks first: so many bytes of its greeting show that it does, and come within so many seconds.
_GREETING: Final = 4
_GREETING_SECONDS: Final = 3.0
_NOT_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "PACKET_LENGTH")
# OpenSSL's numbers for a certificate whose issuer is not known (X509_V_ERR_…).
_UNKNOWN_AUTHORITY: Final = (2, 18, 19, 20, 21)
REFUSED: Final = "connection refused"


async def obstacle(host: str, port: int, context: ssl.SSLContext | None, seconds: float) -> str | None:
    """Returns why no scheduler can be reached there within so many seconds; None if one greets.

    `context` is for TLS; None without it.
    """
    writer = None
    try:
        opening = asyncio.open_connection(host, port, ssl=context, server_hostname=host if context else None)
        reader, writer = await asyncio.wait_for(opening, seconds)
        greeting = await asyncio.wait_for(reader.read(_GREETING), min(seconds, _GREETING_SECONDS))
    except asyncio.TimeoutError:
        if writer is None:
            return f"no answer within {spoken(seconds)}"
        return await _without_greeting(host, port, context, seconds)
    except (OSError, ValueError) as error:
        return _in_words(error, host)
    finally:
        if writer is not None:
            writer.transport.abort()
    return None if greeting else await _without_greeting(host, port, context, seconds)


async def _without_greeting(host: str, port: int, context: ssl.SSLContext | None, seconds: float) -> str:
    if context is None and await _speaks_tls(host, port, seconds):
        return (
            "it wants TLS; give tls:// in place of tcp://, with --hosts-ca-file, --hosts-cert and --hosts-key"
        )
    if context is not None:
        return "it closed the connection; does it accept the certificate of --hosts-cert?"
    return "it does not answer as a Dask scheduler does"


async def _speaks_tls(host: str, port: int, seconds: float) -> bool:
    """Returns whether the server there takes part in a TLS handshake, whatever its certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        opening = asyncio.open_connection(host, port, ssl=context, server_hostname=host)
        _, writer = await asyncio.wait_for(opening, seconds)
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except (OSError, asyncio.TimeoutError):
        return False
    writer.transport.abort()
    return True


def _in_words(error: OSError | ValueError, host: str) -> str:
    match error:
        case ConnectionRefusedError():
            return REFUSED
        case socket.gaierror():
            return f"the name {host} is not known"
        case ssl.SSLCertVerificationError():
            if error.verify_code in _UNKNOWN_AUTHORITY:
                return "certificate signed by unknown authority; give its CA with --hosts-ca-file"
            return f"its certificate is not valid: {error.verify_message}"
        case ssl.SSLError():
            return _tls_in_words(error.reason or "")
        case ConnectionResetError():
            return "it broke the connection"
        case OSError():
            return (error.strerror or str(error)).lower() if error.errno else "no connection"
    return str(error)


def _tls_in_words(reason: str) -> str:
    if any(word in reason for word in _NOT_TLS):
        return "it does not use TLS; give tcp:// in place of tls://"
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        return "it wants a certificate; give --hosts-cert and --hosts-key"
    if "UNKNOWN_CA" in reason or "BAD_CERTIFICATE" in reason or "CERTIFICATE_UNKNOWN" in reason:
        return (
            "it does not accept the certificate of --hosts-cert, which must be signed by the CA of the hosts"
        )
    if "EXPIRED" in reason:
        return "the certificate of --hosts-cert has expired"
    with suppress(ValueError):
        reason = reason.replace("_", " ").lower()
    return f"TLS failed: {reason or 'no reason given'}"
