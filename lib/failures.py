"""What a client's exit status and stderr say about a failed launch: its class, its message, its retries.

Both clients exit 1 for every failure of their own, so the class can only come from stderr. Servers write into
that text: crane prints their error bodies raw, line breaks and escape sequences included, and skopeo quotes
them. Therefore the client's own words are told from the server's first, and the patterns are applied to the
client's words only:

* crane introduces an answer of a server by ``METHOD URL: `` (bare method, bare address) followed by the
  status or by the codes of an OCI error body; all behind them is the server's. Errors that crane found by
  itself hold no such mark, and what they quote from outside stands in quotation marks.
* skopeo's last record is one line, ``level=fatal msg="…"``. Behind the steps that it names (``reading
  manifest …: ``) stands either an error of its own or a status or a code, then the server's text.
"""

from __future__ import annotations

import enum
import itertools
import os.path
import re
from dataclasses import dataclass
from typing import Final


class ErrorClass(str, enum.Enum):
    """The words by which failed pulls are counted."""

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
    """Why a launch failed: a word of `ErrorClass`, and the client's last words on one line."""

    error_class: str
    message: str


_C = ErrorClass


def _rule(error_class: ErrorClass, *patterns: str) -> tuple[re.Pattern[str], ErrorClass]:
    return re.compile("|".join(patterns)), error_class


