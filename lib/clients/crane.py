"""crane: its argv, and what its stderr says about a failed launch.

Pulled bytes are not kept: crane writes its tarball to /dev/null.

crane prints error bodies of servers raw, line breaks and escape sequences included. It introduces an answer of a server
by ``METHOD URL: `` (bare method, bare address), followed by the status or by the codes of an OCI error body. All text
behind them is the server's. Errors that crane found by itself hold no such mark. What they quote from outside stands in
quotation marks.
"""

from __future__ import annotations

import itertools
import os
import os.path
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from ..outcomes import CODES, ErrorClass, http_class
from ..processes.launch import Outcome
from .client import BASE, BLOB, MANIFEST, TOKEN, Abilities, Executable, Orders, Unshown
from .files import authorities_environment, docker_config, lean_environment
from .go_words import QUOTED, crash_or_last_line, own_class
from .surroundings import say_what_is_not_read, without

# crane takes plain http by itself for loopback and private addresses only.
_INSECURE = "--insecure"
# The parts of a Docker configuration that crane is given as they are.
_LOGINS: Final = ("auths", "credHelpers", "credsStore")
# The header by which Ociregistry chooses the upstream, in lower case. One of the user's would redirect the pull.
_REDIRECTS: Final = "x-registry"
# The variables of the user that crane is not given. The logins that they lead to are in its private configuration.
NOT_PASSED_ON: Final = ("REGISTRY_AUTH_FILE", "GGCR_*")


