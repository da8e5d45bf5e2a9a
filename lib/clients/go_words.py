"""What both clients say of their own accord, in the words of the Go libraries that they share."""

from __future__ import annotations

import re
from typing import Final

from ..outcomes import ErrorClass
from ..processes.limits import MEMORY, OPEN_FILES, PORTS, PROCESSES, question

_C = ErrorClass


def _rule(error_class: ErrorClass, *patterns: str) -> tuple[re.Pattern[str], ErrorClass]:
    return re.compile("|".join(patterns)), error_class


_CRASH: Final = re.compile(r"^(?:panic|fatal error|runtime/cgo): .*", re.MULTILINE)
# What the Go runtime, the loader and the kernel say when a limit starves a client, and the names of these limits.
_STARVED: Final = (
    (
        re.compile(
            "newosproc|failed to create new OS thread|pthread_create failed|resource temporarily unavailable"
        ),
        PROCESSES,
    ),
    (
        re.compile(
            "failed to reserve page summary memory|out of memory|cannot (?:allocate memory|map pages)|"
            "no buffer space available"
        ),
        MEMORY,
    ),
    (
        re.compile(
            "too many open files|(?:epollcreate|netpollinit|pipe|eventfd) failed|shared object file: Error 24"
        ),
        OPEN_FILES,
    ),
    # For an IPv6 address, the same words mean that this machine has no IPv6.
    (re.compile(r"dial tcp [\d.]+:\d+: (?:connect|bind): cannot assign requested address"), PORTS),
)
QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)