# What the clients, or the Go libraries in them, say of their own accord. Text in quotation marks has been
# emptied before these are applied. The order matters: a failed lookup ends in "connection refused" when no
# name server listens, a broken configuration is "unexpected EOF" as well, and so on.
_OWN_WORDS: Final = (
    _rule(_C.CLIENT, "parsing config file", "reading JSON file", "getting username and password"),
    _rule(_C.CLIENT, "error getting credentials", "loading trust policy", "rejected by policy"),
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
    _rule(_C.NO_PLATFORM, "no child with platform ", "no image found in (?:image index|manifest list) "),
    _rule(
        _C.BAD_CONTENT,
        r"stopped after \d+ redirects",
        "unsupported schema version",
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
        "http2: .*GOAWAY",
        "stream error: ",
        "broken: unexpected EOF",
    ),
    _rule(
        _C.BAD_CONTENT,
        "malformed HTTP ",
        "unexpected end of JSON input",
        "invalid character ",
        "cannot unmarshal",
    ),
    _rule(_C.BAD_CONTENT, "cannot parse hash", "invalid checksum digest format"),
    _rule(_C.RESET, "(?:^|: )(?:unexpected )?EOF$"),
    _rule(_C.BAD_REFERENCE, "could not parse reference", "invalid reference format"),
    _rule(_C.UNSUPPORTED, "unsupported MediaType"),
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

# The codes of the distribution specification and those that common registries add.
_CODES: Final = {
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

_STATUSES: Final = {
    401: _C.UNAUTHORIZED,
    403: _C.FORBIDDEN,
    404: _C.NOT_FOUND,
    405: _C.UNSUPPORTED,
    408: _C.SERVER_ERROR,
    429: _C.RATE_LIMITED,
    501: _C.UNSUPPORTED,
}


def classify(client: str, returncode: int, stderr: str, *, timed_out: bool = False) -> Failure:
    """The class and message of a failed launch of `client`, "crane" or "skopeo".

    `returncode` is negative for a signal, as `subprocess` gives it; `timed_out` says that the driver sent it.
    """
    skopeo = client == "skopeo"
    before, words = ("", _skopeo_words(stderr)) if skopeo else _crane_words(stderr)
    message = clean(words)
    if timed_out:
        return Failure(_C.TIMEOUT.value, message)
    if returncode < 0:
        return Failure(_C.KILLED.value, message)
    found = _skopeo_class(words) if skopeo else _crane_class(before, words)
    if found is _C.OTHER:
        found = _status_class(returncode)
    return Failure(found.value, message)


def _status_class(returncode: int) -> ErrorClass:
    """For a client behind a shell script: the shell's own statuses, where stderr has told nothing."""
    if returncode in (126, 127):
        return _C.CLIENT
    return _C.KILLED if returncode > 128 else _C.OTHER


def classify_http(status: int) -> str:
    """The class of an HTTP status, for calls that the driver makes by itself."""
    return _http_class(status).value


def _http_class(status: int) -> ErrorClass:
    known = _STATUSES.get(status)
    if known is not None:
        return known
    return _C.SERVER_ERROR if 500 <= status <= 599 else _C.OTHER


# --- crane

_CRANE_RETRY_TIME: Final = r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d retrying "
_CRANE_RETRY: Final = re.compile(
    rf"{_CRANE_RETRY_TIME}(?=(?P<line>(?P<request>[A-Z]+ https?://\S+: )?.*))", re.MULTILINE
)
_CRASH: Final = re.compile(r"^(?:panic|fatal error): .*", re.MULTILINE)
_CRANE_ERROR: Final = re.compile(r"^Error: ", re.MULTILINE)
_CRANE_PROBE: Final = re.compile(
    r'(?:Get|Head) "https://[^"\s]*": http: server gave HTTP response to HTTPS client; '
)
_CRANE_ANSWER: Final = re.compile(
    r"(?:^|: |; )(?P<request>(?P<method>GET|HEAD|DELETE|POST|PUT|PATCH) (?P<url>https?://\S+): )"
    r"(?:unexpected status code (?P<status>\d{3})\b|(?P<size>Content-Length header \d+ does not match)|"
    r"(?:multiple errors returned: )?(?P<code>[A-Za-z][\w -]*): )?"
)
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)
_TRIES: Final = 3  # crane gives a request up after so many
_LINES_COMPARED: Final = 64  # so that a server that forges thousands of lines costs the driver nothing


def _crane_words(stderr: str) -> tuple[str, str]:
    """What comes before crane's error, and the error without its `Error: `; a server can make it many lines."""
    error = _crane_error(stderr)
    if error is None:
        return "", _crash_or_last_line(stderr)
    return stderr[: error.start()], _CRANE_PROBE.sub("", stderr[error.end() :], count=1).strip()


def _crane_error(stderr: str) -> re.Match[str] | None:
    """crane's own `Error: `. A server can forge such lines, before it (in `retrying` lines) and behind it.

    Without retries the first is crane's: nothing that a server wrote comes before it. After retries it is the
    one whose text repeats most of what the last try said.
    """
    found = list(itertools.islice(_CRANE_ERROR.finditer(stderr), _LINES_COMPARED))
    if not found or not _CRANE_RETRY.search(stderr, 0, found[0].start()):
        return found[0] if found else None
    repeated = [_repeated(stderr[: match.start()], stderr[match.end() :]) for match in found]
    return found[repeated.index(max(repeated))] if any(repeated) else found[-1]


def _repeated(before: str, error: str) -> int:
    """How much of the end of `error` is the text of the last try in `before`."""
    before, error = before.strip(), error.strip()
    tries = itertools.islice(_CRANE_RETRY.finditer(before), _LINES_COMPARED)
    return next((len(before) - match.end() for match in tries if error.endswith(before[match.end() :])), 0)


def _crane_class(before: str, words: str) -> ErrorClass:
    answer = _CRANE_ANSWER.search(words)
    own = _own_class(_QUOTED.sub('""', words[: answer.start()] if answer else words))
    if answer is None or own is _C.TLS:  # after a failed handshake crane asks the same port in plain http
        return own
    if answer["size"]:
        return _C.BAD_DIGEST
    if answer["url"].endswith("/blobs/:"):  # the manifest names no config
        return _C.BAD_CONTENT
    if answer["status"]:
        return _http_class(int(answer["status"]))
    retried = f" retrying {answer['request']}" in before
    return _crane_code_class((answer["code"] or "").upper(), answer["method"], retried=retried)


def _crane_code_class(code: str, method: str, *, retried: bool) -> ErrorClass:
    """crane drops the status when the body names a code, but only 408, 429 and 5xx make it try again."""
    if code == "DIGEST_INVALID":  # so does docker-registry 2.8 answer a delete by tag
        return _C.UNSUPPORTED if method == "DELETE" else _C.BAD_REFERENCE
    return _CODES.get(code, _C.SERVER_ERROR if retried else _C.OTHER)


# --- skopeo

_SKOPEO_FATAL: Final = re.compile(
    r'^time="[^"]*" level=fatal msg=(?P<value>"(?:[^"\\]|\\.)*"|\S+)', re.MULTILINE
)
_ESCAPE: Final = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_SKOPEO_DELETE: Final = re.compile(r"^Failed to delete \S+: .*\((?P<status>\d{3}) [^()]*\)\s*$", re.DOTALL)
_SKOPEO_ANSWER: Final = re.compile(
    r"(?:^|: )(?:"
    r"(?:StatusCode:|(?:received )?unexpected HTTP status:?|invalid status code from registry) "
    r"(?P<status>\d{3})\b|"
    r"(?:errors:\n)?(?P<code>[a-z][a-z0-9_ ]*): |"
    r"(?P<limited>too many requests to registry))"
)
_SKOPEO_CODES: Final = {
    code.lower().replace("_", " "): error_class for code, error_class in _CODES.items()
} | {
    "unknown": _C.SERVER_ERROR,  # a 408, or a 4xx with a code of its own; for 5xx skopeo gives the status
    "digest invalid": _C.BAD_REFERENCE,
}


def _skopeo_words(stderr: str) -> str:
    """The message of skopeo's last fatal record, unquoted; no server can forge one, for skopeo quotes it."""
    found = _SKOPEO_FATAL.findall(stderr)
    if not found:
        return _crash_or_last_line(stderr)
    value = str(found[-1])
    return (_unquote(value[1:-1]) if value.startswith('"') else value).strip()


def _unquote(text: str) -> str:
    """Undoes Go's quoting."""

    def character(match: re.Match[str]) -> str:
        digits = match[1] or match[2] or match[3]
        if not digits:
            return _ESCAPES.get(match[4], match[4])
        number = int(digits, 16)
        return chr(number) if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else "\ufffd"

    return _ESCAPE.sub(character, text)


def _skopeo_class(words: str) -> ErrorClass:
    deleted = _SKOPEO_DELETE.match(words)
    if deleted:
        return _http_class(int(deleted["status"]))
    unquoted = _QUOTED.sub('""', words)
    return _skopeo_answer(unquoted) or _own_class(unquoted)


def _skopeo_answer(words: str) -> ErrorClass | None:
    """What the server answered, or None where it is skopeo itself that complains.

    skopeo names its steps first, with words that are no codes; the first code or status is the answer's.
    """
    for match in _SKOPEO_ANSWER.finditer(words):
        if match["status"]:
            return _http_class(int(match["status"]))
        if match["limited"]:
            return _C.RATE_LIMITED
        if match["code"] in _SKOPEO_CODES:
            return _SKOPEO_CODES[match["code"]]
    return None


# --- both


def _own_class(words: str) -> ErrorClass:
    return next((error_class for pattern, error_class in _OWN_WORDS if pattern.search(words)), _C.OTHER)


def _crash_or_last_line(text: str) -> str:
    """For a client that has not reported an error in its usual way: the head of a Go crash, or the last
    line."""
    crash = _CRASH.search(text)
    if crash:
        return crash[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def retries(client: str, stderr: str, *, succeeded: bool = False) -> int | None:
    """How often the client asked again by itself; None for skopeo, which does not say.

    crane writes a line per failed try. When it gives a request up, the last of its three lines is no retry.
    """
    if client == "skopeo":
        return None
    error = None if succeeded else _crane_error(stderr)
    tries = _tries(stderr[: error.start()] if error else stderr)
    return sum(tries) if succeeded else sum(count - count // _TRIES for count in tries)


def _tries(text: str) -> list[int]:
    """How many tries of each request failed; without the lines that a server forged, which recur."""
    counts: list[int] = []
    while len(counts) < _LINES_COMPARED and (match := _CRANE_RETRY.search(text)):
        texts = _split_tries(text[match.start() :], match)
        counts.append(len(texts))
        common = os.path.commonprefix(texts)  # noqa: RUF071 - of characters, not of folders
        known = len(common) if len(texts) > 1 else 0
        text = "".join(rest[known:] for rest in texts)
    return counts


def _split_tries(text: str, first: re.Match[str]) -> list[str]:
    """What follows each line like the first: the same line, else (messages differ) one about the same request.

    What the network did to a request comes without its name.
    """
    line = re.escape(first["line"]) + "$"
    request = re.escape(first["request"]) if first["request"] else r"(?![A-Z]+ https?://)"
    for alike in (line, request):
        texts = re.split(_CRANE_RETRY_TIME + alike, text, flags=re.MULTILINE)[1:]
        if len(texts) > 1:
            break
    return texts


_URL_PASSWORD: Final = re.compile(r"(?<=://)[^\s/\"']+@")
_SCHEME_SECRET: Final = re.compile(r"\b(Bearer|Basic)\s+(?!token|auth|realm)[\w.~+/=-]+", re.IGNORECASE)
_NAMED_SECRET: Final = re.compile(
    r"((?:token|password|passwd|secret|signature|credential|\bsig)(?:=|\"\s*:\s*\"))[^\s&\"',;]+",
    re.IGNORECASE,
)
# Control characters, the marks that reorder text, separators of lines, characters without a width, surrogates.
_UNPRINTABLE: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\ufeff\ufff9-\ufffb\ud800-\udfff]+"
)
# `##[error]`, `##vso[…]`: the runners of pipelines obey them wherever in a line they stand.
_PIPELINE_COMMAND: Final = re.compile(r"##(?=\w*\[)")


def clean(text: str, limit: int = 500) -> str:
    """One line of at most `limit` characters that is safe to print: no control characters, secrets or commands."""
    line = " ".join(_UNPRINTABLE.sub(" ", text).split())
    line = _URL_PASSWORD.sub("***@", line)
    line = _SCHEME_SECRET.sub(r"\1 ***", line)
    line = _NAMED_SECRET.sub(r"\1***", line)
    line = _PIPELINE_COMMAND.sub("# #", line)
    return line if len(line) <= limit else line[: limit - 1] + "…"
