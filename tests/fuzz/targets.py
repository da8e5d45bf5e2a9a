"""What is fuzzed: functions of bytes that raise nothing but AssertionError, and that only where a promise is broken.

What fuzzing has found becomes a seed (`seeds`), so that the tests repeat it.
"""

from __future__ import annotations

import asyncio
import json
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from functools import partial
from math import isfinite
from pathlib import Path
from time import monotonic, process_time
from typing import Final
from zlib import crc32

from multidict import CIMultiDict, CIMultiDictProxy

from lib.clean import clean
from lib.clients.classify import classify
from lib.clients.client import Client
from lib.clients.platforms import Platform, picks_all, picks_best, picks_first
from lib.clients.table import NAMES, client_kind
from lib.http.address import parse_endpoint
from lib.http.authorization import _basic, _token_of
from lib.http.credentials import Credentials, CredentialsError
from lib.http.headers import challenges, next_link, retry_after
from lib.http.paging import PagedList, Pages
from lib.http.registry import Answer, Registry, RegistryError, open_session
from lib.images import Image
from lib.listing.image_list import ImageListError, Upstreams, parse_image_list
from lib.names import valid_digest, valid_repository, valid_tag
from lib.outcomes import ErrorClass
from lib.report.events import EventSeries, add_lines
from lib.report.ramp_time import Span
from lib.results.event_line import read_event, write_event
from lib.results.summary_file import summary_of, summary_text
from lib.servers.image_sizes import Chooses, SizeReader
from lib.streams import LINE_LENGTH
from tests.support.client_words import ctr_stderr

Target = Callable[[bytes], None]

CLASSES: Final = {each.value for each in ErrorClass}
URL: Final = "http://registry:5000"
# One text in so many is repeated up to so many characters, to see that it costs linear time: what is quadratic takes
# many seconds then.
_ONE_IN: Final = 32
_LONG: Final = 64 * 1024
_MOST_SECONDS: Final = 3.0


def check_line(line: str, longest: int) -> None:
    """One line that does nothing to whoever shows it."""
    assert len(line) <= longest, f"{len(line)} characters"
    assert line.isprintable(), repr(line)
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in line)


