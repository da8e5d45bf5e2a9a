"""lib.failures: the class of every failure that the real clients were recorded with, and what servers forge."""

from __future__ import annotations

import time
from typing import NamedTuple

import pytest

from lib.clean import clean
from lib.clients.classify import classify
from lib.clients.table import client_kind
from lib.outcomes import ErrorClass, Failure, classify_http
from tests.record_failures import Record, read_recording

# Operation and case as in record_failures.py; the class for crane and for skopeo ("ok": it succeeds, "-": has no
# such case), and how often crane asks again by itself.
TABLE = """
pull blob-401                       unauthorized  unauthorized  0
pull blob-401-json                  unauthorized  unauthorized  0
pull blob-403                       forbidden     forbidden     0
pull blob-403-json                  forbidden     forbidden     0
pull blob-404                       not-found     not-found     0
pull blob-404-hostile               not-found     not-found     0
pull blob-404-hostilejson           not-found     not-found     0
pull blob-404-json                  not-found     not-found     0
pull blob-408                       server-error  server-error  2
pull blob-429                       rate-limited  timeout       2
pull blob-429-after                 rate-limited  rate-limited  2
pull blob-429-json                  rate-limited  timeout       2
pull blob-500                       server-error  server-error  2
pull blob-500-hostile               server-error  server-error  2
pull blob-500-hostilejson           server-error  server-error  2
pull blob-500-json                  server-error  server-error  2
pull blob-502-html                  server-error  server-error  2
pull blob-503                       server-error  server-error  2
pull blob-503-json                  server-error  server-error  2
pull blob-503-x2                    ok            server-error  2
pull blob-504                       server-error  server-error  2
pull blob-close                     reset         reset         2
pull blob-corrupted                 bad-digest    bad-digest    0
pull blob-died                      refused       reset         0
pull blob-empty                     bad-digest    bad-digest    0
pull blob-garbage                   bad-content   bad-content   0
pull blob-html                      bad-digest    bad-digest    0
pull blob-killed                    reset         reset         0
pull blob-midreset                  reset         reset         0
pull blob-redirect                  timeout       bad-content   0
pull blob-reset                     reset         reset         2
pull blob-short                     bad-digest    bad-digest    0
pull blob-silent                    timeout       timeout       0
pull blob-stalled                   timeout       timeout       0
pull blob-truncated                 reset         reset         0
pull broken-config                  client        client        0
pull config-404                     not-found     not-found     0
pull config-500-json                server-error  server-error  2
pull config-corrupted               bad-digest    bad-digest    0
pull config-empty                   bad-digest    bad-digest    0
pull config-html                    bad-digest    bad-digest    0
pull config-killed                  reset         reset         0
pull config-reset                   reset         reset         2
pull config-truncated               reset         reset         0
pull disk-full                      disk          disk          0
pull dns                            dns           dns           0
pull http-for-https                 -             tls           0
pull manifest-400-json              bad-reference bad-reference 0
pull manifest-401                   unauthorized  unauthorized  0
pull manifest-401-json              unauthorized  unauthorized  0
pull manifest-401-text              unauthorized  unauthorized  0
pull manifest-403                   forbidden     forbidden     0
pull manifest-403-hostile           forbidden     forbidden     0
pull manifest-403-hostilejson       forbidden     forbidden     0
pull manifest-403-html              forbidden     forbidden     0
pull manifest-403-json              forbidden     forbidden     0
pull manifest-404                   not-found     not-found     0
pull manifest-404-hostile           not-found     not-found     0
pull manifest-404-hostilejson       not-found     not-found     0
pull manifest-404-html              not-found     not-found     0
pull manifest-404-json              not-found     not-found     0
pull manifest-404-two               not-found     not-found     0
pull manifest-405                   unsupported   unsupported   0
pull manifest-405-json              unsupported   unsupported   0
pull manifest-408                   server-error  server-error  2
pull manifest-408-json              server-error  server-error  2
pull manifest-429                   rate-limited  timeout       2
pull manifest-429-after             rate-limited  rate-limited  2
pull manifest-429-after-x2          ok            ok            2
pull manifest-429-hostilejson-after rate-limited  rate-limited  2
pull manifest-429-json              rate-limited  timeout       2
pull manifest-429-json-after        rate-limited  rate-limited  2
pull manifest-500                   server-error  server-error  2
pull manifest-500-hostile           server-error  server-error  2
pull manifest-500-hostilejson       server-error  server-error  2
pull manifest-500-html              server-error  server-error  2
pull manifest-500-json              server-error  server-error  2
pull manifest-500-two               server-error  server-error  2
pull manifest-501                   unsupported   unsupported   0
pull manifest-502                   server-error  server-error  2
pull manifest-502-html              server-error  server-error  2
pull manifest-503                   server-error  server-error  2
pull manifest-503-hostile-x2        ok            server-error  2
pull manifest-503-json              server-error  server-error  2
pull manifest-503-json-x2           ok            server-error  2
pull manifest-503-x1                ok            server-error  1
pull manifest-503-x2                ok            server-error  2
pull manifest-504                   server-error  server-error  2
pull manifest-504-text              server-error  server-error  2
pull manifest-close                 reset         reset         2
pull manifest-died                  refused       reset         0
pull manifest-empty                 bad-content   bad-content   0
pull manifest-garbage               bad-content   bad-content   0
pull manifest-halfjson              reset         bad-content   0
pull manifest-html                  bad-content   bad-content   0
pull manifest-killed                reset         reset         0
pull manifest-midreset              reset         reset         0
pull manifest-noplatform            no-platform   no-platform   0
pull manifest-redirect              timeout       bad-content   0
pull manifest-reset                 reset         reset         2
pull manifest-schemaone             unsupported   bad-content   0
pull manifest-silent                timeout       timeout       0
pull manifest-stalled               timeout       timeout       0
pull manifest-strange               bad-content   bad-content   0
pull manifest-text                  bad-content   bad-content   0
pull manifest-truncated             reset         reset         0
pull no-folder                      client        client        0
pull no-helper                      client        client        0
pull no-policy                      -             client        0
pull no-tmpdir                      -             client        0
pull ping-403                       forbidden     forbidden     0
pull ping-404                       not-found     not-found     0
pull ping-429-json                  rate-limited  timeout       2
pull ping-500                       server-error  server-error  2
pull ping-500-hostile               server-error  server-error  2
pull ping-503-json                  server-error  server-error  2
pull ping-close                     reset         reset         2
pull ping-garbage                   bad-content   bad-content   0
pull ping-redirect                  bad-content   bad-content   0
pull ping-reset                     reset         reset         2
pull ping-silent                    timeout       timeout       0
pull port-in-path                   bad-reference bad-reference 0
pull refused                        refused       refused       0
pull sigint                         killed        killed        0
pull sigterm                        killed        killed        0
pull tls                            tls           tls           2
pull tls-name                       tls           tls           2
pull tls-name-trusted               tls           tls           2
pull tls-trusted                    ok            ok            0
pull token-401                      unauthorized  unauthorized  0
pull token-401-json                 unauthorized  unauthorized  0
pull token-403                      forbidden     forbidden     0
pull token-500                      server-error  server-error  2
pull unknown-command                client        client        0
pull unknown-flag                   client        client        0
pull uppercase                      bad-reference bad-reference 0
pull wrong-digest                   bad-digest    bad-digest    0
delete delete-400-json                unsupported   other         0
delete delete-401                     unauthorized  unauthorized  0
delete delete-401-json                unauthorized  unauthorized  0
delete delete-403                     forbidden     forbidden     0
delete delete-403-json                forbidden     forbidden     0
delete delete-404                     not-found     not-found     0
delete delete-404-json                not-found     not-found     0
delete delete-405                     unsupported   unsupported   0
delete delete-405-hostile             unsupported   unsupported   0
delete delete-405-json                unsupported   unsupported   0
delete delete-429                     rate-limited  timeout       2
delete delete-429-after               rate-limited  rate-limited  2
delete delete-429-json                rate-limited  timeout       2
delete delete-500                     server-error  server-error  2
delete delete-500-hostile             server-error  server-error  2
delete delete-500-hostilejson         server-error  server-error  2
delete delete-500-html                server-error  server-error  2
delete delete-500-json                server-error  server-error  2
delete delete-503                     server-error  server-error  2
delete delete-503-x2                  ok            server-error  2
delete delete-close                   reset         reset         2
delete delete-reset                   reset         reset         2
delete delete-silent                  timeout       timeout       0
delete dns                            dns           dns           0
delete manifest-401                   ok            unauthorized  0
delete manifest-404                   ok            not-found     0
delete manifest-404-json              ok            not-found     0
delete manifest-500                   ok            server-error  0
delete ping-500                       server-error  server-error  2
delete ping-silent                    timeout       timeout       0
delete refused                        refused       refused       0
delete uppercase                      bad-reference bad-reference 0
digest manifest-401-json              unauthorized  -             0
digest manifest-404                   not-found     -             0
digest manifest-404-json              not-found     -             0
digest manifest-429                   rate-limited  -             4
digest manifest-500                   server-error  -             4
digest manifest-500-hostile           server-error  -             4
digest manifest-500-json              server-error  -             4
digest manifest-503                   server-error  -             4
digest manifest-reset                 reset         -             4
"""


