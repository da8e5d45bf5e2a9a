"""No text of a server changes the class of a failure."""

from __future__ import annotations

import time

import pytest

from lib.clients.classify import classify
from lib.clients.table import NAMES, client_kind
from lib.outcomes import Failure
from tests.support.client_words import crane_stderr, ctr_stderr, skopeo_stderr

LURES = (
    "no such host",
    "dial tcp: lookup h: no such host",
    "dial tcp 127.0.0.1:1: connect: connection refused",
    "x509: certificate signed by unknown authority",
    "no space left on device",
    "error verifying sha256 checksum",
    "unexpected EOF",
    "context deadline exceeded",
    "StatusCode: 404, ",
    "unauthorized: no",
    "received unexpected HTTP status: 429",
    "Failed to delete x: (429 Too Many Requests)",
    'quoted " and "half',
    "back\\slash \\",
    "\nError: no space left on device",
    "\nError: GET http://h/v2/a/manifests/v: UNAUTHORIZED: forged",
    '\nError: Get "http://h/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
    "\n2026/01/01 00:00:00 retrying GET http://h/v2/a/manifests/v: UNAUTHORIZED: x\nError: saving: no such host",
    "\n2026/01/01 00:00:00 retrying A\nError: GET http://h/v2/a/manifests/v: UNAUTHORIZED: A",
    '\ntime="2026-01-01T00:00:00Z" level=fatal msg="reading manifest v in h/a: denied: forged"',
    "\x1b[2J\x1b]0;no such host\x07",
    "; GET http://h/v2/: UNAUTHORIZED: forged",
    ": GET http://h/v2/: unexpected status code 403 Forbidden",
    '; Get "https://h/v2/": tls: failed to verify certificate: x509: forged',
    "\nctr: failed to copy: httpReadSeeker: failed open: unexpected status code http://h/v2/: 401 Unauthorized",
    "\nctr: failed to copy: failed to send write: write /x: no space left on device: unknown",
    " - Server message: denied: x",
    ": unexpected status code http://h/v2/: 403 Forbidden",
    ": unexpected status from HEAD request to http://h/v2/: 404 Not Found - Server message: a: b",
    ": not found",
    ": unavailable",
    ": unexpected EOF",
    '\ntime="2026-01-01T00:00:00Z" level=error msg="failed to decode hosts.toml" error="forged"',
    '\ntime="2026-01-01T00:00:00Z" level=debug msg="fetch response received" response.status="429 Too" url="http://h"',
    '\ntime="2026-01-01T00:00:00Z" level=debug msg="do request" request.header.range="bytes=1-" url="http://h"',
)


@pytest.mark.parametrize("lure", LURES)
@pytest.mark.parametrize(
    ("answer", "tries", "word"),
    [
        ("unexpected status code 500 Internal Server Error: {}", 3, "server-error"),
        ("unexpected status code 404 Not Found: {}", 0, "not-found"),
        ("unexpected status code 418 I'm a teapot: {}", 0, "other"),
        ("UNKNOWN: {}", 3, "server-error"),
        ("STRANGE: {}", 3, "other"),
        ("STRANGE: {}", 0, "other"),
        ("TOOMANYREQUESTS: {}; map[]", 3, "rate-limited"),
        ("MANIFEST_UNKNOWN: {}", 0, "not-found"),
        ("multiple errors returned: DENIED: {}; UNAUTHORIZED: {}", 0, "forbidden"),
        ("unexpected status code 302 Found: {}", 0, "bad-content"),
    ],
)
def test_no_server_text_changes_the_class_that_crane_shows(
    answer: str, tries: int, word: str, lure: str
) -> None:
    stderr = crane_stderr(answer.replace("{}", lure), tries)
    assert classify(client_kind("crane"), 1, stderr).error_class == word
    assert client_kind("crane").retries(stderr, succeeded=False) == max(0, tries - 1)


@pytest.mark.parametrize("lure", LURES)
@pytest.mark.parametrize(
    ("message", "word"),
    [
        ("initializing source docker://h/a:v: reading manifest v in h/a: manifest unknown: {}", "not-found"),
        ("initializing source docker://h/a:v: reading manifest v in h/a: StatusCode: 403, {}", "forbidden"),
        ("initializing source docker://h/a:v: reading manifest v in h/a: unauthorized: {}", "unauthorized"),
        (
            "initializing source docker://h/a:v: reading manifest v in h/a: toomanyrequests: {}",
            "rate-limited",
        ),
        (
            "initializing source docker://h/a:v: reading manifest v in h/a: errors:\ndenied: {}\nunknown: {}",
            "forbidden",
        ),
        ("reading blob sha256:00: fetching blob: denied: {}", "forbidden"),
        ("Failed to delete /v2/a/manifests/sha256:00: {} (405 Method Not Allowed)", "unsupported"),
        ("Failed to delete /v2/a/manifests/sha256:00: {} (500 Internal Server Error)", "server-error"),
    ],
)
def test_no_server_text_changes_the_class_that_skopeo_shows(message: str, word: str, lure: str) -> None:
    assert classify(client_kind("skopeo"), 1, skopeo_stderr(message.replace("{}", lure))).error_class == word


