"""The outcomes of pulls and prunes, the error classes, and the error class of each HTTP status and OCI error code."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


class ErrorClass(str, enum.Enum):
    """The error classes by which failed pulls are counted."""

    REFUSED = "refused"
    DNS = "dns"
    TIMEOUT = "timeout"
    RESET = "reset"
    TLS = "tls"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    NO_PLATFORM = "no-platform"
    RATE_LIMITED = "rate-limited"
    SERVER_ERROR = "server-error"
    BAD_CONTENT = "bad-content"
    BAD_DIGEST = "bad-digest"
    UNSUPPORTED = "unsupported"
    BAD_REFERENCE = "bad-reference"
    DISK = "disk"
    CLIENT = "client"
    KILLED = "killed"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a launch failed: a value of `ErrorClass`, and the client's last message on one line."""

    error_class: str
    message: str


_C = ErrorClass

# The error codes of the OCI distribution specification, and those that common registries add.
CODES: Final = {
    "UNAUTHORIZED": _C.UNAUTHORIZED,
    "DENIED": _C.FORBIDDEN,
    "FORBIDDEN": _C.FORBIDDEN,
    "NOT_FOUND": _C.NOT_FOUND,
    "MANIFEST_UNKNOWN": _C.NOT_FOUND,
    "MANIFEST_BLOB_UNKNOWN": _C.NOT_FOUND,
    "NAME_UNKNOWN": _C.NOT_FOUND,
    "BLOB_UNKNOWN": _C.NOT_FOUND,
    "TOOMANYREQUESTS": _C.RATE_LIMITED,
    "UNSUPPORTED": _C.UNSUPPORTED,
    "METHOD_NOT_ALLOWED": _C.UNSUPPORTED,
    "NAME_INVALID": _C.BAD_REFERENCE,
    "TAG_INVALID": _C.BAD_REFERENCE,
    "MANIFEST_INVALID": _C.BAD_CONTENT,
    "SIZE_INVALID": _C.BAD_DIGEST,
    "UNAVAILABLE": _C.SERVER_ERROR,
    "INTERNAL_SERVER_ERROR": _C.SERVER_ERROR,
    "INTERNAL_ERROR": _C.SERVER_ERROR,
}

# A 412 is how a registry reports its own policy (Harbor: PROJECTPOLICYVIOLATION), a 451 a policy of the law.
_STATUSES: Final = {
    401: _C.UNAUTHORIZED,
    403: _C.FORBIDDEN,
    404: _C.NOT_FOUND,
    405: _C.UNSUPPORTED,
    406: _C.UNSUPPORTED,
    408: _C.SERVER_ERROR,
    410: _C.NOT_FOUND,
    412: _C.FORBIDDEN,
    415: _C.UNSUPPORTED,
    429: _C.RATE_LIMITED,
    451: _C.FORBIDDEN,
    501: _C.UNSUPPORTED,
}


def classify_http(status: int) -> str:
    """Returns the error class of an HTTP status as a string, for requests that the driver itself sends."""
    return http_class(status).value


def http_class(status: int) -> ErrorClass:
    """Returns the error class of an HTTP status that made a request fail.

    A status below 400 is no error of its own, but the answer is not what it has to be: a redirect without an address,
    for example.
    """
    known = _STATUSES.get(status)
    if known is not None:
        return known
    if status < 400:
        return _C.BAD_CONTENT
    return _C.SERVER_ERROR if 500 <= status <= 599 else _C.OTHER


OK = "ok"
FAILED = "failed"
INTERRUPTED = "interrupted"