@dataclass(frozen=True, slots=True)
class Crane:
    """`insecure`: crane may ask in plain http, and checks no certificate."""

    executable: Executable
    platform: str
    insecure: bool
    environment: Mapping[str, str] = field(default_factory=dict)
    header: tuple[str, str] | None = None

    name: ClassVar[str] = "crane"
    abilities: ClassVar[Abilities] = Abilities(
        sends_header=True,
        reports_retries=True,
        takes_several=True,
        deletes=True,
        takes_registry_token=True,
        takes_ipv6=True,
        hides_artifacts=True,
        tries_tls_first=True,
        shares_layers=True,
    )
    install: ClassVar[str] = "'go install github.com/google/go-containerregistry/cmd/crane@latest'"
    version_option: ClassVar[str] = "version"

    @staticmethod
    def version_in(output: str) -> str | None:
        return output.removeprefix("v") if len(output.split()) == 1 else None

    @classmethod
    def set_up(cls, executable: Executable, orders: Orders) -> Crane:
        """Writes the login and the header into a Docker configuration of the run's own, if crane needs one."""
        folder = _configured(orders)
        environment = {
            **without(orders.environment, NOT_PASSED_ON),
            "DOCKER_CONFIG": str(folder),
            **authorities_environment(orders.tls, orders.folder),
            **lean_environment(lean=orders.lean, tries_tls_in_vain=orders.server_url.startswith("http://")),
        }
        return cls(executable, orders.platform, orders.insecure, environment, orders.header)

    def pull(self, references: Sequence[str], scratch: Path) -> list[str]:
        return [*self._command("pull"), "--platform", self.platform, *references, os.devnull]

    def answer(self, references: Sequence[str]) -> bytes:
        return b""

    def renewed(self, orders: Orders) -> Crane:
        _configured(replace(orders, log=lambda _: None))  # it was all logged when the run began
        return self

    def clean_up(self, references: Sequence[str], scratch: Path, outcome: Outcome) -> list[str] | None:
        return None

    def service_cpu_seconds(self) -> float:
        return 0.0

    def delete(self, reference: str, scratch: Path) -> list[str]:
        return [*self._command("delete"), reference]

    def needs(self) -> Sequence[str]:
        if self.header is None:
            return ()
        return (f"with HttpHeaders {self.header[0]}: {self.header[1]} in $DOCKER_CONFIG/config.json",)

    def close(self) -> None:
        """crane leaves nothing outside of the scratch folder."""

    @staticmethod
    def read(stderr: str) -> tuple[str, ErrorClass]:
        before, words = _words(stderr)
        return words, _judged(before, words)[0]

    @staticmethod
    def unshown(stderr: str) -> Unshown | None:
        return _judged(*_words(stderr))[1]

    @staticmethod
    def succeeded(stderr: str) -> bool:
        return True

    @staticmethod
    def retries(stderr: str, *, succeeded: bool) -> int:
        """crane writes a line per failed try. When it gives a request up, the last of its three lines is no retry."""
        if not stderr:
            return 0
        error = None if succeeded else _find_error(stderr)
        tries = _tries(stderr[: error.start()] if error else stderr)
        return sum(tries) if succeeded else sum(count - count // _TRIES for count in tries)

    def _command(self, verb: str) -> list[str]:
        return [self.executable.path, verb, _INSECURE] if self.insecure else [self.executable.path, verb]


def _passed_on(orders: Orders) -> dict[str, Any]:
    """The user's Docker configuration without what would redirect a pull. The log names the headers that remain."""
    user = orders.docker_config or {}
    config = {name: value for name, value in user.items() if name in _LOGINS}
    headers = user.get("HttpHeaders")
    if not isinstance(headers, Mapping):
        return config
    redirecting = [name for name in headers if name.lower() == _REDIRECTS]
    say_what_is_not_read(
        orders, Crane.name, (f"{name} in HttpHeaders of the Docker configuration" for name in redirecting)
    )
    kept = {name: value for name, value in headers.items() if name not in redirecting}
    if kept:
        orders.log(
            f"crane sends HttpHeaders of the Docker configuration with each request: {', '.join(sorted(kept))}"
        )
        config["HttpHeaders"] = kept
    return config


def _configured(orders: Orders) -> Path:
    """Writes what crane has to know into its private folder, and returns the folder.

    A file costs crane a fiftieth of its CPU, as it reads it twice per launch. So there is none if it would say nothing
    and hide nothing.
    """
    folder = orders.folder("docker")
    config = _passed_on(orders)
    if orders.header is not None:
        config = with_header(config, orders.header)
    if config or orders.user_configured:
        docker_config(folder, config)
    else:
        (folder / "config.json").unlink(missing_ok=True)
    return folder


def with_header(config: Mapping[str, Any], header: tuple[str, str]) -> dict[str, Any]:
    """A Docker configuration with one more HTTP header, which crane sends with each request."""
    headers = config.get("HttpHeaders")
    merged = dict(headers) if isinstance(headers, Mapping) else {}
    merged[header[0]] = header[1]
    return {**config, "HttpHeaders": merged}


_C = ErrorClass
_TIME: Final = r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d "
_RETRY_TIME: Final = _TIME + "retrying "
_OTHER_TYPE: Final = re.compile(
    rf"{_TIME}Unexpected media type for Image\(\): application/vnd\.", re.MULTILINE
)
# Comes between the last try and the error where it was a token service that failed.
_REMARK: Final = re.compile(rf'{_TIME}No matching credentials were found for "[^"\n]*"\Z', re.MULTILINE)
_RETRY: Final = re.compile(rf"{_RETRY_TIME}(?=(?P<line>(?P<request>[A-Z]+ https?://\S+: )?.*))", re.MULTILINE)
_ERROR: Final = re.compile(r"^Error: ", re.MULTILINE)
# The token service has given no token.
_UNGRANTED: Final = "no token in bearer response:"
_PROBE: Final = re.compile(
    r'(?:Get|Head) "https://[^"\s]*": http: server gave HTTP response to HTTPS client; '
)
_ANSWER: Final = re.compile(
    r"(?:^|: |; )(?P<request>(?P<method>GET|HEAD|DELETE|POST|PUT|PATCH) (?P<url>https?://\S+): )"
    r"(?:unexpected status code (?P<status>\d{3})\b|(?P<size>Content-Length header \d+ does not match)|"
    r"(?:multiple errors returned: )?(?P<code>[A-Za-z][\w -]*):(?: |\Z))?"
)
_CONTENT: Final = re.compile(r"/v2/.+/(?P<kind>manifests|blobs)/(?P<reference>[^/]+)")
# The statuses after which crane tries again, and those after which some version does not.
_RETRIED: Final = frozenset((408, 429, 499, 500, 502, 503, 504, 522))
_NOT_RETRIED: Final = frozenset(range(400, 600)) - frozenset((408, 500, 502, 503, 504))
_TRIES: Final = 3  # crane gives a request up after so many
_COMPARED: Final = 500  # characters of a line
_LINES_COMPARED: Final = 64  # so that a server that forges thousands of lines costs the driver nothing


def _words(stderr: str) -> tuple[str, str]:
    """What comes before crane's error, and the error without its `Error: `; a server can make it many lines."""
    error = _find_error(stderr)
    if error is None:
        return "", crash_or_last_line(stderr)
    return stderr[: error.start()], _PROBE.sub("", stderr[error.end() :], count=1).strip()


def _find_error(stderr: str) -> re.Match[str] | None:
    """crane's own `Error: `. A server can forge such lines, before it (in `retrying` lines) and behind it.

    Without retries the first is crane's: nothing that a server wrote comes before it. After retries it is the
    one whose text repeats most of what the last try said.
    """
    found = list(itertools.islice(_ERROR.finditer(stderr), _LINES_COMPARED))
    if not found or not _RETRY.search(stderr, 0, found[0].start()):
        return found[0] if found else None
    repeated = [_repeated(stderr[: match.start()], stderr[match.end() :]) for match in found]
    return found[repeated.index(max(repeated))] if any(repeated) else found[-1]


def _repeated(before: str, error: str) -> int:
    """How much of the end of `error` is the text of the last try in `before`."""
    before, error = before.strip(), error.strip()
    bare = _REMARK.sub("", before).rstrip()
    return max(_repeated_at_the_end(text, error) for text in {before, bare})


def _repeated_at_the_end(before: str, error: str) -> int:
    tries = itertools.islice(_RETRY.finditer(before), _LINES_COMPARED)
    return next((len(before) - match.end() for match in tries if error.endswith(before[match.end() :])), 0)


def _judged(before: str, words: str) -> tuple[ErrorClass, Unshown | None]:
    """The class, and the server's answer if crane does not show its status."""
    if words.startswith(_UNGRANTED):  # the answer follows
        return _C.UNAUTHORIZED, None
    answer = _ANSWER.search(words)
    own = own_class(QUOTED.sub('""', words[: answer.start()] if answer else words))
    # after https has failed crane asks the same port in plain http, to which a port for TLS answers 400
    if answer is None or own is _C.TLS or (own is not _C.OTHER and answer["status"] == "400"):
        return own, None
    if answer["size"]:
        return _C.BAD_DIGEST, None
    if answer["url"].endswith("/blobs/:"):  # the manifest names no config
        return (_C.UNSUPPORTED if _OTHER_TYPE.search(before) else _C.BAD_CONTENT), None
    if answer["status"]:
        return http_class(int(answer["status"])), None
    code, retried = (answer["code"] or "").upper(), _gave_up(before, words[answer.start("request") :])
    likely = _code_class(code, answer["method"], retried=retried)
    place, reference = _asked(answer["url"])
    statuses = _RETRIED if retried else _NOT_RETRIED
    return likely, Unshown(place, reference, words[answer.end("request") :], statuses)


def _gave_up(before: str, words: str) -> bool:
    """Whether the error is an answer after which crane tried again, until it had no tries left.

    Of a long text the middle is lost, so the beginning of a try's line is compared too.
    """
    tries = _tries(before)
    if _repeated(before, words) > 0 or (tries and tries[-1] >= _TRIES):
        return True
    first = words.partition("\n")[0][:_COMPARED]
    lines = itertools.islice(_RETRY.finditer(before), _LINES_COMPARED)
    return any(match["line"][:_COMPARED] == first for match in lines)


def _code_class(code: str, method: str, *, retried: bool) -> ErrorClass:
    """The likely class. crane drops the status when the body names a code, but only some make it try again."""
    if code == "DIGEST_INVALID":  # so does docker-registry 2.8 answer a delete by tag
        return _C.UNSUPPORTED if method == "DELETE" else _C.BAD_REFERENCE
    if code == "UNKNOWN" and retried:  # distribution's code for its own faults
        return _C.SERVER_ERROR
    likely = CODES.get(code, _C.OTHER)
    if likely is _C.RATE_LIMITED:  # not every version tries again after a 429
        return likely
    return likely if retried == (likely is _C.SERVER_ERROR) else _C.OTHER


def _asked(url: str) -> tuple[str, str]:
    """What crane asked for at this address, and the tag or digest."""
    path = urlsplit(url).path
    if path in ("/v2/", "/v2"):
        return BASE, ""
    found = _CONTENT.fullmatch(path)
    if found is None:
        return TOKEN, ""
    return (MANIFEST if found["kind"] == "manifests" else BLOB), found["reference"]


def _tries(text: str) -> list[int]:
    """How many tries of each request failed; without the lines that a server forged, which recur."""
    counts: list[int] = []
    while len(counts) < _LINES_COMPARED and (match := _RETRY.search(text)):
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
        texts = re.split(_RETRY_TIME + alike, text, flags=re.MULTILINE)[1:]
        if len(texts) > 1:
            break
    return texts