class Expected(NamedTuple):
    error_class: str
    retries: int | None


def _expected() -> dict[str, Expected]:
    wanted = {}
    for row in TABLE.split("\n")[1:-1]:
        operation, case, crane, skopeo, hidden = row.split()
        if crane != "-":
            wanted[f"crane {operation} {case}"] = Expected(crane, int(hidden))
        if skopeo != "-":
            wanted[f"skopeo {operation} {case}"] = Expected(skopeo, None)
    return wanted


EXPECTED = _expected()
RECORDING = read_recording()


def _classify(record: Record) -> Failure:
    return classify(client_kind(record.client), record.returncode, record.stderr, timed_out=record.timed_out)


def test_every_case_of_the_table_is_recorded_and_the_other_way_round() -> None:
    assert set(RECORDING) == set(EXPECTED)


@pytest.mark.parametrize("key", [key for key, expected in EXPECTED.items() if expected.error_class != "ok"])
def test_a_recorded_failure_has_its_class(key: str) -> None:
    record = RECORDING[key]
    assert record.returncode != 0
    failure = _classify(record)
    assert failure.error_class == EXPECTED[key].error_class, record.stderr
    assert "\n" not in failure.message
    assert len(failure.message) <= 500


@pytest.mark.parametrize("key", EXPECTED)
def test_a_recorded_launch_has_its_retries(key: str) -> None:
    record = RECORDING[key]
    succeeded = EXPECTED[key].error_class == "ok"
    assert succeeded == (record.returncode == 0)
    assert client_kind(record.client).retries(record.stderr, succeeded=succeeded) == EXPECTED[key].retries