@pytest.mark.parametrize("lure", LURES)
@pytest.mark.parametrize(
    ("message", "word"),
    [
        ("{blob} code http://h/v2/a/blobs/d: 500 Oh - Server message: unknown: {}", "server-error"),
        ("{blob} code http://h/v2/a/blobs/d: 404 Not Found - Server message: unknown: {}", "not-found"),
        ("{blob} code http://h/v2/a/blobs/d: 418 I'm a teapot - Server message: unknown: {}", "other"),
        ("{blob} from GET request to http://h/v2/a/blobs/d: 403 Forbidden\ndenied: {}", "forbidden"),
        ("{resolve}: unexpected status from HEAD request to http://h/v2/: 429 Too Many\nx: {}", "rate-limited"),
    ],
)  # fmt: skip
def test_no_server_text_changes_the_class_that_ctr_shows(message: str, word: str, lure: str) -> None:
    message = message.replace("{blob}", "failed to copy: httpReadSeeker: failed open: unexpected status")
    message = message.replace("{resolve}", 'failed to resolve reference "up.example:5000/a:v"')
    stderr = ctr_stderr(message.replace("{}", lure))
    assert classify(client_kind("ctr"), 1, stderr).error_class == word
    assert client_kind("ctr").retries(stderr, succeeded=False) == 0


@pytest.mark.parametrize("lure", [lure for lure in LURES if "\n" not in lure])
@pytest.mark.parametrize(
    ("message", "word"),
    [
        ("unexpected status code http://h/v2/a/blobs/d: 503 {}", "server-error"),
        ("could not fetch content descriptor sha256:00 ({}) from remote: not found", "bad-content"),
        ("could not fetch content descriptor sha256:00 (text/html{}) from remote: not found", "bad-content"),
        ("could not fetch content descriptor {} (application/vnd.a) from remote: not found", "bad-content"),
        ("could not fetch content descriptor sha256:00 (application/vnd.a{}) from remote: not found", "not-found"),
        ("unable to fetch descriptor ({}) which reports content size of zero: invalid argument", "bad-content"),
        ("failed commit on ref \"layer-x\": commit failed: unexpected commit digest a, expected {}: x", "bad-digest"),
    ],
)  # fmt: skip
def test_no_reason_phrase_and_no_field_of_a_manifest_changes_the_class_that_ctr_shows(
    message: str, word: str, lure: str
) -> None:
    doing = "failed to copy: httpReadSeeker: failed open: " if message.startswith(("unexp", "could")) else ""
    stderr = ctr_stderr(doing + message.replace("{}", lure), status=f"503 {lure}")
    assert classify(client_kind("ctr"), 1, stderr).error_class == word
    assert client_kind("ctr").retries(stderr, succeeded=False) == 0


def test_ctr_s_retries_do_not_depend_on_a_reason_phrase_or_the_name_of_a_header() -> None:
    """Old versions of Go take any text for a header's name, and ctr writes it into its log as it is."""
    again = ctr_stderr("x", status='429 response.status="200 OK" url="http://other/"', tries=3)
    assert client_kind("ctr").retries(again, succeeded=False) == 2
    named = ctr_stderr("x", tries=2, status="200 OK").replace(
        " response.status=",
        ' response.header.x response.status="503 forged" url="http://h/"=y response.status=',
    )
    assert client_kind("ctr").retries(named, succeeded=False) == 0


@pytest.mark.parametrize("lure", LURES)
def test_no_token_service_changes_the_class_either(lure: str) -> None:
    """crane remarks on missing credentials between the last try and the error."""
    remark = '2026/11/24 18:18:25 No matching credentials were found for "h:5000"\n'
    for forged in ("", f"\n{remark}"):
        text = f"GET http://h/token?service=s: unexpected status code 503 Service Unavailable: {lure}{forged}"
        tries = f"2026/11/24 18:18:24 retrying {text}\n" * 3
        assert (
            classify(client_kind("crane"), 1, f"{tries}{remark}Error: {text}\n").error_class == "server-error"
        )
        assert classify(client_kind("crane"), 1, f"{tries}Error: {text}\n").error_class == "server-error"


@pytest.mark.parametrize("lure", LURES)
def test_nor_does_a_token_service_that_gives_no_token(lure: str) -> None:
    stderr = f"Error: no token in bearer response:\n{lure}\n"
    assert classify(client_kind("crane"), 1, stderr).error_class == "unauthorized"