# What the clients, or the Go libraries in them, say of their own accord. Text in quotation marks has been
# emptied before these are applied. The order matters: a failed lookup ends in "connection refused" when no
# name server listens, a broken configuration is "unexpected EOF" as well, and so on.
_OWN_WORDS: Final = (
    *((pattern, _C.CLIENT) for pattern, _ in _STARVED),
    _rule(_C.CLIENT, "parsing config file", "reading JSON file", "getting username and password"),
    _rule(_C.CLIENT, "error getting credentials", "loading trust policy", "rejected by policy"),
    # The client's own policy on signatures, which only its user can change.
    _rule(_C.CLIENT, "Source image rejected: "),
    _rule(_C.KILLED, "interrupt signal received", ": context canceled$"),
    _rule(_C.DNS, "dial tcp: lookup "),
    _rule(
        _C.TIMEOUT, "context deadline exceeded", "i/o timeout", r"Client\.Timeout", "TLS handshake timeout"
    ),
    _rule(_C.TIMEOUT, "connection timed out", "timeout awaiting response"),
    _rule(_C.TLS, r"\bx509: ", r"\btls: ", "server gave HTTP response to HTTPS client"),
    _rule(_C.DISK, "no space left on device", "disk quota exceeded", "read-only file system"),
    _rule(_C.DISK, "input/output error", ": file too large"),
    _rule(_C.REFUSED, "connect: (?:connection refused|no route to host|network is unreachable)"),
    # Whatever else keeps a connection from being made, such as a route or a firewall of this machine.
    _rule(_C.REFUSED, r"dial tcp [^\s:]\S*: "),
    # A proxy's answer to CONNECT: Go shows its reason alone (net/http, transport.go).
    _rule(
        _C.REFUSED,
        r'\b[A-Z][a-z]+ "": (?:Forbidden|Proxy Authentication Required|Method Not Allowed|Bad Request|Not Found'
        r"|Internal Server Error|Not Implemented|Bad Gateway|Service Unavailable|Gateway Time-?out)(?:$|; )",
    ),
    _rule(_C.NO_PLATFORM, "no child with platform ", "no image found in (?:image index|manifest list) "),
    _rule(
        _C.BAD_CONTENT,
        r"stopped after \d+ redirects",
        "no FSLayers in manifest",
    ),
    # A manifest that is empty. With "unexpected EOF" it is as a rule the config blob that broke off.
    _rule(_C.BAD_CONTENT, "unable to calculate manifest: EOF$"),
    _rule(_C.BAD_DIGEST, r"error verifying (?:\w+ checksum|size)", "does not match expected "),
    _rule(_C.BAD_DIGEST, "does not match (?:requested|provided manifest) digest", "Digest did not match"),
    _rule(_C.RESET, "connection reset by peer", "broken pipe", "use of closed network connection"),
    _rule(
        _C.RESET,
        "server closed idle connection",
        "http2: ",
        "stream error: ",
        "connection error: [A-Z]",  # of HTTP/2, with the name of its code
        "broken: unexpected EOF",
        r"\b(?:read|write) tcp \S+: ",
    ),
    # An answer that breaks the rules of HTTP, a redirect to nowhere, a body that is not compressed as it says.
    _rule(
        _C.BAD_CONTENT,
        "malformed HTTP ",
        "transport connection broken: ",
        "server response headers exceeded ",
        "failed to parse Location header",
        r"\d{3} response missing Location header",
        "unsupported protocol scheme",
        "no Host in request URL",
        "dial tcp: (?:address |missing address)",
        "gzip: invalid ",
        "flate: corrupt input",
    ),
    _rule(
        _C.BAD_CONTENT,
        "unexpected end of JSON input",
        "invalid character ",
        "cannot unmarshal",
    ),
    _rule(_C.BAD_CONTENT, "cannot parse hash", "invalid checksum digest format"),
    _rule(_C.RESET, "(?:^|: )(?:unexpected )?EOF$"),
    _rule(_C.BAD_REFERENCE, "could not parse reference", "invalid reference format"),
    _rule(_C.UNSUPPORTED, "unsupported MediaType"),
    # What is not an image, or not one that the client can copy: artifacts such as Helm charts, an index in an index, a
    # manifest of another type, encrypted layers, signatures that cannot be kept, a conversion that would be needed.
    _rule(
        _C.UNSUPPORTED,
        "image-specific operation on artifact",
        "received a manifest list instead of a manifest",
        "unsupported schema version",
        "[Uu]nsupported (?:manifest|MIME|conversion) type",
        "unsupported (?:docker v2s2|OCIv1) media type",
        "unsupported (?:mediaType|digest algorithm|hash)",
    ),
    _rule(
        _C.UNSUPPORTED,
        "[Cc]an ?not (?:convert|copy signatures)",
        "Error converting image",
        "[Uu]nsupported conversion",
        "during manifest conversion",
        "converting manifest list ",
        "Manifest lists? (?:are not supported|must be converted|was edited)",
        "which we cannot do: ",
        "writing manifest failed and we cannot try conversions",
        "Uploading manifest (?:list )?failed, attempted the following formats",
        "does not support any supported manifest list",
    ),
    _rule(
        _C.UNSUPPORTED,
        "encryption,? (?:is )?required",
        r"compression using \S{1,100}(?: and encryption,)? required",
        "encrypted layers",
        "decrypting layer ",
        "should be (?:de|en)crypted",
        "(?:compression|encryption change [^:]{0,200}) is not supported (?:in|for) ",
        "DecryptParameters not present",
        "foreign layers is unimplemented",
    ),
    _rule(_C.NOT_FOUND, "Image may not exist or is not stored with a v2 Schema"),
    _rule(
        _C.CLIENT,
        "^unknown (?:shorthand )?(?:flag|command)",
        "^Unrecognized command",
        r"^requires at least \d+ arg",
    ),
    _rule(_C.CLIENT, "^panic: ", "^fatal error: ", "executable file not found", "exec format error"),
    _rule(_C.CLIENT, "permission denied", "no such file or directory", "parsing platform"),
)


def hint_at_limit(words: str) -> str:
    """A hint at the limit that starved the client, as an addition to its message; empty if none did."""
    return next((question(limit) for pattern, limit in _STARVED if pattern.search(words)), "")


def own_class(words: str) -> ErrorClass:
    return next((error_class for pattern, error_class in _OWN_WORDS if pattern.search(words)), _C.OTHER)


def crash_or_last_line(text: str) -> str:
    """For a client that has not reported an error in its usual way: the head of a Go crash, or the last
    line."""
    crash = _CRASH.search(text)
    if crash:
        return crash[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