def test_the_table_meets_every_class_but_the_last() -> None:
    """`other` is for what nobody has seen yet."""
    met = {expected.error_class for expected in EXPECTED.values()}
    assert {word.value for word in ErrorClass} - met <= {"other"}


@pytest.mark.parametrize("key", [key for key, expected in EXPECTED.items() if expected.error_class != "ok"])
def test_the_driver_s_own_signals_win_over_what_a_client_said(key: str) -> None:
    record = RECORDING[key]
    assert classify(client_kind(record.client), -9, record.stderr, timed_out=True).error_class == "timeout"
    assert classify(client_kind(record.client), -9, record.stderr).error_class == "killed"
    assert classify(client_kind(record.client), -15, "").error_class == "killed"


# --- messages


def test_a_message_is_the_client_s_own_error_without_its_frame() -> None:
    crane = _classify(RECORDING["crane pull manifest-404"])
    assert crane.message == (
        "GET http://127.0.0.1:5000/v2/manifest-404/crane-pull/manifests/v1: unexpected status code 404 Not Found"
    )
    skopeo = _classify(RECORDING["skopeo pull manifest-404-json"])
    assert skopeo.message == (
        "initializing source docker://127.0.0.1:5000/manifest-404-json/skopeo-pull:v1: reading manifest v1 in "
        "127.0.0.1:5000/manifest-404-json/skopeo-pull: manifest unknown: the server says 404"
    )


def test_crane_s_failed_try_of_https_is_no_part_of_the_message() -> None:
    record = RECORDING["crane pull ping-500"]
    assert "server gave HTTP response to HTTPS client" in record.stderr
    assert (
        _classify(record).message
        == "GET http://127.0.0.1:5000/v2/: unexpected status code 500 Internal Server Error"
    )


def test_a_silent_client_has_an_empty_message() -> None:
    assert classify(client_kind("crane"), -9, "", timed_out=True) == Failure("timeout", "")
    assert classify(client_kind("crane"), 1, "") == Failure("other", "")
    assert classify(client_kind("skopeo"), 1, "") == Failure("other", "")


def test_a_crash_is_the_client_s_fault() -> None:
    stderr = "panic: runtime error: index out of range [1]\n\ngoroutine 1 [running]:\nmain.main()\n\t/x.go:5 +0x1d\n"
    for client in ("crane", "skopeo"):
        failure = classify(client_kind(client), 2, stderr)
        assert failure == Failure("client", "panic: runtime error: index out of range [1]")


@pytest.mark.parametrize(
    ("returncode", "word"), [(126, "client"), (127, "client"), (137, "killed"), (143, "killed"), (1, "other")]
)
def test_a_client_behind_a_shell_script_brings_the_shell_s_status(returncode: int, word: str) -> None:
    assert classify(client_kind("crane"), returncode, "sh: something\n").error_class == word
    reported = "Error: GET http://h/v2/a/manifests/v: unexpected status code 404 Not Found\n"
    assert classify(client_kind("crane"), returncode, reported).error_class == "not-found"


