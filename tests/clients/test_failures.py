"""The class, the message and the retries of every failure that was recorded with the real clients."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from lib.clients.classify import classify
from lib.clients.table import client_kind
from lib.outcomes import ErrorClass, Failure, classify_http
from tests.record_failures import Record, read_recording

# Operation and case as in record_failures.py; the class for crane, skopeo and ctr ("ok": it succeeds, "-": has no such
# case), and how often crane and ctr ask again by themselves. "5+" is so often at least: ctr fetches layers at the same
# time, and how far the others come before the first gives up is chance. The class is what the client's words alone say:
# where they do not show the status, it is `other`, and the driver asks (test_status_table.py).
TABLE = """
pull   blob-401                       unauthorized  unauthorized  unauthorized  0  0
pull   blob-401-json                  unauthorized  unauthorized  unauthorized  0  0
pull   blob-403                       forbidden     forbidden     forbidden     0  0
pull   blob-403-json                  forbidden     forbidden     forbidden     0  0
pull   blob-404                       not-found     not-found     not-found     0  0
pull   blob-404-hostile               not-found     not-found     not-found     0  0
pull   blob-404-hostilejson           not-found     not-found     not-found     0  0
pull   blob-404-json                  not-found     not-found     not-found     0  0
pull   blob-408                       server-error  server-error  server-error  2  5+
pull   blob-429                       rate-limited  timeout       rate-limited  2  5+
pull   blob-429-after                 rate-limited  rate-limited  rate-limited  2  5+
pull   blob-429-json                  rate-limited  timeout       rate-limited  2  5+
pull   blob-500                       server-error  server-error  server-error  2  0
pull   blob-500-hostile               server-error  server-error  server-error  2  0
pull   blob-500-hostilejson           server-error  server-error  server-error  2  0
pull   blob-500-json                  server-error  server-error  server-error  2  0
pull   blob-502-html                  server-error  server-error  server-error  2  0
pull   blob-503                       server-error  server-error  server-error  2  0
pull   blob-503-json                  server-error  server-error  server-error  2  0
pull   blob-503-x2                    ok            server-error  server-error  2  0
pull   blob-504                       server-error  server-error  server-error  2  0
pull   blob-close                     reset         reset         reset         2  0
pull   blob-corrupted                 bad-digest    bad-digest    bad-digest    0  0
pull   blob-died                      refused       reset         refused       0  0
pull   blob-empty                     bad-digest    bad-digest    bad-digest    0  0
pull   blob-garbage                   bad-content   bad-content   bad-content   0  0
pull   blob-html                      bad-digest    bad-digest    bad-digest    0  0
pull   blob-killed                    reset         reset         reset         0  1+
pull   blob-midreset                  reset         reset         reset         0  0
pull   blob-redirect                  timeout       bad-content   bad-content   0  0
pull   blob-reset                     reset         reset         reset         2  0
pull   blob-short                     bad-digest    bad-digest    bad-digest    0  0
pull   blob-silent                    timeout       timeout       timeout       0  0
pull   blob-stalled                   timeout       timeout       timeout       0  0
pull   blob-truncated                 reset         reset         reset         0  3+
pull   broken-config                  client        client        client        0  0
pull   config-404                     not-found     not-found     not-found     0  0
pull   config-500-json                server-error  server-error  server-error  2  0
pull   config-corrupted               bad-digest    bad-digest    bad-digest    0  0
pull   config-empty                   bad-digest    bad-digest    bad-digest    0  0
pull   config-html                    bad-digest    bad-digest    bad-digest    0  0
pull   config-killed                  reset         reset         reset         0  1+
pull   config-reset                   reset         reset         reset         2  0
pull   config-truncated               reset         reset         reset         0  3+
pull   disk-full                      disk          disk          -             0  -
pull   dns                            dns           dns           dns           0  0
pull   good                           -             -             ok            -  0
pull   http-for-https                 -             tls           tls           0  0
pull   manifest-400-json              bad-reference bad-reference bad-reference 0  0
pull   manifest-401                   unauthorized  unauthorized  unauthorized  0  0
pull   manifest-401-json              unauthorized  unauthorized  unauthorized  0  0
pull   manifest-401-json-login        -             -             unauthorized  -  0
pull   manifest-401-login             -             -             unauthorized  -  0
pull   manifest-401-text              unauthorized  unauthorized  unauthorized  0  0
pull   manifest-403                   forbidden     forbidden     forbidden     0  0
pull   manifest-403-hostile           forbidden     forbidden     forbidden     0  0
pull   manifest-403-hostilejson       forbidden     forbidden     forbidden     0  0
pull   manifest-403-html              forbidden     forbidden     forbidden     0  0
pull   manifest-403-json              forbidden     forbidden     forbidden     0  0
pull   manifest-404                   not-found     not-found     not-found     0  0
pull   manifest-404-bare              not-found     not-found     not-found     0  0
pull   manifest-404-default           not-found     not-found     not-found     0  0
pull   manifest-404-detailed          not-found     not-found     not-found     0  0
pull   manifest-404-foreign           other         other         not-found     0  0
pull   manifest-404-hostile           not-found     not-found     not-found     0  0
pull   manifest-404-hostilejson       not-found     not-found     not-found     0  0
pull   manifest-404-html              not-found     not-found     not-found     0  0
pull   manifest-404-json              not-found     not-found     not-found     0  0
pull   manifest-404-nocode            other         other         not-found     0  0
pull   manifest-404-nothing           not-found     not-found     not-found     0  0
pull   manifest-404-two               not-found     not-found     not-found     0  0
pull   manifest-405                   unsupported   unsupported   unsupported   0  0
pull   manifest-405-json              unsupported   unsupported   unsupported   0  0
pull   manifest-408                   server-error  server-error  server-error  2  5
pull   manifest-408-json              server-error  other         server-error  2  5
pull   manifest-412-foreign           other         other         forbidden     0  0
pull   manifest-429                   rate-limited  timeout       rate-limited  2  5
pull   manifest-429-after             rate-limited  rate-limited  rate-limited  2  5
pull   manifest-429-after-x2          ok            ok            ok            2  2
pull   manifest-429-foreign-after     other         other         rate-limited  2  5
pull   manifest-429-hostilejson-after rate-limited  rate-limited  rate-limited  2  5
pull   manifest-429-json              rate-limited  timeout       rate-limited  2  5
pull   manifest-429-json-after        rate-limited  rate-limited  rate-limited  2  5
pull   manifest-500                   server-error  server-error  server-error  2  0
pull   manifest-500-hostile           server-error  server-error  server-error  2  0
pull   manifest-500-hostilejson       server-error  server-error  server-error  2  0
pull   manifest-500-html              server-error  server-error  server-error  2  0
pull   manifest-500-json              server-error  server-error  server-error  2  0
pull   manifest-500-two               server-error  server-error  server-error  2  0
pull   manifest-501                   unsupported   unsupported   unsupported   0  0
pull   manifest-502                   server-error  server-error  server-error  2  0
pull   manifest-502-html              server-error  server-error  server-error  2  0
pull   manifest-503                   server-error  server-error  server-error  2  0
pull   manifest-503-foreign           other         server-error  server-error  2  0
pull   manifest-503-hostile-x2        ok            server-error  server-error  2  0
pull   manifest-503-json              server-error  server-error  server-error  2  0
pull   manifest-503-json-x2           ok            server-error  server-error  2  0
pull   manifest-503-x1                ok            server-error  server-error  1  0
pull   manifest-503-x2                ok            server-error  server-error  2  0
pull   manifest-504                   server-error  server-error  server-error  2  0
pull   manifest-504-text              server-error  server-error  server-error  2  0
pull   manifest-artifact              ok            unsupported   ok            0  0
pull   manifest-chart                 ok            unsupported   ok            0  0
pull   manifest-close                 reset         reset         reset         2  0
pull   manifest-died                  refused       reset         reset         0  0
pull   manifest-empty                 bad-content   bad-content   bad-content   0  0
pull   manifest-encrypted             ok            unsupported   ok            0  0
pull   manifest-garbage               bad-content   bad-content   bad-content   0  0
pull   manifest-halfjson              reset         bad-content   bad-content   0  0
pull   manifest-html                  bad-content   bad-content   bad-content   0  0
pull   manifest-killed                reset         reset         refused       0  0
pull   manifest-midreset              reset         reset         reset         0  0
pull   manifest-nested                ok            unsupported   ok            0  0
pull   manifest-noplatform            no-platform   no-platform   no-platform   0  0
pull   manifest-oldartifact           unsupported   unsupported   unsupported   0  0
pull   manifest-redirect              timeout       bad-content   bad-content   0  0
pull   manifest-reset                 reset         reset         reset         2  0
pull   manifest-schemaone             unsupported   bad-content   unsupported   0  0
pull   manifest-silent                timeout       timeout       timeout       0  0
pull   manifest-stalled               timeout       timeout       timeout       0  0
pull   manifest-strange               bad-content   unsupported   bad-content   0  0
pull   manifest-text                  bad-content   bad-content   bad-content   0  0
pull   manifest-truncated             reset         reset         reset         0  0
pull   no-certificate                 -             -             client        -  0
pull   no-folder                      client        client        -             0  -
pull   no-helper                      client        client        -             0  -
pull   no-policy                      -             client        -             0  -
pull   no-socket                      -             -             client        -  0
pull   no-tmpdir                      -             client        -             0  -
pull   ping-403                       forbidden     forbidden     ok            0  0
pull   ping-404                       not-found     not-found     ok            0  0
pull   ping-429-json                  rate-limited  timeout       ok            2  0
pull   ping-500                       server-error  server-error  ok            2  0
pull   ping-500-hostile               server-error  server-error  ok            2  0
pull   ping-503-json                  server-error  server-error  ok            2  0
pull   ping-close                     reset         reset         ok            2  0
pull   ping-garbage                   bad-content   bad-content   ok            0  0
pull   ping-redirect                  bad-content   bad-content   ok            0  0
pull   ping-reset                     reset         reset         ok            2  0
pull   ping-silent                    timeout       timeout       ok            0  0
pull   port-in-path                   bad-reference bad-reference not-found     0  0
pull   refused                        refused       refused       refused       0  0
pull   sigint                         killed        killed        killed        0  0
pull   sigterm                        killed        killed        killed        0  0
pull   tls                            tls           tls           tls           2  0
pull   tls-insecure                   -             -             ok            -  0
pull   tls-name                       tls           tls           tls           2  0
pull   tls-name-insecure              -             -             ok            -  0
pull   tls-name-trusted               tls           tls           tls           2  0
pull   tls-trusted                    ok            ok            ok            0  0
pull   token-401                      unauthorized  unauthorized  unauthorized  0  0
pull   token-401-foreign              other         unauthorized  unauthorized  0  0
pull   token-401-json                 unauthorized  unauthorized  unauthorized  0  0
pull   token-401-json-login           -             -             unauthorized  -  0
pull   token-401-login                -             -             unauthorized  -  0
pull   token-403                      forbidden     forbidden     forbidden     0  0
pull   token-403-login                -             -             forbidden     -  0
pull   token-500                      server-error  server-error  server-error  2  0
pull   token-500-login                -             -             server-error  -  0
pull   unknown-command                client        client        client        0  0
pull   unknown-flag                   client        client        client        0  0
pull   uppercase                      bad-reference bad-reference ok            0  0
pull   wrong-digest                   bad-digest    bad-digest    bad-digest    0  0
delete delete-400-json                unsupported   other         -             0  -
delete delete-401                     unauthorized  unauthorized  -             0  -
delete delete-401-json                unauthorized  unauthorized  -             0  -
delete delete-403                     forbidden     forbidden     -             0  -
delete delete-403-json                forbidden     forbidden     -             0  -
delete delete-404                     not-found     not-found     -             0  -
delete delete-404-json                not-found     not-found     -             0  -
delete delete-405                     unsupported   unsupported   -             0  -
delete delete-405-hostile             unsupported   unsupported   -             0  -
delete delete-405-json                unsupported   unsupported   -             0  -
delete delete-429                     rate-limited  timeout       -             2  -
delete delete-429-after               rate-limited  rate-limited  -             2  -
delete delete-429-json                rate-limited  timeout       -             2  -
delete delete-500                     server-error  server-error  -             2  -
delete delete-500-hostile             server-error  server-error  -             2  -
delete delete-500-hostilejson         server-error  server-error  -             2  -
delete delete-500-html                server-error  server-error  -             2  -
delete delete-500-json                server-error  server-error  -             2  -
delete delete-503                     server-error  server-error  -             2  -
delete delete-503-x2                  ok            server-error  -             2  -
delete delete-close                   reset         reset         -             2  -
delete delete-reset                   reset         reset         -             2  -
delete delete-silent                  timeout       timeout       -             0  -
delete dns                            dns           dns           -             0  -
delete manifest-401                   ok            unauthorized  -             0  -
delete manifest-404                   ok            not-found     -             0  -
delete manifest-404-json              ok            not-found     -             0  -
delete manifest-500                   ok            server-error  -             0  -
delete ping-500                       server-error  server-error  -             2  -
delete ping-silent                    timeout       timeout       -             0  -
delete refused                        refused       refused       -             0  -
delete uppercase                      bad-reference bad-reference -             0  -
digest manifest-401-json              unauthorized  -             -             0  -
digest manifest-404                   not-found     -             -             0  -
digest manifest-404-json              not-found     -             -             0  -
digest manifest-429                   rate-limited  -             -             4  -
digest manifest-500                   server-error  -             -             4  -
digest manifest-500-hostile           server-error  -             -             4  -
digest manifest-500-json              server-error  -             -             4  -
digest manifest-503                   server-error  -             -             4  -
digest manifest-reset                 reset         -             -             4  -
"""


class Expected(NamedTuple):
    error_class: str
    retries: int | None
    or_more: bool = False


def _expected() -> dict[str, Expected]:
    wanted = {}
    for row in TABLE.split("\n")[1:-1]:
        operation, case, crane, skopeo, ctr, crane_retries, ctr_retries = row.split()
        if crane != "-":
            wanted[f"crane {operation} {case}"] = Expected(crane, int(crane_retries))
        if skopeo != "-":
            wanted[f"skopeo {operation} {case}"] = Expected(skopeo, None)
        if ctr != "-":
            least = int(ctr_retries.rstrip("+"))
            wanted[f"ctr {operation} {case}"] = Expected(ctr, least, ctr_retries.endswith("+"))
    return wanted


EXPECTED = _expected()
RECORDING = read_recording()


def _returncode(record: Record) -> int:
    """As the driver judges it: ctr ends with 0 although it has pulled nothing but an index."""
    return record.returncode or int(not client_kind(record.client).succeeded(record.stderr))


def _classify(record: Record) -> Failure:
    client = client_kind(record.client)
    return classify(client, _returncode(record), record.stderr, timed_out=record.timed_out)


def test_every_case_of_the_table_is_recorded_and_the_other_way_round() -> None:
    assert set(RECORDING) == set(EXPECTED)


@pytest.mark.parametrize("key", [key for key, expected in EXPECTED.items() if expected.error_class != "ok"])
def test_a_recorded_failure_has_its_class(key: str) -> None:
    record = RECORDING[key]
    assert _returncode(record) != 0
    failure = _classify(record)
    assert failure.error_class == EXPECTED[key].error_class, record.stderr
    assert "\n" not in failure.message
    assert len(failure.message) <= 500


@pytest.mark.parametrize("key", EXPECTED)
def test_a_recorded_launch_has_its_retries(key: str) -> None:
    record, expected = RECORDING[key], EXPECTED[key]
    succeeded = expected.error_class == "ok"
    assert succeeded == (_returncode(record) == 0)
    counted = client_kind(record.client).retries(record.stderr, succeeded=succeeded)
    if expected.or_more:
        assert counted is not None
        assert expected.retries is not None
        assert counted >= expected.retries
    else:
        assert counted == expected.retries


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
    ctr = _classify(RECORDING["ctr pull manifest-404-json"])
    name = "up.example:5000/manifest-404-json/ctr-pull:v1"
    assert ctr.message == f'failed to resolve reference "{name}": {name}: not found'


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
    assert classify(client_kind("ctr"), 1, "") == Failure("other", "")


def test_a_crash_is_the_client_s_fault() -> None:
    stderr = "panic: runtime error: index out of range [1]\n\ngoroutine 1 [running]:\nmain.main()\n\t/x.go:5 +0x1d\n"
    for client in ("crane", "skopeo", "ctr"):
        failure = classify(client_kind(client), 2, stderr)
        assert failure == Failure("client", "panic: runtime error: index out of range [1]")


@pytest.mark.parametrize(
    ("returncode", "word"), [(126, "client"), (127, "client"), (137, "killed"), (143, "killed"), (1, "other")]
)
def test_a_client_behind_a_shell_script_brings_the_shell_s_status(returncode: int, word: str) -> None:
    assert classify(client_kind("crane"), returncode, "sh: something\n").error_class == word
    reported = "Error: GET http://h/v2/a/manifests/v: unexpected status code 404 Not Found\n"
    assert classify(client_kind("crane"), returncode, reported).error_class == "not-found"


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
        (200, "bad-content"),
        (302, "bad-content"),
        (600, "other"),
    ],
)
def test_http_statuses(status: int, word: str) -> None:
    assert classify_http(status) == word