def check_linear(function: Callable[[str], object], text: str) -> None:
    """The text, repeated until it is long, is not read for long."""
    if text and crc32(text.encode("utf-8", "surrogatepass")) % _ONE_IN == 0:
        began = process_time()
        function(text * (_LONG // len(text)))
        took = process_time() - began
        assert took < _MOST_SECONDS, f"{took:.1f} s for {text[:200]!r}"


# --- the listing


class Fuzzed:
    """A registry that gives the parts of the input as its pages, with a Link header before each."""

    url, host, retry_seconds = URL, "registry:5000", 1.0

    def __init__(self, data: bytes) -> None:
        self._parts = data.split(b"\0\0")
        self.asked = 0

    async def request(self, _method: str, url: str, **_: object) -> Answer:
        link, _newline, body = self._parts[self.asked % len(self._parts)].partition(b"\n")
        self.asked += 1
        fields = {"Link": link.decode("utf-8", "surrogateescape")} if link else {}
        whole = url if "://" in url else f"{URL}{url}"
        return Answer(200, CIMultiDictProxy(CIMultiDict(fields)), body, whole)


def listing(data: bytes) -> None:
    """Pages of a catalog or of tags, and the links between them."""
    kind, rest = data[:1], data[1:]
    key, path, valid = ("tags", "/v2/a/tags/list", valid_tag) if kind == b"t" else _CATALOG
    registry, told = Fuzzed(rest), list[str]()

    async def run() -> list[str]:
        pages = Pages(
            registry,  # type: ignore[arg-type]
            PagedList(path, key, valid, 1 << 20),
            skip=lambda item: told.append(clean(item, 100)),
        )
        names = [name async for page in pages.read() for name in page]
        told.append(pages.early_end or "")
        return names

    try:
        found = asyncio.run(run())
    except RegistryError as error:
        found = []
        told.append(str(error))
    assert len(found) == len(set(found))
    assert all(map(valid, found))
    assert registry.asked <= 10_100
    for line in told:
        check_line(line, 500)


_CATALOG: Final = ("repositories", "/v2/_catalog", valid_repository)


def links(data: bytes) -> None:
    """Where a link or redirect leads, and that the login stays at home."""
    text = data.decode("utf-8", "surrogateescape")

    async def run() -> None:
        async with open_session() as session:
            registry = Registry(URL, session, Credentials({}, {}), log=lambda _: None)
            for resolved in (registry._resolved, lambda text: registry._target(registry._base, text)):
                try:
                    url = resolved(text)
                except RegistryError as error:
                    check_line(str(error), 300)
                    continue
                assert url.scheme in ("http", "https")
                assert url.host
                assert url.user is None
                assert url.password is None
                assert str(url).isascii()

    asyncio.run(run())


def headers(data: bytes) -> None:
    """WWW-Authenticate, Link and Retry-After."""
    text = data.decode("utf-8", "surrogateescape")
    for challenge in challenges([text]):
        assert challenge.scheme
        assert challenge.scheme == challenge.scheme.lower()
        assert challenge.scheme.isascii()
    link = next_link([text])
    assert link is None or link in text
    seconds = retry_after(text)
    assert seconds is None or (seconds >= 0 and isfinite(seconds))
    check_linear(lambda long: (challenges([long]), next_link([long]), retry_after(long)), text)


def sizes(data: bytes) -> None:
    """Manifests of one image: the first part of the input, then those that an index leads to."""
    registry, log, image = Fuzzed(data), list[str](), Image("a", "v1")
    for picks in (picks_first, picks_best, picks_all):
        reader = SizeReader(
            lambda _: registry,  # type: ignore[arg-type,return-value]
            Chooses(picks=picks, platform=Platform("linux", "amd64")),
            log.append,
        )
        found = asyncio.run(reader.read([image]))
        assert all(size.total >= 0 for size in found.values())
        assert log
    for line in log:
        check_line(clean(line, LINE_LENGTH), LINE_LENGTH)


# --- files and token services


def image_list(data: bytes) -> None:
    """Lines of an image list."""
    text = data.decode("utf-8", "surrogateescape")
    lines = text.splitlines(keepends=True)
    try:
        found = parse_image_list(lines, _UPSTREAMS).images
    except ImageListError as error:
        check_line(str(error), 400)
        return
    assert len(found) == len(set(found))
    for image in found:
        assert valid_repository(image.repository)
        assert valid_tag(image.reference) or valid_digest(image.reference)
        assert not image.upstream or parse_endpoint("", image.upstream).host
    check_linear(_read_list, text)


def _read_list(text: str) -> None:
    with suppress(ImageListError):
        parse_image_list(text.splitlines(keepends=True), _UPSTREAMS)


_UPSTREAMS: Final = Upstreams(
    registry=parse_endpoint("", URL),
    name="registry:5000",
    pullthrough=parse_endpoint("", "cache:8080"),
    layout="ociregistry",
    names_others=True,
    skip=False,
)


def docker_config(data: bytes) -> None:
    """Docker's configuration: what is found goes into a header, what is not is one line."""
    try:
        config = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(config, dict):
        return
    credentials, told = Credentials({Path("config.json"): config}, {"PATH": "/nonexistent"}), list[str]()
    for host in ("registry:5000", "registry", "docker.io"):
        try:
            login = credentials.lookup(host)
        except CredentialsError as error:
            told.append(str(error))
            continue
        if login is not None:
            assert (_basic(login) or "").isascii()
            sent = login.registry_token + login.identity_token
            assert not set(sent) & set("\r\n\0")
            sent.encode()
            assert "password=" not in repr(login)
    assert not [line for line in told if "\n" in line or len(line) > 1000]


def token(data: bytes) -> None:
    """A token service's answer."""
    answer = Answer(200, CIMultiDictProxy(CIMultiDict()), data, f"{URL}/token")
    try:
        found = _token_of(answer)
    except RegistryError as error:
        check_line(str(error), 300)
        return
    assert found.header.isascii()
    assert found.header.isprintable()
    assert 0 < found.ends - monotonic() <= 86400


# --- files of a run


def summary(data: bytes) -> None:
    """A summary file: it is read and can be written again, or one line names the field that is wrong."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(document, dict):
        return
    try:
        read = summary_of(document)
    except ValueError as error:
        check_line(str(error), 300)
        return
    written = summary_text(read)
    assert summary_text(summary_of(json.loads(written))) == written


def events(data: bytes) -> None:
    """Lines of an events file: each is counted or passed over, and can be written again as one line."""
    series = EventSeries(Span(datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc), 60.0))
    lines = data.split(b"\n")
    for line in lines:
        try:
            read = read_event(line)
        except ValueError:
            continue
        written = write_event(read)
        assert written.isascii()
        assert "\n" not in written
        assert read_event(written) == read
    add_lines(series, (line.decode("utf-8", "replace") for line in lines))
    assert series.unreadable + series.prunes + sum(series.outcomes.values()) == len(lines)


# --- the clients' last words


def stderr(data: bytes) -> None:
    """Whatever a client may write."""
    returncode = data[0] - 128 if data else 1
    text = data[1:].decode("utf-8", "replace")
    for client in map(client_kind, NAMES):
        for timed_out in (False, True):
            failure = classify(client, returncode, text, timed_out=timed_out)
            assert failure.error_class in CLASSES
            check_line(failure.message, 500)
        for succeeded in (False, True):
            counted = client.retries(text, succeeded=succeeded)
            assert (counted is None) == (not client.abilities.reports_retries)
            assert counted is None or 0 <= counted <= max(map(text.count, ("retrying ", "do request")))
        assert client.succeeded(text) or client.name == "ctr"
        check_linear(partial(_read_everything, client), text)


def _read_everything(client: type[Client], stderr: str) -> None:
    classify(client, 1, stderr)
    client.retries(stderr, succeeded=False)
    client.succeeded(stderr)
    client.unshown(stderr)


_BLOB: Final = "failed to copy: httpReadSeeker: failed open: unexpected status"
# The beginning of an answer as each client shows it, how often it tries, and the class that it has whatever follows.
_ANSWERS: Final = (
    ("crane", "GET http://h:5000/v2/a/manifests/v: unexpected status code 404 Not Found: ", 0, "not-found"),
    ("crane", "GET http://h:5000/v2/a/manifests/v: MANIFEST_UNKNOWN: ", 0, "not-found"),
    ("crane", "saving tarball /dev/null: GET http://h/v2/a/blobs/sha256:00: DENIED: ", 0, "forbidden"),
    ("crane", "GET http://h/v2/a/manifests/v: unexpected status code 503 Service Unavailable: ", 3, "server-error"),
    ("crane", "GET http://h/v2/a/manifests/v: TOOMANYREQUESTS: ", 3, "rate-limited"),
    ("crane", "GET http://h/token?service=s: unexpected status code 500 Internal Server Error: ", 3, "server-error"),
    ("skopeo", "initializing source docker://h/a:v: reading manifest v in h/a: manifest unknown: ", 0, "not-found"),
    ("skopeo", "initializing source docker://h/a:v: reading manifest v in h/a: StatusCode: 403, ", 0, "forbidden"),
    ("skopeo", "initializing source docker://h/a:v: reading manifest v in h/a: unknown: ", 0, "other"),
    ("skopeo", "reading blob sha256:00: fetching blob: toomanyrequests: ", 0, "rate-limited"),
    ("ctr", f"{_BLOB} code http://h/v2/a/blobs/sha256:00: 500 Oh - Server message: unknown: ", 1, "server-error"),
    ("ctr", f"{_BLOB} from GET request to http://h/v2/a/blobs/d: 429 Too Many\nx: ", 6, "rate-limited"),
    ("ctr", f"{_BLOB} code http://h/v2/a/blobs/sha256:00: 403 Forbidden - Server message: denied: ", 0, "forbidden"),
)  # fmt: skip


def answers(data: bytes) -> None:
    """No text of a server's changes the class, or the count of retries, that its answer has."""
    text = data.decode("utf-8", "replace").replace("\r", "")
    for client, begun, tries, error_class in _ANSWERS:
        written = said(client, begun + text, tries)
        assert classify(client_kind(client), 1, written).error_class == error_class, (client, begun)
        assert client_kind(client).retries(written, succeeded=False) == (
            None if client == "skopeo" else max(0, tries - 1)
        )


def said(client: str, words: str, tries: int) -> str:
    """As the client writes it to stderr."""
    if client == "skopeo":
        return f'time="2026-11-24T18:18:28Z" level=fatal msg="{quoted(words)}"\n'
    if client == "ctr":
        return ctr_stderr(words, tries=tries)
    return f"2026/11/24 18:18:24 retrying {words}\n" * tries + f"Error: {words}\n"


_GO_ESCAPES: Final = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
}


def quoted(text: str) -> str:
    """As Go's %q does it."""

    def escaped(character: str) -> str:
        if character in '"\\':
            return f"\\{character}"
        if character in _GO_ESCAPES:
            return _GO_ESCAPES[character]
        if character.isprintable():
            return character
        number = ord(character)
        return (
            f"\\x{number:02x}"
            if number < 0x80
            else f"\\u{number:04x}"
            if number < 0x10000
            else f"\\U{number:08x}"
        )

    return "".join(map(escaped, text))


def cleaning(data: bytes) -> None:
    """Text for a line: printable, bounded, and without what is marked as a secret."""
    text = data[1:].decode("utf-8", "surrogateescape")
    limit = 1 + (data[0] if data else 0)
    check_line(clean(text, limit), limit)
    secret = "S3cr3t"
    for marked in (
        f"Bearer {secret}",
        f"http://u:{secret}@h/",
        f"?token={secret}",
        f'{{"password": "{secret}"}}',
    ):
        assert secret not in clean(f"{text} {marked} {text}", 1 << 20), (text, marked)
    check_linear(clean, text)


TARGETS: Final[Mapping[str, Target]] = {
    each.__name__: each
    for each in (
        *(listing, links, headers, sizes, image_list, docker_config, token),
        *(summary, events, stderr, answers, cleaning),
    )
}