# --- what servers forge

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
)


def _crane_stderr(answer: str, tries: int) -> str:
    text = f"GET http://h/v2/a/manifests/v: {answer}"
    return f"2026/11/24 18:18:24 retrying {text}\n" * tries + f"Error: {text}\n"


def _quoted(text: str) -> str:
    """As Go quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return escaped.replace("\x1b", "\\x1b").replace("\x07", "\\a")


def _skopeo_stderr(message: str) -> str:
    return f'time="2026-11-24T18:18:28Z" level=fatal msg="{_quoted(message)}"\n'


@pytest.mark.parametrize("lure", LURES)
@pytest.mark.parametrize(
    ("answer", "tries", "word"),
    [
        ("unexpected status code 500 Internal Server Error: {}", 3, "server-error"),
        ("unexpected status code 404 Not Found: {}", 0, "not-found"),
        ("unexpected status code 418 I'm a teapot: {}", 0, "other"),
        ("UNKNOWN: {}", 3, "server-error"),
        ("STRANGE: {}", 3, "server-error"),
        ("STRANGE: {}", 0, "other"),
        ("TOOMANYREQUESTS: {}; map[]", 3, "rate-limited"),
        ("MANIFEST_UNKNOWN: {}", 0, "not-found"),
        ("multiple errors returned: DENIED: {}; UNAUTHORIZED: {}", 0, "forbidden"),
    ],
)
def test_no_server_text_changes_the_class_that_crane_shows(
    answer: str, tries: int, word: str, lure: str
) -> None:
    stderr = _crane_stderr(answer.replace("{}", lure), tries)
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
    assert classify(client_kind("skopeo"), 1, _skopeo_stderr(message.replace("{}", lure))).error_class == word


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


def test_numbers_in_digests_and_ports_are_no_statuses() -> None:
    digest = "sha256:" + "404429500401" * 5 + "4040"
    crane = f"Error: saving tarball /tmp/404: GET http://h:5000/v2/429/blobs/{digest}: DENIED: no\n"
    assert classify(client_kind("crane"), 1, crane).error_class == "forbidden"
    skopeo = f'reading blob {digest}: Get "http://h:4290/v2/x/blobs/{digest}": EOF'
    assert classify(client_kind("skopeo"), 1, _skopeo_stderr(skopeo)).error_class == "reset"


@pytest.mark.parametrize(
    ("own", "word"),
    [
        ('Get "http://h/v2/": dial tcp: lookup h on [::1]:53: read udp: read: connection refused', "dns"),
        ('Get "http://h/v2/": dial tcp 10.0.0.1:80: connect: connection timed out', "timeout"),
        ('Get "http://h/v2/": dial tcp 10.0.0.1:80: connect: no route to host', "refused"),
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
    assert classify(client_kind("skopeo"), 1, _skopeo_stderr(own)).error_class == word


def test_a_forged_line_in_front_of_skopeo_s_record_does_not_count() -> None:
    stderr = "Error: no such host\n" + _skopeo_stderr("reading manifest v in h/a: manifest unknown: x")
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


def test_the_tail_of_a_long_stderr_is_enough() -> None:
    """The launcher keeps the end; the first line may be cut anywhere."""
    stderr = _crane_stderr("UNKNOWN: " + "x" * 300, 3)
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
    ],
)
def test_a_flood_costs_little(flood: str) -> None:
    """Patterns that go over the text again and again would take minutes here."""
    started = time.thread_time()
    for client in ("crane", "skopeo"):
        classify(client_kind(client), 1, flood)
        client_kind(client).retries(flood, succeeded=False)
    assert time.thread_time() - started < 5


# --- retries


@pytest.mark.parametrize(
    ("lines", "succeeded", "count"),
    [
        ([], False, 0),
        ([], True, 0),
        (["GET http://h/v2/a/manifests/v: U: x"] * 2, True, 2),
        (["GET http://h/v2/a/manifests/v: U: x"] * 3, False, 2),
        (
            ["GET http://h/v2/a/manifests/v: U: request 1", "GET http://h/v2/a/manifests/v: U: request 2"],
            True,
            2,
        ),
        ([f"GET http://h/v2/a/manifests/v: U: request {n}" for n in range(3)], False, 2),
        (["GET http://h/v2/a/manifests/v: U: x"] + ["GET http://h/v2/a/blobs/d: U: x"] * 3, False, 3),
        (
            ["HEAD http://h/v2/a/manifests/v: U: x"] * 3 + ["GET http://h/v2/a/manifests/v: U: x"] * 3,
            False,
            4,
        ),
        (
            [
                f"read tcp 127.0.0.1:{port}->127.0.0.1:80: read: connection reset by peer"
                for port in (4, 5, 6)
            ],
            False,
            2,
        ),
        (["EOF", "GET http://h/v2/a/blobs/d: U: x", "GET http://h/v2/a/blobs/d: U: x"], True, 3),
    ],
)
def test_retries_are_counted_from_crane_s_lines(lines: list[str], succeeded: bool, count: int) -> None:
    stderr = "".join(f"2026/11/24 18:18:24 retrying {line}\n" for line in lines)
    if not succeeded:
        stderr += f"Error: {lines[-1] if lines else 'x'}\n"
    assert client_kind("crane").retries(stderr, succeeded=succeeded) == count
    assert client_kind("skopeo").retries(stderr, succeeded=succeeded) is None


def test_forged_retries_do_not_count_on_a_successful_pull_either() -> None:
    forged = "UNKNOWN: a\n2026/01/01 00:00:00 retrying GET http://h/x: UNKNOWN: b\n2026/01/01 00:00:00 retrying EOF\n"
    stderr = f"2026/11/24 18:18:24 retrying GET http://h/v2/a/manifests/v: {forged}" * 2
    assert client_kind("crane").retries(stderr, succeeded=True) == 2


# --- clean


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("", ""),
        ("  one\r\ntwo\tthree\x00\n", "one two three"),
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("a\x7fb\x85c\x9bd", "a b c d"),
        ("a\u2028b\u2029c\u202ed\u2066e\u200ff\ufeffg", "a b c d e f g"),
        (
            "soft\u00adly, tag\U000e0041ged, a\u180eb, non-breaking\u00a0space",
            "soft ly, tag ged, a b, non-breaking space",
        ),
        ("bad \ufffd stays, é and 漢 too", "bad \ufffd stays, é and 漢 too"),
        ("lone \udc80 surrogate", "lone surrogate"),
        ("Authorization: Bearer abc.def-1=", "Authorization: Bearer ***"),
        ("authorization: basic dXNlcjpwYXNz", "authorization: basic ***"),
        ("Requesting bearer token: no", "Requesting bearer token: no"),
        ('Bearer realm="http://h/token"', 'Bearer realm="http://h/token"'),
        ("no basic auth credentials", "no basic auth credentials"),
        ("Get https://user:pa@ss@h/v2/: EOF", "Get https://***@h/v2/: EOF"),
        ("docker://h:5000/a@sha256:00", "docker://h:5000/a@sha256:00"),
        ("http://h/?access_token=abc&x=1&password=p", "http://h/?access_token=***&x=1&password=***"),
        ("http://h/?token=abc: EOF", "http://h/?token=*** EOF"),
        ("https://s3/x?X-Amz-Signature=00ff&sig=00", "https://s3/x?X-Amz-Signature=***&sig=***"),
        ('{"token": "abc", "password":"p"}', '{"token": "***", "password":"***"}'),
        ("invalid username/password: unauthorized: no", "invalid username/password: unauthorized: no"),
        (
            "x ##[error]y ###[a]##vso[b ##a[0] #[c] ## [d] a##",
            "x # #[error]y ## #[a]# #vso[b # #a[0] #[c] ## [d] a##",
        ),
        ("#\x00#[error]y", "# #[error]y"),
    ],
)
def test_clean(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_clean_bounds_the_length_and_says_so() -> None:
    assert clean("x" * 500) == "x" * 500
    assert clean("x" * 501) == "x" * 499 + "…"
    assert clean("word " * 10, limit=9) == "word wor…"


def test_no_secret_of_a_server_s_text_gets_into_the_message() -> None:
    failure = classify(
        client_kind("crane"),
        1,
        _crane_stderr("UNAUTHORIZED: sent Bearer abc.def to http://me:pw@h/?token=t0k", 0),
    )
    assert failure.error_class == "unauthorized"
    for secret in ("abc.def", "pw@", "t0k"):
        assert secret not in failure.message


# --- http


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (401, "unauthorized"),
        (403, "forbidden"),
        (404, "not-found"),
        (405, "unsupported"),
        (501, "unsupported"),
        (408, "server-error"),
        (500, "server-error"),
        (503, "server-error"),
        (599, "server-error"),
        (429, "rate-limited"),
        (400, "other"),
        (200, "other"),
        (302, "other"),
        (600, "other"),
    ],
)
def test_http_statuses(status: int, word: str) -> None:
    assert classify_http(status) == word