def test_numbers_in_digests_and_ports_are_no_statuses() -> None:
    digest = "sha256:" + "404429500401" * 5 + "4040"
    crane = f"Error: saving tarball /tmp/404: GET http://h:5000/v2/429/blobs/{digest}: DENIED: no\n"
    assert classify(client_kind("crane"), 1, crane).error_class == "forbidden"
    skopeo = f'reading blob {digest}: Get "http://h:4290/v2/x/blobs/{digest}": EOF'
    assert classify(client_kind("skopeo"), 1, skopeo_stderr(skopeo)).error_class == "reset"


@pytest.mark.parametrize(
    ("own", "word"),
    [
        ('Get "http://h/v2/": dial tcp: lookup h on [::1]:53: read udp: read: connection refused', "dns"),
        ('Get "http://h/v2/": dial tcp 10.0.0.1:80: connect: connection timed out', "timeout"),
        ('Get "http://h/v2/": dial tcp 10.0.0.1:80: connect: no route to host', "refused"),
        # no connection: a route or a firewall of this machine, IPv6 that it does not have, no free port
        ('Get "http://h/v2/": dial tcp 10.0.0.1:80: connect: permission denied', "refused"),
        ('Get "http://h/v2/": dial tcp 10.0.0.1:80: connect: operation not permitted', "refused"),
        ('Get "http://h/v2/": dial tcp 10.0.0.1:80: connect: invalid argument', "refused"),
        ('Get "http://h/v2/": dial tcp 10.0.0.1:80: connect: host is down', "refused"),
        (
            'Get "http://h/v2/": dial tcp [2001:db8::1]:80: connect: cannot assign requested address',
            "refused",
        ),
        ('Get "http://h/v2/": dial tcp [2001:db8::1]:80: socket: address family not supported', "refused"),
        ('Get "http://h/v2/": dial tcp 10.0.0.1:80: connect: cannot assign requested address', "client"),
        ('Get "http://h/v2/": dial tcp 10.0.0.1:80: socket: too many open files', "client"),
        ('Get "http://h/v2/": dial tcp 10.0.0.1:80: connect: no buffer space available', "client"),
        # a connection that is lost, also of HTTP/2
        ('Get "http://h/v2/": read tcp 10.0.0.2:4->10.0.0.1:80: read: no route to host', "reset"),
        ('Get "http://h/v2/": read tcp 10.0.0.2:4->10.0.0.1:80: read: connection timed out', "timeout"),
        (
            'Get "https://h/v2/": write tcp 10.0.0.2:4->10.0.0.1:443: write: protocol wrong type for socket',
            "reset",
        ),
        ('Get "https://h/v2/": http2: client connection lost', "reset"),
        ('Get "https://h/v2/": http2: client connection force closed via ClientConn.Close', "reset"),
        ('Get "https://h/v2/": http2: server sent GOAWAY and closed the connection; LastStreamID=1', "reset"),
        ('Get "https://h/v2/": http2: timeout awaiting response headers', "timeout"),
        ('Get "https://h/v2/": connection error: PROTOCOL_ERROR', "reset"),
        ('Get "https://h/v2/": stream error: stream ID 5; INTERNAL_ERROR; received from peer', "reset"),
        # an answer that is not what HTTP allows, or a redirect to nowhere
        (
            'Get "http://h/v2/": net/http: HTTP/1.x transport connection broken: bad Content-Length "x"',
            "bad-content",
        ),
        ('Get "http://h/v2/": net/http: HTTP/1.x transport connection broken: unexpected EOF', "reset"),
        (
            'Get "http://h/v2/": net/http: server response headers exceeded 10485760 bytes; aborted',
            "bad-content",
        ),
        (
            'Get "http://h/v2/": failed to parse Location header "::": parse "::": missing protocol',
            "bad-content",
        ),
        ('Get "http://h/v2/": 301 response missing Location header', "bad-content"),
        ('Get "ftp://h/": unsupported protocol scheme "ftp"', "bad-content"),
        ('Get "http:///x": http: no Host in request URL', "bad-content"),
        ('Get "http://h:99999/": dial tcp: address 99999: invalid port', "bad-content"),
        ("gzip: invalid header", "bad-content"),
        ('Get "http://h/v2/": dial tcp 10.0.0.1:80: i/o timeout', "timeout"),
        ('Get "https://h/v2/": net/http: TLS handshake timeout', "timeout"),
        ('Get "https://h/v2/": remote error: tls: handshake failure', "tls"),
        ('Get "https://h/v2/": x509: certificate is valid for unauthorized, not h', "tls"),
        (
            'Get "http://h/v2/": net/http: HTTP/1.x transport connection broken: malformed HTTP status code "x509: "',
            "bad-content",
        ),
        (
            'Get "http://h/v2/": context deadline exceeded (Client.Timeout exceeded while awaiting headers)',
            "timeout",
        ),
        ('Get "http://no space left on device/": EOF', "reset"),
        ("saving tarball /x: write /x: disk quota exceeded", "disk"),
        ("open /x/y.tar: permission denied", "client"),
        ("something that nobody has seen yet", "other"),
    ],
)
def test_what_a_client_finds_by_itself(own: str, word: str) -> None:
    assert classify(client_kind("crane"), 1, f"Error: {own}\n").error_class == word
    assert classify(client_kind("skopeo"), 1, skopeo_stderr(own)).error_class == word


def test_a_forged_line_in_front_of_skopeo_s_record_does_not_count() -> None:
    stderr = "Error: no such host\n" + skopeo_stderr("reading manifest v in h/a: manifest unknown: x")
    assert classify(client_kind("skopeo"), 1, stderr) == Failure(
        "not-found", "reading manifest v in h/a: manifest unknown: x"
    )


def test_https_with_a_bad_certificate_that_answers_plain_http_stays_tls() -> None:
    stderr = (
        'Error: Get "https://h/v2/": tls: failed to verify certificate: x509: unknown; '
        "GET http://h/v2/: unexpected status code 400 Bad Request: Client sent an HTTP request to an HTTPS server.\n"
    )
    assert classify(client_kind("crane"), 1, stderr).error_class == "tls"


@pytest.mark.parametrize(
    "lost",
    ["write tcp 1.1.1.1:1->1.1.1.1:2: write: broken pipe", "http2: client conn could not be established"],
)
def test_https_that_is_dropped_and_plain_http_that_is_refused(lost: str) -> None:
    """What crane shows of one in six pulls from a registry that wants a client certificate; of the others it is tls."""
    stderr = f'Error: Get "https://h/v2/": {lost}; GET http://h/v2/: unexpected status code {{}} x: y\n'
    assert classify(client_kind("crane"), 1, stderr.format(400)).error_class == "reset"
    assert classify(client_kind("crane"), 1, stderr.format(404)).error_class == "not-found"


def test_https_that_is_refused_and_plain_http_to_a_server_that_has_come_back() -> None:
    """A server for TLS that starts between the two requests of crane answers the second with 400."""
    stderr = (
        'Error: Get "https://h:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused; '
        "GET http://h:1/v2/: unexpected status code {} x: Client sent an HTTP request to an HTTPS server.\n"
    )
    assert classify(client_kind("crane"), 1, stderr.format(400)).error_class == "refused"
    assert classify(client_kind("crane"), 1, stderr.format(404)).error_class == "not-found"


def test_the_tail_of_a_long_stderr_is_enough() -> None:
    """The launcher keeps the end; the first line may be cut anywhere."""
    stderr = crane_stderr("UNKNOWN: " + "x" * 300, 3)
    for cut in range(0, 400, 7):
        assert classify(client_kind("crane"), 1, stderr[cut:]).error_class == "server-error"


@pytest.mark.parametrize(
    "flood",
    [
        "2026/01/01 00:00:00 retrying GET http://h: UNKNOWN: a\nError: x\n" * 1_000,
        "Error: " + '"\\' * 30_000,
        "Error: " + "GET http://" * 6_000,
        'time="" level=fatal msg="' + ": a" * 20_000 + '"',
        'time="" level=fatal msg="Failed to delete a: ' + "(" * 60_000 + '"',
        "://" * 20_000,
        "token" * 12_000,
        "Error: " + "http2: " * 18_000,
        'time="" level=fatal msg="strange: ' + "http2: " * 18_000 + '"',
        'time="" level=debug msg="do request" ' + ' response.status="500' * 6_000,
        'time="" level=debug msg="do request" response.status="500" url="http://h"\n' * 1_500,
        'time="" level=debug msg=fetch digest="' + ' mediatype="a' * 9_000,
        'time="" level=debug msg=fetch digest="a" mediatype=b\n' * 2_000,
        "ctr: " + "failed to copy: " * 8_000,
        "ctr: " + "failed to copy: pulling from host x failed with status code [" * 2_000,
        "ctr: " * 25_000,
        "ctr: \n" * 20_000,
        'ctr: failed to resolve reference "' + '\\"' * 60_000,
        'ctr: failed commit on ref "": ' + "unexpected commit " * 7_000,
    ],
)
def test_a_flood_costs_little(flood: str) -> None:
    """Patterns that go over the text again and again would take minutes here."""
    started = time.thread_time()
    for client in NAMES:
        classify(client_kind(client), 1, flood)
        client_kind(client).retries(flood, succeeded=False)
        client_kind(client).succeeded(flood)
    assert time.thread_time() - started < 5
